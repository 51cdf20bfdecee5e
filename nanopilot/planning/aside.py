"""Steps aside of a humanoid that would else stand too close: from people whose arms may touch it, and from things at its own arms.

In: people's tracks, and how far every cell of the map is from the nearest thing. Out: a slow velocity ahead and to the left, without
turning, or None where none is needed or none helps. It looks 1.5 s ahead, also to where the camera doesn't see: the map knows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import parent_from_child, rotation_2d
from nanopilot.messages import Room, World
from nanopilot.planning.potential import read

Array = np.ndarray

YIELDING = 0.2  # m/s of such a step
ASKEW = (0.0, 0.5, -0.5, 1.0, -1.0, 1.4, -1.4)  # rad off straight away that are tried: behind may be a thing
STEP = 0.2  # m aside
BROAD = 0.25  # m from a person's middle to his arms
TOWARDS = 0.3  # cosine between a step and where somebody was from which it is towards him


def nearest(world: World) -> float:
    """Metres to the nearest person."""
    return min((float(np.hypot(t.x, t.y)) for t in world.tracks), default=np.inf)


def roomier_side(world: World, room: Room, clearance: Array) -> float:
    """1.0 where things and people leave more room a step to the left, else -1.0."""
    sides = np.array([[0.0, STEP], [0.0, -STEP]])
    left, right = read(clearance, parent_from_child(sides, room.x, room.y, room.yaw)[None], room)[0]
    for t in world.tracks:
        left, right = min(left, np.hypot(t.x, t.y - STEP) - BROAD), min(right, np.hypot(t.x, t.y + STEP) - BROAD)
    return 1.0 if left >= right else -1.0


def gives_way(
    world: World, room: Room, clearance: Array, near: float, unseen: float, body: float, lost: tuple[float, float], askew: bool = False
) -> Float[Array, "2"] | None:
    """A slow step away from who is nearer than `near`, where there is room for it; None where nobody is or there is none.

    `askew`: or not straight away, where there is a thing behind. Never to where somebody was last seen within `lost[1]` m, more than
    `lost[0]` s ago: he may have come nearer.
    """
    close = [t for t in world.tracks if np.hypot(t.x, t.y) < near and t.unseen < unseen]
    if not close:
        return None
    x, y = -sum(np.array([t.x, t.y]) / max(np.hypot(t.x, t.y), 0.1) ** 2 for t in close)
    straight = YIELDING * np.array([x, y]) / max(float(np.hypot(x, y)), 1e-6)
    for turn in ASKEW if askew else ASKEW[:1]:
        away = rotation_2d(turn) @ straight
        spots = parent_from_child(np.linspace(0.0, 1.5, 4)[:, None] * away, room.x, room.y, room.yaw)
        room_left = read(clearance, spots[None], room)[0]
        if room_left[1:].min() >= min(body, room_left[0] + 0.02) and not _towards_somebody(world, away, near, lost):
            return away
    return None


def _towards_somebody(world: World, away: Array, near: float, lost: tuple[float, float]) -> bool:
    """Whether such a step ends nearer to anybody, or goes to where somebody out of sight was."""
    end = 1.5 * away
    nearer = any(np.hypot(t.x - end[0], t.y - end[1]) < min(near, np.hypot(t.x, t.y)) for t in world.tracks)
    return nearer or any(
        t.unseen > lost[0] and np.hypot(t.x, t.y) < lost[1] and (t.x, t.y) @ away > TOWARDS * YIELDING * np.hypot(t.x, t.y)
        for t in world.tracks
    )


def steps_off(world: World, room: Room, clearance: Array, touching: float, people: float) -> Float[Array, "2"] | None:
    """A slow step to where there is most room, from a thing so close that arms may touch it; None where none is, or no step helps."""
    turned = np.linspace(-np.pi, np.pi, 16, endpoint=False)
    ways = YIELDING * np.stack([np.cos(turned), np.sin(turned)], -1)  # (16, 2)
    spots = parent_from_child(np.linspace(0.0, 1.5, 4)[:, None, None] * ways, room.x, room.y, room.yaw)  # (4, 16, 2)
    room_left = read(clearance, spots, room)
    free = np.array([all(np.hypot(t.x - x, t.y - y) > people for t in world.tracks) for x, y in 1.5 * ways])
    gained = np.where(free & (room_left[1:].min(0) >= room_left[0, 0]), room_left[1:].mean(0), -np.inf)
    best = int(gained.argmax())
    return ways[best] if room_left[0, 0] < touching and gained[best] > room_left[0, 0] else None
