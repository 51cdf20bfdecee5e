"""Emergency lane keeping: are we about to leave the lane or the road without anybody steering, and which curvature leads back?

In: the distances to the lines that `lane` follows, the percept's road edges, own speed. Out: a curvature, or None. It begins when the
departure, stopped with the lateral acceleration we use, would end beyond the line by more than `allowed`, and ends when the car
goes along inside again. Limits: Euro NCAP Lane Support (second-hand): never more than 0.3 m beyond a line, 0.1 m beyond a road edge; UN
R79: 3 m/s² across. A driver who steers is left alone; a turn signal is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanopilot.assist.lane import LEFT, RIGHT, LaneState
from nanopilot.assist.rate import Rate, begun, corrected
from nanopilot.messages import CarState, Percept, VehicleModel, World


@dataclass(frozen=True)
class KeepingConfig:
    """Guesses unless said otherwise."""

    least_speed: float = 45 / 3.6  # m/s; Euro NCAP tests from 50 km/h
    least_rate: float = 0.12  # m/s towards the line
    allowed: float = -0.05  # m inside the line at which a departure should have ended
    edge_margin: float = 0.15  # m more where the road ends
    response: float = 0.35  # s until the car turns: frame, filter, jerk limit
    braking: float = 1.5  # m/s² across that are counted on
    gone: float = -0.6  # m: farther out, the lane was changed
    settled: float = 0.5  # s of a distance until it is believed
    largest_std: float = 0.3  # m of that distance
    inside: float = 0.35  # m inside, where it steers back to
    gain: float = 1.0  # 1/s, from distance to returning speed
    returning: float = 0.4  # m/s, at most
    damping: float = 2.5  # 1/s, from lateral speed to acceleration
    most: float = 2.0  # m/s² across, of R79's 3
    done: float = 0.15  # m inside, and
    done_rate: float = 0.08  # m/s
    longest: float = 6.0  # s
    pause: float = 1.0  # s after one before the next
    memory: float = 0.14  # s, as LaneConfig's
    drift: float = 0.6  # m/s per root second, as LaneConfig's
    jump: float = 0.8  # m, as LaneConfig's
    straight: float = 1 / 2000  # 1/m: less bend of the lane is noise
    bend: float = 40.0  # m ahead from which the lane's own bend is taken: over 25 m departing from a straight road looks like 0.4 m/s²


@dataclass(frozen=True)
class KeepingState:
    edges: tuple[Rate | None, Rate | None] = (None, None)  # m of our wheels inside the road's edge, left and right
    side: int = 0  # -1 steering back from the left, 1 from the right, 0 not
    since: float = -9.0  # when that began, or when the last ended


def step(
    state: KeepingState, lane: LaneState, world: World, percept: Percept | None, car: CarState, vehicle: VehicleModel, config: KeepingConfig
) -> tuple[KeepingState, float | None, str]:
    """(state, curvature or None, why)."""
    t, c = world.t, config
    left, right = (_followed(edge, side, percept, t, vehicle, c) for edge, side in zip(state.edges, (LEFT, RIGHT), strict=True))
    edges = (left, right)
    nearest = {side: _nearest(lane.edges[k], edges[k], t, c) for k, side in enumerate((LEFT, RIGHT))}
    if car.driver_steer or car.speed < c.least_speed or (state.side and t - state.since > c.longest):
        return KeepingState(edges, 0, t if state.side else state.since), None, ""
    side = state.side
    if side:
        now = nearest[side]
        if now is None or (now[0] > c.done and abs(now[1]) < c.done_rate) or now[0] > c.inside + 0.3:
            return KeepingState(edges, 0, t), None, ""
    else:
        leaving = [s for s, now in nearest.items() if now is not None and departs(*now, c)]
        if not leaving or t - state.since < c.pause:
            return KeepingState(edges, 0, state.since), None, ""
        side = leaving[0]
    inside, rate = nearest[side]
    since = state.since if state.side else t
    back = min(max(c.gain * (c.inside - inside), 0.0), c.returning)
    across = min(max(c.damping * (back - rate), -c.most), c.most)
    curvature = lane_curvature(world, c) + side * across / car.speed**2  # from the right line (side 1) to the left, which is positive
    name = "left" if side == LEFT else "right"
    return (
        KeepingState(edges, side, since),
        curvature,
        f"{inside:.2f} m inside the {name} edge of the lane, {max(-rate, 0.0):.1f} m/s towards it",
    )


def departs(inside: float, rate: float, config: KeepingConfig) -> bool:
    """Whether the departure, stopped as late as we could, would end too far out."""
    if -rate < config.least_rate or inside < config.gone:
        return False
    return inside + rate * config.response - rate**2 / (2 * config.braking) < config.allowed


def lane_curvature(world: World, config: KeepingConfig) -> float:
    """Of the lane's centre ahead, 1/m, by a parabola; 0 where no path is known or it is as good as straight."""
    if world.path is None:
        return 0.0
    near = world.path.points[world.path.points[:, 0] < config.bend]
    if len(near) < 4:
        return 0.0
    bend = 2 * float(np.polyfit(near[:, 0], near[:, 1], 2)[0])
    return bend if abs(bend) > config.straight else 0.0


def _nearest(line: Rate | None, edge: Rate | None, t: float, config: KeepingConfig) -> tuple[float, float] | None:
    """(m inside, m/s) of whichever of line and road edge is left first; the road's edge counts `edge_margin` nearer."""
    found = []
    for rate, margin in ((line, 0.0), (edge, config.edge_margin)):
        if rate is not None and t - rate.t < 0.3 and rate.t - rate.first >= config.settled and rate.p00 < config.largest_std**2:
            found.append((rate.value - margin, rate.rate))
    return min(found, default=None)


def _followed(edge: Rate | None, side: int, percept: Percept | None, t: float, vehicle: VehicleModel, config: KeepingConfig) -> Rate | None:
    """The filter of a road edge's distance after one step; an edge unseen for half a second is forgotten."""
    kept = edge if edge is not None and t - edge.t < 0.5 else None
    found = None if percept is None else next((e for e in percept.edges if e.side == side and len(e.points) >= 3), None)
    if found is None:
        return kept
    near = found.points[:, 0] < found.points[0, 0] + 12.0
    if near.sum() < 3 or found.points[0, 0] > 12.0:
        return kept
    slope, offset = np.polyfit(found.points[near, 0].astype(float), found.points[near, 1].astype(float), 1)
    y = float(offset + slope * vehicle.wheelbase)
    z, r = -side * y - vehicle.width / 2, float(np.median(found.y_std[near])) ** 2
    if kept is None or abs(z - kept.value) > config.jump:
        return begun(z, r, 0.5, t)
    return corrected(kept, z, r, t, config.drift, config.memory)
