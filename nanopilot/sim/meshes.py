"""Low-poly shapes of everything that stands or moves, made from boxes, lofts, wheels and blobs.

In: nothing. Out: one packed `Library`: every mesh lives in a unit box (x, y in -0.5..0.5, z in 0..1, x is the
nose) and is scaled by the size of what it draws; triangles carry a material and are wound outward. Colours
PRIMARY and SECONDARY come with the instance. The shapes are our own; no mesh file is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int32

from nanopilot.sim.raster import BRAKE, GREEN, LEAVES, LEFT, NIGHT, PLAIN, PLASTER, RED, RIGHT, WINDOWS, YELLOW

Array = np.ndarray

# name: (r, g, b, gloss, texture, lamp bits); colours are a guess, those of TINTED come with the instance
MATERIALS: dict[str, tuple[float, float, float, float, int, int]] = {
    "primary": (0.6, 0.1, 0.1, 0.0, PLAIN, 0),
    "secondary": (0.2, 0.2, 0.3, 0.0, PLAIN, 0),
    "paint": (0.0, 0.0, 0.0, 0.32, PLAIN, 0),  # primary with gloss
    "glass": (0.05, 0.06, 0.07, 0.75, PLAIN, 0),
    "tyre": (0.045, 0.045, 0.05, 0.0, PLAIN, 0),
    "rim": (0.55, 0.56, 0.58, 0.3, PLAIN, 0),
    "trim": (0.09, 0.09, 0.10, 0.1, PLAIN, 0),
    "plate": (0.85, 0.85, 0.8, 0.0, PLAIN, 0),
    "headlamp": (0.9, 0.9, 0.85, 0.2, PLAIN, NIGHT),
    "tail": (0.75, 0.03, 0.03, 0.1, PLAIN, BRAKE),
    "blink_left": (1.0, 0.5, 0.05, 0.1, PLAIN, LEFT),
    "blink_right": (1.0, 0.5, 0.05, 0.1, PLAIN, RIGHT),
    "skin": (0.75, 0.52, 0.40, 0.0, PLAIN, 0),
    "hair": (0.12, 0.08, 0.05, 0.0, PLAIN, 0),
    "trunk": (0.27, 0.19, 0.12, 0.0, PLAIN, 0),
    "leaves": (0.0, 0.0, 0.0, 0.0, LEAVES, 0),  # primary with foliage
    "windows": (0.0, 0.0, 0.0, 0.0, WINDOWS, 0),  # primary with windows
    "plaster": (0.0, 0.0, 0.0, 0.0, PLASTER, 0),  # primary with stains
    "metal": (0.48, 0.50, 0.52, 0.2, PLAIN, 0),
    "concrete": (0.60, 0.59, 0.56, 0.0, PLAIN, 0),
    "white": (0.92, 0.92, 0.92, 0.0, PLAIN, 0),
    "red": (0.80, 0.06, 0.06, 0.0, PLAIN, 0),
    "blue": (0.05, 0.18, 0.62, 0.0, PLAIN, 0),
    "yellow": (0.95, 0.75, 0.05, 0.0, PLAIN, 0),
    "orange": (0.95, 0.35, 0.04, 0.0, PLAIN, 0),
    "black": (0.03, 0.03, 0.03, 0.0, PLAIN, 0),
    "lamp_red": (1.0, 0.08, 0.05, 0.0, PLAIN, RED),
    "lamp_yellow": (1.0, 0.70, 0.05, 0.0, PLAIN, YELLOW),
    "lamp_green": (0.10, 0.95, 0.45, 0.0, PLAIN, GREEN),
    "lantern": (0.95, 0.88, 0.65, 0.0, PLAIN, NIGHT),
}
NUMBER = {name: k for k, name in enumerate(MATERIALS)}
TINTED = {"primary": 0, "secondary": 1, "paint": 0, "leaves": 0, "windows": 0, "plaster": 0}  # which of the instance's colours
PALETTE: Float32[Array, "m 7"] = np.array([(*row, TINTED.get(name, -1)) for name, row in MATERIALS.items()], np.float32)
MAX_VERTICES = 2048  # a mesh's vertices, the draw kernel's scratch


class Shape:
    """Collects parts in real metres; `unit(length, width, height)` scales them into the unit box."""

    def __init__(self) -> None:
        self.vertices: list[tuple[float, float, float]] = []
        self.triangles: list[tuple[int, int, int, int]] = []

    def face(self, points: Array, material: str, inside: Array) -> None:
        """A convex polygon, wound so that its normal points away from `inside`."""
        points = np.asarray(points, float)
        normal = np.zeros(3)
        sides = points[1:] - points[0]
        a, b = sides[:-1].T, sides[1:].T
        for each in np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]], -1):
            normal += each  # np.cross, which takes most of a start on so small arrays
        if normal @ (points.mean(0) - inside) < 0:
            points = points[::-1]
        base = len(self.vertices)
        self.vertices += [tuple(p) for p in points]
        self.triangles += [(base, base + k, base + k + 1, NUMBER[material]) for k in range(1, len(points) - 1)]

    def box(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], material: str, top: str = "") -> None:
        """An upright box; `top` names another material for the upper face."""
        inside = np.array([sum(x) / 2, sum(y) / 2, sum(z) / 2])
        corner = np.array([[x[i], y[j], z[k]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        for quad in ((0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6)):
            self.face(corner[list(quad)], material, inside)
        self.face(corner[[1, 3, 7, 5]], top or material, inside)
        self.face(corner[[0, 2, 6, 4]], material, inside)

    def loft(self, rings: list[Array], materials: list[str], cap: tuple[str, str]) -> None:
        """Skin a row of equal rings (n, 3); `materials` names the strip behind each ring edge, `cap` both ends."""
        for a, b in pairwise(rings):
            inside = np.concatenate([a, b]).mean(0)
            for k, material in enumerate(materials):
                m = (k + 1) % len(a)
                self.face(np.array([a[k], a[m], b[m], b[k]]), material, inside)
        self.face(rings[0], cap[0], rings[1].mean(0))
        self.face(rings[-1], cap[1], rings[-2].mean(0))

    def rod(self, a: tuple, b: tuple, radius: tuple[float, float], material: str, sides: int = 6) -> None:
        """A round rod or cone frustum from a to b."""
        start, end = np.array(a, float), np.array(b, float)
        axis = (end - start) / np.linalg.norm(end - start)
        e1 = np.cross(axis, (0, 0, 1) if abs(axis[2]) < 0.9 else (1, 0, 0))
        e1 /= np.linalg.norm(e1)
        e2 = np.cross(axis, e1)
        angles = np.arange(sides) * 2 * np.pi / sides
        ring = np.cos(angles)[:, None] * e1 + np.sin(angles)[:, None] * e2
        self.loft([start + radius[0] * ring, end + radius[1] * ring], [material] * sides, (material, material))

    def wheel(self, x: float, y: float, radius: float, width: float, sides: int = 10) -> None:
        """A wheel standing on the ground whose outer face looks away from the middle (y = 0)."""
        out = np.copysign(1.0, y)
        self.rod((x, y - out * width, radius), (x, y, radius), (radius, radius), "tyre", sides)
        angles = np.arange(6) * np.pi / 3
        hub = np.stack([x + 0.62 * radius * np.cos(angles), np.full(6, y + out * 0.01), radius + 0.62 * radius * np.sin(angles)], -1)
        self.face(hub, "rim", np.array([x, 0, radius]))

    def blob(self, centre: tuple, radii: tuple, material: str, fine: bool, seed: int, rough: float = 0.18) -> None:
        """A bumpy ball: an icosahedron, split once if `fine`."""
        points, faces = _icosphere(fine)
        rng = np.random.default_rng(seed)
        points = points * (1 + rough * rng.uniform(-1, 1, (len(points), 1))) * radii + centre
        for f in faces:
            self.face(points[f], material, np.array(centre, float))

    def unit(self, length: float, width: float, height: float) -> tuple[Array, Array]:
        """(vertices, triangles) of the unit box."""
        return np.array(self.vertices, np.float32) / np.array([length, width, height], np.float32), np.array(self.triangles, np.int32)


@lru_cache(maxsize=2)
def _icosphere(fine: bool) -> tuple[Array, Array]:
    g = (1 + 5**0.5) / 2
    points = np.array([(s, t * g, 0) for s in (-1, 1) for t in (-1, 1)] + [(0, s, t * g) for s in (-1, 1) for t in (-1, 1)]
                      + [(t * g, 0, s) for s in (-1, 1) for t in (-1, 1)], float)  # fmt: skip
    edge = np.linalg.norm(points[:, None] - points[None], axis=-1)
    faces = [(i, j, k) for i in range(12) for j in range(i) for k in range(j) if max(edge[i, j], edge[j, k], edge[i, k]) < 2.1]
    if fine:
        keys = {tuple(p): n for n, p in enumerate(points)}
        out, split = list(points), []
        for i, j, k in faces:
            middle = []
            for a, b in ((i, j), (j, k), (k, i)):
                m = (points[a] + points[b]) / 2
                middle.append(keys.setdefault(tuple(m), len(out)))
                if middle[-1] == len(out):
                    out.append(m)
            m0, m1, m2 = middle
            split += [(i, m0, m2), (j, m1, m0), (k, m2, m1), (m0, m1, m2)]
        points, faces = np.array(out), split
    return points / np.linalg.norm(points, axis=1, keepdims=True), np.array(faces)


@dataclass(frozen=True)
class Library:
    """All meshes in one array each; `number[name]` indexes `spans` (first and last vertex, first and last triangle)."""

    vertices: Float32[Array, "v 3"]
    triangles: Int32[Array, "t 4"]
    spans: Int32[Array, "m 4"]
    number: dict[str, int]


def pack(shapes: dict[str, tuple[Array, Array]]) -> Library:
    """Join named (vertices, triangles) into a Library; raises ValueError for a mesh over MAX_VERTICES."""
    spans, v, t = [], 0, 0
    for name, (vertices, triangles) in shapes.items():
        if len(vertices) > MAX_VERTICES:
            raise ValueError(f"mesh {name} has {len(vertices)} vertices, the most is {MAX_VERTICES}")
        spans.append((v, v + len(vertices), t, t + len(triangles)))
        v, t = v + len(vertices), t + len(triangles)
    return Library(
        np.concatenate([s[0] for s in shapes.values()]).astype(np.float32),
        np.concatenate([s[1] for s in shapes.values()]).astype(np.int32),
        np.array(spans, np.int32),
        {name: k for k, name in enumerate(shapes)},
    )
