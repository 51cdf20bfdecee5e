"""Responsibility-sensitive safety: is any track too near, both along and across the road, and what would be proper now?

In: the World, the vehicle model, how long there has been danger. Out: an RssVerdict. Shalev-Shwartz, Shammah and Shashua 2017,
arXiv 1708.06374; formulas and defaults as in intel/ad-rss-lib. Distances are taken along and across our own path, from
bumper to bumper and flank to flank. Only tracks ahead are judged: who comes from behind is responsible for the gap.
Its defaults allow for a driver who speeds up for a second before he brakes: ordinary following is nearer than that, so
the verdict is a report, and brakes only where safety.Config says so. It knows no right of way and no hidden road users.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import atan2, cos, hypot, inf, sin

from nanopilot.messages import RssVerdict, Track, VehicleModel, World


@dataclass(frozen=True)
class RssConfig:
    response: float = 1.0  # s, ours
    other_response: float = 2.0  # s
    acceleration: float = 3.5  # m/s², what either may do while it has not responded
    least_braking: float = 4.0  # m/s², what the one behind does at least
    most_braking: float = 8.0  # m/s², what the one in front does at most
    least_braking_correct: float = 3.0  # m/s², of the one in his own lane, against the oncoming one
    side_acceleration: float = 0.2  # m/s²
    side_braking: float = 0.8  # m/s²
    side_margin: float = 0.1  # m
    margin: float = 0.0  # m along
    oncoming: float = 0.5  # m/s against our path from which a track is oncoming, guess: the noise of a standing one


@dataclass(frozen=True)
class RssState:
    t: float = inf  # of the last world; inf: none yet
    danger: float = 0.0  # s


def initial(config: RssConfig = RssConfig()) -> RssState:
    return RssState()


def step(state: RssState, world: World, vehicle: VehicleModel, config: RssConfig = RssConfig()) -> tuple[RssState, RssVerdict]:
    """The verdict on one world."""
    line = _line(world)
    own_s, own_d, heading = _place(line, 0.0, 0.0)
    front = own_s + (vehicle.length - vehicle.rear_overhang) * cos(heading)
    along, across = world.speed * cos(heading), -world.speed * sin(heading)
    worst, least = RssVerdict(world.t), inf
    for track in world.tracks:
        s, d, towards = _place(line, track.x, track.y)
        if s <= own_s:
            continue
        half_s, half_d = _half(track, towards)
        v_along = track.vx * cos(towards) + track.vy * sin(towards)
        v_across = -track.vx * sin(towards) + track.vy * cos(towards)
        distance = max(s - half_s - front, 0.0)
        side = max(abs(d - own_d) - half_d - vehicle.width / 2, 0.0)
        safe = oncoming_distance(along, -v_along, config) if v_along < -config.oncoming else following_distance(along, v_along, config)
        safe_side = side_distance(across, v_across, config) if d > own_d else side_distance(-across, -v_across, config)
        room = max(distance - safe, side - safe_side)
        if room < least:
            braking = config.least_braking_correct if v_along < -config.oncoming else config.least_braking
            worst = RssVerdict(world.t, track.id, distance, safe, side, safe_side, 0.0, -braking)
            least = room
    dangerous = least < 0.0
    danger = state.danger + max(world.t - state.t, 0.0) if dangerous else 0.0
    allowed = worst.acceleration if dangerous and danger > config.response else 0.0
    verdict = RssVerdict(
        world.t, worst.track_id, worst.distance, worst.safe_distance, worst.side_distance, worst.safe_side_distance, danger, allowed
    )
    return RssState(world.t, danger), verdict


def following_distance(rear: float, front: float, config: RssConfig) -> float:
    """Definition 1: the least safe gap behind one who goes our way; speeds along the path, m/s."""
    gap = _stopping(rear, config.response, config.acceleration, config.least_braking) - max(front, 0.0) ** 2 / (2 * config.most_braking)
    return max(gap, 0.0) + config.margin


def oncoming_distance(own: float, other: float, config: RssConfig) -> float:
    """Definition 2: the least safe gap towards one who comes; both speeds positive towards each other."""
    ours = _stopping(own, config.response, config.acceleration, config.least_braking_correct)
    return ours + _stopping(other, config.other_response, config.acceleration, config.least_braking) + config.margin


def side_distance(own: float, other: float, config: RssConfig) -> float:
    """Definition 6: the least safe gap to one beside us; speeds across the path, positive from us towards where he is."""
    ours = _sideways(own, config.response, config)
    theirs = _sideways(-other, config.other_response, config)
    return config.side_margin + max(ours + theirs, 0.0)


def _stopping(speed: float, response: float, acceleration: float, braking: float) -> float:
    """D(v): the way to a stand of one who speeds up until he responds."""
    speed = max(speed, 0.0)
    return speed * response + acceleration * response**2 / 2 + (speed + response * acceleration) ** 2 / (2 * braking)


def _sideways(speed: float, response: float, config: RssConfig) -> float:
    """How far one comes nearer across until he no longer moves across; negative when he goes away."""
    then = speed + response * config.side_acceleration
    return (speed + then) / 2 * response + then * abs(then) / (2 * config.side_braking)


def _half(track: Track, heading: float) -> tuple[float, float]:
    """Half of what a track covers along and across the path."""
    c, s = abs(cos(track.yaw - heading)), abs(sin(track.yaw - heading))
    return (track.length * c + track.width * s) / 2, (track.length * s + track.width * c) / 2


Line = list[tuple[float, float, float, float, float, float]]  # of each piece: x, y, direction's x and y, length, arc length at its start


def _line(world: World) -> Line:
    """Our path in pieces; straight on where none is known. The first and last piece go on without end."""
    points = world.path.points.tolist() if world.path is not None else [[0.0, 0.0], [1.0, 0.0]]
    pieces, arc = [], 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = hypot(x1 - x0, y1 - y0)
        if length > 0.0:
            pieces.append((x0, y0, (x1 - x0) / length, (y1 - y0) / length, length, arc))
            arc += length
    return pieces or [(0.0, 0.0, 1.0, 0.0, 1.0, 0.0)]


def _place(line: Line, x: float, y: float) -> tuple[float, float, float]:
    """(along, across with left positive, the line's direction there) of a point."""
    best, place, last = inf, (0.0, 0.0, 0.0), len(line) - 1
    for k, (x0, y0, ux, uy, length, arc) in enumerate(line):
        dx, dy = x - x0, y - y0
        s = dx * ux + dy * uy
        if k > 0:
            s = max(s, 0.0)
        if k < last:
            s = min(s, length)
        away = hypot(dx - s * ux, dy - s * uy)
        if away < best:
            best, place = away, (arc + s, away if ux * dy - uy * dx >= 0.0 else -away, atan2(uy, ux))
    return place
