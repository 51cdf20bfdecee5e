"""Rooms made at random for the humanoid: floor, walls, things that stand about, people who walk, lights and textures.

In: a seed and how full the room is. Out: what to add to a MuJoCo spec, where the goal is, and where people are at a time. Every look is
drawn at random (procedural textures, colours, lights), so that a network can't learn colours; seeds below 100 000 furnish evaluated
rooms, training takes others. A geom's name begins with its class, which is how truth and contacts are told. People are rigid figures of
capsules that glide to and fro on straight lines, and wait while the robot is close ahead of them, as people do. Tables are solid down to
the floor; those for `fetch`, and their boxes, stand in `parcels`. It has no ceiling, no stairs, no glass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.messages import RoomClass
from nanopilot.sim import parcels
from nanopilot.sim.humanoid import require
from nanopilot.sim.paint import Painter

Array = np.ndarray

CLASS_OF = {
    "floor": RoomClass.FLOOR, "wall": RoomClass.OBSTACLE, "obstacle": RoomClass.OBSTACLE, "box": RoomClass.BOX, "table": RoomClass.TABLE,
    "person": RoomClass.PERSON,
}  # fmt: skip
PERSON_RADIUS = 0.25  # m
COURTESY = 0.9  # m ahead of them within which people wait for the robot


@dataclass(frozen=True)
class RoomConfig:
    """How full; distances in m from the robot's start, which looks along x."""

    seed: int = 0
    length: tuple[float, float] = (-1.8, 8.5)
    width: tuple[float, float] = (-3.2, 3.2)
    things: int = 9
    people: int = 2
    gap: float = 1.5  # between centres of things: a way of 0.9 m at least
    clear: float = 1.2  # around start and goal
    named: bool = False  # tables and boxes look as `parcels` has them; else they are blocks of any look
    alike: float = 0.0  # share of things, but for named ones, that have nearly a colour of the floor: hard to tell from it
    rugs: tuple[int, int] = (0, 4)  # fewest and most of them
    fetch: bool = False  # three tables, two parcels, and `things` others; the goal is unused


@dataclass(frozen=True)
class Walker:
    """Somebody who goes to and fro between two points."""

    a: tuple[float, float]
    b: tuple[float, float]
    speed: float


@dataclass
class Room:
    """One room: its goal, its people, and how it is put into a spec."""

    config: RoomConfig
    goal: tuple[float, float]
    things: list[tuple[str, float, float, float]]  # class, x, y, radius
    walkers: list[Walker]
    gone: list[float] = field(default_factory=list)  # m each walker has walked
    tables: list[parcels.Table] = field(default_factory=list)
    boxes: list[parcels.Parcel] = field(default_factory=list)  # free to be moved

    def furnish(self, spec: Any) -> None:
        """Add everything to the spec; the same room always looks the same."""
        mujoco = require()
        rng = np.random.default_rng([self.config.seed, 1])
        (x0, x1), (y0, y1) = self.config.length, self.config.width
        paint = Painter(spec, rng)
        world = spec.worldbody
        world.add_geom(
            name="floor",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 0.05],
            friction=[1, 0.005, 0.0001],
            material=paint.material(floor=True),
        )
        height, middle, half = rng.uniform(2.2, 3.2), ((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2)
        wall = paint.material()
        for k, (x, y, w, d) in enumerate(
            [(x0, middle[1], 0.1, half[1]), (x1, middle[1], 0.1, half[1]), (middle[0], y0, half[0], 0.1), (middle[0], y1, half[0], 0.1)]
        ):
            material = wall if rng.random() < 0.6 else paint.material()
            self._box(world, f"wall{k}", x, y, height / 2, (w, d, height / 2), 0.0, material)
        for k, (kind, x, y, radius) in enumerate(self.things):
            self._thing(world, rng, paint, f"{kind}{k}", kind, x, y, radius)
        for table in self.tables:
            parcels.table(world, paint, table)
        for box in self.boxes:
            parcels.parcel(world, paint, box, free=True)
        for k in range(len(self.walkers)):
            self._person(spec, rng, paint, k)
        self._rugs_and_posters(world, rng, paint, height)
        self._lights(spec, rng)

    def _box(self, body: Any, name: str, x: float, y: float, z: float, half: tuple[float, float, float], yaw: float, material: str) -> None:
        quat = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        body.add_geom(name=name, type=require().mjtGeom.mjGEOM_BOX, size=list(half), pos=[x, y, z], quat=quat, material=material)

    def _thing(self, world: Any, rng: Any, paint: Painter, name: str, kind: str, x: float, y: float, radius: float) -> None:
        shapes = require().mjtGeom
        yaw = rng.uniform(0, np.pi)
        material = paint.alike if self.config.alike and rng.random() < self.config.alike else paint.material
        if kind == "table" and not self.config.named:
            side, height = radius / np.sqrt(2), rng.uniform(0.6, 0.85)
            self._box(world, name, x, y, height / 2, (side, side * rng.uniform(0.6, 1.0), height / 2), yaw, material())
            if rng.random() < 0.6:
                size = rng.uniform(0.07, 0.14, 3)
                self._box(world, f"box_on_{name}", x, y, height + size[2], tuple(size), yaw, material())
        elif kind == "box" and not self.config.named:
            size = rng.uniform(0.1, 0.24, 3)
            self._box(world, name, x, y, size[2], tuple(size), yaw, material())
        elif kind == "table":
            side, height = radius / np.sqrt(2), rng.uniform(0.6, 0.85)
            half = (side * rng.uniform(0.6, 1.0), side)
            parcels.table(world, paint, parcels.Table(name, x, y, yaw, half, height, parcels.any_colour(rng)))
            if rng.random() < 0.6:
                size = tuple(rng.uniform(0.07, 0.14, 3))
                parcels.parcel(world, paint, parcels.Parcel(f"box_on_{name}", x, y, height, yaw, size, parcels.any_colour(rng)))
        elif kind == "box":
            parcels.parcel(world, paint, parcels.Parcel(name, x, y, 0.0, yaw, tuple(rng.uniform(0.1, 0.24, 3)), parcels.any_colour(rng)))
        else:
            height = rng.uniform(0.4, 2.0)
            if rng.random() < 0.5:
                size = [radius, height / 2, 0]
                world.add_geom(name=name, type=shapes.mjGEOM_CYLINDER, size=size, pos=[x, y, height / 2], material=material())
            else:
                side = radius / np.sqrt(2)
                self._box(world, name, x, y, height / 2, (side, side * rng.uniform(0.6, 1.0), height / 2), yaw, material())

    def _person(self, spec: Any, rng: Any, paint: Painter, k: int) -> None:
        shapes = require().mjtGeom
        body = spec.worldbody.add_body(name=f"walker{k}", mocap=True)
        tall, stride = rng.uniform(1.55, 1.9), rng.uniform(0.0, 0.25)
        hip, shoulder = 0.5 * tall, 0.8 * tall
        trousers, shirt, skin = paint.material(), paint.material(), paint.skin()

        def limb(name: str, a: list[float], b: list[float], radius: float, material: str) -> None:
            body.add_geom(name=f"person{k}_{name}", type=shapes.mjGEOM_CAPSULE, fromto=[*a, *b], size=[radius, 0, 0], material=material)

        for side, name in ((0.09, "left"), (-0.09, "right")):
            swing = stride * np.sign(side)
            limb(f"{name}_leg", [swing, side, 0.07], [0, side, hip], 0.07, trousers)
            limb(f"{name}_arm", [0, 2.4 * side, shoulder - 0.05], [-swing, 2.6 * side, hip], 0.05, shirt)
        limb("trunk", [0, 0, hip + 0.05], [0, 0, shoulder - 0.1], 0.16, shirt)
        body.add_geom(name=f"person{k}_head", type=shapes.mjGEOM_SPHERE, size=[0.11, 0, 0], pos=[0, 0, tall - 0.11], material=skin)

    def _rugs_and_posters(self, world: Any, rng: Any, paint: Painter, height: float) -> None:
        """What must not be taken for a thing: flat patches on the floor (class floor), pictures on walls (class wall)."""
        (x0, x1), (y0, y1) = self.config.length, self.config.width
        for k in range(rng.integers(self.config.rugs[0], self.config.rugs[1] + 1)):
            x, y, (w, d) = rng.uniform(x0, x1), rng.uniform(y0, y1), rng.uniform(0.15, 0.9, 2)
            self._flat(world, f"floor_rug{k}", x, y, 0.0006 * (k + 1), (w, d, 0.0005), rng.uniform(0, 3.1), paint.material())
        for k in range(rng.integers(0, 6)):
            y, z, (w, h) = rng.uniform(y0, y1), rng.uniform(0.6, height - 0.4), rng.uniform(0.15, 0.6, 2)
            x, side = rng.uniform(x0, x1), rng.integers(0, 3)
            at, half = [((x1 - 0.11, y), (0.004, w, h)), ((x, y0 + 0.11), (w, 0.004, h)), ((x, y1 - 0.11), (w, 0.004, h))][side]
            self._flat(world, f"wall_poster{k}", *at, z, half, 0.0, paint.material())

    def _flat(
        self, world: Any, name: str, x: float, y: float, z: float, half: tuple[float, float, float], yaw: float, material: str
    ) -> None:
        quat = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        box = require().mjtGeom.mjGEOM_BOX
        world.add_geom(name=name, type=box, size=list(half), pos=[x, y, z], quat=quat, material=material, contype=0, conaffinity=0)

    def _lights(self, spec: Any, rng: Any) -> None:
        ambient = rng.uniform(0.15, 0.45)
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [ambient] * 3, [rng.uniform(0.0, 0.3)] * 3
        (x0, x1), (y0, y1) = self.config.length, self.config.width
        for k in range(rng.integers(1, 4)):
            strength = rng.uniform(0.2, 0.7) * (np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.15, 0.15, 3))
            kind = require().mjtLightType.mjLIGHT_DIRECTIONAL if k == 0 else require().mjtLightType.mjLIGHT_POINT
            at, towards = [rng.uniform(x0, x1), rng.uniform(y0, y1), rng.uniform(2.5, 4.0)], [*rng.uniform(-0.7, 0.7, 2), -1]
            spec.worldbody.add_light(pos=at, dir=towards, type=kind, diffuse=strength, castshadow=False)

    def people(self, dt: float, robot: tuple[float, float]) -> list[tuple[float, float, float]]:
        """(x, y, yaw) of everybody after `dt` s more; who has the robot close ahead waits."""
        self.gone = self.gone or [0.0] * len(self.walkers)
        out = []
        for k, walker in enumerate(self.walkers):
            a, b = np.array(walker.a), np.array(walker.b)
            length = float(np.hypot(*(b - a)))
            lap = self.gone[k] % (2 * length)
            there = lap < length
            way = (b - a) / length * (1.0 if there else -1.0)
            at = a + (b - a) * (lap if there else 2 * length - lap) / length
            to = np.array(robot) - at
            if not (np.hypot(*to) < COURTESY and to @ way > -0.2):
                self.gone[k] += walker.speed * dt
            out.append((float(at[0]), float(at[1]), float(np.arctan2(way[1], way[0]))))
        return out


def room(config: RoomConfig = RoomConfig()) -> Room:
    """Place goal, things and people for a seed. Raises ValueError where they don't fit."""
    if config.fetch:
        laid = parcels.lay(config.seed, config.length, config.width, config.things)
        return Room(config, (0.0, 0.0), laid.things, [], [], laid.tables, laid.boxes)
    rng = np.random.default_rng([config.seed, 0])
    (x0, x1), (y0, y1) = config.length, config.width
    goal = (float(rng.uniform(x1 - 2.8, x1 - 1.2)), float(rng.uniform(y0 + 1.0, y1 - 1.0)))
    things: list[tuple[str, float, float, float]] = []
    for _ in range(4000):
        if len(things) == config.things:
            break
        x, y = rng.uniform(x0 + 0.4, x1 - 0.4), rng.uniform(y0 + 0.4, y1 - 0.4)
        kind = str(rng.choice(["obstacle", "obstacle", "obstacle", "box", "table"]))
        radius = float(rng.uniform(0.12, 0.3) if kind == "obstacle" else 0.34 if kind == "box" else rng.uniform(0.3, 0.5))
        free = all(np.hypot(x - u, y - v) > config.gap + (radius + r - 0.5) for _, u, v, r in things)
        if free and min(np.hypot(x, y), np.hypot(x - goal[0], y - goal[1])) > config.clear:
            things.append((kind, float(x), float(y), radius))
    else:
        raise ValueError(f"room {config.seed}: no place for {config.things} things")
    walkers: list[Walker] = []
    for _ in range(4000):
        if len(walkers) == config.people:
            break
        x = rng.uniform(1.5, x1 - 1.5)
        a, b = (x, rng.uniform(y0 + 0.5, -0.8)), (x + rng.uniform(-1.5, 1.5), rng.uniform(0.8, y1 - 0.5))
        line = np.linspace(a, b, 20)
        if (
            all(np.hypot(*(line - (u, v)).T).min() > r + PERSON_RADIUS + 0.1 for _, u, v, r in things)
            and np.hypot(*(line - goal).T).min() > 0.9
        ):
            walkers.append(Walker((float(a[0]), float(a[1])), (float(b[0]), float(b[1])), float(rng.uniform(0.3, 0.8))))
    return Room(config, goal, things, walkers)


def classes(segmentation: Array, model: Any) -> UInt8[Array, "h w"]:
    """RoomClass per pixel of MuJoCo's segmentation picture."""
    mujoco = require()
    table = np.full(model.ngeom + 1, RoomClass.ROBOT, np.uint8)
    table[-1] = RoomClass.OTHER
    for k in range(model.ngeom):
        name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_GEOM, k) or ""
        kind = name.rstrip("0123456789").split("_")[0].rstrip("0123456789")
        table[k] = CLASS_OF.get(kind, RoomClass.ROBOT)
    ids = np.where(segmentation[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM), segmentation[..., 0], -1)
    return table[ids]


def positions(people: list[tuple[float, float, float]]) -> Float[Array, "n 2"]:
    return np.array([(x, y) for x, y, _ in people], float).reshape(-1, 2)
