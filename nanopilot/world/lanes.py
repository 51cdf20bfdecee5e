"""The own lane over time: centre along the route, left and right line, width, and whether lanes exist beside it.

In: own motion and a Percept (or None: blind). Out: a LaneState whose curves are in the vehicle frame now. The centre
is fused from the network's path and, where both lines are seen, from each moved by half a lane width; either alone is enough. Where
both tell it badly, in turns, the navigation's line has its say (`advised`). A lane
change (the seen lane lies one width beside the known one) moves all curves over by one lane instead of averaging
them. A line that isn't seen fades out and is never invented: a junction has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from nanopilot.messages import PATH_ARC, LaneLine, Percept
from nanopilot.world.curves import CurveConfig, Measured, RoadCurve, displaced, fused, measured, moved, offset, proposed, tangents
from nanopilot.world.motion import Motion

Array = np.ndarray

LEFT, RIGHT = -1, 1  # LaneLine.side
NEAR = PATH_ARC <= 15  # where a lane's offset and width are measured, m


@dataclass(frozen=True)
class LaneConfig:
    """Numbers are guesses unless said otherwise."""

    curve: CurveConfig = field(default_factory=CurveConfig)
    lane_width: float = 3.5  # m, before any was measured
    lane_width_std: float = 0.5
    min_width: float = 2.5  # m; between these a pair of lines is a lane (motor roads: 2.75-3.75)
    max_width: float = 4.75
    width_drift: float = 0.02  # m / sqrt(m driven)
    width_floor: float = 0.05  # m; a pair of lines tells no more than this in one frame
    straight: float = 0.97  # cosine of the heading below which widths aren't measured (points of both lines aren't abeam)
    seen_probability: float = 0.5  # a line less probable isn't measured
    shown_probability: float = 0.3  # a curve less probable isn't told
    settle: float = 0.2  # s in which a line's probability follows the network's
    settle_beside: float = 0.5  # s, same for lanes beside ours
    lone_line_std: float = 100.0  # m: what a line says of the own lane's centre where the other one isn't seen, once there is a path
    blind_memory: float = 5.0  # s in which probabilities fade when blind
    route_std: float = 0.3  # m by which the map's line may lie beside the lane's centre, whatever the receiver says, and
    route_along: float = 0.5  # share of the receiver's error that moves it sideways where the road ahead has turned by 90 degrees
    change_slack: float = 0.3  # share of a lane width by which a lane change's offset may miss
    crossed: float = 0.3  # share of a lane width out of the centre at which we may be changing lanes


@dataclass(frozen=True)
class LaneState:
    path: RoadCurve | None = None
    left: RoadCurve | None = None
    right: RoadCurve | None = None
    width: float = LaneConfig.lane_width
    width_std: float = LaneConfig.lane_width_std
    lane_left: float = 0.0
    lane_right: float = 0.0
    changes: int = 0  # lane changes recognised so far


def move(state: LaneState, motion: Motion, config: LaneConfig) -> LaneState:
    """The lane after own motion, a little less certain."""
    path, left, right = (None if c is None else moved(c, motion, config.curve) for c in (state.path, state.left, state.right))
    width_std = min(float(np.hypot(state.width_std, config.width_drift * np.sqrt(motion.travelled))), config.lane_width_std)
    return replace(state, path=path, left=left, right=right, width_std=width_std)


def fade(state: LaneState, dt: float, config: LaneConfig) -> LaneState:
    """The lane after `dt` s without a valid percept."""
    keep = float(np.exp(-dt / config.blind_memory))
    path, left, right = (_with_probability(c, 0.0, 1 - keep, config) for c in (state.path, state.left, state.right))
    return replace(state, path=path, left=left, right=right, lane_left=state.lane_left * keep, lane_right=state.lane_right * keep)


def update(state: LaneState, percept: Percept, dt: float, config: LaneConfig) -> LaneState:
    """The lane corrected by one frame, `dt` s after the last step."""
    proposal = None if percept.path is None else proposed(percept.path, config.curve)
    lines = {side: _measured_line(percept.lanes, side, config) for side in (LEFT, RIGHT)}
    state = _lane_changed(state, proposal, lines, dt, config)
    state = _width_measured(state, lines[LEFT], lines[RIGHT], config)

    path, known = state.path, proposal is not None
    if proposal is not None:
        path = fused(path, proposal, dt, config.curve)
    for side, line in lines.items():
        if line is None:
            continue
        centre = _centre_beside(line, side, state)
        if proposal is not None:  # one line alone may belong to another way than ours: a kerb that goes straight on where we turn
            other = lines[-side]
            bounded = np.zeros(len(centre.std), bool) if other is None else centre.seen & other.seen
            centre = replace(centre, std=np.where(bounded, centre.std, config.lone_line_std))
        path, known = fused(path, centre, dt, config.curve, stubborn=proposal is not None), True
    if not known and path is not None:
        path = _with_probability(path, 0.0, 1 - float(np.exp(-dt / config.blind_memory)), config)
    elif path is not None:
        path = replace(path, probability=1.0)

    settle, beside = (1 - float(np.exp(-dt / s)) for s in (config.settle, config.settle_beside))
    left = _line(state.left, lines[LEFT], _probability(percept.lanes, LEFT), dt, settle, config)
    right = _line(state.right, lines[RIGHT], _probability(percept.lanes, RIGHT), dt, settle, config)
    lane_left = state.lane_left + beside * (_probability(percept.lanes, 2 * LEFT) - state.lane_left)
    lane_right = state.lane_right + beside * (_probability(percept.lanes, 2 * RIGHT) - state.lane_right)
    return replace(state, path=path, left=left, right=right, lane_left=lane_left, lane_right=lane_right)


def advised(state: LaneState, line: Float[Array, "n 2"], std: float, along: float, dt: float, config: LaneConfig) -> LaneState:
    """The path drawn to where navigation has the route's `line`, as a second opinion: by nothing on a straight road, where a frame tells it
    to centimetres, and by half where it is told to metres. `std` of that line here, `along` of the receiver, m."""
    if state.path is None or len(line) < 2:
        return state
    seen = measured(
        line, np.hypot(np.hypot(std, config.route_std), config.route_along * along * np.abs(tangents(line)[:, 1])), config.curve
    )
    return state if seen is None else replace(state, path=fused(state.path, seen, dt, config.curve, stubborn=True))


def _probability(lines: tuple[LaneLine, ...], side: int) -> float:
    return max((float(line.probability) for line in lines if line.side == side), default=0.0)


def _measured_line(lines: tuple[LaneLine, ...], side: int, config: LaneConfig) -> Measured | None:
    best = max((line for line in lines if line.side == side), key=lambda line: line.probability, default=None)
    if best is None or best.probability < config.seen_probability or len(best.points) < 2:
        return None
    points = np.asarray(best.points, float)
    return measured(points, best.y_std * np.abs(tangents(points)[:, 0]), config.curve)  # from across y to across the line


def _centre_beside(line: Measured, side: int, state: LaneState) -> Measured:
    """Where the own lane's centre goes if this is its line on that side."""
    return displaced(line, side * state.width / 2, state.width_std / 2)


def _line(
    curve: RoadCurve | None, seen: Measured | None, probability: float, dt: float, gain: float, config: LaneConfig
) -> RoadCurve | None:
    if seen is not None:
        curve = fused(curve, seen, dt, config.curve)
    return _with_probability(curve, probability, gain, config)


def _with_probability(curve: RoadCurve | None, probability: float, gain: float, config: LaneConfig) -> RoadCurve | None:
    """Probability moves towards the measured one; a curve that has faded to a tenth of what is shown is forgotten."""
    if curve is None:
        return None
    p = curve.probability + gain * (probability - curve.probability)
    return replace(curve, probability=p) if p > config.shown_probability / 10 else None


def _width_measured(state: LaneState, left: Measured | None, right: Measured | None, config: LaneConfig) -> LaneState:
    """Scalar Kalman filter of the lane width."""
    if left is None or right is None:
        return state
    ahead = tangents(right.points)
    use = left.seen & right.seen & NEAR & (ahead[:, 0] > config.straight)
    if not use.any():
        return state
    gap = left.points[use] - right.points[use]
    width = float(np.median(ahead[use, 0] * gap[:, 1] - ahead[use, 1] * gap[:, 0]))
    if not config.min_width <= width <= config.max_width:
        return state
    r = float(np.median(left.std[use] ** 2 + right.std[use] ** 2)) + config.width_floor**2
    gain = state.width_std**2 / (state.width_std**2 + r)
    return replace(state, width=state.width + gain * (width - state.width), width_std=float(np.sqrt(1 - gain)) * state.width_std)


def _lane_changed(
    state: LaneState, proposal: Measured | None, lines: dict[int, Measured | None], dt: float, config: LaneConfig
) -> LaneState:
    """All curves moved over by a lane when the seen lane lies one beside the known one, at once if the car is crossing."""
    seen = proposal
    if seen is None:
        side = next((side for side, line in lines.items() if line is not None), None)
        seen = None if side is None else _centre_beside(lines[side], side, state)
    if seen is None or state.path is None or not (seen.seen & NEAR).any():
        return state
    jump = float(np.median(offset(state.path, seen)[seen.seen & NEAR]))
    if abs(abs(jump) - state.width) > config.change_slack * state.width:
        return state
    to_left = jump > 0
    out_of_centre = -float(state.path.points[0, 1]) * (1 if to_left else -1)  # of the car, towards the new lane
    lasting = float(state.path.doubt[NEAR].max()) + dt > config.curve.patience
    if out_of_centre < config.crossed * state.width and not lasting:
        return state
    path = displaced(state.path, state.width if to_left else -state.width, state.width_std)
    left, right = (None, state.left) if to_left else (state.right, None)
    return replace(
        state,
        path=replace(path, doubt=np.zeros_like(path.doubt)),
        left=left,
        right=right,
        lane_left=state.lane_left if not to_left else 0.5,  # unknown
        lane_right=1.0 if to_left else 0.5,
        changes=state.changes + 1,
    )
