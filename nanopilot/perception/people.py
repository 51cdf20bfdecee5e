"""Somebody the heat doubts and the scene shows: two heads of one network, which err apart.

In: one picture's detections, people and riders down to a low score, and its scene. Out: those that are believed, and the rest, doubtful. A
child that steps out between parked cars has a score of 0.3 and a body in the scene; a phantom has the score alone. So who is scored low is
believed where much of his box is body and nobody else has been found there. The doubtful are nobody by themselves, but may be
somebody who was seen surely before (Zhang et al. 2022, ByteTrack).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from nanopilot.messages import Detection, Kind, SceneClass
from nanopilot.perception.heads import SCENE_STRIDE

Array = np.ndarray
BODIES = (SceneClass.PERSON, SceneClass.CYCLIST)


@dataclass(frozen=True)
class PeopleConfig:
    """Tried on tuning frames (dev/bench_people.py) and tuning seeds 2001 to 2004."""

    least: float = 0.2  # score from which the scene is asked
    share: float = 0.2  # of the box that must be body: nobody fills his
    tall: float = 20.0  # px: a smaller box has too few cells of scene
    told: float = 0.6  # score that somebody believed so has: as many of them are right
    apart: float = 0.2  # intersection over union with somebody else's box from which on it is his


def believed(
    found: tuple[Detection, ...], scene: UInt8[Array, "h w"], score: float, config: PeopleConfig
) -> tuple[tuple[Detection, ...], tuple[Detection, ...]]:
    """(The detections scored above `score` and those people below it whom the scene shows, other people); surest first."""
    kept, doubtful = [d for d in found if d.score > score], []
    bodies = np.isin(scene, BODIES)
    for d in sorted((d for d in found if d.score <= score and d.kind != Kind.VEHICLE), key=lambda d: -d.score):
        if any(o.kind != Kind.VEHICLE and shared(o.box, d.box) > config.apart for o in kept):
            continue  # the same body
        if d.box[3] - d.box[1] >= config.tall and share_of_body(bodies, d.box) >= config.share:
            kept.append(replace(d, score=config.told))
        else:
            doubtful.append(d)
    return tuple(sorted(kept, key=lambda d: -d.score)), tuple(doubtful)


def share_of_body(bodies: Bool[Array, "h w"], box: Float32[Array, "4"]) -> float:
    """How much of a box (px: u0, v0, u1, v1) lies on cells of bodies."""
    left, top, right, bottom = (box / SCENE_STRIDE).tolist()
    inside = bodies[max(int(top), 0) : max(int(np.ceil(bottom)), 1), max(int(left), 0) : max(int(np.ceil(right)), 1)]
    return float(inside.mean()) if inside.size else 0.0


def shared(a: Float32[Array, "4"], b: Float32[Array, "4"]) -> float:
    """Intersection over union of two boxes (u0, v0, u1, v1)."""
    inner = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0))
    return float(inner / max(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner, 1e-6))
