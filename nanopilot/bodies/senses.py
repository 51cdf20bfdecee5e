"""What the humanoid feels: joint encoders and IMU with their errors, and dead reckoning from them alone.

In: MuJoCo's state, of which only what a sensor would show is looked at, with noise added. Out: joint angles and rates, gyro,
the direction of gravity; and a WalkerState: place from the feet (their lowest point stands still, so the pelvis moves against it),
yaw from the gyro, and where the head camera is. Errors are of the size of a good MEMS unit (guesses with room, e.g. 1 mrad/s of gyro
bias left after calibration is 3.4 degrees a minute). While it stands the foot that carries more keeps its heading: yaw is then that foot's,
and what the gyro says differently is its bias: a zero-rate update (Foxlin 2005).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import asin, atan2
from typing import Any

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import wrap
from nanopilot.messages import CameraModel, Reach, WalkerState
from nanopilot.sim import humanoid
from nanopilot.sim.humanoid import GAIT_PERIOD, PHYSICS_STEP, SOLE, Built

Array = np.ndarray

LOWER = 0.004  # m of height over which weight passes from one ball of the soles to the next
LONGER = 1.03  # times the way that the soles tell: they roll and brush (calibrated by 30 kinds of motion, 6 s each, hands down and up)
SETTLED = 2.0  # s after which a robot told to stand has both feet at rest (they were after 1 s; with arms that move later)
WATCHED = 1.0  # s over which the feet's heading is averaged
CREEP = 0.0006  # rad, one std between two such means of the foot that carries more (0.1 mrad in ten rooms, and the encoders' noise)
TURNS = 0.02  # rad that the feet turn against each other from one mean to the next from which none is trusted
SMOOTH = 0.4  # s over which the velocity is averaged, about half a stride


@dataclass(frozen=True)
class SensesConfig:
    gyro_bias: float = 0.001  # rad/s, one std, drawn once
    gyro_noise: float = 0.01  # rad/s, each sample
    tilt_noise: float = 0.005  # rad, slow error of roll and pitch
    tilt_time: float = 5.0  # s, how slow
    encoder_noise: float = 0.001  # rad
    rate_noise: float = 0.05  # rad/s

    def ideal(self) -> SensesConfig:
        """An IMU without error."""
        return replace(self, gyro_bias=0.0, gyro_noise=0.0, tilt_noise=0.0)


@dataclass
class Stand:
    """What the gyro did since the feet came to rest."""

    headings: Array  # rad, of both feet
    offset: float  # rad/s, of the gyro, and its variance, as they were known then
    variance: float
    seconds: float = 0.0
    counted: float = 0.0  # rad that the gyro's known bias was taken for
    astray: float = 0.0  # rad that yaw went astray nevertheless


class Senses:
    def __init__(self, config: SensesConfig, built: Built, seed: int) -> None:
        mujoco = humanoid.require()
        self.config, self.built, self.rng = config, built, np.random.default_rng([seed, 4])
        self.bias = self.rng.normal(0, 1, 3) * config.gyro_bias
        self.tilt = np.zeros(2)
        self.body = mujoco.MjData(built.model)  # a copy that knows measured joints only
        self.feet = feet = [built.model.body(f"{side}_ankle_roll_link").id for side in ("left", "right")]
        ball = (built.model.geom_type == mujoco.mjtGeom.mjGEOM_SPHERE) & np.isin(built.model.geom_bodyid, feet)
        self.camera = built.model.camera(humanoid.CAMERA).id
        self.soles = np.flatnonzero(ball)  # four balls under each foot, which it stands and rolls on
        self.palms = [built.model.site(name).id for name in humanoid.PALMS if built.hands]
        self.yaw, self.xy, self.velocity = 0.0, np.zeros(2), np.zeros(2)
        self.height, self.yaw_rate, self.before = humanoid.PELVIS_HEIGHT, 0.0, None
        self.still = 0.0  # s of standing
        self.headings: list[Array] = []  # rad, of both feet now
        self.stand: Stand | None = None
        self.offset, self.variance = 0.0, config.gyro_bias**2  # of the yaw rate, rad/s: what is known of its bias
        self.roll = self.pitch = self._turned = 0.0  # rad; turned since the last tick
        self.q = humanoid.STAND.copy()

    def begin(self, data: Any) -> None:
        """Count from here: where it stands at the start is told, as the goal is; nothing later is."""
        w, x, y, z = data.qpos[3:7]
        self.yaw = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
        self.xy, self.velocity, self.before = data.qpos[:2].copy(), np.zeros(2), None
        self._reckon()

    def feel(
        self, data: Any, standing: bool = False
    ) -> tuple[Float[Array, "29"], Float[Array, "29"], Float[Array, "3"], Float[Array, "3"]]:
        """Joint angles, joint rates, gyro and gravity's direction (both in the pelvis frame), as measured now; and reckon on.

        `standing` says that its gait does.
        """
        c, rng = self.config, self.rng
        self.q = data.qpos[self.built.q] + rng.normal(0, c.encoder_noise, 29)
        dq = data.qvel[self.built.v] + rng.normal(0, c.rate_noise, 29)
        gyro = data.qvel[3:6] + self.bias + rng.normal(0, 1, 3) * c.gyro_noise
        keep = np.exp(-GAIT_PERIOD / c.tilt_time)
        self.tilt = keep * self.tilt + np.sqrt(1 - keep**2) * c.tilt_noise * rng.normal(0, 1, 2)
        self.roll, self.pitch = self._lean(data)
        cr, sr, cp, sp = np.cos(self.roll), np.sin(self.roll), np.cos(self.pitch), np.sin(self.pitch)
        down = np.array([sp, -sr * cp, -cr * cp])
        self.yaw_rate, self._turned = self._turned / GAIT_PERIOD - self.offset, 0.0
        self.yaw += self.yaw_rate * GAIT_PERIOD
        self._reckon()
        self.still = self.still + GAIT_PERIOD if standing else 0.0
        self._watch_feet()
        return self.q, dq, gyro, down

    def turn(self, data: Any) -> None:
        """Count one sample of the gyro, which is read as often as physics steps: 50 a second would miss what footfalls do."""
        roll, pitch = self._lean(data)
        _, y, z = data.qvel[3:6] + self.bias + self.rng.normal(0, self.config.gyro_noise * (GAIT_PERIOD / PHYSICS_STEP) ** 0.5, 3)
        self._turned += PHYSICS_STEP * float(y * np.sin(roll) + z * np.cos(roll)) / float(np.cos(pitch))

    def _lean(self, data: Any) -> tuple[float, float]:
        """Roll and pitch, as the IMU tells them."""
        w, x, y, z = data.qpos[3:7].tolist()
        roll = atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)) + float(self.tilt[0])
        return roll, asin(min(max(2 * (w * y - z * x), -1.0), 1.0)) + float(self.tilt[1])

    def state(self, t: float, camera: CameraModel) -> WalkerState:
        """Where we think we are, and where the camera is in the vehicle frame."""
        body, c, s = self.body, np.cos(self.yaw), np.sin(self.yaw)
        level = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        place = level @ body.cam_xpos[self.camera]
        axes = level @ body.cam_xmat[self.camera].reshape(3, 3)  # columns: right, up, backwards
        ahead, left, up = -axes[:, 2], -axes[:, 0], axes[:, 1]
        seen = replace(
            camera,
            x=float(place[0]),
            y=float(place[1]),
            z=float(place[2] + self.height),
            yaw=float(np.arctan2(ahead[1], ahead[0])),
            pitch=float(-np.arcsin(np.clip(ahead[2], -1, 1))),
            roll=float(np.arctan2(left[2], up[2])),
        )
        vx, vy = self.over_ground()
        palms = [level @ body.site_xpos[k] + (0.0, 0.0, self.height) for k in self.palms]
        reach = Reach(*(tuple(p.tolist()) for p in palms)) if palms else None
        return WalkerState(
            t, float(self.xy[0]), float(self.xy[1]), self.yaw, self.roll, self.pitch, self.height, float(vx), float(vy), self.yaw_rate,
            seen, self.q.copy(), reach,
        )  # fmt: skip

    def over_ground(self) -> Float[Array, "2"]:
        """Velocity ahead and to the left, m/s."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, s], [-s, c]]) @ self.velocity

    def attitude(self) -> Float[Array, "3 3"]:
        """Turns level axes that look where the pelvis does into the pelvis's axes."""
        cr, sr, cp, sp = np.cos(self.roll), np.sin(self.roll), np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[cp, 0, -sp], [sr * sp, cr, sr * cp], [cr * sp, -sr, cr * cp]])

    def _watch_feet(self) -> None:
        """While it stands, lead yaw back to where the feet say, and learn the gyro's bias: a Kalman filter of one number."""
        if self.still < SETTLED:
            self.headings, self.stand = [], None
            return
        ahead = np.array([self.body.xmat[k].reshape(3, 3)[:2, 0] for k in self.feet])
        self.headings.append(np.arctan2(ahead[:, 1], ahead[:, 0]))
        if len(self.headings) * GAIT_PERIOD < WATCHED:
            return
        now, self.headings = np.unwrap(self.headings, axis=0).mean(0), []
        if self.stand is None:
            self.stand = Stand(now, self.offset, self.variance)
            return
        one = self.stand
        seems = np.array([wrap(float(v)) for v in now - one.headings])
        if abs(seems[0] - seems[1]) > TURNS:
            self.stand = None
            return
        astray = float(seems[self._carries()])  # the other foot creeps: by 0 to 15 mrad/s, under the lighter leg
        one.seconds, one.counted, one.astray = one.seconds + WATCHED, one.counted + WATCHED * self.offset, one.astray + astray
        self.yaw, one.headings = self.yaw - astray, now - astray
        doubt = (CREEP / one.seconds) ** 2 + self.config.gyro_noise**2 * GAIT_PERIOD / one.seconds
        gain = one.variance / (one.variance + doubt)
        self.offset = one.offset + gain * ((one.counted + one.astray) / one.seconds - one.offset)
        self.variance = one.variance * (1.0 - gain)

    def _carries(self) -> int:
        """Which foot carries more: the one that the centre of mass, by the measured joints, is nearer to."""
        humanoid.require().mj_comPos(self.built.model, self.body)
        middle = self.body.subtree_com[self.built.model.body("pelvis").id]
        return int(np.argmin([np.hypot(*(self.body.xpos[k] - middle)[:2]) for k in self.feet]))

    def _reckon(self) -> None:
        """Put the measured joints and attitude on the copy with its pelvis at the origin, and see how what it stands on moved."""
        mujoco = humanoid.require()
        body, model = self.body, self.built.model
        body.qpos[:3] = 0.0
        mujoco.mju_euler2Quat(body.qpos[3:7], np.array([self.yaw, self.pitch, self.roll]), "zyx")
        body.qpos[self.built.q] = self.q
        mujoco.mj_kinematics(model, body)
        mujoco.mj_camlight(model, body)
        soles = body.geom_xpos[self.soles]
        above = soles[:, 2] - soles[:, 2].min()
        before, lifted = (soles, above) if self.before is None else (self.before, self.before[:, 2] - self.before[:, 2].min())
        down = np.exp(-np.maximum(above, lifted) / LOWER)  # who was in the air at either end of the step tells nothing
        step = -LONGER * (down / down.sum()) @ (soles - before)[:, :2]
        self.xy = self.xy + step
        self.velocity = self.velocity + (GAIT_PERIOD / SMOOTH) * (step / GAIT_PERIOD - self.velocity)
        self.height, self.before = float(SOLE - soles[:, 2].min()), soles.copy()
