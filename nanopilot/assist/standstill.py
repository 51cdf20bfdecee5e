"""While we stand: the car ahead has left, or the light has turned green, and we haven't noticed.

In: the closest in path, a frame's lights, own speed. Out: one warning each, told once for a stop; both are off while own speed
is unknown. Times and distances are guesses: the market names the chimes, not their limits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nanopilot.messages import CarState, Light, Percept, Track, Warning, WarningKind, WarningLevel, speed_known


@dataclass(frozen=True)
class StandstillConfig:
    standing: float = 0.3  # m/s, slower we stand
    moving: float = 1.0  # m/s, faster we don't
    settled: float = 1.5  # s of standing until we look
    near: float = 12.0  # m to whom we stand behind
    left: float = 4.0  # m by which he must have moved off
    lead_speed: float = 1.0  # m/s
    red: float = 0.5  # s of red to be seen, and then
    green: float = 1.0  # s of green
    told: float = 2.0  # s for which it is told


@dataclass(frozen=True)
class StandstillState:
    stood: float = 0.0  # s
    lead: int = -1  # whom we stand behind
    lead_x: float = 0.0  # m, his place then
    red: float = 0.0  # s of red seen in this stop
    green: float = 0.0
    lead_told: float = -1.0  # when the warning began in this stop
    green_told: float = -1.0
    t: float = 0.0


def has_left(
    state: StandstillState, t: float, lead: Track | None, percept: Percept | None, car: CarState, config: StandstillConfig
) -> tuple[StandstillState, tuple[Warning, ...]]:
    """Both chimes."""
    dt = min(max(t - state.t, 0.0), 0.5) if state.t else 0.0
    known = speed_known(car)
    if not known or car.speed > config.moving or (car.speed > config.standing and state.stood < config.settled):
        return StandstillState(t=t), ()
    state = replace(state, t=t, stood=state.stood + dt)
    seen = {light.state for light in percept.lights} if percept is not None else set()
    if Light.RED in seen:
        state = replace(state, red=state.red + dt, green=0.0)
    elif Light.GREEN in seen and state.red >= config.red:
        state = replace(state, green=state.green + dt)
    if state.stood < config.settled:
        return state, ()
    if lead is not None and lead.id != state.lead and lead.x < config.near and state.lead_told < 0:
        state = replace(state, lead=lead.id, lead_x=lead.x)
    gone = lead is not None and lead.id == state.lead and lead.x - state.lead_x > config.left and lead.vx > config.lead_speed
    if gone and state.lead_told < 0:
        state = replace(state, lead_told=t)
    if state.green >= config.green and state.green_told < 0:
        state = replace(state, green_told=t)
    warnings = []
    if state.lead_told >= 0 and t - state.lead_told <= config.told and lead is not None:
        moved = lead.x - state.lead_x
        warnings.append(Warning(t, WarningKind.LEAD_LEFT, WarningLevel.EARLY, moved, lead.position_std, config.left, "m",
                                f"the car ahead has moved off by {moved:.0f} m", track_id=lead.id))  # fmt: skip
    if state.green_told >= 0 and t - state.green_told <= config.told:
        warnings.append(Warning(t, WarningKind.GREEN_LIGHT, WarningLevel.EARLY, state.green, 0.0, config.green, "s", "the light is green"))
    return state, tuple(warnings)
