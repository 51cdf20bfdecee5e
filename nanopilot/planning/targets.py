"""Which box is fetched, to which table, and where the robot has to stand for either.

In: boxes and tables as the world knows them, a Room, and the errand's State, which holds what was chosen and what turned out not to be what
it seemed. Out: the chosen ones, and spots in the room's frame. A box belongs to the table whose front it is near. It moves nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, parent_from_child, wrap
from nanopilot.messages import Room, Thing, World
from nanopilot.planning.reaching import Config, State, go_on, way

Array = np.ndarray


def wanted(
    things: tuple[Thing, ...], c: Config, box_at: Array | None = None, table_at: Array | None = None
) -> tuple[Thing | None, Thing | None]:
    """The box to fetch and the table to bring it to: of the colours named, surely seen; the box is on a table, and that is not the one.

    Where they have been chosen before (vehicle frame) those that are there; else the surest.
    """
    tables = [k for k in things if k.kind == "table" and k.weight > c.sure]
    boxes = [k for k in things if k.kind == "box" and k.weight > c.sure and c.box in ("", k.colour) and _under(k, tables, c)]
    box = _chosen(boxes, box_at, c)
    under = box and _under(box, tables, c)
    return box, _chosen([k for k in tables if k is not under and c.table in ("", k.colour)], table_at, c)


def _chosen(things: list[Thing], at: Array | None, c: Config) -> Thing | None:
    if at is not None and (near := [k for k in things if np.hypot(k.x - at[0], k.y - at[1]) < c.same]):
        things = near
    return max(things, key=lambda k: k.weight, default=None)


def _under(box: Thing, tables: list[Thing], c: Config) -> Thing | None:
    """The table that a box stands on: the nearest one, where it is near, and not far before the box."""
    near = min(tables, key=lambda k: np.hypot(k.x - box.x, k.y - box.y), default=None)
    if near is None or np.hypot(near.x - box.x, near.y - box.y) > 0.8:
        return None
    behind = (np.array([near.x, near.y]) - (box.x, box.y)) @ way(near.yaw) + c.half_depth
    return near if behind < c.behind[0] + c.behind[1] / np.sqrt(box.weight) else None


def believed(state: State, things: tuple[Thing, ...], room: Room, c: Config) -> tuple[Thing, ...]:
    """Those that are not where something turned out not to be what it seemed."""
    return tuple(k for k in things if all(np.hypot(*(_placed(k, room) - p)) > c.again for p in state.refused))


def choice(state: State, world: World, room: Room, c: Config) -> tuple[Thing | None, Thing | None]:
    """`wanted` of what is believed, near where they were chosen."""
    box, table = (None if p is None else child_from_parent(np.array(p), room.x, room.y, room.yaw) for p in (state.box, state.table))
    return wanted(believed(state, world.things, room, c), c, box, table)


def kept(state: State, world: World, room: Room, c: Config) -> State:
    """The chosen box and table where they are now thought to be."""
    box, table = choice(state, world, room, c)
    if state.box is not None and box is not None and not state.carrying:
        state = replace(state, box=at(box, room))
    if state.table is not None and table is not None:
        state = replace(state, table=at(table, room))
    return state


def refuse(state: State, place: tuple[float, float]) -> State:
    """What is there is not what it seemed: choose another."""
    box, table = (None if p == place else p for p in (state.box, state.table))
    return replace(state, refused=(*state.refused, place), box=box, table=table)


def doubted(state: State, world: World, room: Room, c: Config) -> State:
    """After a vain try: the box is refused if another one might be meant."""
    other = state if state.box is None else refuse(state, state.box)
    return other if choice(other, world, room, c)[0] is not None else state


def dropped(state: State, c: Config) -> State:
    """Nothing is between the palms any more, and what lies on the floor it can't pick up."""
    return replace(go_on(state, "look"), carrying=False, failed=c.tries)


def spot_of(state: State, world: World, room: Room, c: Config) -> tuple[float, float, float] | None:
    """Where the box's middle is, or shall be, and where the table's front looks; room frame."""
    things = believed(state, world.things, room, c)
    tables = [k for k in things if k.kind == "table" and k.weight > c.sure]
    if state.carrying:
        of_colour = [k for k in tables if c.table in ("", k.colour)]
        if state.spot is not None and not c.table:  # not the one it came from
            of_colour = [k for k in of_colour if np.hypot(*(_placed(k, room) - state.spot[:2])) > 0.8 or state.phase != "go"]
        known = None if state.table is None else child_from_parent(np.array(state.table), room.x, room.y, room.yaw)
        thing = _chosen(of_colour, known, c)
        if thing is None:
            return None if state.phase in ("look", "go") else state.spot
        yaw = wrap(thing.yaw + room.yaw)
        x, y = _placed(thing, room) - (c.inside - c.overhang) * way(yaw)
        return float(x), float(y), float(yaw)
    box, _ = choice(state, world, room, c)
    if box is None:
        return None if state.phase in ("look", "go") else state.spot
    table = _under(box, tables, c) or box
    yaw = wrap(table.yaw + room.yaw)
    aside = abs(wrap(box.yaw - table.yaw)) > c.other_side
    middle = _placed(box, room) - (c.half_width * way(box.yaw + room.yaw) if aside else c.half_depth * way(yaw))
    before = float((middle - _placed(table, room)) @ way(yaw))
    if table is not box:
        middle = middle + (np.clip(before, *c.edge) - before) * way(yaw)
    return float(middle[0]), float(middle[1]), float(yaw)


def _placed(thing: Thing, room: Room) -> Float[Array, "2"]:
    return parent_from_child(np.array([thing.x, thing.y]), room.x, room.y, room.yaw)


def at(thing: Thing, room: Room) -> tuple[float, float]:
    """Where a thing is, room frame."""
    x, y = _placed(thing, room)
    return float(x), float(y)
