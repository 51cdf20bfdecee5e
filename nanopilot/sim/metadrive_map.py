"""MetaDrive's map as what a camera sees of it: ground surfaces and paint.

In: MetaDrive's PGMap. Out: scene.Surface in drawing order (pavement, road; grass is what the camera draws elsewhere) and
scene.Marking. Lines are those MetaDrive's physics tests the car against, in the same places: every lane's left border,
and the last lane's right one. On turned roads MetaDrive lays an acceleration lane's taper along map x, sometimes across
the road; it ends drives there, so it is painted there.
Junctions have no paint inside. No heights: kerbs and pavements are flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from nanopilot.sim.lanemap import Paint, colour_of, paint_of
from nanopilot.sim.scene import Marking, Surface

Array = np.ndarray

SPACING = 1.0  # m along a line; a 10 m bend's chord is then 1.2 cm off
DASH = (2.0, 2.0)  # m painted and open, MetaDrive's broken lines
ASPHALT_MARGIN = 0.2  # m of asphalt outside the outermost line's middle (guess)


def surfaces(road_map: Any) -> tuple[Surface, ...]:
    """Pavements, then a strip of road per group of lanes that begin and end together."""
    road = [Surface("road", _strip(group)) for group in _groups(road_map)]
    pavement = [
        Surface("pavement", np.array(walk["polygon"], float))
        for block in road_map.blocks
        for walk in block.sidewalks.values()
        if len(walk["polygon"]) > 2
    ]
    return (*pavement, *road)


def markings(road_map: Any) -> tuple[Marking, ...]:
    """Every painted line once: the yellow line between the directions belongs to both in MetaDrive."""
    seen: set[frozenset] = set()
    out = []
    for lanes in _roads(road_map):
        decoration = lanes[0].index[0] == "decoration"
        for lane in lanes:
            sides = (0, 1) if lane is lanes[-1] or decoration else (0,)
            for side in sides:
                paint = paint_of(lane.line_types[side])
                if paint == Paint.NONE:
                    continue
                points = _edge(lane, side)
                ends = frozenset((round(float(x), 1), round(float(y), 1)) for x, y in (points[0], points[len(points) // 2], points[-1]))
                if ends in seen:
                    continue
                seen.add(ends)
                out.append(Marking(points, colour=colour_of(lane.line_colors[side]), dash=DASH if paint == Paint.BROKEN else None))
    return tuple(out)


def _roads(road_map: Any) -> Iterator[list[Any]]:
    for ends in road_map.road_network.graph.values():
        yield from (lanes for lanes in ends.values() if lanes)


def _groups(road_map: Any) -> Iterator[list[Any]]:
    """Neighbouring lanes abreast over their whole length."""
    for lanes in _roads(road_map):
        group = [lanes[0]]
        for lane in lanes[1:]:
            ends = ((0, 0), (lane.length, group[-1].length))
            apart = [np.hypot(*np.subtract(lane.position(s, 0), group[-1].position(t, 0))) for s, t in ends]
            if max(apart) < 1.1 * lane.width:
                group.append(lane)
            else:
                yield group
                group = [lane]
        yield group


def _strip(lanes: list[Any]) -> Float[Array, "n 2"]:
    left = _edge(lanes[0], 0, ASPHALT_MARGIN)
    right = _edge(lanes[-1], 1, ASPHALT_MARGIN)
    return np.concatenate([left, right[::-1]])


def _edge(lane: Any, side: int, beyond: float = 0.0) -> Float[Array, "n 2"]:
    """A lane's left (0) or right (1) border, `beyond` metres outside; MetaDrive counts sideways to the right."""
    n = max(2, int(np.ceil(lane.length / SPACING)) + 1)
    at = np.linspace(0.0, lane.length, n)
    half = lane.width / 2
    taper = hasattr(lane, "extension_direction")  # an acceleration lane's end narrows from the right
    across = [(-half - beyond) if side == 0 else (lane.width_at(s) - half if taper else half) + beyond for s in at]
    return np.array([lane.position(s, a) for s, a in zip(at, across, strict=True)], float)
