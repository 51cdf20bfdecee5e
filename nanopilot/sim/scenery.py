"""Things beside the road: trees, bushes, buildings, lamps and signs scattered over a map without any of its own.

In: a StaticScene's surfaces and a seed. Out: props, each at least CLEAR metres from every surface, the same for the
same seed. Works on a raster of the distance to the nearest surface (cv2.distanceTransform); knows nothing of lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nanopilot.sim.scene import Prop, StaticScene
from nanopilot.sim.shapes import SIGNS

Array = np.ndarray
CLEAR = 3.0  # m from a prop's outline to any surface
REACH = 70.0  # m: farther from the road nothing is placed
CELL = 0.5  # m of the distance raster


@dataclass(frozen=True)
class Planting:
    """How dense one kind stands: `every` square metres of its band (near, far) metres from the road; free space around it."""

    kind: str
    every: float
    near: float
    far: float
    room: float


# densities by eye; a seed scales each by its own "town" and "wood" factors
PLANTINGS = (
    Planting("building", 800, 14, 60, 13.0),
    Planting("lamp", 130, CLEAR + 0.2, CLEAR + 1.2, 22.0),
    Planting("sign", 260, CLEAR + 0.6, CLEAR + 1.4, 16.0),
    Planting("tree", 170, CLEAR + 3, REACH, 3.0),
    Planting("bush", 260, CLEAR + 1, 30, 1.8),
)


def scatter_props(static: StaticScene, seed: int) -> tuple[Prop, ...]:
    """Props beside `static`'s surfaces, by `seed`. Gives none for a map without surfaces."""
    if not static.surfaces:
        return ()
    rng = np.random.default_rng([seed, 0x7EE])
    town, wood = rng.uniform(0.15, 1.6), rng.uniform(0.4, 1.8)
    x0, y0, x1, y1 = static.bounds()
    origin = np.array([x0 - REACH, y0 - REACH])
    free = np.full((int((y1 - y0 + 2 * REACH) / CELL) + 1, int((x1 - x0 + 2 * REACH) / CELL) + 1), 1, np.uint8)
    for surface in static.surfaces:
        if surface.kind not in ("grass", "dirt"):
            cv2.fillPoly(free, [np.round((surface.polygon - origin) / CELL).astype(np.int32)], 0)
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 5) * CELL - CELL  # m to the nearest surface, never too much
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(distance, (0, 0), 3))
    taken = np.zeros((0, 3))  # x, y, room
    props: list[Prop] = []
    for planting in PLANTINGS:
        band = np.argwhere((distance > planting.near) & (distance < planting.far))
        density = {"building": town, "lamp": town, "tree": wood, "bush": wood}.get(planting.kind, 1.0)
        count = int(len(band) * CELL**2 / planting.every * density)
        if not len(band) or not count:
            continue
        for j, i in band[rng.integers(0, len(band), count)]:
            at = origin + (np.array([i, j]) + rng.uniform(-0.5, 0.5, 2)) * CELL
            if len(taken) and (np.hypot(*(taken[:, :2] - at).T) < taken[:, 2] + planting.room).any():
                continue
            to_road = float(np.arctan2(-slope_y[j, i], -slope_x[j, i]))
            prop = _prop(planting.kind, at, to_road, rng, town)
            outline = 0.0 if planting.kind in ("lamp", "sign") else 0.5 * float(np.hypot(*prop.size[:2]))
            if distance[j, i] - outline < CLEAR:
                continue
            props.append(prop)
            taken = np.vstack([taken, (*at, planting.room)])
    return tuple(props)


def _prop(kind: str, at: Array, to_road: float, rng: np.random.Generator, town: float) -> Prop:
    """One prop of a plausible size; buildings and lamps face the road, signs look along it."""
    x, y = float(at[0]), float(at[1])
    match kind:
        case "building":
            tall = rng.random() < 0.5 * town
            size = (rng.uniform(12, 22), rng.uniform(10, 16), rng.uniform(10, 28) if tall else rng.uniform(6, 9.5))
            return Prop("building", x, y, to_road + np.pi / 2, size)
        case "lamp":
            return Prop("lamp", x, y, to_road, (1.0, 1.0, 8.0))
        case "sign":
            return Prop("sign", x, y, to_road + np.pi / 2 * float(rng.choice((-1, 1))), (0.8, 0.8, 2.6), str(rng.choice(SIGNS)))
        case "bush":
            width = rng.uniform(1.0, 2.2)
            return Prop("bush", x, y, rng.uniform(0, 6.28), (width, width, rng.uniform(0.7, 1.6)))
    height = rng.uniform(5, 13)
    width = height * rng.uniform(0.5, 0.75)
    form = str(rng.choice(("round", "round", "conifer", "tall")))
    return Prop("tree", x, y, rng.uniform(0, 6.28), (width * (0.5 if form == "tall" else 1),) * 2 + (height,), form)
