"""What a navigation device would say: a coarse line and turn instructions, from a lane map and the roads to take.

In: the lane map and the roads from start to destination. Out: messages.Route. The line runs along the middle of our own
carriageway (all lanes of our direction), never along a lane, about every 10 m; instructions come where another road could
have been taken. It knows nothing of traffic and finds no way by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import project, resample, wrap
from nanopilot.messages import Manoeuvre, Route, Turn
from nanopilot.sim.lanemap import Lane, LaneMap, Road

Array = np.ndarray

POINT_SPACING = 10.0  # m between a navigation map's shape points (guess; OpenStreetMap's bends are about as coarse)
TURN_ANGLE = np.radians(30.0)  # less is a bend of the same road (guess)
THROUGH = 0.9  # a lane shorter than this part of its road's longest leaves or joins it and doesn't count for the middle


def road_line(lanes: Sequence[Lane]) -> Float[Array, "n 2"]:
    """The middle of a road's through lanes, `lanes` from left to right."""
    longest = max(lane.length for lane in lanes)
    straight = all(abs(wrap(lane.heading[-1] - lane.heading[0])) < 1e-3 for lane in lanes)
    through = [lane for lane in lanes if not straight or lane.length > THROUGH * longest]
    ends = np.linspace(0.0, 1.0, max(len(lane.centre) for lane in through))
    return np.mean([resample(lane.centre, ends * lane.length) for lane in (through[0], through[-1])], axis=0)


def make_route(lane_map: LaneMap, roads: Sequence[Road], start: tuple[float, float], speed_limit: float) -> Route:
    """The route along `roads`, from the place nearest to `start` (x, y) to the last road's end. Raises KeyError on an unknown road."""
    by_road: dict[Road, list[Lane]] = {}
    for lane in lane_map.lanes:
        by_road.setdefault(lane.road, []).append(lane)
    parts = [road_line(by_road[road]) for road in roads]
    lengths = [float(np.hypot(*np.diff(p, axis=0).T).sum()) for p in parts]
    line = np.concatenate([parts[0], *(p[1:] for p in parts[1:])])
    s0, _ = project(line, *start)
    total = float(np.hypot(*np.diff(line, axis=0).T).sum())
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    manoeuvres, circling = [], False
    for s, road, previous in zip(starts[1:], roads[1:], roads, strict=False):
        others = [b for b in by_road if b[0] == road[0] and b != road]
        circle = block(road) == "O"
        if circle and not circling:
            manoeuvres.append(Manoeuvre(Turn.ROUNDABOUT, float(s - s0)))
        elif others and not circle and (turn := _turn(by_road, previous, road, others)):
            manoeuvres.append(Manoeuvre(turn, float(s - s0)))
        circling = circle
    manoeuvres.append(Manoeuvre(Turn.ARRIVE, total - s0))
    manoeuvres = [m for m in manoeuvres if m.s > 0]
    count = max(2, round((total - s0) / POINT_SPACING) + 1)
    return Route(resample(line, np.linspace(s0, total, count)), tuple(manoeuvres), speed_limit)


def block(road: Road) -> str:
    """MetaDrive's letter of the block a road belongs to: nodes are called '<number><letter><part>_<road>_', '-' for the way back."""
    letters = [c for c in road[1] if c.isalpha() or c == "$"] or [c for c in road[0] if c.isalpha() or c == "$"]
    return letters[0] if letters else "I"


def _turn(by_road: dict[Road, list[Lane]], previous: Road, road: Road, others: list[Road]) -> Turn | None:
    """What to say where `others` leave too; None where the main road simply goes on past an exit."""
    bend = wrap(_heading_out(by_road[road]) - _heading_out(by_road[previous]))
    if abs(bend) > TURN_ANGLE:
        return Turn.LEFT if bend > 0 else Turn.RIGHT
    if block(road) in "XTU":  # a junction; elsewhere the road forks
        return Turn.STRAIGHT
    if len(by_road[road]) > max(len(by_road[other]) for other in others):
        return None
    own = by_road[road][0].centre
    _, side = project(own, *np.mean([by_road[other][-1].centre[-1] for other in others], axis=0))
    return Turn.KEEP_RIGHT if side > 0 else Turn.KEEP_LEFT


def _heading_out(lanes: Sequence[Lane]) -> float:
    return float(lanes[0].heading[-1])
