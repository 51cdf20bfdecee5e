"""A humanoid's second opinion: is a thing or a person too near ahead for a step forward?

In: a World with a Room. Out: an RssVerdict whose `distance` is that from the body's middle to the nearest occupied cell or person
ahead, and `safe_distance` how near that may be. It shares no code with the planner, which keeps further away.
It sees only what the world has mapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, inf, sin

from nanopilot.messages import Room, RssVerdict, VehicleModel, World


@dataclass(frozen=True)
class Config:
    thing: float = 0.28  # m from the middle; the body reaches 0.27 m sideways and 0.2 m forward
    person: float = 0.5  # m, middle to middle
    cone: float = 0.9  # rad to either side that counts as ahead
    look: float = 0.6  # m around that is looked at
    occupied: int = 75  # percent
    unseen: float = 0.6  # s after which a person counts no more


@dataclass(frozen=True)
class State:
    danger: float = 0.0  # s
    t: float = -inf


def initial(config: Config = Config()) -> State:
    return State()


def step(state: State, world: World, vehicle: VehicleModel, config: Config) -> tuple[State, RssVerdict]:
    """The verdict on one world. Raises ValueError for a world without a room."""
    room = world.room
    if room is None:
        raise ValueError("keep-out needs a room")
    thing, person, who = _thing(room, config), inf, -1
    for track in world.tracks:
        away = hypot(track.x, track.y)
        if track.unseen < config.unseen and away < person and abs(atan2(track.y, track.x)) < config.cone:
            person, who = away, track.id
    worst = person - config.person < thing - config.thing
    distance, safe = (person, config.person) if worst else (thing, config.thing)
    dt = world.t - state.t if state.t > -inf else 0.0
    danger = state.danger + dt if distance < safe else 0.0
    return State(danger, world.t), RssVerdict(world.t, who if worst else -1, min(distance, 99.0), safe, danger=danger)


def _thing(room: Room, config: Config) -> float:
    """Distance to the nearest occupied cell ahead; inf where none is within `look`."""
    rows, columns = room.occupancy.shape
    reach = int(config.look / room.cell) + 1
    column, row = int((room.x - room.origin[0]) / room.cell), int((room.y - room.origin[1]) / room.cell)
    c, s, nearest = cos(room.yaw), sin(room.yaw), inf
    for r in range(max(row - reach, 0), min(row + reach + 1, rows)):
        for k in range(max(column - reach, 0), min(column + reach + 1, columns)):
            value = int(room.occupancy[r, k])
            if value == Room.UNKNOWN or value < config.occupied:
                continue
            dx = room.origin[0] + (k + 0.5) * room.cell - room.x
            dy = room.origin[1] + (r + 0.5) * room.cell - room.y
            if abs(atan2(-s * dx + c * dy, c * dx + s * dy)) < config.cone:
                nearest = min(nearest, hypot(dx, dy))
    return nearest
