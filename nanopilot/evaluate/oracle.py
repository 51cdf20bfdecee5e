"""Truth in place of perception: a Percept made from SimTruth, for ablations and for debugging what comes after.

In: the simulator's truth of the same instant. Out: a Percept as a perfect network would give it (everything
inside the camera's field of view up to RANGE, walls and other cars hide nothing), with optional noise.
It is what the pilot never has; `evaluate` alone may build it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanopilot.geometry import child_from_parent, image_from_vehicle, resample
from nanopilot.messages import PATH_ARC, CameraModel, Detection, Kind, LaneLine, PathProposal, Percept, SceneClass
from nanopilot.sim.truth import SimTruth, TrueActor

RANGE = 80.0  # m; guess: a car is 6 px wide there in the model camera


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what the oracle adds."""

    path: float = 0.0  # m, across, the whole path at once
    distance: float = 0.0  # of the distance itself
    seed: int = 0


def percept(truth: SimTruth, camera: CameraModel, noise: Noise = Noise()) -> Percept:
    """What a perfect network would say of the front camera's frame."""
    rng = np.random.default_rng([noise.seed, round(truth.t * 1000)])
    path = child_from_parent(truth.lane_path, truth.x, truth.y, truth.yaw)
    points = resample(path, PATH_ARC)
    heading = np.gradient(points, axis=0)
    normal = np.stack([-heading[:, 1], heading[:, 0]], -1) / np.linalg.norm(heading, axis=1, keepdims=True)
    points = points + noise.path * rng.standard_normal() * normal
    offsets = {-1: 0.5, 1: -0.5}
    if truth.lane_index > 0:
        offsets[-2] = 1.5
    if truth.lane_index < truth.lane_count - 1:
        offsets[2] = -1.5
    lanes = tuple(_line(side, points + k * truth.lane_width * normal, camera) for side, k in sorted(offsets.items()))
    objects = tuple(d for a in truth.actors if (d := _detection(a, truth, camera, noise, rng)) is not None)
    return Percept(
        t=truth.t,
        camera=camera.name,
        lanes=lanes,
        path=PathProposal(points.astype(np.float32), np.full(len(points), max(noise.path, 0.05), np.float32)),
        objects=objects,
        scene=np.full((1, 1), SceneClass.OTHER, np.uint8),
        free_distance=np.full(1, RANGE, np.float32),
        confidence=1.0,
        valid=True,
    )


def _line(side: int, points: np.ndarray, camera: CameraModel) -> LaneLine:
    pixels, depth = image_from_vehicle(camera, np.column_stack([points, np.zeros(len(points))]))
    ahead = (depth > 1.0) & np.concatenate([[True], np.diff(points[:, 0]) > 0])
    return LaneLine(side, 1.0, pixels[ahead].astype(np.float32), points[ahead].astype(np.float32), np.full(ahead.sum(), 0.05, np.float32))


def _detection(actor: TrueActor, truth: SimTruth, camera: CameraModel, noise: Noise, rng: np.random.Generator) -> Detection | None:
    x, y = child_from_parent(np.array([actor.x, actor.y]), truth.x, truth.y, truth.yaw)
    yaw = actor.yaw - truth.yaw
    c, s, hl, hw = np.cos(yaw), np.sin(yaw), actor.length / 2, actor.width / 2
    corners = np.array([[x + c * a - s * b, y + s * a + c * b, z] for a in (-hl, hl) for b in (-hw, hw) for z in (0, actor.height)])
    pixels, depth = image_from_vehicle(camera, corners)
    if (depth < 0.5).any() or depth.min() > RANGE:
        return None
    low = np.clip(pixels.min(0), 0, (camera.width - 1, camera.height - 1))
    high = np.clip(pixels.max(0), 0, (camera.width - 1, camera.height - 1))
    if (high - low).min() < 2:
        return None
    offset = np.array([x - camera.x, y - camera.y])
    offset *= 1 + noise.distance * rng.standard_normal()
    distance = float(np.hypot(*offset))
    return Detection(
        kind=Kind(actor.kind),
        score=1.0,
        box=np.concatenate([low, high]).astype(np.float32),
        position=(offset + (camera.x, camera.y)).astype(np.float32),
        yaw=float(yaw),
        length=actor.length,
        width=actor.width,
        distance=distance,
        distance_std=max(noise.distance, 0.02) * distance,
        bearing_std=0.005,
    )
