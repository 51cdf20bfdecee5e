"""The painted ground: a sparse pyramid of tiles, RGB and class, painted when a camera comes near.

In: a StaticScene and an Appearance. Out: `Ground.pool` (tile pyramids, one row each; row 0 is plain grass) and
`Ground.table` (which row covers which 16 m square). Tiles without road or paint cost nothing: a kilometre of road
of four lanes is about 100 MB. Painted at twice the resolution and averaged, so edges and thin lines keep their true share.
Height (kerbs) is not the ground's: kerbs are props.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

from nanopilot.messages import SceneClass
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.raster import LEVEL_START, LEVELS, TEXEL, TILE_TEXELS
from nanopilot.sim.scene import Marking, StaticScene, Surface
from nanopilot.sim.sky import fractal

Array = np.ndarray
TILE = TILE_TEXELS * TEXEL  # m, a tile's edge
OVERSAMPLE = 2
SUBPIXEL_BITS = 6  # of cv2's fixed-point corners
SPREAD = TEXEL / OVERSAMPLE  # m that cv2.fillPoly adds to a width: it also fills the pixels below the outline
MARKING_SHARE = 0.4  # a texel with this much paint is called a marking
BAR_WIDTH, BAR_PERIOD = 0.5, 1.0  # m, stripes of a zebra crossing (German RMS part 1)

GRASS, ROAD, PAVEMENT, DIRT, CROSSING_ROAD, WHITE, YELLOW = range(7)
WORN = np.uint8(2)  # added to a paint: its worn look
MATERIAL_CLASS = np.array(
    [SceneClass.NATURE, SceneClass.ROAD, SceneClass.PAVEMENT, SceneClass.NATURE, SceneClass.ROAD, SceneClass.ROAD], np.uint8
)
DIRT_COLOUR = (0.47, 0.38, 0.27)  # guess
SURFACE_MATERIAL = {"road": ROAD, "parking": ROAD, "junction": ROAD, "pavement": PAVEMENT, "sidewalk": PAVEMENT, "island": PAVEMENT,
                    "grass": GRASS, "dirt": DIRT, "crossing": CROSSING_ROAD}  # fmt: skip
MARKING_MATERIAL = {"white": WHITE, "yellow": YELLOW}


def ribbon(points: Float[Array, "n 2"], width: float) -> Float[Array, "m 2"]:
    """The outline of a polyline drawn with `width`, mitred at its corners."""
    step = np.diff(points, axis=0)
    step = step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
    tangent = np.concatenate([step[:1], step[:-1] + step[1:], step[-1:]])
    tangent = tangent / np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    stretch = np.concatenate([[1.0], 1 / np.maximum((tangent[1:-1] * step[1:]).sum(1), 0.5), [1.0]])
    offset = normal * (width / 2 * stretch)[:, None]
    return np.concatenate([points + offset, (points - offset)[::-1]])


def dashes(marking: Marking) -> list[Float[Array, "m 2"]]:
    """Outlines of a marking's painted pieces; a dashed one starts with paint."""
    points = np.asarray(marking.points, float)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-6])
    points = points[keep]
    if len(points) < 2:
        return []
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    on, off = marking.dash or (40.0, 0.0)  # a solid line is cut into pieces too, so that a tile paints only what it needs
    pieces = []
    for start in np.arange(0.0, s[-1], on + off):
        end = min(start + on, s[-1])
        arc = np.concatenate([[start], s[(s > start + 1e-6) & (s < end - 1e-6)], [end]])
        pieces.append(ribbon(np.stack([np.interp(arc, s, points[:, k]) for k in (0, 1)], -1), marking.width))
    return pieces


def _stripes(surface: Surface) -> list[Float[Array, "4 2"]]:
    """A crossing's bars: along the traffic, one beside the other along the area's long axis."""
    (cx, cy), (w, h), angle = cv2.minAreaRect(np.asarray(surface.polygon, np.float32))
    a = np.radians(angle) + (np.pi / 2 if h > w else 0.0)
    long, short = max(w, h), min(w, h)
    e1, e2 = np.array([np.cos(a), np.sin(a)]), np.array([-np.sin(a), np.cos(a)])
    bars = []
    for at in np.arange(-long / 2 + BAR_PERIOD / 2, long / 2 - BAR_WIDTH / 2, BAR_PERIOD):
        corner = [
            (at - BAR_WIDTH / 2, -short / 2),
            (at + BAR_WIDTH / 2, -short / 2),
            (at + BAR_WIDTH / 2, short / 2),
            (at - BAR_WIDTH / 2, short / 2),
        ]
        bars.append(np.array([(cx, cy) + i * e1 + j * e2 for i, j in corner]))
    return bars


class Ground:
    """Tiles of one map under one appearance. Raises ValueError for a surface or paint it does not know."""

    def __init__(self, static: StaticScene, look: Appearance) -> None:
        self.look = look
        self.shapes: list[tuple[int, Array]] = []  # (material, outline), in painting order
        for surface in static.surfaces:
            if surface.kind not in SURFACE_MATERIAL:
                raise ValueError(f"unknown surface {surface.kind!r}, known are {sorted(SURFACE_MATERIAL)}")
            self.shapes.append((SURFACE_MATERIAL[surface.kind], np.asarray(surface.polygon, float)))
            if surface.kind == "crossing":
                self.shapes += [(WHITE, bar) for bar in _stripes(surface)]
        for marking in static.markings:
            if marking.colour not in MARKING_MATERIAL:
                raise ValueError(f"unknown paint {marking.colour!r}, known are {sorted(MARKING_MATERIAL)}")
            self.shapes += [(MARKING_MATERIAL[marking.colour], piece) for piece in dashes(replace(marking, width=marking.width - SPREAD))]
        boxes = np.array([(*p.min(0), *p.max(0)) for _, p in self.shapes] or np.zeros((1, 4)))
        self.origin: Float[Array, "2"] = np.floor(boxes[:, :2].min(0) / TILE) * TILE
        first = np.floor((boxes[:, :2] - self.origin) / TILE).astype(int)
        last = np.floor((boxes[:, 2:] - self.origin) / TILE).astype(int)
        columns, rows = last.max(0) + 1
        self.table: Int32[Array, "rows columns"] = np.zeros((rows, columns), np.int32)
        self.waiting: dict[tuple[int, int], list[int]] = {}  # tiles not yet painted: the shapes that touch them
        for number in range(len(self.shapes)):
            for j in range(first[number, 1], last[number, 1] + 1):
                for i in range(first[number, 0], last[number, 0] + 1):
                    self.waiting.setdefault((j, i), []).append(number)
        base = [look.grass, look.asphalt, look.pavement, DIRT_COLOUR, look.asphalt, look.white_paint, look.yellow_paint]
        worn = [tuple(0.15 * np.array(c) + 0.85 * np.array(look.asphalt)) for c in base[WHITE:]]
        self.palette: UInt8[Array, "1 256 3"] = np.zeros((1, 256, 3), np.uint8)  # by material, as cv2.LUT wants it
        self.palette[0, : len(base + worn)] = np.round(np.array(base + worn) * 255)
        noise = fractal(TILE_TEXELS * OVERSAMPLE, (8, 16, 32, 128, 256), look.seed + 2)
        self.worn = (noise > np.quantile(noise, 1 - 0.7 * look.wear)).astype(np.uint8)
        shape = (len(self.waiting) + 1, LEVEL_START[LEVELS], 4)
        self.pool: UInt8[Array, "tiles texels 4"] = np.zeros(shape, np.uint8)  # rows not yet painted take no memory
        self.used = 0
        self._add([])

    def ensure(self, x: float, y: float, radius: float) -> None:
        """Paint all tiles within `radius` of (x, y) that are not yet painted."""
        low = np.floor((np.array([x, y]) - radius - self.origin) / TILE)
        high = np.floor((np.array([x, y]) + radius - self.origin) / TILE)
        for key in [k for k in self.waiting if low[1] <= k[0] <= high[1] and low[0] <= k[1] <= high[0]]:
            self.table[key] = self._add(self.waiting.pop(key), key)

    def _add(self, numbers: list[int], key: tuple[int, int] = (0, 0)) -> int:
        """Paint one tile with the given shapes; gives its row in the pool."""
        side = TILE_TEXELS * OVERSAMPLE
        material = np.zeros((side, side), np.uint8)
        corner = self.origin + np.array([key[1], key[0]]) * TILE
        for n in numbers:
            kind, outline = self.shapes[n]
            fixed = np.round(((outline - corner) / TILE * side - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(material, [fixed], kind, cv2.LINE_8, SUBPIXEL_BITS)
        paint = material >= WHITE
        if numbers:  # worn paint shows the asphalt below
            material = material + WORN * (paint & self.worn)
        colour = cv2.LUT(cv2.merge([material] * 3), self.palette)  # (side, side, 3)
        share = paint.astype(np.uint8) * np.uint8(255)
        row = self.pool[self.used]
        for level in range(LEVELS):
            n, stride = TILE_TEXELS >> level, OVERSAMPLE << level
            colour = cv2.resize(colour, (n, n), interpolation=cv2.INTER_AREA)
            share = cv2.resize(share, (n, n), interpolation=cv2.INTER_AREA)
            below = np.minimum(material[stride // 2 :: stride, stride // 2 :: stride], WHITE)
            texels = row[LEVEL_START[level] : LEVEL_START[level + 1]].reshape(n, n, 4)
            texels[..., :3] = colour
            texels[..., 3] = np.where(share >= 255 * MARKING_SHARE, SceneClass.MARKING, MATERIAL_CLASS[below])
        self.used += 1
        return self.used - 1
