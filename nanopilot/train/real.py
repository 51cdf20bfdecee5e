"""Labelled real pictures as training frames: every look at one is through another random virtual camera.

In: the sets of perception.datasets, and what `nanopilot label` wrote about pictures (docs/labels.md). Out: pictures 512x256
with labels of the heads the set truly labels, the rest marked unknown.
What the picture doesn't cover is black and ignored. With `rng` the placing varies: focal length, horizon, heading, roll; distances go
with the focal length, so that apparent size and row stay true. A truth comes before a teacher's word for the same head.
Sets that call paint road, or know only road and not road, use the scene codes ANY_ROAD and NOT_ROAD, sums of classes to the loss.
An object's x, y, yaw, length or width that nobody knows is NaN: the losses must leave it out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from nanopilot.geometry import MODEL_FOCAL, MODEL_HEIGHT, MODEL_WIDTH, image_from_image, road_from_image
from nanopilot.messages import CameraModel, SceneClass
from nanopilot.perception import datasets, heads
from nanopilot.perception.datasets import RealFrame, find, lines_of
from nanopilot.perception.labels import ANY_ROAD, HEADS, MAX_OBJECTS, NOT_ROAD, OBJECT_FIELDS, scene_label
from nanopilot.perception.runtime import canonical, warped

__all__ = ["RealFrame", "find", "sample", "taught"]

read, read_mask = lru_cache(maxsize=None)(datasets.read), lru_cache(maxsize=None)(datasets.read_mask)  # the sets are small: under 2 GB

Array = np.ndarray
Fields = dict[str, Array]
Place = Callable[[Array], Array]  # (n, 2) pixels of the source -> of the model camera

ZOOM = (0.75, 1.8)  # how much larger a picture is drawn than the network sees it whole
ANGLE_STD = np.radians((1.5, 2.0, 1.0))  # pitch, yaw, roll
LEAST_HEIGHT = 5.0  # px of the model camera: a lower box is neither taught nor denied
SIDE_AT = 10.0  # m ahead of the rear axle, where lines are counted from the car outwards
LEAST_LINE = 4  # rows of the model camera

CODES = {  # class number in a set's files -> ours
    "camvid": (
        SceneClass.SKY, SceneClass.BUILDING, SceneClass.POLE, ANY_ROAD, SceneClass.PAVEMENT, SceneClass.NATURE, SceneClass.SIGN,
        SceneClass.FENCE, SceneClass.VEHICLE, SceneClass.PERSON, SceneClass.CYCLIST, SceneClass.IGNORE,
    ),
    "rural_road": (NOT_ROAD, ANY_ROAD),
    "taught": tuple(range(256)),  # written in our codes
}  # fmt: skip
KITTI_KINDS = {
    "Car": 0,
    "Van": 0,
    "Truck": 0,
    "Pedestrian": 1,
    "Person_sitting": 1,
    "Cyclist": 2,
}  # others are ignored: neither taught nor denied
TAUGHT_KINDS = {kind.value: k for k, kind in enumerate(heads.KINDS)}
TYPICAL_HEIGHT = (1.6, 1.7, 1.7)  # m, of heads.KINDS: a contact point that makes a thing more than twice as high or low is wrong


def pairs(data: Path, labels: Path | None, split: str, scenes: Path | None = None) -> list[tuple[RealFrame, Path | None]]:
    """Every picture of a split ("train", "tune", "all") with what teachers wrote about it, if they did; `scenes`: the folder of
    train.scenes. FileNotFoundError without any picture."""
    known = find(data, "all")
    both = taught(known, labels) if labels and labels.is_dir() else [(f, None) for f in known]
    both = [(f, p) for f, p in both if split == "all" or f.trained == (split == "train")]
    if scenes is None:
        return both
    return [(replace(f, said=s) if (s := scenes / f.set / f"{f.image.stem}.png").exists() else f, p) for f, p in both]


def taught(frames: list[RealFrame], labels: Path) -> list[tuple[RealFrame, Path | None]]:
    """Each frame with what the teachers wrote about it, if they did; then the pictures only they have labelled, all for training."""
    known = {(f.set, f.image.stem) for f in frames}
    pairs = [(f, p if (p := labels / f.set / f"{f.image.stem}.json").exists() else None) for f in frames]
    for path in sorted(labels.glob("*/*.json")):
        if (path.parent.name, path.stem) not in known and (image := Path(json.loads(path.read_text())["image"])).exists():
            about = json.loads(path.read_text())
            camera = CameraModel(**about["camera"])
            pairs.append((RealFrame(path.parent.name, about["group"], image, camera, about["trained"]), path))
    return pairs


def view(camera: CameraModel, rng: np.random.Generator | None) -> tuple[CameraModel, CameraModel, float]:
    """(camera, level camera it is seen through, focal length over the model camera's): as in the car, but always of the model camera's
    width; with `rng` nearer or farther, moved, turned a little."""
    if rng is None:
        whole = canonical(camera)
        return camera, replace(whole, width=MODEL_WIDTH, cx=whole.cx + (MODEL_WIDTH - whole.width) / 2), whole.fx / MODEL_FOCAL
    pitch, yaw, roll = rng.normal(0, ANGLE_STD)
    turned = replace(camera, pitch=pitch, yaw=yaw, roll=roll)
    whole = canonical(turned)
    zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
    focal = whole.fx * zoom
    spare = np.abs(np.array([whole.width * zoom - MODEL_WIDTH, MODEL_HEIGHT * (zoom - 1)])) / 2
    middle = np.array([(MODEL_WIDTH - 1) / 2, (MODEL_HEIGHT - 1) / 2]) + rng.uniform(-1, 1, 2) * spare
    cx = middle[0] + zoom * (whole.cx - (whole.width - 1) / 2)
    cy = middle[1] + zoom * (whole.cy - (MODEL_HEIGHT - 1) / 2)
    return turned, replace(whole, width=MODEL_WIDTH, fx=focal, fy=focal, cx=cx, cy=cy), focal / MODEL_FOCAL


def sample(
    frame: RealFrame, rng: np.random.Generator | None = None, teachers: Path | None = None
) -> tuple[UInt8[Array, "256 512 3"], Fields]:
    """One look at a real frame: the model camera's picture, and its label's fields. `teachers`: the JSON they wrote about it."""
    camera, seen, zoom = view(frame.camera, rng)
    homography = image_from_image(seen, camera)
    image = warped(read(frame), homography, seen)
    said = json.loads(teachers.read_text()) if teachers else {}

    def place(pixels: Array) -> Array:
        return cv2.perspectiveTransform(np.asarray(pixels, np.float64).reshape(-1, 1, 2), homography)[:, 0]

    scene, lane_u = np.full(heads.SCENE_SHAPE, SceneClass.IGNORE, np.uint8), no_lines()
    rows: list[tuple[float, ...]] = []
    if frame.scene:
        scene = scene_of(read_mask(frame.scene), CODES[frame.set], seen, camera, homography)
    elif said:
        scene = scene_of(read_mask(teachers.with_suffix(".png")), CODES["taught"], seen, camera, homography)
    if frame.said:
        scene = fuller(scene, scene_of(read_mask(frame.said), CODES["taught"], seen, camera, homography))
    lines = lines_of(read_mask(frame.lanes)) if frame.lanes else [np.array(x["points"]) for x in said.get("lines", ()) if not x["ignore"]]
    sides = sides_of(lines, frame.camera)
    if {-1, 1} <= sides.keys():
        lane_u = np.stack([columns(place(sides[side]), seen) if side in sides else no_lines()[0] for side in heads.SIDES])
    if frame.objects:
        rows = kitti_rows(frame.objects, seen, place, zoom)
    elif said:
        rows = taught_rows(said["boxes"], frame.camera, seen, place, zoom)
    objects = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    for k, row in enumerate(sorted(rows, key=lambda r: r[2] - r[4])[:MAX_OBJECTS]):  # highest first
        objects[k] = row
    known = {
        "scene": bool(frame.scene or said or frame.said), "lanes": bool(np.isfinite(lane_u).any()), "objects": bool(frame.objects or said),
        "confidence": True,
    }  # fmt: skip
    return np.ascontiguousarray(image), {
        "scene": scene, "lane_u": lane_u, "path": np.zeros((heads.PATH_POINTS, 2), np.float32), "route": heads.route_vector(None),
        "objects": objects, "usable": np.array(float(frame.usable)), "known": np.array([known.get(name, False) for name in HEADS]),
        "junction": np.array(False), "turn": np.array(0.0),
    }  # fmt: skip


def scene_of(numbers: Array, codes: tuple[int, ...], seen: CameraModel, camera: CameraModel, homography: Array) -> UInt8[Array, "64 128"]:
    """A set's class picture as the scene head's cells."""
    table = np.array([*codes, *[SceneClass.IGNORE] * (256 - len(codes))], np.uint8)
    size = (camera.width, camera.height)
    labels = cv2.resize(table[numbers], size, interpolation=cv2.INTER_NEAREST)
    size = (seen.width, seen.height)
    return scene_label(cv2.warpPerspective(labels, homography, size, flags=cv2.INTER_NEAREST, borderValue=SceneClass.IGNORE))


def fuller(scene: UInt8[Array, "64 128"], said: UInt8[Array, "64 128"]) -> UInt8[Array, "64 128"]:
    """A scene with a teacher's classes where it has none, or says no more than that it is no road and the teacher agrees."""
    silent = scene == SceneClass.IGNORE
    vague = (scene == NOT_ROAD) & (said < len(SceneClass.NAMES)) & ~np.isin(said, (SceneClass.ROAD, SceneClass.MARKING))
    return np.where(silent | vague, said, scene)


def no_lines() -> Float32[Array, "4 39"]:
    return np.full((len(heads.SIDES), len(heads.ROWS)), np.nan, np.float32)


def sides_of(lines: list[Float[Array, "n 2"]], camera: CameraModel) -> dict[int, Float[Array, "n 2"]]:
    """Which of heads.SIDES each line is: counted outwards from the car SIDE_AT ahead, on the road as the camera is mounted."""
    at = []
    for line in lines:
        ground = road_from_image(camera, line)
        ground = ground[np.isfinite(ground).all(1) & (ground[:, 0] < 3 * SIDE_AT)]
        if len(ground) > 2 and np.ptp(ground[:, 0]) > 1.0:
            slope, start = np.polyfit(ground[:, 0], ground[:, 1], 1)
            at.append((slope * SIDE_AT + start, line))
    left = sorted((y, k) for k, (y, _) in enumerate(at) if y >= 0)
    right = sorted((-y, k) for k, (y, _) in enumerate(at) if y < 0)
    found = {-n: at[k][1] for n, (_, k) in enumerate(left[:2], 1)}
    return found | {n: at[k][1] for n, (_, k) in enumerate(right[:2], 1)}


def columns(pixels: Float[Array, "n 2"], seen: CameraModel) -> Float32[Array, "39"]:
    """A line in the model camera as its column at each of heads.ROWS."""
    order = np.argsort(pixels[:, 1])
    u = np.interp(heads.ROWS, pixels[order, 1], pixels[order, 0], left=np.nan, right=np.nan)
    u[~((u >= 0) & (u <= seen.width - 1))] = np.nan
    return np.where(np.isfinite(u).sum() >= LEAST_LINE, u, np.nan).astype(np.float32)


def placed_box(box: Array, seen: CameraModel, place: Place) -> Float[Array, "4"]:
    """A box's outline in the model camera, cut at its edges."""
    u0, v0, u1, v1 = box
    corners = place(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)]))
    return np.clip(np.concatenate([corners.min(0), corners.max(0)]), 0, (seen.width - 1, seen.height - 1) * 2)


def kitti_rows(path: Path, seen: CameraModel, place: Place, zoom: float) -> list[tuple[float, ...]]:
    """labels.OBJECT_FIELDS of a KITTI label file."""
    rows = []
    for line in path.read_text().splitlines():
        name, _, _, _, *numbers = line.split()[:15]
        u0, v0, u1, v1, _, width, length, x, _, z, turn = map(float, numbers)
        box = placed_box(np.array([u0, v0, u1, v1]), seen, place)
        if (box[2:] - box[:2]).min() < 1:
            continue
        ignore = name not in KITTI_KINDS or box[3] - box[1] < LEAST_HEIGHT
        foot = place(np.array([((u0 + u1) / 2, v1)]))[0, 0]  # the footprint's centre lies near the box's middle
        size = (length, width) if name in KITTI_KINDS else (4.0, 1.8)
        bearing, yaw = np.arctan2(-x, z), -turn - np.pi / 2  # KITTI's camera axes: x right, z ahead; the side it shows us depends on it
        half = (abs(np.cos(yaw - bearing)) * size[0] + abs(np.sin(yaw - bearing)) * size[1]) / 2
        slope = -x * zoom / z  # what is drawn larger is nearer: its near end, by the zoom (`decode.objects`)
        ahead = (z + (zoom - 1) * half / np.hypot(1.0, slope)) / zoom
        rows.append((KITTI_KINDS.get(name, 0), *box, foot, seen.x + ahead, ahead * slope, yaw, bearing, *size, ignore))
    return rows


def taught_rows(boxes: list[dict], camera: CameraModel, seen: CameraModel, place: Place, zoom: float) -> list[tuple[float, ...]]:
    """labels.OBJECT_FIELDS of teachers' boxes: what only a model of the thing could tell is NaN."""
    rows = []
    for said in boxes:
        u0, v0, u1, v1 = said["box"]
        box = placed_box(np.array(said["box"]), seen, place)
        if (box[2:] - box[:2]).min() < 1:
            continue
        kind = TAUGHT_KINDS[said["kind"]]
        contact = road_from_image(camera, np.array([((u0 + u1) / 2, v1)]))[0] - (camera.x, camera.y)
        height = (v1 - v0) * contact[0] / camera.fy
        credible = v1 < camera.height - 2 and 0.5 < height / TYPICAL_HEIGHT[kind] < 2.0  # False for NaN; a box at the edge is cut off
        x, y = (seen.x + contact[0] / zoom, contact[1]) if credible else (np.nan, np.nan)
        foot = place(np.array([((u0 + u1) / 2, v1)]))[0, 0]
        bearing = np.arctan2((camera.cx - (u0 + u1) / 2) / camera.fx, 1.0)
        ignore = said["ignore"] or box[3] - box[1] < LEAST_HEIGHT
        rows.append((kind, *box, foot, x, y, np.nan, bearing, np.nan, np.nan, ignore))
    return rows
