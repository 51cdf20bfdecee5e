"""Blind spot: is a vehicle or a cyclist beside or just behind us where a mirror doesn't show it, and do we go there?

In: tracks, the frame's side views, which say what cameras look aside, and how our wheels move towards the lines. Out: a warning per side:
told while somebody is there, urgent once we drift towards him (nobody tells a turn signal). A side that no camera has looked at for
`memory` is silent, for from ahead alone we can't know. Zone: ISO 17387's (second-hand), from the driver's eyes back to 3 m behind the car.
"""

from __future__ import annotations

from dataclasses import dataclass

from nanopilot.assist.lane import LEFT, RIGHT, LaneState
from nanopilot.assist.latch import Latch, latched
from nanopilot.messages import Kind, Percept, Track, VehicleModel, Warning, WarningKind, WarningLevel, World

LEVELS = (WarningLevel.INFO, WarningLevel.INFO, WarningLevel.MEDIUM)


@dataclass(frozen=True)
class BlindSpotConfig:
    aside: tuple[float, float] = (0.5, 3.0)  # m beside our own side, ISO 17387
    behind: float = 3.0  # m behind our rear end, ISO 17387
    eyes: float = 1.6  # m before the rear axle, guess
    memory: float = 1.0  # s since a camera looked to that side, guess
    least_probability: float = 0.35  # of a track, guess
    to_line: float = 1.5  # s until our wheels are on the line, guess: ISO 17361's earliest
    least_rate: float = 0.2  # m/s towards the line, guess
    confirm: float = 0.2  # s, guess
    hold: float = 0.6  # s, guess


@dataclass(frozen=True)
class BlindSpotState:
    looked: tuple[float, float] = (float("-inf"), float("-inf"))  # when a camera last did, left and right
    latches: tuple[Latch, Latch] = (Latch(), Latch())


def blind_spot(
    state: BlindSpotState, world: World, percept: Percept | None, lane: LaneState, vehicle: VehicleModel, config: BlindSpotConfig
) -> tuple[BlindSpotState, tuple[Warning, ...]]:
    """At most one warning a side."""
    views = percept.sides if percept is not None and percept.valid else ()
    looked, latches, warnings = list(state.looked), list(state.latches), []
    for k, side in enumerate((LEFT, RIGHT)):
        if any(view.yaw * -side > 0 for view in views):
            looked[k] = world.t
        there = [t for t in world.tracks if _inside(t, side, vehicle, config)] if world.t - looked[k] <= config.memory else []
        edge = lane.edges[k]
        going = edge is not None and edge.t == world.t and -edge.rate > max(config.least_rate, edge.value / config.to_line)
        latches[k] = latched(state.latches[k], world.t, (1 + going) if there else 0, config.confirm, config.hold)
        if latches[k].level and there:
            near = min(there, key=lambda t: abs(t.y))
            gap = abs(near.y) - near.width / 2 - vehicle.width / 2
            reason = f"a {near.kind} {gap:.1f} m beside us on the {'left' if side == LEFT else 'right'}"
            warnings.append(Warning(world.t, WarningKind.BLIND_SPOT, LEVELS[latches[k].level], gap, near.position_std, config.aside[1], "m",
                                    reason, side, near.id))  # fmt: skip
    return BlindSpotState((looked[0], looked[1]), (latches[0], latches[1])), tuple(warnings)


def _inside(track: Track, side: int, vehicle: VehicleModel, config: BlindSpotConfig) -> bool:
    """Whether any part of it is in the zone of that side."""
    if track.kind == Kind.PERSON or track.probability < config.least_probability:
        return False
    middle = -side * track.y - vehicle.width / 2  # m beside our own side
    near, far = config.aside
    along = -vehicle.rear_overhang - config.behind < track.x + track.length / 2 and track.x - track.length / 2 < config.eyes
    return along and near < middle + track.width / 2 and middle - track.width / 2 < far and middle > 0
