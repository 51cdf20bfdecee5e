"""Tables and parcels of named colours, and the rooms in which a humanoid fetches one to another.

In: a seed. Out: where tables and parcels stand, of what size and colour, and their geoms. Every table is a solid base under a top that
stands out over it, all of one colour; every parcel is a box of one colour with two bands of pale tape. Colours vary about their names.
In a room for `fetch` tables stand with their backs to a wall; one holds the wanted box near its front edge, another of its own colour
is empty, a third holds a box of another colour. Tables are 0.74 m high (EN 527-1, desks), give or take 1 cm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nanopilot.sim.humanoid import require

Colour = tuple[float, float, float]

COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.12, 0.10), "yellow": (0.88, 0.75, 0.10), "green": (0.12, 0.60, 0.18), "blue": (0.12, 0.22, 0.80),
}  # fmt: skip
TAPE = (0.93, 0.90, 0.80)
TOP = 0.04  # m, thickness of a table's top
OVERHANG = 0.10  # m that the top stands out over the base
TABLE_HEIGHT, HEIGHT_ERROR = 0.74, 0.01  # m
DENSITY = 40.0  # kg/m³ of a parcel: 0.3 to 0.8 kg
TRIES = 4000


@dataclass(frozen=True)
class Table:
    """`yaw` is where its front looks; `half` are depth and length."""

    name: str
    x: float
    y: float
    yaw: float
    half: tuple[float, float]
    height: float
    colour: Colour
    called: str = ""


@dataclass(frozen=True)
class Parcel:
    """`z` is what it stands on; `half` along its front's normal, across, up."""

    name: str
    x: float
    y: float
    z: float
    yaw: float
    half: tuple[float, float, float]
    colour: Colour
    called: str = ""


@dataclass(frozen=True)
class Laid:
    """A room for fetch: tables, parcels, and the other things (class, x, y, radius)."""

    tables: list[Table]
    boxes: list[Parcel]
    things: list[tuple[str, float, float, float]]


def any_colour(rng: Any) -> Colour:
    """One that has a name half of the time, else any."""
    return named(rng, str(rng.choice(list(COLOURS)))) if rng.random() < 0.5 else tuple(rng.uniform(0.05, 0.95, 3).tolist())


def named(rng: Any, name: str) -> Colour:
    """A colour that people would call so."""
    return tuple(np.clip(np.array(COLOURS[name]) * rng.uniform(0.75, 1.1) + rng.uniform(-0.05, 0.05, 3), 0.02, 0.98).tolist())


def table(world: Any, paint: Any, t: Table) -> None:
    """Add its geoms."""
    box, quat = require().mjtGeom.mjGEOM_BOX, [np.cos(t.yaw / 2), 0, 0, np.sin(t.yaw / 2)]
    depth, length = t.half
    inset, base = min(OVERHANG, depth / 2), t.height - TOP
    dark = tuple(0.7 * v for v in t.colour)
    friction = [0.8, 0.005, 0.0001]
    world.add_geom(
        name=t.name, type=box, size=[depth - inset, length - inset, base / 2], pos=[t.x, t.y, base / 2], quat=quat,
        material=paint.plain(dark),
    )  # fmt: skip
    world.add_geom(
        name=f"{t.name}_top", type=box, size=[depth, length, TOP / 2], pos=[t.x, t.y, t.height - TOP / 2], quat=quat,
        material=paint.plain(t.colour), friction=friction,
    )  # fmt: skip


def parcel(world: Any, paint: Any, p: Parcel, free: bool = False) -> None:
    """Add its geoms; `free` gives it a body of its own that can be lifted."""
    mujoco = require()
    at, quat = [p.x, p.y, p.z + p.half[2] + 0.001], [np.cos(p.yaw / 2), 0, 0, np.sin(p.yaw / 2)]
    body, middle, turn = world, at, quat
    if free:
        body = world.add_body(name=p.name, pos=at, quat=quat)
        body.add_freejoint()
        middle, turn = [0, 0, 0], [1, 0, 0, 0]
    box, (x, y, z) = mujoco.mjtGeom.mjGEOM_BOX, p.half
    mass = DENSITY * 8 * x * y * z
    body.add_geom(
        name=p.name, type=box, size=[x, y, z], pos=middle, quat=turn, mass=mass, material=paint.plain(p.colour), friction=[1, 0.01, 0.001]
    )
    skin, tape = 0.002, paint.plain(TAPE)
    for k, size in enumerate(([0.16 * x, y + skin, z + skin], [x + skin, 0.16 * y, z + skin])):
        body.add_geom(name=f"{p.name}_tape{k}", type=box, size=size, pos=middle, quat=turn, mass=0, material=tape, contype=0, conaffinity=0)


def lay(seed: int, length: tuple[float, float], width: tuple[float, float], things: int = 3) -> Laid:
    """Three tables at walls, two parcels and a few things; the robot starts at (0, 0). Raises ValueError where they don't fit."""
    rng = np.random.default_rng([seed, 5])
    (x0, x1), (y0, y1) = length, width
    colours = [str(c) for c in rng.permutation(list(COLOURS))]
    box_colours = [str(c) for c in rng.permutation(list(COLOURS))]
    tables: list[Table] = []
    for _ in range(TRIES):
        if len(tables) == 3:
            break
        half = (rng.uniform(0.22, 0.28), rng.uniform(0.38, 0.5))
        back = 0.1 + 0.02 + half[0]  # from the wall's middle
        side = int(rng.integers(3))
        at = rng.uniform(0.9, 1.0 + max(x1 - x0, y1 - y0))
        x, y, yaw = [(x0 + at, y0 + back, np.pi / 2), (x0 + at, y1 - back, -np.pi / 2), (x1 - back, y0 + at, np.pi)][side]
        inside = x < x1 - back + 0.01 and y < y1 - back + 0.01 and (side == 2 or x < x1 - 1.3) and (side < 2 or abs(y) < y1 - 1.3)
        if inside and all(np.hypot(x - t.x, y - t.y) > 1.8 for t in tables):
            height, name = TABLE_HEIGHT + rng.uniform(-HEIGHT_ERROR, HEIGHT_ERROR), colours[len(tables)]
            tables.append(Table(f"table{len(tables)}", float(x), float(y), float(yaw), half, float(height), named(rng, name), name))
    else:
        raise ValueError(f"room {seed}: no place for three tables")
    boxes = []
    for k, t in enumerate((tables[0], tables[2])):
        size = (float(rng.uniform(0.085, 0.115)), float(rng.uniform(0.11, 0.14)), float(rng.uniform(0.08, 0.12)))
        out, along = t.half[0] - size[0] - 0.03, rng.uniform(-1, 1) * (t.half[1] - 0.25)
        c, s = np.cos(t.yaw), np.sin(t.yaw)
        yaw, name = t.yaw + rng.uniform(-0.1, 0.1), box_colours[k]
        x, y = float(t.x + c * out - s * along), float(t.y + s * out + c * along)
        boxes.append(Parcel(f"box{k}", x, y, t.height, float(yaw), size, named(rng, name), name))
    others: list[tuple[str, float, float, float]] = []
    for _ in range(TRIES):
        if len(others) == things:
            break
        x, y, radius = rng.uniform(x0 + 0.5, x1 - 0.5), rng.uniform(y0 + 0.5, y1 - 0.5), float(rng.uniform(0.12, 0.25))
        fronts = [(t.x + 1.0 * np.cos(t.yaw), t.y + 1.0 * np.sin(t.yaw)) for t in tables]
        away = min(np.hypot(x - u, y - v) for u, v in [*fronts, *((t.x, t.y) for t in tables), *((o[1], o[2]) for o in others)])
        if away > 1.2 + radius and np.hypot(x, y) > 1.0 + radius:
            others.append(("obstacle", float(x), float(y), radius))
    return Laid(tables, boxes, others)
