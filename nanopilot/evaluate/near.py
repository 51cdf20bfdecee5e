"""Near misses: how often a drive was too near to somebody by responsibility-sensitive safety, judged by the simulator's truth.

In: the truths of a drive. Out: how many separate times some road user ahead was nearer than safe both along and across our lane while we
moved, and the share of the time. The formulas are `safety.rss`'s (Shalev-Shwartz et al. 2017), fed with exact places instead of tracks.
They allow for a driver who speeds up for a second before he brakes, so ordinary following counts too: compare drivers, don't aim at 0.
Not judged: who was to blame, and who comes from behind.
"""

from __future__ import annotations

import math

import numpy as np

from nanopilot.bodies.simcar_ecu import vehicle_model
from nanopilot.geometry import child_from_parent, wrap
from nanopilot.messages import Curve, Kind, Track, Turn, World
from nanopilot.safety import rss
from nanopilot.sim.truth import SimTruth, TrueActor

NEAR = 60.0  # m: farther, nobody is too near at 50 km/h
MOVING = 1.0  # m/s: a queue stands nearer than the formulas like
APART = 1.0  # s without danger between two near misses
CAR = vehicle_model(0.05)  # the simulated car's size is the same at any step


def near_misses(truths: list[SimTruth]) -> tuple[int, float]:
    """(times, share of the time)."""
    state = rss.initial()
    count, unsafe, last = 0, 0, -math.inf
    for truth in truths:
        state, verdict = rss.step(state, exact_world(truth), CAR)
        if verdict.danger > 0.0 and truth.speed > MOVING:
            count += truth.t - last > APART
            unsafe, last = unsafe + 1, truth.t
    return count, unsafe / len(truths) if truths else 0.0


def exact_world(truth: SimTruth) -> World:
    """What the pilot would believe if it knew where everybody is."""
    path = child_from_parent(truth.lane_path[::3], truth.x, truth.y, truth.yaw)
    tracks = tuple(_track(a, truth) for a in truth.actors if math.hypot(a.x - truth.x, a.y - truth.y) < NEAR)
    return World(
        t=truth.t, speed=truth.speed, yaw_rate=0.0, acceleration=0.0, path=Curve(path, np.zeros(len(path)), 1.0), left=None, right=None,
        lane_width=truth.lane_width, lane_left=0.0, lane_right=0.0, tracks=tracks, route_line=np.zeros((0, 2)), route_std=0.0,
        next_turn=Turn.STRAIGHT, next_turn_distance=0.0, goal_distance=0.0, speed_limit=truth.limit, localisation_std=0.0, blind=0.0,
    )  # fmt: skip


def _track(actor: TrueActor, truth: SimTruth) -> Track:
    x, y = child_from_parent(np.array([actor.x, actor.y]), truth.x, truth.y, truth.yaw).tolist()
    yaw = wrap(actor.yaw - truth.yaw)
    return Track(
        id=actor.id, kind=Kind(actor.kind), x=x, y=y, yaw=yaw, vx=actor.speed * math.cos(yaw), vy=actor.speed * math.sin(yaw),
        acceleration=0.0, yaw_rate=0.0, position_std=0.0, velocity_std=0.0, length=actor.length, width=actor.width,
        age=0.0, unseen=0.0, probability=1.0,
    )  # fmt: skip
