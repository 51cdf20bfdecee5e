"""A simulator's ground truth: a type of its own that only `train`, `fleet` and `evaluate` may accept.

Frames and units as in `messages`; everything here is exact. The pilot and its stages can't import this
module (an import contract says so), hence can't name the type, hence can't cheat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nanopilot.messages import Message


@dataclass(frozen=True)
class TrueActor(Message):
    """Another road user in the map frame; (x, y) is the centre of its box on the ground."""

    id: int
    kind: str  # messages.Kind value
    x: float
    y: float
    yaw: float
    speed: float
    length: float
    width: float
    height: float


@dataclass(frozen=True)
class TrueSignal(Message):
    """What rules the route's next junction: `kind` light, stop, yield or none; `distance` is the rear axle's to the stop line."""

    kind: str
    state: str  # a light's: messages.Light value; '' otherwise
    distance: float
    posts: Float[np.ndarray, "n 2"]  # where the lights or the sign stand, map frame


@dataclass(frozen=True)
class SimTruth(Message):
    """All a judge needs of one instant."""

    t: float
    x: float  # rear axle, map frame
    y: float
    yaw: float
    speed: float
    lane_offset: float  # of the car's centre from its lane's centre, left positive, m
    lane_width: float
    lane_heading_error: float
    lane_index: int  # 0 is leftmost
    lane_count: int  # lanes of our direction side by side here
    wheels_in_lane: bool
    lane_path: Float[np.ndarray, "n 2"]  # own lane's centre along the route, map frame, from abeam on (60 m)
    actors: tuple[TrueActor, ...]
    route_completion: float
    crash_vehicle: bool
    crash_object: bool
    crash_person: bool
    out_of_road: bool
    arrived: bool
    signals: tuple[TrueSignal, ...] = ()  # of towns
    limit: float = 0.0  # m/s, the road's speed limit; 0 where there is none
    infractions: tuple[str, ...] = ()  # of towns, so far: names of sim.sumo.PENALTIES' keys
    wrong_way: float = 0.0  # m driven outside the lanes of our direction
    reroutes: int = 0  # new ways that navigation had to find, of towns
    passable: bool = True  # whether continuous lines leave any way to the destination (`sim.ramps`)


@dataclass(frozen=True)
class RobotTruth(Message):
    """The humanoid's exact state, in the frame of its start."""

    t: float
    x: float
    y: float
    yaw: float
    height: float
    fallen: bool
    touched: tuple[str, ...]  # names of what it has touched so far
    goal: tuple[float, float]
    people: Float[np.ndarray, "n 2"]
    boxes: Float[np.ndarray, "n 3"] | None = None  # middles of those that can be moved
