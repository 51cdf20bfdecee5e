"""Lights and signs over time: what rules the route's next junction, and how fast we may go.

In: one frame's lights and signs (boxes in the model camera's picture) and how far the route says the next junction is. Out: RoadSignals.
How far away a light or sign stands follows from how high it stands in the picture, as their heights are standard (a light's middle
at 3.1 m, a sign's at 2.2 m: German RiLSA, VwV-StVO); it counts for the next junction if it stands about there and not far
aside. A post near the line tells how far that is, for `localise`. States are votes that fade; a light out of sight gives way
to a sign read here. What was told of a junction is forgotten
behind it. It knows no arrows and no lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nanopilot.geometry import MODEL_FOCAL, MODEL_HORIZON, MODEL_WIDTH, model_camera
from nanopilot.messages import Light, Percept, RoadSignal, TrafficLight, TrafficSign, Turn
from nanopilot.world.localise import Ahead

JUNCTIONS = (Turn.STRAIGHT, Turn.LEFT, Turn.RIGHT, Turn.ROUNDABOUT)


@dataclass(frozen=True)
class SignalConfig:
    """Guesses, tried in towns, unless another origin stands beside."""

    light_height: float = 3.1  # m, of a light's middle
    sign_height: float = 2.2
    yield_height: float = 2.05  # of its box's: the tip points down
    light_behind: float = 1.2  # m a light's post stands behind the stop line's middle in our towns (RiLSA: 3.5 m where there is room)
    sign_before: float = 1.5  # m a stop or yield sign stands before it
    camera_height: float = model_camera().z
    camera_x: float = model_camera().x
    before: float = 10.0  # m before the junction a light or sign may stand, by our reckoning
    across: float = 36.0  # m after it a light may stand: the far side
    aside: float = 6.0  # m, and
    aside_share: float = 0.2  # of its distance: nearer the line, lights of the street across stand 9 m aside and more
    overhead: float = 7.0  # m to the line from which ours may be above the picture (tuning town 3004: another arm's red one counted)
    doubt: float = 0.2  # of a distance told by height: slopes, other heights
    sight: float = 80.0  # m to the junction within which its signals are sought
    gain: float = 0.3  # of a frame's vote
    told: float = 0.5  # least share of the votes
    sign_told: float = 0.6
    light_against_sign: float = 1.0  # s out of sight, and a light was the next junction's, if a stop or yield sign is believed here
    limit_sight: float = 25.0  # m within which a limit's sign counts
    limit_votes: float = 2.5  # readings until it holds
    post_std: tuple[float, float] = (0.7, 0.05)  # m and share of its distance, of what a post tells (tuning towns: 0.2 m to 20 m, 2 at 60)
    new_junction: float = 8.0  # m by which the next junction's distance grows when the last one is behind us
    keep_before: float = 20.0  # m before a junction that "keep left" is said


@dataclass(frozen=True)
class SignalState:
    votes: tuple[float, ...] = (0.0,) * len(Light)  # for the light's states, in the order of Light
    stop: float = 0.0  # for a stop sign, a yield sign
    giving_way: float = 0.0
    unseen: float = 0.0  # s since the light was last seen
    distance: float = np.inf  # to the junction, by the route
    measured: tuple[float, float] | None = None  # m to its line, as the nearest light or sign tells now, and its standard deviation
    limit: float = 0.0  # m/s that the last sign told; 0: none yet
    limit_votes: dict[float, float] = field(default_factory=dict)


def step(state: SignalState, percept: Percept | None, ahead: Ahead, travelled: float, dt: float, config: SignalConfig) -> SignalState:
    """Votes moved on by a frame; forgotten once the junction has changed."""
    distance = _junction(ahead, config)
    if distance > state.distance - travelled + config.new_junction:
        state = SignalState(limit=state.limit, limit_votes=state.limit_votes)
    state = replace(state, distance=distance, unseen=state.unseen + dt, measured=None)
    if percept is None or not np.isfinite(distance):
        return state
    if distance < config.sight:
        lights = [x for x in percept.lights if _there(x.box, config.light_height, distance, config.across, config)]
        if lights:
            best = max(lights, key=lambda x: (x.box[2] - x.box[0]) * x.probability)
            if not _anothers(state, best.state, distance, config):
                votes = np.array(state.votes) * (1 - config.gain)
                votes[tuple(Light).index(best.state)] += config.gain
                state = replace(state, votes=tuple(votes.tolist()), unseen=0.0)
                state = _measured(state, lights, config.light_height, -config.light_behind, config)
        for name, field_name, height in (("stop", "stop", config.sign_height), ("yield", "giving_way", config.yield_height)):
            signs = [x for x in percept.signs if x.name == name and _there(x.box, height, distance, config.before, config)]
            if signs:
                now = getattr(state, field_name)
                state = replace(state, **{field_name: now + config.gain * (max(x.probability for x in signs) - now)})
                state = _measured(state, signs, height, config.sign_before, config)
    return _limited(state, percept, config)


def _anothers(state: SignalState, seen: Light, distance: float, config: SignalConfig) -> bool:
    """Whether a red light is another road's: ours was green, would be amber first, and is above the picture by now."""
    ours = tuple(Light)[int(np.argmax(state.votes))] if max(state.votes) > config.told else None
    return seen == Light.RED and ours == Light.GREEN and distance < config.overhead


def _measured(
    state: SignalState, seen: Sequence[TrafficLight | TrafficSign], height: float, to_line: float, config: SignalConfig
) -> SignalState:
    """The junction's distance by the nearest light or sign, `to_line` m before the line."""
    told = min(place(x.box, height, config)[0] for x in seen) + config.camera_x + to_line
    return replace(state, measured=(told, config.post_std[0] + config.post_std[1] * told))


def told(state: SignalState, ahead: Ahead, config: SignalConfig) -> tuple[RoadSignal, ...]:
    """What is believed now."""
    out = []
    distance, std = _junction(ahead, config), ahead.along_std
    k = int(np.argmax(state.votes))
    signed = state.unseen > config.light_against_sign and max(state.stop, state.giving_way) > config.sign_told
    if state.votes[k] > config.told * max(sum(state.votes), config.told) and not signed:
        out.append(RoadSignal("light", tuple(Light)[k], distance, std, 0.0, state.votes[k], state.unseen))
    else:
        for kind, votes in (("stop", state.stop), ("yield", state.giving_way)):
            if votes > config.sign_told:
                out.append(RoadSignal(kind, Light.OFF, distance, std, 0.0, votes, state.unseen))
    if state.limit:
        out.append(RoadSignal("limit", Light.OFF, 0.0, 0.0, state.limit, 1.0, 0.0))
    return tuple(out)


def place(box: np.ndarray, height: float, config: SignalConfig) -> tuple[float, float]:
    """(ahead, left) m from the camera of something whose middle is `height` above the road; (inf, 0) at or below the horizon."""
    up = MODEL_HORIZON - 0.5 * float(box[1] + box[3])
    if up < 1.0:
        return np.inf, 0.0
    distance = MODEL_FOCAL * (height - config.camera_height) / up
    return distance, distance * ((MODEL_WIDTH - 1) / 2 - 0.5 * float(box[0] + box[2])) / MODEL_FOCAL


def _there(box: np.ndarray, height: float, junction: float, after: float, config: SignalConfig) -> bool:
    distance, left = place(box, height, config)
    doubt = config.doubt * min(distance, 2 * config.sight)
    return (
        junction - config.before - doubt < distance < junction + after + doubt and abs(left) < config.aside + config.aside_share * distance
    )


def _junction(ahead: Ahead, config: SignalConfig) -> float:
    if ahead.next_turn in JUNCTIONS:
        return ahead.next_turn_distance
    if ahead.next_turn in (Turn.KEEP_LEFT, Turn.KEEP_RIGHT):
        return ahead.next_turn_distance + config.keep_before
    return np.inf


def _limited(state: SignalState, percept: Percept, config: SignalConfig) -> SignalState:
    votes = dict(state.limit_votes)
    for sign in percept.signs:
        distance, left = place(sign.box, config.sign_height, config)
        right = 0 < -left < config.aside + config.aside_share * distance
        if sign.speed_limit > 0 and distance < config.limit_sight and right:
            votes[sign.speed_limit] = votes.get(sign.speed_limit, 0.0) + sign.probability
    best = max(votes, key=votes.__getitem__, default=0.0)
    if best and votes[best] > config.limit_votes:
        return replace(state, limit=best, limit_votes={})
    return replace(state, limit_votes={k: 0.95 * v for k, v in votes.items() if v > 0.1})
