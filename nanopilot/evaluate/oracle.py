"""Truth in place of perception: a Percept made from SimTruth, for ablations and for debugging what comes after.

In: the simulator's truth of the same instant. Out: a Percept as a perfect network would give it (everything
inside the camera's field of view up to RANGE, walls and other cars hide nothing), with optional noise.
It is what the pilot never has; `evaluate` alone may build it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nanopilot.geometry import child_from_parent, image_from_vehicle, resample
from nanopilot.messages import (
    PATH_ARC,
    CameraModel,
    Detection,
    Frame,
    Kind,
    LaneLine,
    Light,
    PathProposal,
    Percept,
    SceneClass,
    TrafficLight,
    TrafficSign,
)
from nanopilot.sim.truth import SimTruth, TrueActor

RANGE = 80.0  # m; guess: a car is 6 px wide there in the model camera
SIGN_RANGE = 40.0  # m, guess
LIGHT_LOW, LIGHT_HIGH, LIGHT_HALF_WIDTH = 2.55, 3.6, 0.18  # m, the drawn housing (sim.shapes)
SIGN_LOW, SIGN_HIGH, SIGN_HALF_WIDTH = 1.8, 2.6, 0.4


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
        signs=_signs(truth, camera),
        lights=_lights(truth, camera),
    )


def mixed(perceive: Callable, truth: Callable[[], SimTruth], parts: tuple[str, ...]) -> Callable:
    """`perceive` with some of its answer from the truth: 'lights' (and signs), 'objects', 'path' (and lane lines)."""

    def answer(frame: Frame, camera: CameraModel, route_line: np.ndarray | None, path: np.ndarray | None) -> Percept:
        seen, exact = perceive(frame, camera, route_line, path), percept(truth(), camera)
        if not seen.valid:
            return seen
        swap = {"lights": ("lights", "signs"), "objects": ("objects",), "path": ("path", "lanes")}
        return replace(seen, **{name: getattr(exact, name) for part in parts for name in swap[part]})

    return answer


def _lights(truth: SimTruth, camera: CameraModel) -> tuple[TrafficLight, ...]:
    """The lights for our way at the next junction, those in view."""
    out = []
    for signal in truth.signals:
        if signal.kind == "light" and signal.distance < RANGE:
            for box in _boxes(signal.posts, truth, camera, LIGHT_LOW, LIGHT_HIGH, LIGHT_HALF_WIDTH):
                out.append(TrafficLight(box, Light(signal.state), 1.0))
    return tuple(out)


def _signs(truth: SimTruth, camera: CameraModel) -> tuple[TrafficSign, ...]:
    """The sign at the next junction, if in view."""
    out = []
    for signal in truth.signals:
        if signal.kind in ("stop", "yield") and signal.distance < SIGN_RANGE:
            out += [
                TrafficSign(box, signal.kind, 1.0, 0.0) for box in _boxes(signal.posts, truth, camera, SIGN_LOW, SIGN_HIGH, SIGN_HALF_WIDTH)
            ]
    return tuple(out)


def _boxes(posts: np.ndarray, truth: SimTruth, camera: CameraModel, low: float, high: float, half: float) -> list[np.ndarray]:
    places = child_from_parent(posts, truth.x, truth.y, truth.yaw).reshape(-1, 2)
    out = []
    for x, y in places:
        pixels, depth = image_from_vehicle(camera, np.array([(x, y + half, high), (x, y - half, low)]))
        (u0, v0), (u1, v1) = pixels
        if depth.min() > 1.0 and u0 >= 0 and v0 >= 0 and u1 < camera.width and v1 < camera.height:
            out.append(np.array([u0, v0, u1, v1], np.float32))
    return out


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
