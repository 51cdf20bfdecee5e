"""How right a Percept is about a labelled real picture: counts of one frame, figures of many, intervals by group.

In: a Percept, the real camera and the set's own labels, in the set's own pixels: the Percept is carried back to them, so what the
model camera cut off or made coarse counts against it. Out: per frame an array of counts that add up; figures from sums.
Sources: intersection over union as in PASCAL VOC (Everingham et al. 2010); KITTI's ignored boxes (Geiger et al. 2012); percentile
bootstrap over groups (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from nanopilot.geometry import image_from_image
from nanopilot.messages import CameraModel, Kind, Percept, SceneClass
from nanopilot.perception.datasets import CAMVID_CLASSES
from nanopilot.perception.metrics import overlaps
from nanopilot.perception.runtime import canonical

Array = np.ndarray
Line = Float[Array, "_ 2"]

N = len(CAMVID_CLASSES)
VOID = 11
CAMVID_OF = np.full(256, N, np.uint8)  # our class -> CamVid's; N: none of them
CAMVID_OF[[
    SceneClass.SKY, SceneClass.BUILDING, SceneClass.POLE, SceneClass.ROAD, SceneClass.MARKING, SceneClass.PAVEMENT, SceneClass.NATURE,
    SceneClass.SIGN, SceneClass.FENCE, SceneClass.VEHICLE, SceneClass.PERSON, SceneClass.CYCLIST,
]] = (0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10)  # fmt: skip
ROAD = CAMVID_CLASSES.index("road")

KITTI_OF = {Kind.VEHICLE: ("Car", "Van", "Truck"), Kind.PERSON: ("Pedestrian", "Person_sitting"), Kind.CYCLIST: ("Cyclist",)}
LEAST_HEIGHT = 25.0  # px of KITTI's picture
MOST_TRUNCATED, MOST_OCCLUDED = 0.5, 2  # share cut off by the picture's edge; KITTI's occlusion level, 3 is unknown
IOU = 0.5
COVERED = 0.5  # share of a claimed box within an ignored region that makes it neither right nor wrong
NEAR = 40.0  # m
DISTANCE_BINS = (0.0, 10.0, 20.0, 30.0, 40.0, 80.0)  # m

LINE_TOLERANCE = 20 / 1280  # of the picture's width: 20 px at 1280x720
LINE_ROWS = 72  # rows compared, of the picture's height: every tenth at 720

RESAMPLES = 500


@dataclass(frozen=True)
class Found:
    """One frame's objects of one kind: right, wrong and missed, and (true, claimed) distances of the right ones, m."""

    right: int
    wrong: int
    missed: int
    distances: Float[Array, "n 2"]


def source_pixels(points: Line, camera: CameraModel) -> Line:
    """A Percept's pixels in the picture it was made from."""
    if not len(points):
        return np.zeros((0, 2))
    return cv2.perspectiveTransform(np.asarray(points, np.float64).reshape(-1, 1, 2), image_from_image(camera, canonical(camera)))[:, 0]


def scene_at(percept: Percept, camera: CameraModel, height: int, width: int) -> UInt8[Array, "height width"]:
    """The Percept's class at each pixel of a label picture of the camera's view; 255 where the model camera saw nothing."""
    own = replace(
        camera, width=width, height=height, fx=camera.fx * width / camera.width, fy=camera.fy * height / camera.height,
        cx=(camera.cx + 0.5) * width / camera.width - 0.5, cy=(camera.cy + 0.5) * height / camera.height - 0.5,
    )  # fmt: skip
    seen = canonical(camera)
    h, w = percept.scene.shape
    cell = np.diag([w / seen.width, h / seen.height, 1.0])
    cell[:2, 2] = 0.5 * w / seen.width - 0.5, 0.5 * h / seen.height - 0.5
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    scene = np.ascontiguousarray(percept.scene)
    return cv2.warpPerspective(scene, cell @ image_from_image(seen, own), (width, height), flags=flags, borderValue=SceneClass.IGNORE)


def confusion(scene: UInt8[Array, "h w"], label: UInt8[Array, "h w"]) -> Int[Array, "11 12"]:
    """Pixels by CamVid class (rows: labelled, columns: claimed, the last none of them); void is left out."""
    judged = label < N
    pairs = (N + 1) * label[judged].astype(int) + CAMVID_OF[scene[judged]]
    return np.bincount(pairs, minlength=N * (N + 1)).reshape(N, N + 1)


def ious(table: Int[Array, "k k2"]) -> Float[Array, " k"]:
    """Intersection over union of each labelled class; NaN for one that never occurs."""
    hit = np.diagonal(table)
    union = table.sum(1) + table[:, : len(table)].sum(0) - hit
    return np.where(table.sum(1) > 0, hit / np.maximum(union, 1), np.nan)


def road_counts(scene: UInt8[Array, "h w"], road: Array) -> Int[Array, "2"]:
    """(intersection, union) of claimed and labelled road."""
    claimed = (scene == SceneClass.ROAD) | (scene == SceneClass.MARKING)
    return np.array([(claimed & road).sum(), (claimed | road).sum()])


def kitti_found(percept: Percept, camera: CameraModel, labels: Path, kind: Kind) -> Found:
    """A frame's objects of one kind against a KITTI label file; surest claims choose first."""
    rows = [line.split() for line in labels.read_text().splitlines()]
    boxes = np.array([row[4:8] for row in rows], float).reshape(-1, 4)
    place = np.array([row[11:14] for row in rows], float).reshape(-1, 3)
    counted = np.array([
        row[0] in KITTI_OF[kind] and float(row[1]) <= MOST_TRUNCATED and int(row[2]) <= MOST_OCCLUDED
        and float(row[7]) - float(row[5]) >= LEAST_HEIGHT for row in rows
    ], bool)  # fmt: skip
    others = {name for k, names in KITTI_OF.items() if k is not kind for name in names}  # to claim one of these is wrong
    ignored = ~counted & np.array([row[0] not in others for row in rows], bool)
    claims = [d for d in percept.objects if d.kind is kind]
    ours = np.array([source_pixels(np.reshape(d.box, (2, 2)), camera).ravel() for d in claims]).reshape(-1, 4)
    ours = np.clip(ours, 0, (camera.width - 1, camera.height - 1) * 2)
    iou = overlaps(ours, boxes)
    size = np.minimum(ours[:, None, 2:], boxes[None, :, 2:]) - np.maximum(ours[:, None, :2], boxes[None, :, :2])
    covered = np.maximum(size, 0).prod(-1) / np.maximum((ours[:, 2:] - ours[:, :2]).prod(-1), 1e-6)[:, None]
    taken = np.zeros(len(rows), bool)
    right, wrong, distances = 0, 0, []
    for i, claim in enumerate(claims):
        free = np.where(counted & ~taken, iou[i], 0.0)
        j = int(free.argmax()) if len(free) else -1
        if j >= 0 and free[j] >= IOU:
            taken[j], right = True, right + 1
            distances.append((np.hypot(place[j, 0], place[j, 2]), claim.distance))
        elif ours[i, 3] - ours[i, 1] >= LEAST_HEIGHT and not (ignored & ((iou[i] >= IOU) | (covered[i] >= COVERED))).any():
            wrong += 1
    return Found(right, wrong, int((counted & ~taken).sum()), np.array(distances, float).reshape(-1, 2))


def line_counts(claimed: Sequence[Line], true: Sequence[Line], width: int, height: int) -> Int[Array, "3"]:
    """(right, claimed, true) points of lines, row by row between the labels' first and last; each is matched with one at most."""
    if not true:
        return np.array([0, 0, 0])
    rows = np.linspace(0, height - 1, LINE_ROWS)
    rows = rows[(rows >= min(line[:, 1].min() for line in true)) & (rows <= max(line[:, 1].max() for line in true))]
    mine, theirs = _crossings(claimed, rows), _crossings(true, rows)
    right = 0
    for k in range(len(rows)):
        a, b = mine[np.isfinite(mine[:, k]), k], theirs[np.isfinite(theirs[:, k]), k]
        gap = np.abs(a[:, None] - b[None])
        while gap.size and gap.min() <= LINE_TOLERANCE * width:
            i, j = np.unravel_index(gap.argmin(), gap.shape)
            gap = np.delete(np.delete(gap, i, 0), j, 1)
            right += 1
    return np.array([right, np.isfinite(mine).sum(), np.isfinite(theirs).sum()])


def _crossings(lines: Sequence[Line], rows: Float[Array, " r"]) -> Float[Array, "n r"]:
    """Column of each line at each row, NaN beyond its ends."""
    out = np.full((len(lines), len(rows)), np.nan)
    for k, line in enumerate(lines):
        order = np.argsort(line[:, 1])
        out[k] = np.interp(rows, line[order, 1], line[order, 0], left=np.nan, right=np.nan)
    return out


Items = list[tuple[str, object]]  # (group, one frame's counts)


def with_intervals(items: Items, figures: Callable[[list], dict[str, float]], seed: int = 0) -> dict[str, object]:
    """Each figure of all items with its 95 % interval from resampling groups, and their numbers; {} of none."""
    if not items:
        return {}
    groups: dict[str, list] = {}
    for group, item in items:
        groups.setdefault(group, []).append(item)
    names, rng = list(groups), np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES):
        draws.append(figures([item for k in rng.integers(len(names), size=len(names)) for item in groups[names[k]]]))
    out: dict[str, object] = {"n": len(items), "groups": len(names)}
    for name, value in figures([item for _, item in items]).items():
        if np.isfinite(value):
            drawn = np.array([d[name] for d in draws])
            low, high = np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975))
            out |= {name: float(value), f"{name}_interval": [float(low), float(high)]}
    return out


def camvid_figures(tables: list[Array]) -> dict[str, float]:
    iou = ious(np.sum(tables, 0))
    each = {f"iou_{name}": float(x) for name, x in zip(CAMVID_CLASSES, iou, strict=True)}
    return {"miou": float(np.nanmean(iou)), "road_iou": float(iou[ROAD])} | each


def road_figures(counts: list[Array]) -> dict[str, float]:
    both, either = np.sum(counts, 0)
    return {"road_iou": float(both / max(either, 1))}


def kitti_figures(found: list[dict[Kind, Found]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for kind in KITTI_OF:
        right, wrong, missed = np.sum([(f[kind].right, f[kind].wrong, f[kind].missed) for f in found], 0)
        out[f"{kind}_recall"] = float(right / (right + missed)) if right + missed else np.nan
        out[f"{kind}_precision"] = float(right / (right + wrong)) if right + wrong else np.nan
    pairs = np.concatenate([f[Kind.VEHICLE].distances for f in found])
    error = np.abs(pairs[:, 1] - pairs[:, 0]) / np.maximum(pairs[:, 0], 1.0)
    near = pairs[:, 0] <= NEAR
    out["distance_median_relative_error"] = float(np.median(error[near])) if near.any() else np.nan
    for low, high in pairwise(DISTANCE_BINS):
        within = (pairs[:, 0] > low) & (pairs[:, 0] <= high)
        out[f"distance_error_{low:.0f}_{high:.0f}m"] = float(np.median(error[within])) if within.any() else np.nan
    return out


def line_figures(counts: list[Array]) -> dict[str, float]:
    right, claimed, true = np.sum(counts, 0)
    f1, recall, precision = 2 * right / max(claimed + true, 1), right / max(true, 1), right / max(claimed, 1)
    return {"f1": float(f1), "recall": float(recall), "precision": float(precision)}
