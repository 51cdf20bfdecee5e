"""A speed-limit sign that was read, driving faster than it says, and a red light ahead that we don't brake for.

In: a frame's signs and lights, the camera, own speed. Out: warnings; all but the sign's are off while own speed is unknown. A limit
holds from when it was read several times until another one is, its end is, or we have driven far. A light's distance comes from the height
of its box, for a housing of three lamps; that is rough, and its std says so. Which lane it is for is not known: those near straight
ahead count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from nanopilot.assist.latch import Latch, latched
from nanopilot.messages import CameraModel, CarState, Light, Percept, Warning, WarningKind, WarningLevel, speed_known

KPH = 3.6
ENDS = "end of"  # signs that end a limit


@dataclass(frozen=True)
class SpeedConfig:
    """Guesses unless said otherwise."""

    tolerance: float = 5 / 3.6  # m/s above the limit
    release: float = 2 / 3.6  # m/s
    reads: int = 3  # of one limit, within
    window: float = 2.0  # s
    distance: float = 2000.0  # m for which a limit holds
    least_probability: float = 0.8  # of the reading
    confirm: float = 1.0  # s
    hold: float = 1.0  # s
    told: float = 3.0  # s for which a new limit is told


@dataclass(frozen=True)
class SpeedState:
    limit: float = 0.0  # m/s, 0 none
    since: float = float("-inf")  # when it began
    read: float = 0.0  # the limit being read, and
    times: tuple[float, ...] = ()  # when
    driven: float = 0.0  # m since the limit was read
    t: float = 0.0
    latch: Latch = Latch()


def over_speed(
    state: SpeedState, t: float, percept: Percept | None, car: CarState, config: SpeedConfig
) -> tuple[SpeedState, Warning | None]:
    """Own speed above the last read limit and the tolerance, surely."""
    known = speed_known(car)
    driven = state.driven + (car.speed * max(t - state.t, 0.0) if known else 0.0)
    state = replace(state, t=t, driven=driven, limit=state.limit if driven < config.distance else 0.0)
    for sign in percept.signs if percept is not None else ():
        if sign.probability < config.least_probability:
            continue
        if sign.name.startswith(ENDS):
            state = replace(state, limit=0.0, times=())
        elif sign.speed_limit > 0:
            times = (*(x for x in state.times if t - x < config.window), t) if sign.speed_limit == state.read else (t,)
            state = replace(state, read=sign.speed_limit, times=times)
            if len(times) >= config.reads:
                since = state.since if sign.speed_limit == state.limit else t
                state = replace(state, limit=sign.speed_limit, since=since, driven=0.0)
    limit = state.limit + (config.release if state.latch.level else config.tolerance)
    over = known and state.limit > 0 and car.speed - car.speed_std > limit
    state = replace(state, latch=latched(state.latch, t, int(over), config.confirm, config.hold))
    if not state.latch.level or not state.limit:
        return state, None
    reason = f"{car.speed * KPH:.0f} km/h where {state.limit * KPH:.0f} is allowed"
    return state, Warning(t, WarningKind.OVER_SPEED, WarningLevel.MEDIUM, car.speed, car.speed_std, state.limit, "m/s", reason)


def speed_limit(state: SpeedState, t: float, config: SpeedConfig) -> Warning | None:
    """A limit that was read just now and is another than before; `state` as `over_speed` leaves it."""
    if not state.limit or t - state.since > config.told:
        return None
    reason = f"sign: {state.limit * KPH:.0f} km/h"
    return Warning(t, WarningKind.SPEED_LIMIT, WarningLevel.INFO, state.limit, 0.0, state.limit, "m/s", reason)


@dataclass(frozen=True)
class LightConfig:
    """Guesses unless said otherwise."""

    housing: float = 0.9  # m, height of a housing of three 200 mm lamps
    housing_std: float = 0.2  # of it, and of the box
    braking: float = 2.5  # m/s²: who needs more to stop before the light isn't braking for it
    least_speed: float = 10 / 3.6  # m/s
    aside: float = 6.0  # m from straight ahead
    reach: float = 80.0  # m
    confirm: float = 0.2  # s
    hold: float = 0.6  # s


def red_light(
    state: Latch, t: float, percept: Percept | None, camera: CameraModel, car: CarState, config: LightConfig
) -> tuple[Latch, Warning | None]:
    """A red light ahead that needs harder braking than a driver chooses."""
    known = speed_known(car)
    lights = percept.lights if percept is not None else ()
    near = min((distance(light.box, camera, config) for light in lights if light.state == Light.RED), default=inf)
    needed = car.speed**2 / (2 * near) if known and car.speed > config.least_speed and near < config.reach else 0.0
    state = latched(state, t, int(needed > config.braking), config.confirm, config.hold)
    if not state.level or near == inf:
        return state, None
    reason = f"red light about {near:.0f} m ahead needs {needed:.1f} m/s² of braking"
    std = needed * config.housing_std
    return state, Warning(t, WarningKind.RED_LIGHT, WarningLevel.MEDIUM, needed, std, config.braking, "m/s²", reason)


def distance(box: np.ndarray, camera: CameraModel, config: LightConfig) -> float:
    """Metres to a light; inf to one that stands too far aside."""
    height = max(float(box[3] - box[1]), 1.0)
    ahead = camera.fy * config.housing / height
    aside = ((box[0] + box[2]) / 2 - camera.cx) / camera.fx * ahead
    return ahead if abs(aside) < config.aside else inf
