"""The humanoid's eyes: a head-camera picture -> Percept of a room, on one CPU core.

In: a Frame, and what encoders and IMU told of head and hands then (`world.walker` passes it on as what it expects). Out: a Percept: class
per cell, how far the floor is free at each bearing, people as detections, boxes and tables (`things`). The network segments; metres come
from the camera's geometry and the flat floor (`geometry.road_from_image` the other way round): along each bearing the floor is followed
outwards until a cell is likelier something else, and there something stands. It knows no stairs, no glass and nothing that hangs.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from nanopilot.engine import Engine
from nanopilot.geometry import camera_from_vehicle, image_from_vehicle
from nanopilot.messages import CameraModel, Detection, Frame, Kind, Percept, RoomClass, WalkerState
from nanopilot.perception.things import held, things

Array = np.ndarray

WEIGHTS = Path(__file__).parent / "weights" / "rooms.onnx"
VERSION = "1"
WIDTH, HEIGHT, STRIDE = 192, 144, 2  # px that the network sees, and of a cell of its answer
BEARINGS = np.linspace(-0.9, 0.9, 91)  # rad, left positive, from below the camera
RANGES = np.arange(0.35, 5.01, 0.05)  # m from below the camera
FAR = float(RANGES[-1])  # free that far: nothing was met
FLOOR = 0.85  # probability from which a cell counts as floor: from 0.5 on, blocks of colours like the floor did
PATIENCE = 2  # samples in a row that aren't floor before something stands there
PERSON_SHARE = 0.5  # probability of person that makes a cell one of a person's
PERSON_WIDTH = 0.5  # m
FOOT = 0.08  # m that a foot's nearest edge is before the middle of who stands there (311 looks in eight tuning rooms)
CHEST = 1.2  # m above the floor that a person's cells reach, or to the picture's upper rim
CUT, CUT_STD = 0.8, 0.25  # of the way to the floor at the picture's lower rim: there stands whose feet it cuts; doubt of it (84 looks)
FEWEST = 2  # columns of cells that make a person: at 6 m one is 0.4 m wide, two columns and a half
FURTHEST = 7.0  # m that a foot may be away
UNKNOWN = 0.0  # free distance of a bearing that the picture doesn't show


class RoomEyes:
    """An engine and the geometry around it. Raises FileNotFoundError or ValueError, each saying what to do."""

    def __init__(self, weights: Path | None = None) -> None:
        path = Path(weights or WEIGHTS)
        if not path.is_file():
            raise FileNotFoundError(f"no network weights at {path}: train them with `nanopilot train rooms`, or name a file")
        self.engine = Engine(path)
        _, self.height, self.width, _ = (d.get_length() for d in self.engine.takes["image"])
        version = self.engine.about.get("nanopilot_rooms")
        if version != VERSION:
            raise ValueError(f"{path} is of version {version or 'unknown'}, this program needs {VERSION}: train again")

    def perceive(self, frame: Frame, camera: CameraModel, route_line: object, expected: WalkerState) -> Percept:
        """What one frame shows; `expected` has the camera with its pose at that time, `camera` the same at rest."""
        image = frame.image
        if image.shape != (camera.height, camera.width, 3):
            raise ValueError(
                f"camera {camera.name} gives {camera.width}x{camera.height}, this picture is {image.shape[1]}x{image.shape[0]}"
            )
        small = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return percept(next(iter(self.engine({"image": small[None]}).values()))[0], small, frame.t, expected)


def percept(probability: Float32[Array, "7 h w"], image: UInt8[Array, "H W 3"], t: float, walker: WalkerState) -> Percept:
    """The Percept of class probabilities of `image`, seen by the walker's camera; what it holds counts as a part of itself."""
    camera, scene = walker.camera, probability.argmax(0).astype(np.uint8)
    mine = held(walker.reach, camera, scene.shape)
    if mine is not None:
        mine &= (scene == RoomClass.BOX) | (scene == RoomClass.ROBOT)
        own = (np.arange(len(RoomClass.NAMES)) == RoomClass.ROBOT).astype(np.float32)[:, None, None]
        probability, scene = np.where(mine, own, probability), np.where(mine, RoomClass.ROBOT, scene).astype(np.uint8)
    free = free_distance(probability, camera)
    known = free > UNKNOWN
    return Percept(
        t=t,
        camera=camera.name,
        lanes=(),
        path=None,
        objects=people(probability, camera),
        scene=scene,
        free_distance=free,
        confidence=float(probability.max(0).mean()),
        valid=bool(known.mean() > 0.3),
        things=things(scene, image, camera),
    )


def free_distance(probability: Float32[Array, "7 h w"], camera: CameraModel) -> Float32[Array, " n"]:
    """Along each bearing: how far the floor is free (FAR: nothing met; UNKNOWN: not shown)."""
    h, w = probability.shape[1:]
    ground = polar(camera)
    pixels, depth = image_from_vehicle(camera, np.concatenate([ground.reshape(-1, 2), np.zeros((ground.size // 2, 1))], 1))
    scale = w / camera.width
    u = ((pixels[:, 0] + 0.5) * scale - 0.5).reshape(ground.shape[:2]).astype(np.float32)
    v = ((pixels[:, 1] + 0.5) * scale - 0.5).reshape(ground.shape[:2]).astype(np.float32)
    shown = (depth.reshape(u.shape) > 0.05) & (u > 0) & (u < w - 1) & (v > 0) & (v < h - 1)
    floor, own = (cv2.remap(probability[k], u, v, cv2.INTER_LINEAR) for k in (RoomClass.FLOOR, RoomClass.ROBOT))
    blocked = shown & (floor + own < FLOOR)
    for k in range(1, PATIENCE):  # a lone sample is noise
        blocked[:, :-k] &= blocked[:, k:] | ~shown[:, k:]
    first = np.where(blocked.any(1), blocked.argmax(1), len(RANGES) - 1)
    last_shown = np.where(shown.any(1), len(RANGES) - 1 - shown[:, ::-1].argmax(1), 0)
    end = np.minimum(first, last_shown)
    open_end = np.where(
        last_shown == len(RANGES) - 1, FAR, UNKNOWN
    )  # a bearing that leaves the picture before anything was met tells nothing
    return np.where(blocked.any(1), RANGES[end], open_end).astype(np.float32)


def polar(camera: CameraModel) -> Float[Array, "b r 2"]:
    """Points on the floor at BEARINGS and RANGES from below the camera, vehicle frame."""
    heading = camera.yaw + BEARINGS
    way = np.stack([np.cos(heading), np.sin(heading)], -1)
    return np.array([camera.x, camera.y]) + RANGES[None, :, None] * way[:, None]  # (B, R, 2)


def people(probability: Float32[Array, "7 h w"], camera: CameraModel) -> tuple[Detection, ...]:
    """Cells in one piece that are a person's and reach down to the floor and up to a chest; side by side they are two people."""
    mask = cv2.morphologyEx((probability[RoomClass.PERSON] > PERSON_SHARE).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, part = cv2.connectedComponents(mask, connectivity=8)
    out = []
    for k in range(1, count):
        columns = np.flatnonzero((part == k).any(0))
        top = (part[:, columns] == k).argmax(0)
        foot = mask.shape[0] - 1 - (part[::-1, columns] == k).argmax(0)
        ends = np.concatenate([_rays(columns, foot + 0.5, mask.shape, camera), _rays(columns, top - 0.5, mask.shape, camera)], 1)  # (n, 6)
        down = -ends[:, 2] / np.hypot(ends[:, 0], ends[:, 1])
        under = probability[:, np.minimum(foot + 1, mask.shape[0] - 1), columns].argmax(0)
        stands = (down > camera.z / FURTHEST) & np.isin(under, (RoomClass.FLOOR, RoomClass.ROBOT, RoomClass.PERSON))
        away = np.where(stands, camera.z / np.maximum(down, 1e-6), np.inf)
        bearing = np.arctan2(ends[:, 1], ends[:, 0])
        while np.isfinite(away).any():
            nearest = away.min()
            mine = np.abs(bearing - bearing[away.argmin()]) * nearest < PERSON_WIDTH
            legs = mine & (away < nearest + PERSON_WIDTH)
            tall = camera.z + nearest * (ends[mine, 5] / np.hypot(ends[mine, 3], ends[mine, 4])).max()
            if mine.sum() >= FEWEST and (tall > CHEST or top[mine].min() == 0):
                cut = foot[away.argmin()] == mask.shape[0] - 1
                distance, std = (CUT * nearest + FOOT, CUT_STD * nearest) if cut else (nearest + FOOT, 0.05 * nearest)
                out.append(_person(float(distance), float(std), float(bearing[legs].mean()), int(mine.sum()), camera))
            away[mine] = np.inf
    return tuple(out)


def _rays(columns: Array, rows: Array, shape: tuple[int, ...], camera: CameraModel) -> Float[Array, "n 3"]:
    """Ways that cells look, vehicle frame."""
    scale = camera.width / shape[1]
    u, v = (columns + 0.5) * scale - 0.5, (rows + 0.5) * scale - 0.5
    r, _ = camera_from_vehicle(camera)
    return np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(len(u))], -1) @ r


def _person(distance: float, std: float, heading: float, count: int, camera: CameraModel) -> Detection:
    position = np.array([camera.x + distance * np.cos(heading), camera.y + distance * np.sin(heading)], np.float32)
    return Detection(
        kind=Kind.PERSON,
        score=min(1.0, 0.3 + 0.1 * count),
        box=np.zeros(4, np.float32),
        position=position,
        yaw=0.0,
        length=PERSON_WIDTH,
        width=PERSON_WIDTH,
        distance=distance,
        distance_std=std,
        bearing_std=0.02,
    )
