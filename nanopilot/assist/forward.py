"""Forward collision and headway: is the closest in path coming too close, and how many seconds behind it are we?

In: the closest vehicle in path and its `Closing`. Out: warnings. Forward collision needs no own speed (time to collision
comes from the picture); above its gate, and headway always, need it, and are silent while it is unknown.
Limits: Euro NCAP's and NHTSA's (second-hand), and those of warnings on the market.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from nanopilot.assist.closing import Closing
from nanopilot.assist.latch import Latch, latched, rung
from nanopilot.messages import CarState, Track, Warning, WarningKind, WarningLevel, speed_known

LEVELS = (WarningLevel.INFO, WarningLevel.EARLY, WarningLevel.MEDIUM, WarningLevel.LATE)


@dataclass(frozen=True)
class ForwardConfig:
    """Times to collision: early as the market's earliest, medium NHTSA's confirmation, late Euro NCAP's latest for a warning."""

    ttc: tuple[float, float, float] = (2.7, 2.1, 1.2)  # s
    urban_speed: float = 30 / 3.6  # m/s, below which the market calls it urban
    least_speed: float = 10 / 3.6  # m/s, slowest test speed of Euro NCAP CCRs
    least_closing: float = 1.0  # m/s, guess: slower we are parking
    least_age: float = 0.5  # s of a track, guess: before, its velocity is the tracker's prior, that of a standing thing
    sure: float = 2.0  # standard deviations by which the closing rate must be above zero, guess
    confirm: float = 0.05  # s, guess
    hold: float = 0.6  # s, guess
    release: float = 1.2  # guess


@dataclass(frozen=True)
class HeadwayConfig:
    shown: float = 2.5  # s, the market's, as the next three
    red: float = 0.6  # s, settable 0.4-2.0
    on_speed: float = 40 / 3.6  # m/s
    off_speed: float = 30 / 3.6  # m/s
    confirm: float = 0.3  # s, guess
    hold: float = 0.5  # s, guess
    release: float = 1.15  # guess


@dataclass(frozen=True)
class HeadwayState:
    armed: bool = False
    latch: Latch = Latch()


def forward_collision(
    state: Latch, t: float, lead: Track | None, how: Closing | None, car: CarState, config: ForwardConfig
) -> tuple[Latch, Warning | None]:
    """Early, medium, late by the time to collision with the closest in path."""
    known = speed_known(car)
    wanted = 0
    seen = lead is not None and how is not None and lead.age >= config.least_age
    if seen and not (known and car.speed < config.least_speed):
        believed = how.rate > config.sure * how.rate_std and how.speed > config.least_closing
        wanted = rung(how.ttc, config.ttc, state.level, config.release) if believed else 0
    state = latched(state, t, wanted, config.confirm, config.hold)
    if state.level == 0 or lead is None or how is None or how.ttc == inf:
        return state, None
    urban = known and car.speed < config.urban_speed
    kind = WarningKind.URBAN_COLLISION if urban else WarningKind.FORWARD_COLLISION
    reason = f"{how.ttc:.1f} s to a {lead.kind} {how.gap:.0f} m ahead"
    return state, Warning(t, kind, LEVELS[state.level], how.ttc, how.ttc_std, config.ttc[state.level - 1], "s", reason, track_id=lead.id)


def headway(
    state: HeadwayState, t: float, lead: Track | None, how: Closing | None, car: CarState, config: HeadwayConfig
) -> tuple[HeadwayState, Warning | None]:
    """Seconds behind the closest in path: told up to `shown`, a warning below `red`."""
    known = speed_known(car)
    armed = known and car.speed > (config.off_speed if state.armed else config.on_speed)
    seconds = how.gap / car.speed if armed and how is not None else inf
    wanted = rung(seconds, (config.shown, config.red), state.latch.level, config.release)
    latch = latched(state.latch, t, wanted, config.confirm, config.hold) if armed else Latch()
    state = HeadwayState(armed, latch)
    if latch.level == 0 or lead is None or seconds == inf:
        return state, None
    red = latch.level == 2
    std = float(((lead.position_std / car.speed) ** 2 + (seconds * car.speed_std / car.speed) ** 2) ** 0.5)
    level, limit = (WarningLevel.MEDIUM, config.red) if red else (WarningLevel.INFO, config.shown)
    return state, Warning(t, WarningKind.HEADWAY, level, seconds, std, limit, "s", f"{seconds:.1f} s behind", track_id=lead.id)
