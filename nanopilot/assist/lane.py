"""Lane departure: how far our outer wheel edge is from each line of the own lane, and how fast it goes there.

In: the World's lines, own speed and yaw rate. Out: a warning per side. Distance and rate come from a Kalman filter per side, of the
line's position over time, so they need no own speed; the speed gate does, and without it the warning is off.
Zone: ISO 17361 (second-hand): never before the earliest line, at the latest 0.3 m outside; within it we
warn as the market does, half a second before crossing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from nanopilot.assist.latch import Latch, latched
from nanopilot.assist.rate import Rate, begun, corrected
from nanopilot.messages import PATH_ARC, CarState, Curve, VehicleModel, Warning, WarningKind, WarningLevel, World, speed_known

LEFT, RIGHT = -1, 1


@dataclass(frozen=True)
class LaneConfig:
    on_speed: float = 16.7  # m/s, ISO 17361 class I: active from here
    off_speed: float = 55 / 3.6  # m/s, the market's
    ahead: float = 0.5  # s before crossing, the market's
    earliest: tuple[float, float] = (0.75, 1.5)  # m inside, ISO 17361: up to 0.5 m/s, and above 1.0 m/s
    earliest_time: float = 1.5  # s: between these speeds the earliest line is this times the departure speed
    latest: float = -0.3  # m: outside; a car farther out has changed lanes
    least_rate: float = 0.1  # m/s, ISO 17361's slowest departure
    inner_radius: float = 500.0  # m, guess: on the inner line of a tighter curve drivers cut, and
    inner_distance: float = -0.2  # m: it is only warned at Euro NCAP's limit for a lane departure warning
    paint: float = 0.075  # m, half a line's width: distance is to its inner edge
    least_probability: float = 0.5  # of the line, guess
    largest_std: float = 0.35  # m, guess
    drift: float = 0.6  # m/s per root second by which the rate wanders, guess
    memory: float = 0.14  # s, error correlation of neighbouring frames, as world.curves
    jump: float = 0.8  # m, guess: it is another line now
    settled: float = 0.5  # s, guess
    confirm: float = 0.08  # s, guess
    hold: float = 0.6  # s, guess


@dataclass(frozen=True)
class LaneState:
    edges: tuple[Rate | None, Rate | None] = (None, None)  # left, right: m of our wheels inside the line
    latches: tuple[Latch, Latch] = (Latch(), Latch())
    ready: tuple[bool, bool] = (False, False)  # back inside since the last warning
    armed: bool = False


def lane_departure(
    state: LaneState, world: World, car: CarState, vehicle: VehicleModel, config: LaneConfig
) -> tuple[LaneState, tuple[Warning, ...]]:
    """At most one warning a side."""
    known = speed_known(car)
    armed = known and car.speed > (config.off_speed if state.armed else config.on_speed)
    edges, latches, ready, warnings = list(state.edges), list(state.latches), list(state.ready), []
    for k, (side, curve) in enumerate(((LEFT, world.left), (RIGHT, world.right))):
        edge = edges[k] = _followed(edges[k], curve, side, world.t, vehicle, config)
        earliest = _earliest(edge, config)
        if edge is None or edge.value > earliest:
            ready[k] = edge is not None
        now = edge is not None and armed and edge.t == world.t and edge.t - edge.first >= config.settled
        departing = now and -edge.rate >= config.least_rate and edge.value >= config.latest
        wanted = departing and (ready[k] or latches[k].level > 0) and edge.value <= min(_line(edge, side, car, config), earliest)
        latches[k] = latched(latches[k], world.t, int(wanted), config.confirm, config.hold)
        if latches[k].level and edge is not None:
            ready[k] = False
            name = "left" if side == LEFT else "right"
            where = f"{edge.value:.2f} m inside" if edge.value > 0 else f"{-edge.value:.2f} m beyond"
            reason = f"{where} the {name} line, {max(-edge.rate, 0.0):.1f} m/s towards it"
            limit = _line(edge, side, car, config)
            warnings.append(Warning(world.t, WarningKind.LANE_DEPARTURE, WarningLevel.MEDIUM, edge.value, sqrt(edge.p00), limit, "m",
                                    reason, side))  # fmt: skip
    return LaneState((edges[0], edges[1]), (latches[0], latches[1]), (ready[0], ready[1]), armed), tuple(warnings)


def _earliest(edge: Rate | None, config: LaneConfig) -> float:
    """ISO 17361's earliest warning line, m inside."""
    if edge is None:
        return config.earliest[0]
    return min(max(config.earliest_time * -edge.rate, config.earliest[0]), config.earliest[1])


def _line(edge: Rate, side: int, car: CarState, config: LaneConfig) -> float:
    """Where we warn, m inside."""
    curvature = car.yaw_rate / max(car.speed, config.off_speed)
    inner = curvature * -side > 1 / config.inner_radius  # a left curve's inner line is the left one
    return config.inner_distance if inner else config.ahead * max(-edge.rate, 0.0)


def _followed(edge: Rate | None, curve: Curve | None, side: int, t: float, vehicle: VehicleModel, config: LaneConfig) -> Rate | None:
    """The filter after one step; a line unseen for a second is forgotten."""
    at = vehicle.wheelbase  # front axle
    std = np.inf if curve is None else float(np.interp(at, PATH_ARC, curve.std))
    if curve is None or curve.probability < config.least_probability or std > config.largest_std:
        return edge if edge is not None and t - edge.t < 1.0 else None
    y = float(np.interp(at, curve.points[:, 0], curve.points[:, 1]))
    z = -side * y - vehicle.width / 2 - config.paint
    if edge is None or abs(z - edge.value) > config.jump:
        return begun(z, std**2, 0.5, t)
    return corrected(edge, z, std**2, t, config.drift, config.memory)
