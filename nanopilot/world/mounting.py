"""How the camera is turned against the road, found while driving: pitch and yaw, with progress and confidence.

In: the camera as assumed, a frame's lane lines on the road (lifted by that assumption), and the direction of travel that
odometry saw. Out: Calibration. Lines that are parallel on the road meet in the picture where the road goes (the vanishing point), and
the direction of travel is where the car goes; on straight roads both should be straight ahead and level. A Kalman filter weighs them.
A camera that was moved is noticed when measurements disagree for long, wildly or all to one side: it begins anew. Height, roll and lens
are not found.
Source: Caprile & Torre 1990 (vanishing points); openpilot's calibrationd for the idea of progress and of a check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan, exp, hypot, radians, sqrt

import numpy as np

from nanopilot.messages import Calibration, CameraModel, LaneLine, OwnMotion
from nanopilot.world.odometry import Direction

Array = np.ndarray
LEFT, RIGHT = -1, 1


@dataclass(frozen=True)
class MountingConfig:
    """Guesses unless said otherwise."""

    prior: float = radians(3.0)  # std of pitch and yaw before anything was seen
    pitch_goal: float = radians(0.3)  # std at which it may be relied on: 5 % of a speed, 10 % of 15 m
    yaw_goal: float = radians(0.5)
    memory: float = 0.4  # s, error correlation of neighbouring frames
    wander: float = radians(0.02)  # per root second
    lines_std: float = radians(0.6)  # of one frame's vanishing point: the car isn't parallel to its lane, the road not level
    reach: float = 30.0  # m of line that count as straight
    least_points: int = 8
    bent: float = 0.01  # largest rms of a straight fit, tangents
    least_angle: float = 1.0  # difference of both lines' slopes in the picture
    straight: float = 0.03  # rad/s of yaw rate above which nothing is learnt
    least_speed: float = 3.0  # m/s, where known
    largest: float = radians(15)  # of an angle
    gate: float = 4.0  # standard deviations
    patience: float = 5.0  # s of contradiction until it begins anew, or
    drift: float = radians(1.3)  # by which measurements lie to one side of what was known, on average over
    slow: float = 4.0  # s; braking and noise are less
    apply: float = radians(0.15)  # the camera is turned when off by so much,
    every: float = 1.0  # s, and at most so often


@dataclass(frozen=True)
class MountingState:
    yaw: float
    pitch: float
    yaw_var: float
    pitch_var: float
    t: float = 0.0
    contradicted: float = 0.0  # s
    drift: tuple[float, float] = (0.0, 0.0)  # yaw, pitch: mean of what measurements said otherwise of late
    applied: float = float("-inf")  # when the camera was last turned
    moved: int = 0  # times that it was known and then contradicted


def initial(camera: CameraModel, config: MountingConfig) -> MountingState:
    """As the camera says, doubted by the prior."""
    return MountingState(camera.yaw, camera.pitch, config.prior**2, config.prior**2)


def step(
    state: MountingState,
    t: float,
    camera: CameraModel,
    lanes: tuple[LaneLine, ...],
    direction: Direction | None,
    motion: OwnMotion,
    config: MountingConfig,
) -> tuple[MountingState, Calibration]:
    """One frame's evidence weighed in. `lanes` were lifted through `camera`."""
    dt = min(max(t - state.t, 0.0), 0.5)
    var = config.wander**2 * dt
    state = replace(state, t=t, yaw_var=state.yaw_var + var, pitch_var=state.pitch_var + var)
    slow = motion.speed_std < config.least_speed and motion.speed < config.least_speed
    if dt > 0 and not slow and abs(motion.yaw_rate) < config.straight:
        if direction is not None:
            state = _weighed(state, -direction.yaw, -direction.pitch, direction.std, dt, config)
        point = vanishing_point(lanes, camera, config)
        if point is not None:
            state = _weighed(state, camera.yaw + atan(point[0]), camera.pitch - atan(point[1]), config.lines_std, dt, config)
    known = told(state, config).valid
    if not known:
        state = replace(state, drift=(0.0, 0.0))
    if state.contradicted > config.patience or hypot(*state.drift) > config.drift:
        state = replace(state, yaw_var=config.prior**2, pitch_var=config.prior**2, contradicted=0.0, moved=state.moved + known)
    return state, told(state, config)


def told(state: MountingState, config: MountingConfig) -> Calibration:
    """The message."""
    progress = min(config.pitch_goal**2 / state.pitch_var, config.yaw_goal**2 / state.yaw_var, 1.0)
    stds = sqrt(state.yaw_var), sqrt(state.pitch_var)
    return Calibration(state.t, state.yaw, state.pitch, *stds, progress, progress >= 1.0, state.moved)


def turned(state: MountingState, camera: CameraModel, config: MountingConfig) -> tuple[MountingState, CameraModel]:
    """The camera to be used from now on: turned as found, when that differs enough and not too often."""
    if hypot(state.yaw - camera.yaw, state.pitch - camera.pitch) < config.apply or state.t - state.applied < config.every:
        return state, camera
    return replace(state, applied=state.t), replace(camera, yaw=state.yaw, pitch=state.pitch)


def vanishing_point(lanes: tuple[LaneLine, ...], camera: CameraModel, config: MountingConfig) -> tuple[float, float] | None:
    """Where the own lane's lines meet, (right, down) as tangents in the camera levelled as assumed; None without two straight lines."""
    fits = {}
    for line in lanes:
        x, y = line.points[:, 0] - camera.x, line.points[:, 1] - camera.y
        near = (x > 1.0) & (x < config.reach)
        if abs(line.side) == 1 and near.sum() >= config.least_points:
            right, drop = -y[near] / x[near], camera.z / x[near]
            slope, offset = np.polyfit(drop, right, 1)
            if float(np.sqrt(np.mean((slope * drop + offset - right) ** 2))) < config.bent:
                fits[line.side] = float(slope), float(offset)
    if len(fits) < 2:
        return None
    (m, c), (m2, c2) = fits[LEFT], fits[RIGHT]
    if abs(m2 - m) < config.least_angle:
        return None
    down = (c - c2) / (m2 - m)
    return float(m * down + c), float(down)


def _weighed(state: MountingState, yaw: float, pitch: float, std: float, dt: float, config: MountingConfig) -> MountingState:
    if max(abs(yaw), abs(pitch)) > config.largest:
        return state
    far = max((yaw - state.yaw) ** 2 / (state.yaw_var + std**2), (pitch - state.pitch) ** 2 / (state.pitch_var + std**2))
    if far > config.gate**2:
        return replace(state, contradicted=state.contradicted + dt)
    r = std**2 / (1 - exp(-dt / config.memory))
    share = 1 - exp(-dt / config.slow)
    gain_yaw, gain_pitch = state.yaw_var / (state.yaw_var + r), state.pitch_var / (state.pitch_var + r)
    return replace(
        state,
        yaw=state.yaw + gain_yaw * (yaw - state.yaw),
        pitch=state.pitch + gain_pitch * (pitch - state.pitch),
        yaw_var=(1 - gain_yaw) * state.yaw_var,
        pitch_var=(1 - gain_pitch) * state.pitch_var,
        contradicted=max(0.0, state.contradicted - dt),
        drift=(
            state.drift[0] + share * (yaw - state.yaw - state.drift[0]),
            state.drift[1] + share * (pitch - state.pitch - state.drift[1]),
        ),
    )
