"""Whether the front camera looks where calibration says: lane lines seen before, moved by own motion, must lie where they are seen now.

In: own motion and each frame's own lane lines. Out: the yaw that the camera seems to be off by, once that is beyond doubt. A camera turned
by an angle sees every line come towards us or go away by that angle's tangent per metre driven, whatever the shape of the road and however
we stand in our lane. Two looks that aren't parallel are of different lines, or from before and after the camera was turned: they tell
nothing, and all begins anew. Small errors are left alone: who steers by what he sees is then out of his lane's middle by a quarter of a
metre per degree (docs/safety.md). Pitch, roll and height are not found; without lines nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan, degrees, exp, radians

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, parent_from_child, wrap
from nanopilot.messages import LaneLine
from nanopilot.world.motion import Motion

Array = np.ndarray
Pose = tuple[float, float, float]


@dataclass(frozen=True)
class AimConfig:
    """Guesses; those with a star were chosen on logs of tuning drives."""

    seen_probability: float = 0.5  # a line less probable isn't looked at
    near: float = 3.0  # m: less far, a line is the network's guess
    far: float = 25.0  # m
    y_std: float = 0.5  # m of a line's point
    least_points: int = 4
    back: float = 5.0  # m driven between two looks that are compared *
    every: float = 0.5  # m between looks that are kept
    least_overlap: float = 3.0  # m
    steep: float = 0.5  # slope of a line against us from which it isn't compared
    parallel: float = radians(1.5)  # by which two looks may differ in direction *
    largest: float = radians(8.0)  # that a camera is turned by; more is another line
    memory: float = 10.0  # m driven
    least: float = 4.0  # m driven with lines, of late, before anything is told *
    off: float = radians(2.0)  # what it must seem to be off by to be told *
    moved: float = radians(3.0)  # beyond which somebody should look after the camera


@dataclass(frozen=True)
class Look:
    pose: Pose  # by dead reckoning
    driven: float  # m
    lines: dict[int, Float[Array, "n 2"]]  # by side, vehicle frame then


@dataclass(frozen=True)
class AimState:
    pose: Pose = (0.0, 0.0, 0.0)
    driven: float = 0.0  # m
    looks: tuple[Look, ...] = ()
    seems: float = 0.0  # rad, mean of what lines said of late
    weight: float = 0.0  # m driven that it is the mean of
    yaw: float = 0.0  # rad to the left by which the camera was found to look past where calibration says; 0 none


def step(state: AimState, motion: Motion, lanes: tuple[LaneLine, ...], config: AimConfig) -> AimState:
    """One frame's lines weighed in; they were lifted by a camera that has `state.yaw` in it already."""
    x, y = parent_from_child(np.array([motion.x, motion.y]), *state.pose)
    pose, driven = (float(x), float(y), wrap(state.pose[2] + motion.yaw)), state.driven + motion.travelled
    looks = tuple(look for look in state.looks if driven - look.driven < config.back + 2 * config.every)
    state = replace(state, pose=pose, driven=driven, looks=looks, weight=state.weight * exp(-motion.travelled / config.memory))
    lines = _lines(lanes, config)
    before = next((look for look in reversed(looks) if driven - look.driven >= config.back), None)
    if before is not None:
        pairs = [(_here(before, side, pose), line) for side, line in lines.items() if side in before.lines]
        compared = [one for was, now in pairs if (one := _compared(was, now, driven - before.driven, config)) is not None]
        state = _weighed(state, compared, motion.travelled, config) if compared else state
    if lines and (not looks or driven - looks[-1].driven >= config.every):
        state = replace(state, looks=(*state.looks, Look(pose, driven, lines)))
    if state.weight < config.least or abs(state.seems) < config.off:
        return state
    return replace(state, yaw=state.yaw + state.seems, seems=0.0, weight=0.0, looks=())


def concern(state: AimState, config: AimConfig) -> str:
    """Why the driver should take over; '' where all is well."""
    return f"camera: turned by {abs(degrees(state.yaw)):.0f} degrees" if abs(state.yaw) > config.moved else ""


def _lines(lanes: tuple[LaneLine, ...], c: AimConfig) -> dict[int, Float[Array, "n 2"]]:
    """The own lane's lines where they are told well."""
    out = {}
    for line in lanes:
        good = (line.points[:, 0] > c.near) & (line.points[:, 0] < c.far) & (line.y_std < c.y_std)
        if abs(line.side) == 1 and line.probability > c.seen_probability and good.sum() >= c.least_points:
            out[line.side] = line.points[good].astype(float)
    return out


def _here(look: Look, side: int, pose: Pose) -> Float[Array, "n 2"]:
    """A line of then in the vehicle frame now."""
    points = child_from_parent(parent_from_child(look.lines[side], *look.pose), *pose)
    return points[np.argsort(points[:, 0])]


def _compared(before: Float[Array, "n 2"], now: Float[Array, "n 2"], driven: float, c: AimConfig) -> tuple[float, float] | None:
    """Rad to the left that explain where a line is seen now and was seen `driven` m ago, and by how much its direction differs; None where
    they can't be compared."""
    first, last = max(before[0, 0], now[0, 0], c.near), min(before[-1, 0], now[-1, 0])
    if last - first < c.least_overlap:
        return None
    x = np.linspace(first, last, 9)
    was, ahead = np.interp(x, *before.T), x - x.mean()
    if abs(was[-1] - was[0]) > c.steep * (last - first):
        return None
    apart = np.interp(x, *now.T) - was
    return atan(float(apart.mean()) / driven), atan(float(ahead @ apart / (ahead @ ahead)))


def _weighed(state: AimState, compared: list[tuple[float, float]], travelled: float, c: AimConfig) -> AimState:
    turn, bend = np.mean(compared, axis=0)
    if abs(bend) > c.parallel or abs(turn) > c.largest:
        return replace(state, weight=0.0)
    weight = state.weight + travelled
    return replace(state, weight=weight, seems=state.seems + (float(turn) - state.seems) * travelled / max(weight, 1e-9))
