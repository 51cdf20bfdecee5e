"""Other people's networks that label pictures offline; slow, and none may run in the car.

In: the folder of their weights (docs/data.md) and an RGB picture of any size. Out: each one's word on it, in the picture's own pixels:
boxes with scores, probabilities of road, paint and lane lines. They run on one thread, in the engine that runs ours.
Wide pictures are shown to the detectors in overlapping tiles and to the others between black bars, so that nothing is stretched much.
Sources: Intel Open Model Zoo (road-segmentation-adas-0001, vehicle-detection-adas-0002, person-vehicle-bike-detection-crossroad-0078);
Ge et al. 2021 (YOLOX); dog-qiuqiu 2022 (FastestDet); Che et al. 2023 (TwinLiteNet). They decide nothing: train.label compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from nanopilot.engine import Engine

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]

VEHICLE, PERSON, BIKE, LIGHT, STOP = "vehicle", "person", "bike", "traffic_light", "stop_sign"
COCO = {0: PERSON, 1: BIKE, 2: VEHICLE, 3: BIKE, 5: VEHICLE, 7: VEHICLE, 9: LIGHT, 11: STOP}
CROSSROAD = {1: PERSON, 2: VEHICLE, 3: BIKE}
LEAST_SCORE = {
    "yolox_nano": 0.30,
    "fastestdet": 0.45,
    "vehicle_adas": 0.35,
    "crossroad": 0.35,
}  # near each one's best on KITTI's first frames
OVERLAP = 0.5  # of two boxes of one kind by one teacher: the weaker goes
TILE_ASPECT = 16 / 9
TILE_OVERLAP = 0.16  # of the picture's width
YOLOX_STRIDES = (8, 16, 32)
YOLOX_GREY = 114
ROAD, MARK = 1, 3  # of road-segmentation's classes: background, road, kerb, mark; a kerb is none of our road
FILES = (
    "yolox_nano.onnx", "FastestDet.onnx", "twinlitenet_360x640.onnx", "road-segmentation-adas-0001.xml", "road-segmentation-adas-0001.bin",
    "vehicle-detection-adas-0002.xml", "vehicle-detection-adas-0002.bin", "person-vehicle-bike-detection-crossroad-0078.xml",
    "person-vehicle-bike-detection-crossroad-0078.bin",
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    teacher: str
    kind: str
    score: float
    box: Float[Array, "4"]  # u0 v0 u1 v1


@dataclass(frozen=True)
class Sight:
    """What all said of one picture; probabilities at the picture's size."""

    boxes: list[Box]
    road: Float32[Array, "h w"]  # Intel: road or mark
    mark: Float32[Array, "h w"]
    drivable: Float32[Array, "h w"]  # TwinLiteNet
    line: Float32[Array, "h w"]


def network(path: Path) -> Callable[[Array], Array | list[Array]]:
    """A network with one input, ONNX's or Intel's .xml beside .bin; its output, or outputs."""
    engine = Engine(need(path), fixed=True, coarse=path.suffix == ".xml")  # Intel's as OpenVINO runs them if nobody says otherwise
    (name,) = engine.takes

    def run(x: Array) -> Array | list[Array]:
        out = list(engine({name: x}).values())
        return out[0] if len(out) == 1 else out

    return run


def need(path: Path) -> Path:
    """The path, or FileNotFoundError saying what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"no teacher at {path}: NANOPILOT_DATA/teachers holds them, docs/data.md lists them")
    return path


class Teachers:
    """All of them, loaded. Raises FileNotFoundError for a missing file."""

    def __init__(self, folder: Path) -> None:
        for name in FILES:
            need(folder / name)
        crossroad = network(folder / "person-vehicle-bike-detection-crossroad-0078.xml")
        adas = network(folder / "vehicle-detection-adas-0002.xml")
        self.detectors: dict[str, Callable[[Picture], list[Box]]] = {
            "yolox_nano": partial(_yolox, network(folder / "yolox_nano.onnx")),
            "fastestdet": partial(_fastestdet, network(folder / "FastestDet.onnx")),
            "vehicle_adas": partial(_intel, adas, "vehicle_adas", (672, 384), {1: VEHICLE}),
            "crossroad": partial(_intel, crossroad, "crossroad", (1024, 1024), CROSSROAD),
        }
        self.segment = network(folder / "road-segmentation-adas-0001.xml")
        self.twinlitenet = TwinLiteNet(folder)

    def look(self, image: Picture) -> Sight:
        boxes = [box for detect in self.detectors.values() for box in tiled(detect, image)]
        classes = barred(lambda bgr: self.segment(bgr.transpose(2, 0, 1)[None].astype(np.float32))[0], image[..., ::-1], 896, 512)
        drivable, line = self.twinlitenet(image)
        return Sight(boxes, classes[ROAD] + classes[MARK], classes[MARK], drivable, line)


class TwinLiteNet:
    """Drivable area and lane lines, the peer our lane lines are compared with."""

    def __init__(self, folder: Path) -> None:
        self.network = network(folder / "twinlitenet_360x640.onnx")

    def __call__(self, image: Picture) -> Float32[Array, "2 h w"]:
        """Probability of drivable area and of lane line at each pixel."""

        def run(small: Array) -> Array:
            drivable, line = self.network(np.ascontiguousarray(small.transpose(2, 0, 1)[None].astype(np.float32) / 255))
            return np.stack([1 / (1 + np.exp(x[0, 0] - x[0, 1])) for x in (drivable, line)])  # softmax of two

        return barred(run, image, 640, 360)


def barred(run: Callable[[Array], Array], image: Array, width: int, height: int) -> Float32[Array, "k h w"]:
    """A network's maps of a picture shown at width x height, with black above when the picture is wider; at the picture's size."""
    h, w = image.shape[:2]
    inner = min(height, round(h * width / w))
    small = np.zeros((height, width, 3), np.uint8)
    small[height - inner :] = cv2.resize(np.ascontiguousarray(image), (width, inner), interpolation=cv2.INTER_AREA)
    maps = run(small)[:, height - inner :]
    return np.stack([cv2.resize(np.ascontiguousarray(m), (w, h), interpolation=cv2.INTER_LINEAR) for m in maps])


def tiled(detect: Callable[[Picture], list[Box]], image: Picture) -> list[Box]:
    """A detector's boxes of a picture, in overlapping tiles when it is wide."""
    h, w = image.shape[:2]
    tiles = max(1, round(w / h / TILE_ASPECT))
    width = w if tiles == 1 else int(w * (1 / tiles + TILE_OVERLAP / 2))
    found = []
    for u in np.linspace(0, w - width, tiles).astype(int):
        crop = np.ascontiguousarray(image[:, u : u + width])
        for b in detect(crop):
            box = np.clip(b.box + (u, 0, u, 0), 0, (w - 1, h - 1) * 2)
            found.append(Box(b.teacher, b.kind, b.score, box))
    return suppress(found)


def suppress(boxes: list[Box]) -> list[Box]:
    """The surest of boxes of one kind that overlap."""
    kept: list[Box] = []
    for kind in dict.fromkeys(b.kind for b in boxes):
        own = [b for b in boxes if b.kind == kind]
        sides = [[*map(float, b.box[:2]), *map(float, b.box[2:] - b.box[:2])] for b in own]
        kept += [own[i] for i in np.ravel(cv2.dnn.NMSBoxes(sides, [b.score for b in own], 0.0, OVERLAP)).astype(int)]
    return kept


def _yolox(run: Callable[[Array], Any], image: Picture) -> list[Box]:
    size = 416
    scale = min(size / image.shape[0], size / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    padded = np.full((size, size, 3), YOLOX_GREY, np.uint8)
    padded[: small.shape[0], : small.shape[1]] = small[..., ::-1]
    out = run(padded.transpose(2, 0, 1)[None].astype(np.float32))[0]  # (3549, 85)
    cells = [np.stack(np.meshgrid(np.arange(size // s), np.arange(size // s)), -1).reshape(-1, 2) for s in YOLOX_STRIDES]
    stride = np.concatenate([np.full(len(c), s) for c, s in zip(cells, YOLOX_STRIDES, strict=True)])[:, None]
    centre, half = (out[:, :2] + np.concatenate(cells)) * stride, np.exp(out[:, 2:4]) * stride / 2
    scores = out[:, 4:5] * out[:, 5:]
    return _coco("yolox_nano", scores.argmax(1), scores.max(1), np.concatenate([centre - half, centre + half], 1) / scale)


def _fastestdet(run: Callable[[Array], Any], image: Picture) -> list[Box]:
    h, w = image.shape[:2]
    small = cv2.resize(image[..., ::-1], (352, 352), interpolation=cv2.INTER_AREA)
    out = run(small.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0].transpose(1, 2, 0)  # (22, 22, 85)
    rows, columns = out.shape[:2]
    score = out[..., 0] ** 0.6 * out[..., 5:].max(-1) ** 0.4
    v, u = np.mgrid[:rows, :columns]
    centre = np.stack([(u + np.tanh(out[..., 1])) / columns * w, (v + np.tanh(out[..., 2])) / rows * h], -1)
    half = np.array([w, h]) / (1 + np.exp(-out[..., 3:5])) / 2
    boxes = np.concatenate([centre - half, centre + half], -1).reshape(-1, 4)
    return _coco("fastestdet", out[..., 5:].argmax(-1).ravel(), score.ravel(), boxes)


def _coco(teacher: str, number: Array, score: Array, boxes: Array) -> list[Box]:
    keep = np.flatnonzero((score > LEAST_SCORE[teacher]) & np.isin(number, list(COCO)))
    return suppress([Box(teacher, COCO[int(number[i])], float(score[i]), boxes[i].astype(float)) for i in keep])


def _intel(run: Callable[[Array], Any], teacher: str, size: tuple[int, int], kinds: dict[int, str], image: Picture) -> list[Box]:
    h, w = image.shape[:2]
    small = cv2.resize(image[..., ::-1], size, interpolation=cv2.INTER_AREA)
    out = run(small.transpose(2, 0, 1)[None].astype(np.float32)).reshape(-1, 7)  # picture, class, score, u0 v0 u1 v1 of 1
    rows = [r for r in out if r[0] >= 0 and r[2] > LEAST_SCORE[teacher] and int(r[1]) in kinds]
    return [Box(teacher, kinds[int(r[1])], float(r[2]), r[3:7].astype(float) * (w, h, w, h)) for r in rows]
