"""Boxes of people and riders, stretched to what the scene shows of their bodies: where somebody's feet are.

In: one picture's detections, surest first, and scene. Out: the detections, some with a larger box and a nearer place, parts left out.
From 12 m on inwards the network draws many boxes around a part of a body only, to the knees, and takes it for somebody as far away as
that is small; its scene shows the legs all the same. Where the body goes on below its box, it stands where the road is seen under its
last row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from nanopilot.geometry import road_from_image
from nanopilot.messages import CameraModel, Detection, Kind
from nanopilot.perception.heads import SCENE_STRIDE
from nanopilot.perception.people import BODIES

Array = np.ndarray


@dataclass(frozen=True)
class FeetConfig:
    """Guesses, tried on tuning seeds 2000 to 2004."""

    grown: float = 0.08  # of the height by which a body must go on below its box, and
    rows: int = 1  # scene rows
    tall: int = 8  # scene rows: of who is smaller, farther than 14 m, a row is too much
    most: float = 1.5  # heights: more is another body
    beside: int = 1  # scene columns beside the box that may be its body's
    gap: int = 1  # scene rows without it that a body may have
    row_std: float = 2.0  # px, of where it ends
    share: float = 0.08  # of the distance: the road is no plane, pitch errs
    inside: float = 0.8  # share of a box within a larger one that makes it a part of that body


def on_their_feet(
    found: tuple[Detection, ...], scene: UInt8[Array, "h w"], camera: CameraModel, config: FeetConfig
) -> tuple[Detection, ...]:
    """The detections, people and riders each down to the last row of their body, and without boxes of parts of them."""
    bodies = np.isin(scene, BODIES)
    whole = [d if d.kind == Kind.VEHICLE else _stretched(d, found, bodies, camera, config) for d in found]
    return tuple(d for k, d in enumerate(whole) if d.kind == Kind.VEHICLE or not _a_part(k, whole, config))


def _stretched(d: Detection, found: tuple[Detection, ...], bodies: Bool[Array, "h w"], camera: CameraModel, c: FeetConfig) -> Detection:
    left, top, right, bottom = (d.box / SCENE_STRIDE).tolist()
    if bottom - top < c.tall:
        return d
    first, last = max(round(left) - c.beside, 0), min(round(right) + c.beside, bodies.shape[1])
    begin, most = max(int(top), 0), min(int(bottom + c.most * (bottom - top)), bodies.shape[0] - 1)
    rows = np.flatnonzero(bodies[begin : most + 1, first:last].any(1)) + begin if last > first else np.empty(0, int)
    below = rows[rows >= int(bottom) - c.rows]
    if not len(below) or below[0] > int(bottom) + c.gap:
        return d
    breaks = np.flatnonzero(np.diff(below) > c.gap + 1)
    end = int(below[breaks[0]] if len(breaks) else below[-1]) + 1  # the row after the last
    if (
        end - bottom < max(c.grown * (bottom - top), c.rows)
        or end >= bodies.shape[0]
        or _another(d, first * SCENE_STRIDE, last * SCENE_STRIDE, end * SCENE_STRIDE, found)
    ):
        return d
    columns = np.flatnonzero(bodies[begin:end, first:last].any(0)) + first
    box = np.array([min(left, columns[0]), top, max(right, columns[-1] + 1), end], np.float32) * SCENE_STRIDE
    across = bodies[begin:end, first:last].sum(0)
    foot = (across @ (np.arange(first, last) + 0.5)) / across.sum() * SCENE_STRIDE - 0.5
    x, y = road_from_image(camera, np.array([[foot, end * SCENE_STRIDE - 0.5]]))[0] - (camera.x, camera.y)
    contact = float(np.hypot(x, y))
    if not contact < d.distance:
        return d
    distance = contact + d.width / 2
    std = float(np.hypot(contact**2 / (camera.fy * camera.z) * c.row_std, c.share * contact))
    place = np.array([camera.x + x * distance / contact, camera.y + y * distance / contact], np.float32)
    return replace(d, box=box, position=place, distance=distance, distance_std=std)


def _another(d: Detection, left: float, right: float, end: float, found: tuple[Detection, ...]) -> bool:
    """Whether somebody else's box between these columns already reaches down to `end`: what lies below is his body, then."""
    return any(
        o is not d and o.kind != Kind.VEHICLE and o.box[0] < right and o.box[2] > left and o.box[3] > (d.box[3] + end) / 2 for o in found
    )


def _a_part(k: int, whole: list[Detection], c: FeetConfig) -> bool:
    """Whether the `k`-th box lies within another one that is larger, or about as large and surer."""
    box = whole[k].box
    area = np.prod(box[2:] - box[:2])
    for n, o in enumerate(whole):
        inner = np.prod(np.maximum(np.minimum(box[2:], o.box[2:]) - np.maximum(box[:2], o.box[:2]), 0.0))
        larger = np.prod(o.box[2:] - o.box[:2]) > area / c.inside or n < k
        if n != k and o.kind != Kind.VEHICLE and larger and inner > c.inside * area:
            return True
    return False
