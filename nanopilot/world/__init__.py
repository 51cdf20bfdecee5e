"""World: percepts and own motion -> the road, the others and ourselves, filtered over time.

In: an Observation (wheel speed, yaw rate, GPS, route) and its frame's Percept, or None. Out: a World in the vehicle
frame now. Filters: lanes (lanes.py), road users (tracks.py), pose on the route (localise.py). After a gap or a jump
back in time lanes and tracks begin anew; `State.reset` says why. A percept that is older than the last one used, or not
of this observation, counts as none. A camera found to look aside (aim.py) is told: whoever looks through it next turns it back. It holds
no clock and raises nothing on bad percepts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from nanopilot.messages import CarState, Curve, Observation, Percept, World
from nanopilot.world import aim, lanes, localise, signals, tracks
from nanopilot.world.aim import AimConfig, AimState
from nanopilot.world.curves import RoadCurve, moved
from nanopilot.world.lanes import LaneConfig, LaneState
from nanopilot.world.localise import LocaliseConfig, LocaliseState
from nanopilot.world.motion import own_motion
from nanopilot.world.signals import SignalConfig, SignalState
from nanopilot.world.tracks import TrackConfig, Tracks

Array = np.ndarray


@dataclass(frozen=True)
class Config:
    lanes: LaneConfig = field(default_factory=LaneConfig)
    tracks: TrackConfig = field(default_factory=TrackConfig)
    localise: LocaliseConfig = field(default_factory=LocaliseConfig)
    signals: SignalConfig = field(default_factory=SignalConfig)
    aim: AimConfig = field(default_factory=AimConfig)
    rules_of_the_road: bool = False  # signs and lights count: off in MetaDrive's maps, whose signs stand anywhere
    lone_probability: float = 0.3  # of a lane to the left or right, below which ours is the only one of our direction
    max_gap: float = 0.5  # s between observations that dead reckoning bridges; guess: 5 m of unseen road at 10 m/s
    max_lag: float = 0.1  # s a percept's frame may differ from its observation


@dataclass(frozen=True)
class State:
    lanes: LaneState
    tracks: Tracks
    localise: LocaliseState
    car: CarState | None = None  # of the last step
    t: float = 0.0
    percept_t: float = float("-inf")  # of the last percept used
    blind: float = 0.0
    signals: SignalState = field(default_factory=SignalState)
    aim: AimState = field(default_factory=AimState)
    reset: str = ""  # why lanes and tracks last began anew


def initial(config: Config) -> State:
    """Nothing known."""
    return State(LaneState(width=config.lanes.lane_width, width_std=config.lanes.lane_width_std), tracks.none(), LocaliseState())


def expected(state: State, observation: Observation, config: Config) -> Float[Array, "16 2"] | None:
    """The own path at PATH_ARC, vehicle frame now, before the observation's frame is looked at: what perception may remember."""
    curve, car = state.lanes.path, observation.car
    dt = observation.t - state.t
    if curve is None or curve.probability < config.lanes.shown_probability or not 0 <= dt <= config.max_gap:
        return None
    return moved(curve, own_motion(state.car or car, car, dt), config.lanes.curve).points


def step(state: State, observation: Observation, percept: Percept | None, config: Config) -> tuple[State, World]:
    """The world at `observation.t`; the percept must be of the observation's frame."""
    car = observation.car
    dt = 0.0 if state.car is None else observation.t - state.t
    if dt < 0 or dt > config.max_gap:
        state = _begun_anew(state, f"time jumped by {dt:.2f} s", dt, config)
    dt = max(dt, 0.0)
    motion = own_motion(state.car or car, car, dt)
    lane, others = lanes.move(state.lanes, motion, config.lanes), tracks.move(state.tracks, motion, config.tracks)
    pose = localise.predict(state.localise, motion, config.localise)

    usable = percept is not None and percept.valid and percept.t > state.percept_t and abs(percept.t - observation.t) <= config.max_lag
    if usable:
        lane, told = lanes.update(lane, percept, dt, config.lanes), localise.ahead(pose, config.localise)
        lane = lanes.advised(lane, told.route_line, told.route_std, told.localisation_std, dt, config.lanes)
        others = tracks.update(others, percept.objects, dt, config.tracks, doubtful=percept.doubtful)
        for view in percept.sides:
            others = tracks.update(others, view.objects, view.since, config.tracks, view.yaw)
        state = replace(state, percept_t=percept.t, blind=0.0)
    else:
        lane = lanes.fade(lane, dt, config.lanes)
        state = replace(state, blind=state.blind + dt)
    state = replace(state, aim=aim.step(state.aim, motion, percept.lanes if usable else (), config.aim))
    others = tracks.forget(others, config.tracks)
    seen_path = lane.path if usable else None
    lone = max(lane.lane_left, lane.lane_right) < config.lone_probability
    pose = localise.update(pose, car, observation.gps, observation.route, seen_path, lone, observation.t, dt, config.localise)
    if config.rules_of_the_road:
        told = localise.ahead(pose, config.localise)
        seen = signals.step(state.signals, percept if usable else None, told, motion.travelled, dt, config.signals)
        if seen.measured is not None:
            pose = localise.lined(pose, seen.distance, *seen.measured, motion.travelled, config.localise)
        state = replace(state, signals=seen)
    state = replace(state, lanes=lane, tracks=others, localise=pose, car=car, t=observation.t)
    return state, _told(state, config)


def _begun_anew(state: State, reason: str, dt: float, config: Config) -> State:
    fresh = initial(config)
    pose = state.localise if dt > 0 else replace(state.localise, gps_t=fresh.localise.gps_t)
    return replace(fresh, tracks=replace(fresh.tracks, next_id=state.tracks.next_id), localise=pose, car=state.car, t=state.t,
                   percept_t=state.percept_t if dt > 0 else fresh.percept_t, blind=state.blind, aim=AimState(yaw=state.aim.yaw),
                   reset=reason)  # fmt: skip


def _curve(curve: RoadCurve | None, config: LaneConfig) -> Curve | None:
    shown = curve is not None and curve.probability >= config.shown_probability
    return Curve(curve.points, curve.std, curve.probability) if shown else None


def _told(state: State, config: Config) -> World:
    lane, car = state.lanes, state.car
    ahead = localise.ahead(state.localise, config.localise)
    return World(
        t=state.t,
        speed=car.speed,
        yaw_rate=car.yaw_rate,
        acceleration=car.acceleration,
        path=_curve(lane.path, config.lanes),
        left=_curve(lane.left, config.lanes),
        right=_curve(lane.right, config.lanes),
        lane_width=lane.width,
        lane_left=lane.lane_left,
        lane_right=lane.lane_right,
        tracks=tracks.told(state.tracks, config.tracks),
        route_line=ahead.route_line,
        route_std=ahead.route_std,
        next_turn=ahead.next_turn,
        next_turn_distance=ahead.next_turn_distance,
        goal_distance=ahead.goal_distance,
        speed_limit=ahead.speed_limit,
        localisation_std=ahead.localisation_std,
        blind=state.blind,
        camera_yaw=state.aim.yaw,
        concern="blind" if state.blind > 0 else aim.concern(state.aim, config.aim),
        signals=signals.told(state.signals, ahead, config.signals) if config.rules_of_the_road else (),
    )
