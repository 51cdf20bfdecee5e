"""The planning stage: World + VehicleModel -> Plan, once a step.

Order: which line to follow (`behaviour`), how fast it may be driven and who is in the way (`conflicts`), when to be
where (`longitudinal`), and how to steer along it (`lateral`). The state carries the line, the last plan (its own
acceleration and curvature are where the next one starts, so that plans join without a jump) and who is yielded to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from nanopilot import dynamics
from nanopilot.geometry import wrap
from nanopilot.messages import Behaviour, Kind, Light, Plan, Signal, Turn, VehicleModel, World
from nanopilot.planning import behaviour, conflicts, lateral, longitudinal, rules

Array = np.ndarray

TURNS = (Turn.LEFT, Turn.RIGHT, Turn.ROUNDABOUT)  # slowed down for on navigation's word
JUNCTIONS = (*TURNS, Turn.STRAIGHT)


@dataclass(frozen=True)
class Config:
    step: float = 0.2  # s between the plan's times
    speed_steps: int = 30  # 6 s of longitudinal horizon
    path_steps: int = 20  # 4 s of lateral horizon, and of the Plan
    blind_stop: float = 0.5  # s without a valid percept until we stop in lane
    unseen_speed: float = 4.0  # m/s while no lane is seen, guess
    unseen_stop: float = 2.0  # s without a lane until we stop, guess
    signal_before: float = 30.0  # m before a turn from which the turn signal shows, as traffic codes ask
    crossing_speed: float = 8.0  # m/s into a junction that we go straight through: others cross there (tuning map 3010)
    junction_length: float = 25.0  # m from its mouth in which others drive: MetaDrive's of three lanes, guess
    stop_deceleration: float = 2.0  # m/s² of these stops; UN R157 (second-hand) allows 4
    arrived_distance: float = 2.0  # m to the goal: what navigation can tell, guess
    goal_notice: float = 20.0  # m before braking for the goal must begin: from here it is part of the plan, guess
    standing_speed: float = 0.3  # m/s
    green_unseen: float = 5.0  # s for which a green light that has left the picture is believed, guess: amber and all red last about that
    held_back: float = 1.0  # m/s below what we would drive alone: then others are named as the reason, guess
    max_acceleration_gap: float = 1.0  # m/s² between the last plan and the measured acceleration, else start from the latter
    max_lateral_gap: float = 0.7  # m/s² likewise across
    behaviour: behaviour.BehaviourConfig = field(default_factory=behaviour.BehaviourConfig)
    conflicts: conflicts.ConflictConfig = field(default_factory=conflicts.ConflictConfig)
    lateral: lateral.LateralConfig = field(default_factory=lateral.LateralConfig)
    longitudinal: longitudinal.LongitudinalConfig = field(default_factory=longitudinal.LongitudinalConfig)
    rules: rules.RulesConfig = field(default_factory=rules.RulesConfig)


@dataclass(frozen=True)
class State:
    line: behaviour.Line = field(default_factory=behaviour.Line)
    plan: Plan | None = None
    yields: tuple[int, ...] = ()
    waiting: float = 0.0  # s we have stood yielding
    entered: float = np.inf  # m driven since our nose was in the last junction's mouth
    green: float | None = None  # rad, the direction of the road on which we came to a green light, until we are through
    rules: rules.RulesState = field(default_factory=rules.RulesState)


def initial(config: Config = Config()) -> State:
    """Nothing known yet."""
    return State()


def step(state: State, world: World, vehicle: VehicleModel, config: Config = Config()) -> tuple[State, Plan]:
    """The next plan. Raises nothing on odd worlds: with no road ever seen it plans to stand where it is."""
    dt = max(world.t - state.plan.t, 0.0) if state.plan else 0.0
    line = behaviour.follow(state.line, world, dt, vehicle, config.behaviour)
    acceleration, curvature = _start(state.plan, world, config)
    if line.target is None:
        plan = _no_road(world, acceleration, curvature, config)
        return State(line, plan, rules=state.rules), plan

    mouth = world.next_turn_distance if world.next_turn in JUNCTIONS else np.inf
    past = vehicle.length - vehicle.rear_overhang - mouth
    entered = past if past > -config.conflicts.mouth_gap else state.entered + world.speed * dt
    inside = config.conflicts.mouth_passed < entered < config.junction_length
    green = _green(state.green, world, inside, dt, config)
    path = behaviour.blended(line, world.speed, config.behaviour)
    times = config.step * np.arange(config.speed_steps + 1)
    ruled, rule = rules.step(state.rules, world, dt, vehicle, config.rules)
    limit = min(world.speed_limit, rule.limit)
    wanted = limit if line.unseen == 0 else min(limit, config.unseen_speed)
    turn = world.next_turn_distance if world.next_turn in TURNS else np.inf
    table = longitudinal.speed_table(path, wanted, config.longitudinal, turn)
    crossing = world.next_turn_distance if world.next_turn == Turn.STRAIGHT else np.inf
    table = longitudinal.slowed(path, table, crossing, config.crossing_speed, config.longitudinal)
    table = longitudinal.slowed(path, table, rule.at, rule.speed, config.longitudinal)
    table = conflicts.passing_speeds(path, world.tracks, table, config.longitudinal, config.conflicts)
    free = longitudinal.roll_out(path, table, times, world.speed, None, config.longitudinal)
    verdict = conflicts.assess(
        path, world.tracks, times, free.s, vehicle, state.waiting, state.yields, config.longitudinal, config.conflicts,
        mouth, inside, green,
    )  # fmt: skip
    queues = all(track.kind != Kind.PERSON for track in world.tracks if track.id == verdict.lead_id)  # a person, or a post, is none
    room = float(verdict.bounds.gap[-1]) if queues else np.inf
    ruled, rule = rules.blocked(ruled, rule, room, float(verdict.bounds.lead_speed[-1]), config.rules)
    bounds, stop_reason = _stops(verdict.bounds, world, line, rule, config)
    profile = longitudinal.plan(path, table, times, world.speed, acceleration, bounds, vehicle, config.longitudinal)

    n = config.path_steps + 1
    trajectory = lateral.plan(path, times[:n], profile.s[:n], profile.speed[:n], curvature, dynamics.max_curvature(vehicle), config.lateral)
    name, reason, lead = _say(world, line, verdict, profile, free, stop_reason, config)
    if not trajectory.solved:
        reason += "; path program failed: pure pursuit"
    if not profile.solved:
        reason += "; speed program failed: roll-out"
    plan = Plan(
        t=world.t, behaviour=name, reason=reason, times=times[:n], xy=trajectory.xy, yaw=trajectory.yaw,
        speed=profile.speed[:n], acceleration=profile.acceleration[:n], curvature=trajectory.curvature, lead_id=lead,
        signal=_signal(line, world, config), set_speed=wanted,
    )  # fmt: skip
    waits = name == Behaviour.YIELD and world.speed < config.standing_speed
    return State(line, plan, verdict.yields, state.waiting + dt if waits else 0.0, entered, green, ruled), plan


def _green(last: float | None, world: World, inside: bool, dt: float, config: Config) -> float | None:
    """The direction (rad) of the road on which we came to a light that is green, or was when we drove in; else None."""
    if inside:
        return None if last is None else wrap(last - world.yaw_rate * dt)
    green = any(s.kind == "light" and s.state == Light.GREEN and s.unseen < config.green_unseen for s in world.signals)
    return 0.0 if green else None


def _start(last: Plan | None, world: World, config: Config) -> tuple[float, float]:
    """The acceleration and curvature to plan on from: the last plan's for now, kept near what is measured."""
    speed = max(world.speed, dynamics.MIN_SPEED_FOR_YAW_RATE)
    measured = world.yaw_rate / speed
    if last is None:
        return world.acceleration, measured
    age = world.t - last.t
    a, k = (float(np.interp(age, last.times, values)) for values in (last.acceleration, last.curvature))
    near = config.max_lateral_gap / speed**2
    if world.speed > dynamics.MIN_SPEED_FOR_YAW_RATE:
        k = float(np.clip(k, measured - near, measured + near))
    return float(np.clip(a, world.acceleration - config.max_acceleration_gap, world.acceleration + config.max_acceleration_gap)), k


def _stops(
    bounds: longitudinal.Bounds, world: World, line: behaviour.Line, rule: rules.Rule, config: Config
) -> tuple[longitudinal.Bounds, str]:
    """Add the stops that no track makes; the reason is empty when there is none near."""
    braking = world.speed**2 / (2 * config.stop_deceleration)
    reason = ""
    if len(world.route_line) and world.goal_distance < braking + config.goal_notice:
        bounds, reason = longitudinal.stopping_bounds(bounds, world.goal_distance), "goal"
    if rule.stop < braking + config.goal_notice:
        bounds, reason = longitudinal.stopping_bounds(bounds, rule.stop), rule.reason
    if world.blind > config.blind_stop:
        return longitudinal.stopping_bounds(bounds, braking), "blind"
    if line.unseen > config.unseen_stop:
        return longitudinal.stopping_bounds(bounds, braking), "no lane seen"
    return bounds, reason


def _say(
    world: World,
    line: behaviour.Line,
    verdict: conflicts.Verdict,
    profile: longitudinal.Profile,
    free: longitudinal.Profile,
    stop: str,
    config: Config,
) -> tuple[Behaviour, str, int]:
    """What we do in one word, why in a few, and the lead."""
    held_back = bool((free.speed - profile.speed).max() > config.held_back)
    lead = verdict.lead_id if held_back and np.isfinite(verdict.bounds.gap).any() else -1
    emergency = "emergency braking, " if profile.emergency else ""
    if stop == "goal" and world.goal_distance < config.arrived_distance and world.speed < config.standing_speed:
        return Behaviour.ARRIVED, "arrived", lead
    if stop in ("blind", "no lane seen"):
        return Behaviour.STOP, f"stop in lane: {stop}", lead
    if held_back and verdict.yields and np.isfinite(verdict.bounds.stop).any():
        return Behaviour.YIELD, f"{emergency}yield to {', '.join(map(str, verdict.yields))}", lead
    if line.change is not None:
        left = line.change.direction > 0
        return (Behaviour.CHANGE_LEFT if left else Behaviour.CHANGE_RIGHT), f"{emergency}lane change for the route", lead
    if lead >= 0:
        return Behaviour.FOLLOW, f"{emergency}follow {lead}", lead
    if stop:
        return Behaviour.STOP, "stop at the goal" if stop == "goal" else f"stop: {stop}", lead
    return Behaviour.KEEP_LANE, "lane not seen: slow" if line.unseen > 0 else "keep lane", lead


def _signal(line: behaviour.Line, world: World, config: Config) -> Signal:
    """Of the lane change under way or wished for; else of the turn we come to."""
    side = line.side
    if side == 0 and world.next_turn_distance < config.signal_before:
        side = {Turn.LEFT: 1, Turn.RIGHT: -1}.get(world.next_turn, 0)
    return {1: Signal.LEFT, -1: Signal.RIGHT}.get(side, Signal.OFF)


def _no_road(world: World, acceleration: float, curvature: float, config: Config) -> Plan:
    """Brake to a stand along the present arc."""
    n = config.path_steps + 1
    times = config.step * np.arange(n)
    start = dynamics.Motion(speed=world.speed, acceleration=-config.stop_deceleration, curvature=curvature)
    states: Float[Array, "n 6"] = np.array([dynamics.advance(start, float(t)) for t in times])
    braking = np.where(states[:, 3] > 0, -config.stop_deceleration, 0.0)
    return Plan(
        t=world.t, behaviour=Behaviour.STOP, reason="no road seen yet", times=times, xy=states[:, :2], yaw=states[:, 2],
        speed=states[:, 3], acceleration=braking, curvature=np.full(n, curvature),
    )  # fmt: skip
