"""The Unitree G1 as a body: a head camera, joint encoders and an IMU in; a velocity over the floor, and palms, out.

In: SafeCommands with a Walk, and a Reach where hands are wanted: then the arms are theirs (`arms`), and the gait is told that they hang
as it is used to. Palms are let press on what is between them by `GRIP` only. Out: Observations with a picture every second time. The gait
runs in the body, 50 times a second, on the same noisy sensors, and so does dead reckoning (`senses`); what the gait walks too fast or too
slow is made good by what the feet tell. Without a command for the last
observation it stands still. A fall ends it. `truth()` is the judge's and never goes into an Observation. One process; the simulator waits
for the pilot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanopilot.bodies.arms import Arms
from nanopilot.bodies.senses import Senses, SensesConfig
from nanopilot.messages import BodyStopped, CameraModel, CarState, Frame, Observation, Reach, Route, SafeCommand, VehicleModel
from nanopilot.sim import humanoid, rooms
from nanopilot.sim.truth import RobotTruth

FALLEN_HEIGHT, FALLEN_TILT = 0.45, 1.0  # m of the pelvis, rad
STANDS = 0.01  # m/s and rad/s of a command below which it stands
TRIM_TIME, TRIM = 3.0, 0.15  # s in which what the gait does wrong is made good, and m/s at most: it creeps forward by 0.1
LAG = 0.7  # s after which the velocity that the feet tell is the one commanded: a step, and their average
GRIP = 0.1  # m that each palm's target may lie inside of where the palm is: about 33 N at the arms' stiffness (guess)
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
    jitter: float = 0.0  # pictures' colours and brightness are off by such a share, drawn anew each picture
    hands: bool = False
    goal: tuple[float, float] | None = None  # m; None: the room's own
    box: str = ""  # colour of the box that hands may touch; "": the first


class Humanoid:
    """Raises ValueError where the extra is missing or the room can't be made."""

    def __init__(self, config: HumanoidConfig = HumanoidConfig()) -> None:
        mujoco = humanoid.require()
        self.config, self.cameras = config, CAMERAS
        self.vehicle = VehicleModel(0.0, 0.3, 0.5, 0.15, 0.0, 1.0, 1.0, 0.3)
        self.room = rooms.room(config.room)
        if config.goal is not None:
            (x0, x1), (y0, y1) = config.room.length, config.room.width
            if not (x0 < config.goal[0] < x1 and y0 < config.goal[1] < y1):
                raise ValueError(f"{config.goal[0]:g} {config.goal[1]:g} is not in the room: x is {x0} to {x1} m, y {y0} to {y1}")
            self.room.goal = config.goal
        self.gait = humanoid.Gait()
        self.built = humanoid.build(self.room.furnish, self.gait, hands=config.hands)
        self.arms = Arms(self.built, self.gait) if config.hands else None
        self._reach: Reach | None = None  # commanded
        self._palms = np.zeros((2, 3))  # where they are steered to now, on the way there
        self.data = self.built.standing()
        self.renderer = mujoco.Renderer(self.built.model, humanoid.CAMERA_HEIGHT, humanoid.CAMERA_WIDTH)
        self.senses = Senses(config.senses, self.built, config.room.seed)
        self.people = self.room.people(0.0, (0.0, 0.0))
        self.touched: set[str] = set()
        self._names = [mujoco.mj_id2name(self.built.model, mujoco.mjtObj.mjOBJ_GEOM, k) or "" for k in range(self.built.model.ngeom)]
        wrists = [self.built.model.body(f"{side}_wrist_{axis}_link").id for side in ("left", "right") for axis in ("pitch", "yaw")]
        self._hands = set(np.flatnonzero(np.isin(self.built.model.geom_bodyid, wrists)).tolist()) if config.hands else set()
        wanted = [b.name for b in self.room.boxes if b.called == (config.box or self.room.boxes[0].called)]
        self._wanted = set(wanted[:1])  # the box that it is asked to take
        self._rng = np.random.default_rng([config.room.seed, 3])
        self.t, self._count, self._walk, self._stopped = 0.0, 0, np.zeros(3), ""
        self._trim = self._awaited = 0.0  # m/s
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
            if self.config.jitter:
                image = self._jittered(image)
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
        if command.reach is not None and self.arms is not None:
            if self._reach is None:  # from where they hang
                q = self.senses.q
                self.arms.angles = q[humanoid.ARMS].copy()
                self._palms = self._measured_palms()
            self._reach = command.reach

    def close(self) -> None:
        """Release the drawing context."""
        self.renderer.close()
        self._stopped = self._stopped or "closed"

    def truth(self) -> RobotTruth:
        """The judge's: where everything really is."""
        q = self.data.qpos[:7]
        yaw = np.arctan2(2 * (q[3] * q[6] + q[4] * q[5]), 1 - 2 * (q[5] ** 2 + q[6] ** 2))
        people = rooms.positions(self.people)
        boxes = np.array([self.data.body(box.name).xpos for box in self.room.boxes]).reshape(-1, 3)
        return RobotTruth(
            self.t, float(q[0]), float(q[1]), float(yaw), float(q[2]), self.fallen(), tuple(sorted(self.touched)), self.room.goal, people,
            boxes,
        )  # fmt: skip

    def fallen(self) -> bool:
        x, y = self.data.qpos[4:6]
        return bool(self.data.qpos[2] < FALLEN_HEIGHT or np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1)) > FALLEN_TILT)

    def _tick(self) -> None:
        """One period of the gait."""
        mujoco = humanoid.require()
        q, dq, gyro, down = self.senses.feel(self.data, standing=self.gait.standing)
        self.data.ctrl[self.built.motor] = self._targets(q, dq, gyro, down)
        self._move_people(humanoid.GAIT_PERIOD)
        if self.config.pushes and self._count and int(self.data.time * 50) % 250 == 0:
            way = self._rng.uniform(-np.pi, np.pi)
            self.data.qvel[:2] += self.config.pushes * np.array([np.cos(way), np.sin(way)])
        for _ in range(round(humanoid.GAIT_PERIOD / humanoid.PHYSICS_STEP)):
            mujoco.mj_step(self.built.model, self.data)
            self.senses.turn(self.data)
        for contact in self.data.contact[: self.data.ncon]:
            for one, other in ((contact.geom1, contact.geom2), (contact.geom2, contact.geom1)):
                name = self._names[one]
                if name and not name.startswith("floor") and not self._names[other]:  # the robot's own geoms have no names
                    if other in self._hands and (name.endswith("_top") or name in self._wanted):
                        continue  # what hands are for
                    self.touched.add(name)

    def _asked(self) -> Array:
        """The velocity to ask the gait for, so that the feet go ahead as commanded; zero to stand. Swaying is left alone."""
        if np.abs(self._walk).max() < STANDS:
            self._awaited = 0.0
            return np.zeros(3)
        self._awaited += humanoid.GAIT_PERIOD / LAG * (self._walk[0] - self._awaited)
        missing = self._awaited - self.senses.over_ground()[0]
        self._trim = float(np.clip(self._trim + humanoid.GAIT_PERIOD / TRIM_TIME * missing, -TRIM, TRIM))
        return self._walk + (self._trim, 0.0, 0.0)

    def _targets(self, q: Array, dq: Array, gyro: Array, down: Array) -> Array:
        """Joint targets: the gait's, and the arms' where hands reach."""
        if self._reach is None:
            return self.gait(self._asked(), q, dq, gyro, down)
        rest_q, rest_dq = q.copy(), dq.copy()
        rest_q[humanoid.ARMS], rest_dq[humanoid.ARMS] = humanoid.STAND[humanoid.ARMS], 0.0
        targets = self.gait(self._asked(), rest_q, rest_dq, gyro, down)
        self.gait.action[humanoid.ARMS] = 0.0
        wanted = np.array([self._reach.left, self._reach.right])
        self._palms = self._palms + (wanted - self._palms) * min(1.0, humanoid.GAIT_PERIOD / self.config.step)
        pressed, are = self._palms.copy(), self._measured_palms()
        pressed[0, 1] = max(pressed[0, 1], are[0, 1] - GRIP)
        pressed[1, 1] = min(pressed[1, 1], are[1, 1] + GRIP)
        attitude = self.senses.attitude()
        angles = self.arms.solve(q, (pressed - (0.0, 0.0, self.senses.height)) @ attitude.T, attitude)
        targets[humanoid.ARMS] = angles + self.arms.against_gravity(q, attitude)
        return targets

    def _measured_palms(self) -> Array:
        reach = self.senses.state(self.t, HEAD).reach
        return np.array([reach.left, reach.right])

    def _jittered(self, image: Array) -> Array:
        gain = 1.0 + self.config.jitter * self._rng.uniform(-1, 1, 3) + self.config.jitter * self._rng.uniform(-1, 1)
        return np.clip(image * gain + self._rng.normal(0, 20 * self.config.jitter, image.shape), 0, 255).astype(np.uint8)

    def _move_people(self, dt: float) -> None:
        self.people = self.room.people(dt, (float(self.data.qpos[0]), float(self.data.qpos[1])))
        for k, (x, y, yaw) in enumerate(self.people):
            self.data.mocap_pos[k] = (x, y, 0.0)
            self.data.mocap_quat[k] = (np.cos(yaw / 2), 0, 0, np.sin(yaw / 2))

    def _stop(self, reason: str) -> Any:
        self._stopped = reason
        raise BodyStopped(reason)
