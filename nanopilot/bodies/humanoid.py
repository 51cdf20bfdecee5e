"""The Unitree G1 as a body: a head camera, joint encoders and an IMU in; a velocity over the floor out.

In: SafeCommands with a Walk. Out: Observations with a picture every second time. The gait runs in the body, 50 times a second, on the
same noisy sensors, and so does dead reckoning (`senses`). Without a command for the last observation it stands still. A fall ends it.
`truth()` is the judge's and never goes into an Observation. One process; the simulator waits for the pilot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanopilot.bodies.senses import Senses, SensesConfig
from nanopilot.messages import BodyStopped, CameraModel, CarState, Frame, Observation, Route, SafeCommand, VehicleModel
from nanopilot.sim import humanoid, rooms
from nanopilot.sim.truth import RobotTruth

FALLEN_HEIGHT, FALLEN_TILT = 0.45, 1.0  # m of the pelvis, rad
PUSH_TIME = 0.1  # s over which a push acts
FOCAL = humanoid.CAMERA_HEIGHT / 2 / np.tan(np.deg2rad(humanoid.CAMERA_FOV_DEG) / 2)  # px
HEAD = CameraModel(
    humanoid.CAMERA, humanoid.CAMERA_WIDTH, humanoid.CAMERA_HEIGHT, FOCAL, FOCAL, (humanoid.CAMERA_WIDTH - 1) / 2,
    (humanoid.CAMERA_HEIGHT - 1) / 2, x=0.05, z=1.3, pitch=humanoid.CAMERA_PITCH,
)  # fmt: skip
CAMERAS: tuple[CameraModel, ...] = (HEAD,)


@dataclass(frozen=True)
class HumanoidConfig:
    room: rooms.RoomConfig = field(default_factory=rooms.RoomConfig)
    senses: SensesConfig = field(default_factory=SensesConfig)
    step: float = 0.1  # s between observations
    frame_every: int = 2  # observations to a picture
    seconds: float = 60.0
    speed_limit: float = 0.6  # m/s, what the gait walks safely
    pushes: float = 0.0  # m/s given to the pelvis every 5 s
    dead_camera: tuple[float, float] = (0.0, 0.0)  # s from, to: black pictures


class Humanoid:
    """Raises ValueError where the extra is missing or the room can't be made."""

    def __init__(self, config: HumanoidConfig = HumanoidConfig()) -> None:
        mujoco = humanoid.require()
        self.config, self.cameras = config, CAMERAS
        self.vehicle = VehicleModel(0.0, 0.3, 0.5, 0.15, 0.0, 1.0, 1.0, 0.3)
        self.room = rooms.room(config.room)
        self.gait = humanoid.Gait()
        self.built = humanoid.build(self.room.furnish, self.gait)
        self.data = self.built.standing()
        self.renderer = mujoco.Renderer(self.built.model, humanoid.CAMERA_HEIGHT, humanoid.CAMERA_WIDTH)
        self.senses = Senses(config.senses, self.built, config.room.seed)
        self.people = self.room.people(0.0, (0.0, 0.0))
        self.touched: set[str] = set()
        self._names = [mujoco.mj_id2name(self.built.model, mujoco.mjtObj.mjOBJ_GEOM, k) or "" for k in range(self.built.model.ngeom)]
        self._rng = np.random.default_rng([config.room.seed, 3])
        self.t, self._count, self._walk, self._stopped = 0.0, 0, np.zeros(3), ""
        self._move_people(0.0)
        mujoco.mj_forward(self.built.model, self.data)
        for _ in range(50):  # a second of standing, as after switching on
            self._tick()
        self.senses.begin(self.data)

    def observe(self) -> Observation:
        """The next instant: physics runs on under the last command first."""
        if self._stopped:
            raise BodyStopped(self._stopped)
        if self._count:
            for _ in range(round(self.config.step / humanoid.GAIT_PERIOD)):
                self._tick()
        self._walk = np.zeros(3)  # unless act() says otherwise before the next
        self.t = t = round(self._count * self.config.step, 6)
        if self.fallen():
            self._stop("fell")
        if t > self.config.seconds:
            self._stop("time is up")
        walker = self.senses.state(t, HEAD)
        frames: tuple[Frame, ...] = ()
        if self._count % self.config.frame_every == 0:
            image = humanoid.render(self.renderer, self.data, humanoid.CAMERA)
            if self.config.dead_camera[0] <= t < self.config.dead_camera[1]:
                image[:] = 0
            frames = (Frame(t, HEAD.name, image),)
        route = Route(np.array([[0.0, 0.0], self.room.goal]), (), self.config.speed_limit) if self._count == 0 else None
        self._count += 1
        return Observation(t, frames, CarState(t, walker.vx, 0.0, walker.yaw_rate, 0.0), None, route, walker)

    def act(self, command: SafeCommand) -> None:
        """Take the velocity for the observation just given."""
        walk = command.walk
        self._walk = np.array([walk.vx, walk.vy, walk.yaw_rate]) if command.engaged and walk is not None else np.zeros(3)

    def close(self) -> None:
        """Release the drawing context."""
        self.renderer.close()
        self._stopped = self._stopped or "closed"

    def truth(self) -> RobotTruth:
        """The judge's: where everything really is."""
        q = self.data.qpos[:7]
        yaw = np.arctan2(2 * (q[3] * q[6] + q[4] * q[5]), 1 - 2 * (q[5] ** 2 + q[6] ** 2))
        people = rooms.positions(self.people)
        return RobotTruth(
            self.t, float(q[0]), float(q[1]), float(yaw), float(q[2]), self.fallen(), tuple(sorted(self.touched)), self.room.goal, people
        )

    def fallen(self) -> bool:
        x, y = self.data.qpos[4:6]
        return bool(self.data.qpos[2] < FALLEN_HEIGHT or np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1)) > FALLEN_TILT)

    def _tick(self) -> None:
        """One period of the gait."""
        mujoco = humanoid.require()
        q, dq, gyro, down = self.senses.feel(self.data)
        self.data.ctrl[self.built.motor] = self.gait(self._walk, q, dq, gyro, down)
        self._move_people(humanoid.GAIT_PERIOD)
        if self.config.pushes and self._count and int(self.data.time * 50) % 250 == 0:
            way = self._rng.uniform(-np.pi, np.pi)
            self.data.qvel[:2] += self.config.pushes * np.array([np.cos(way), np.sin(way)])
        mujoco.mj_step(self.built.model, self.data, round(humanoid.GAIT_PERIOD / humanoid.PHYSICS_STEP))
        for contact in self.data.contact[: self.data.ncon]:
            for one, other in ((contact.geom1, contact.geom2), (contact.geom2, contact.geom1)):
                name = self._names[one]
                if name and not name.startswith("floor") and not self._names[other]:  # the robot's own geoms have no names
                    self.touched.add(name)

    def _move_people(self, dt: float) -> None:
        self.people = self.room.people(dt, (float(self.data.qpos[0]), float(self.data.qpos[1])))
        for k, (x, y, yaw) in enumerate(self.people):
            self.data.mocap_pos[k] = (x, y, 0.0)
            self.data.mocap_quat[k] = (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))

    def _stop(self, reason: str) -> Any:
        self._stopped = reason
        raise BodyStopped(reason)
