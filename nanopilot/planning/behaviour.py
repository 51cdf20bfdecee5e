"""Which line to follow: the own lane, or, for the route, the next one.

In: the world and the line followed so far. Out: that line moved on, matched to the newly seen lane, and any lane change
under way. The seen own lane jumps by a lane's width when we cross a line, so each new one is a hypothesis for three
lanes, and the one nearest to the dead-reckoned line is believed, unless no lane is seen to be there. A lane change is a
minimum-jerk move (Flash & Hogan 1985) of the line itself: at 3.5 m in 4.7 s its lateral acceleration peaks at 0.9 m/s².
Lanes are changed for the route only, never to overtake, and not before the turn signal has shown for a second; cameras to
that side and behind look meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nanopilot import dynamics
from nanopilot.messages import Turn, VehicleModel, World
from nanopilot.planning.path import Path, moved, shift, smooth


@dataclass(frozen=True)
class BehaviourConfig:
    change_time: float = 4.7  # s; UN R79 (second-hand): below 5 s and 1 m/s²
    change_distance: float = 20.0  # m at least, for low speeds, guess
    change_within: float = 150.0  # m before the manoeuvre
    change_until: float = 15.0  # m before it: nearer, there is no room left, guess
    straight_curvature: float = 0.02  # 1/m: no change begins in a tighter curve, guess
    lane_probability: float = 0.8  # that the next lane exists, guess
    settle_time: float = 1.0  # s between two changes, guess
    indicate: float = 1.0  # s of turn signal before a change, UN R79 (second-hand); and of looking over the shoulder
    abort_before: float = 0.35  # of the change: up to there all wheels are in the old lane
    front_gap_time: float = 0.8  # s, ISO 15622 (second-hand)
    least_gap: float = 4.0  # m, to either, guess
    lean_over: float = 0.3  # m: how far outside the next lane one still counts as in it, guess
    match_distance: float = 20.0  # m over which lines are compared
    own_lane_bonus: float = 0.5  # m: prefer what is seen as own lane, unless changing
    lost_share: float = 0.75  # lane widths beside the line from which the own lane is followed instead
    lane_there: float = 0.5  # probability below which what runs beside the own lane is none, and
    astray: float = 1.5  # s after which a line there is given up: the oncoming lane, after a turn that missed its road (town spider 3004)


@dataclass(frozen=True)
class LaneChange:
    """`offset` is where the old line lies beside the new one, m; `progress` runs from 0 to 1."""

    direction: int  # +1 left, -1 right
    offset: float
    progress: float = 0.0
    returning: bool = False  # given up, on the way back


@dataclass(frozen=True)
class Line:
    """What is followed: the target line, and how far the change onto it has come."""

    target: Path | None = None
    change: LaneChange | None = None
    settled: float = 0.0  # s since the last change
    unseen: float = 0.0  # s since a lane was last seen
    astray: float = 0.0  # s for which it has run where no lane is seen
    wish: int = 0  # the side to change to as soon as it may be, +1 left, and
    wished: float = 0.0  # s for which that has been so

    @property
    def side(self) -> int:
        """To which the turn signal shows: +1 left, -1 right, 0 none."""
        return self.change.direction if self.change else self.wish


def minimum_jerk(share: np.ndarray) -> np.ndarray:
    """0 to 1 with zero speed and acceleration at both ends."""
    x = np.clip(share, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


def follow(line: Line, world: World, dt: float, vehicle: VehicleModel, config: BehaviourConfig) -> Line:
    """Move the line on by `dt` seconds, match it to the world, and begin, go on with or give up a lane change."""
    target = line.target
    if target is not None and dt > 0:
        curvature = world.yaw_rate / world.speed if world.speed > 0 else 0.0
        step = dynamics.advance(dynamics.Motion(speed=world.speed, curvature=curvature), dt)
        target = moved(target, step.x, step.y, step.yaw)
    if world.path is None:
        line = replace(line, target=target, unseen=line.unseen + dt)
    else:
        line = _matched(replace(line, target=target, unseen=0.0), world, dt, config)
    if line.target is None:
        return line
    if line.change is None:
        line = replace(line, settled=line.settled + dt)
        wish = _wish(world, config)
        line = replace(line, wish=wish, wished=line.wished + dt if wish == line.wish else 0.0)
        ready = wish and line.wished >= config.indicate and _may_change(line, world, config)
        if ready and gap_is_safe(line.target, world, wish, vehicle, config):
            aside = wish * world.lane_width
            return replace(line, target=shift(line.target, aside), change=LaneChange(wish, -aside), wish=0, wished=0.0)
        return line
    change = line.change
    progress = change.progress + dt * _rate(world.speed, config)
    if progress >= 1:
        return replace(line, change=None, settled=0.0)
    line = replace(line, change=replace(change, progress=progress))
    if change.returning or progress > config.abort_before:
        return line
    old = shift(line.target, change.offset)
    if gap_is_safe(old, world, change.direction, vehicle, config):
        return line
    done = float(minimum_jerk(np.array([progress]))[0])
    return replace(line, target=old, change=LaneChange(-change.direction, -change.offset * done, returning=True))


def blended(line: Line, speed: float, config: BehaviourConfig) -> Path:
    """The line with the rest of the lane change in it: what the car should drive."""
    if line.change is None:
        return line.target
    rate = _rate(speed, config)
    per_metre = rate / max(speed, rate * config.change_distance)
    share = line.change.progress + per_metre * line.target.s
    return shift(line.target, line.change.offset * (1 - minimum_jerk(share)))


def gap_is_safe(own: Path, world: World, direction: int, vehicle: VehicleModel, config: BehaviourConfig) -> bool:
    """UN R79 (second-hand): room behind 0.4 dv + dv²/6 + 1.0 v; a time gap in front; nobody beside."""
    nose, tail = vehicle.length - vehicle.rear_overhang, vehicle.rear_overhang
    for track in world.tracks:
        s, d, k = own.find(track.x, track.y)
        if abs(d - direction * world.lane_width) > 0.5 * world.lane_width + config.lean_over:
            continue
        speed = float(np.dot((track.vx, track.vy), own.tangent[k]))
        behind = -tail - (s + 0.5 * track.length)
        ahead = s - 0.5 * track.length - nose
        closing = speed - world.speed
        if s < 0:
            closing = max(closing, 0.0)
            if behind < max(0.4 * closing + closing**2 / 6.0 + 1.0 * world.speed, config.least_gap):
                return False
        elif ahead < max(config.front_gap_time * world.speed + max(-closing, 0.0) * config.change_time / 2, config.least_gap):
            return False
    return True


def _rate(speed: float, config: BehaviourConfig) -> float:
    return min(1 / config.change_time, speed / config.change_distance)


def _wish(world: World, config: BehaviourConfig) -> int:
    """The side whose lane the route needs next, where there is one and time for it; 0: none."""
    direction = {Turn.KEEP_LEFT: 1, Turn.KEEP_RIGHT: -1}.get(world.next_turn, 0)
    exists = (world.lane_left if direction > 0 else world.lane_right) > config.lane_probability
    return direction if exists and config.change_until < world.next_turn_distance < config.change_within else 0


def _may_change(line: Line, world: World, config: BehaviourConfig) -> bool:
    ahead = (line.target.s >= 0) & (line.target.s < config.change_distance + config.change_time * world.speed / 2)
    straight = np.abs(line.target.curvature[ahead]).max(initial=0.0) < config.straight_curvature
    return bool(straight and line.settled > config.settle_time and line.unseen == 0)


def _matched(line: Line, world: World, dt: float, config: BehaviourConfig) -> Line:
    """The line put on the seen own lane, or on the one beside it where it ran: which of the three is nearest to it."""
    own, target, changing = smooth(np.asarray(world.path.points)), line.target, line.change is not None
    on_own = replace(line, target=own, astray=0.0)
    near = None if target is None else (target.s >= 0) & (target.s <= config.match_distance)
    if near is None or not near.any():
        return on_own
    beside = own.locate(target.xy[near])[1]  # how far left of the own lane the target runs
    bonus = 0.0 if changing else config.own_lane_bonus
    costs = {k: np.abs(beside - k * world.lane_width).mean() - (bonus if k == 0 else 0.0) for k in (0, -1, 1)}
    k = min(costs, key=costs.__getitem__)
    if k == 0:
        return on_own
    best = shift(own, k * world.lane_width)
    there = (world.lane_left if k > 0 else world.lane_right) > config.lane_there
    astray = 0.0 if there or changing else line.astray + dt
    lost = abs(best.find(0.0, 0.0)[1]) > config.lost_share * world.lane_width
    if (lost or astray > config.astray) and not changing:
        return on_own
    return replace(line, target=best, astray=astray)
