"""The network's output tensors -> Percept: image space lifted to metres by the camera's calibration. Numpy only.

In: the nine arrays named by heads.OUTPUTS (one frame, batch axis removed) and the level camera they were seen through. Out: lane
lines, path, objects, scene, free distance. The road is a plane; each object's bearing comes from the column of its
footprint's centre, its distance from the network. It keeps nothing between frames: filtering is the world stage's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from nanopilot.geometry import MODEL_FOCAL, camera_from_vehicle, road_from_image
from nanopilot.messages import CameraModel, Detection, LaneLine, PathProposal, Percept, SceneClass
from nanopilot.perception import heads

Array = np.ndarray


@dataclass(frozen=True)
class Config:
    """Thresholds (chosen on the tuning seeds by nanopilot.evaluate.perception) and floors of the stated uncertainty."""

    line_row: float = 0.5  # least existence probability of a row that is kept
    line_rows: int = 4  # a line's probability is the mean of its this many surest rows, and it has at least as many
    line_std: float = 0.03  # m, floor of y_std: paint's own width and road unevenness
    score: float = 0.4  # least object score
    overlap: float = 0.55  # IoU above which the weaker of two boxes of one kind is dropped
    bearing_std: float = 0.006  # rad, floor: 1.5 px of 256
    aside_std: float = 0.5  # m: the footprint's centre is told sideways no better, near or far (measured on the tuning seeds)
    valid: float = 0.5  # least confidence of a usable picture
    roof: float = 120.0  # m, largest free distance


@lru_cache(maxsize=8)
def _rays(camera: CameraModel) -> tuple[Array, Array]:
    """Of every lane row and column: the road's depth (n rows,) and of every scene row: the distance from the camera (rows, columns)."""
    row_points = road_from_image(camera, np.stack([np.full(len(heads.ROWS), camera.cx), heads.ROWS], -1))
    h, w = camera.height // heads.SCENE_STRIDE, camera.width // heads.SCENE_STRIDE
    v, u = np.mgrid[0:h, 0:w] * heads.SCENE_STRIDE + (heads.SCENE_STRIDE - 1) / 2
    ground = road_from_image(camera, np.stack([u.ravel(), v.ravel()], -1)) - (camera.x, camera.y)
    return row_points[:, 0] - camera.x, np.hypot(*ground.T).reshape(h, w)


Rows = Float32[Array, "4 39"]


def lane_lines(u: Rows, exists: Rows, std: Rows, camera: CameraModel, config: Config) -> tuple[LaneLine, ...]:
    """Row-wise columns -> lines on the road, near to far."""
    depth, _ = _rays(camera)
    lines = []
    for k, side in enumerate(heads.SIDES):
        seen = (exists[k] > config.line_row) & (depth > 0)
        if seen.sum() < config.line_rows:
            continue
        rows = np.flatnonzero(seen)[::-1]  # nearest first
        pixels = np.stack([u[k, rows], heads.ROWS[rows]], -1)
        y_std = np.hypot(std[k, rows] * depth[rows] / camera.fx, config.line_std)
        surest = np.sort(exists[k, rows])[-config.line_rows :]
        lines.append(
            LaneLine(
                side=side,
                probability=float(surest.mean()),
                image_points=pixels.astype(np.float32),
                points=road_from_image(camera, pixels).astype(np.float32),
                y_std=y_std.astype(np.float32),
            )
        )
    return tuple(lines)


def _suppress(boxes: Float32[Array, "n 4"], overlap: float) -> Bool[Array, " n"]:
    """Greedy non-maximum suppression; boxes come by falling score."""
    keep = np.ones(len(boxes), bool)
    area = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
    for i in range(len(boxes)):
        if keep[i]:
            size = np.minimum(boxes[i, 2:], boxes[i + 1 :, 2:]) - np.maximum(boxes[i, :2], boxes[i + 1 :, :2])
            shared = np.maximum(size, 0).prod(1)
            keep[i + 1 :] &= shared / (area[i] + area[i + 1 :] - shared + 1e-6) < overlap
    return keep


def objects(heat: Float32[Array, "3 h w"], box: Float32[Array, "11 h w"], camera: CameraModel, config: Config) -> tuple[Detection, ...]:
    """Peaks of the heat maps -> detections on the road, surest first."""
    found = []
    rotation, _ = camera_from_vehicle(camera)
    zoom = camera.fx / MODEL_FOCAL  # what a longer lens shows as large as the model camera is so much farther away
    for k, kind in enumerate(heads.KINDS):
        row, column = np.nonzero(heat[k] > config.score)
        order = np.argsort(-heat[k, row, column])
        row, column = row[order], column[order]
        raw = box[:, row, column]
        centre = np.stack([column, row]) * heads.GRID_STRIDE + (heads.GRID_STRIDE - 1) / 2
        sides = np.concatenate([centre - heads.GRID_STRIDE * raw[:2], centre + heads.GRID_STRIDE * raw[2:4]]).T.astype(np.float32)  # (n, 4)
        keep = _suppress(sides, config.overlap)
        foot = centre[0] + heads.GRID_STRIDE * raw[heads.FOOT_U]
        ray = np.stack([(foot - camera.cx) / camera.fx, np.zeros(len(foot)), np.ones(len(foot))], -1) @ rotation  # vehicle axes
        bearing = np.arctan2(ray[:, 1], ray[:, 0])
        aside = np.arctan2(foot - camera.cx, MODEL_FOCAL)  # the bearing it would have in the model camera, for which distances are learnt
        distance = np.exp(raw[4]) * np.cos(aside) * zoom / np.cos(bearing)
        spread = distance * np.exp(raw[5]) * np.sqrt(2.0)  # Laplace scale of the logarithm -> standard deviation
        yaw = bearing + np.arctan2(raw[heads.SIN], raw[heads.COS])
        for i in np.flatnonzero(keep):
            found.append(
                Detection(
                    kind=kind,
                    score=float(heat[k, row[i], column[i]]),
                    box=sides[i],
                    position=np.array(
                        [camera.x + distance[i] * np.cos(bearing[i]), camera.y + distance[i] * np.sin(bearing[i])], np.float32
                    ),
                    yaw=float((yaw[i] + np.pi) % (2 * np.pi) - np.pi),
                    length=float(np.exp(raw[9, i])),
                    width=float(np.exp(raw[10, i])),
                    distance=float(distance[i]),
                    distance_std=float(spread[i]),
                    bearing_std=float(np.hypot(config.bearing_std, config.aside_std / distance[i])),
                )
            )
    return tuple(sorted(found, key=lambda d: -d.score))


def free_distance(scene: UInt8[Array, "h w"], camera: CameraModel, config: Config) -> Float32[Array, " w"]:
    """From the bottom of each column up to the first cell that is not road: its distance on the ground."""
    _, ground = _rays(camera)
    free = ((scene == SceneClass.ROAD) | (scene == SceneClass.MARKING))[::-1]  # nearest first
    blocked = ~free
    first = np.where(blocked.any(0), blocked.argmax(0), len(scene) - 1)
    reach = np.nan_to_num(ground[::-1], nan=config.roof)[np.maximum(first - 1, 0), np.arange(scene.shape[1])]
    return np.where(first == 0, 0.0, np.minimum(reach, config.roof)).astype(np.float32)


def decode(outputs: dict[str, Array], t: float, camera: CameraModel, name: str, config: Config) -> Percept:
    """All heads of one frame. An unusable picture (low confidence, or a non-finite output) says nothing but that.

    `camera` is the model camera the network saw through, `name` the camera the frame came from.
    """
    finite = all(np.isfinite(a).all() for a in outputs.values() if a.dtype.kind == "f")
    confidence = float(outputs["confidence"]) if finite else 0.0
    scene = outputs["scene"]
    if confidence < config.valid:
        blind = np.zeros(scene.shape[1], np.float32)
        return Percept(t, name, (), None, (), scene, blind, confidence, valid=False)
    return Percept(
        t=t,
        camera=name,
        lanes=lane_lines(outputs["lane_u"], outputs["lane_exists"], outputs["lane_scale"], camera, config),
        path=PathProposal((outputs["path"] * (camera.fx / MODEL_FOCAL, 1.0)).astype(np.float32), outputs["path_std"]),
        objects=objects(outputs["heat"], outputs["box"], camera, config),
        scene=scene,
        free_distance=free_distance(scene, camera, config),
        confidence=confidence,
        valid=True,
    )
