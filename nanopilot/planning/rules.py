"""The rules of the road at a junction: where to stop, and how fast to come.

In: the world's RoadSignals and the route's junction. Out: a Rule: a stop (m along the path for the rear axle), a speed to pass the junction
at, why. Red: stop. Amber: stop if braking comfortably does it, else go on. Green: go. A stop sign: stand before the line, then go when the
way is free. A yield sign: come slowly. Who has been told to go and has crossed the line goes on. A queue that would keep us inside the
junction is waited for before it, whether anything is said there or not (article 18.3 of the Convention on Road Traffic), until it
has moved off for good. Who is in the way is `conflicts`' work.
Sources: Vienna Convention on Road Signs, articles 10 (stop, yield) and 23 (lights). It knows no arrows and no police officers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nanopilot.messages import Light, RoadSignal, Turn, VehicleModel, World

CROSSINGS = (Turn.STRAIGHT, Turn.LEFT, Turn.RIGHT)


@dataclass(frozen=True)
class RulesConfig:
    """Guesses unless another origin stands beside."""

    amber_deceleration: float = 2.5  # m/s²: harder, amber is driven through; signals are timed for 3 to 3.5 (RiLSA)
    amber_time: float = 1.0  # s to the line, and less: too near to stop where the light is still seen
    light_lost: float = 60.0  # s, longer than a cycle here: a light not seen for so long by who stands before it is taken for a stop sign
    red_deceleration: float = 6.0  # m/s²: harder, it is too late
    margin: float = 1.0  # m between nose and line, and
    margin_stds: float = 1.5  # standard deviations of where the line is
    most_margin: float = 4.0  # m
    light_margin: float = 3.0  # m, at least: nearer, a light 1.2 m behind the line and 3.6 m high has left the picture at its top
    line_passed: float = 1.0  # m beyond the line that we are past it, moving
    stop_passed: float = 3.0  # m beyond a stop sign's line: up to there who has not stood yet still stops; crossing traffic is farther
    moving: float = 1.0  # m/s
    standing: float = 0.09  # m/s
    stop_time: float = 1.0  # s to stand at a stop sign
    stop_reach: float = 8.0  # m before the line at which standing counts
    creep: float = 4.0  # m, told too far: who stands so far before a red line is close enough
    yield_speed: float = 3.0  # m/s over a yield line: who comes is seen late, by the side cameras, and 4 left no room to stop before it
    junction_length: float = 22.0  # m from the line to where the road goes on; the rear axle must get past it before we drive in
    jam_speed: float = 1.0  # m/s: a lead slower than this is a queue, and
    moving_off: float = 2.5  # m/s: one that is waited for has moved off, when its last car in our way is faster
    unsigned: bool = False  # navigation's junctions count where nothing is seen of a light or sign: towns
    unsigned_sight: float = 60.0  # m
    unsigned_speed: float = 6.0  # m/s over the line of such a junction: a stop sign first read 20 m before it is then stopped for at 3 m/s²
    new_junction: float = 8.0  # m by which the distance grows when the junction is behind us


@dataclass(frozen=True)
class RulesState:
    distance: float = np.inf
    going: bool = False  # decided to cross, and past where that can be changed
    stood: float = 0.0  # s at this junction's stop sign
    waits: bool = False  # for a queue behind the junction


@dataclass(frozen=True)
class Rule:
    stop: float = np.inf  # m
    speed: float = np.inf  # m/s at `at` m ahead
    at: float = np.inf
    limit: float = np.inf  # m/s
    line: float = np.inf  # m from our nose to the line; inf once we are past it
    hold: float = np.inf  # m to where the rear axle stands before the line
    reason: str = ""


def step(state: RulesState, world: World, dt: float, vehicle: VehicleModel, config: RulesConfig) -> tuple[RulesState, Rule]:
    """What the rules ask for now."""
    limit = min((s.speed_limit for s in world.signals if s.kind == "limit"), default=np.inf)
    signal = next((s for s in world.signals if s.kind != "limit"), None)
    if signal is None and config.unsigned and world.next_turn in CROSSINGS and world.next_turn_distance < config.unsigned_sight:
        signal = RoadSignal("", Light.OFF, world.next_turn_distance, world.localisation_std, 0.0, 1.0, 0.0)
    if signal is None:
        return RulesState(), Rule(limit=limit)
    if signal.distance > state.distance + config.new_junction:
        state = RulesState()
    line = signal.distance - (vehicle.length - vehicle.rear_overhang)  # of our nose
    margin = min(config.margin + config.margin_stds * signal.distance_std, config.most_margin)
    state = replace(state, distance=signal.distance)
    passed = config.stop_passed if signal.kind == "stop" and state.stood < config.stop_time else config.line_passed
    if line < -passed and world.speed > config.moving:
        state = replace(state, going=True)
    if signal.kind in ("light", ""):
        margin = max(margin, config.light_margin) if signal.kind else margin
        if signal.kind and signal.unseen > config.light_lost and world.speed < config.standing and line < config.creep:
            state = replace(state, going=True)
        state, rule = _light(state, signal.state, line, margin, world, limit, config)
        return state, rule if signal.kind else replace(rule, speed=config.unsigned_speed, at=max(line, 0.0))
    before = {} if state.going else {"line": line, "hold": max(line - margin, 0.0)}
    slowly = Rule(**before, speed=config.yield_speed, at=max(line, 0.0), limit=limit, reason=f"{signal.kind} sign")
    if signal.kind == "yield" or state.going:
        return state, slowly
    if world.speed < config.standing and line < config.stop_reach:
        state = replace(state, stood=state.stood + dt)
    if state.stood >= config.stop_time:
        return state, slowly
    return state, replace(slowly, stop=max(line - margin, 0.0))


def blocked(state: RulesState, rule: Rule, room: float, lead_speed: float, config: RulesConfig) -> tuple[RulesState, Rule]:
    """The rule, with a stop before the line where a queue leaves no room behind the junction; `room` is how far the rear axle may go."""
    slow = config.moving_off if state.waits else config.jam_speed
    if lead_speed > slow or not rule.hold < room < rule.line + config.junction_length or rule.line < -config.line_passed:
        return replace(state, waits=False), rule
    reason = rule.reason if np.isfinite(rule.stop) else "junction blocked"
    return replace(state, waits=True), replace(rule, stop=min(rule.stop, rule.hold), reason=reason)


def _light(
    state: RulesState, light: Light, line: float, margin: float, world: World, limit: float, config: RulesConfig
) -> tuple[RulesState, Rule]:
    go = Rule(limit=limit) if state.going else Rule(limit=limit, line=line, hold=max(line - margin, 0.0))
    if light in (Light.GREEN, Light.OFF) or state.going:
        return state, go
    hardest = config.red_deceleration if light == Light.RED else config.amber_deceleration
    needed = world.speed**2 / (2 * max(line, 0.1))
    too_near = light == Light.YELLOW and line < world.speed * config.amber_time
    if (needed > hardest or too_near) and world.speed > config.moving:
        return replace(state, going=light == Light.YELLOW), go
    return state, Rule(stop=max(line - margin, 0.0), limit=limit, reason=f"{light.value} light")
