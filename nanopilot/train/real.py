"""Labelled real pictures as training frames: every look at one is through another random virtual camera.

In: a folder laid out as docs/data.md says (environment variable NANOPILOT_DATA). Out: pictures of the 512x256 model camera with labels
of the heads the set truly labels, the rest marked unknown, as perception.labels wants them. A picture is never stretched: it is placed in
the model camera by its own focal length and horizon, known (KITTI) or estimated by eye (SETS), and what it doesn't cover is black and
ignored. With `rng` the placing varies: focal length, horizon, heading, roll; distances go with the focal length, so that apparent size
and row stay true. Sets that call paint road, or know only road and not road, use the scene codes ANY_ROAD and NOT_ROAD, which the loss
reads as sums of classes. Splits: CamVid's drive 0016E5 is for tuning, its others for training; rural_road as published; every fourth
KITTI frame is for tuning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from nanopilot.geometry import image_from_image, model_camera
from nanopilot.messages import CameraModel, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import ANY_ROAD, HEADS, MAX_OBJECTS, NOT_ROAD, OBJECT_FIELDS, scene_label

Array = np.ndarray
Fields = dict[str, Array]

ZOOM = (0.75, 1.8)  # how much larger than its size a picture is drawn
ANGLE_STD = np.radians((1.5, 2.0, 1.0))  # pitch, yaw, roll
LEAST_HEIGHT = 5.0  # px of the model camera: a lower box is neither taught nor denied

CAMVID = (  # in the order of the files' numbers; there, road means paint too
    SceneClass.SKY, SceneClass.BUILDING, SceneClass.POLE, ANY_ROAD, SceneClass.PAVEMENT, SceneClass.NATURE, SceneClass.SIGN,
    SceneClass.FENCE, SceneClass.VEHICLE, SceneClass.PERSON, SceneClass.CYCLIST, SceneClass.IGNORE,
)  # fmt: skip
RURAL = (NOT_ROAD, ANY_ROAD)
KITTI_KINDS = {
    "Car": 0,
    "Van": 0,
    "Truck": 0,
    "Pedestrian": 1,
    "Person_sitting": 1,
    "Cyclist": 2,
}  # others are ignored: neither taught nor denied
KITTI_HEIGHT = 1.65  # m, of the cameras above the road (Geiger et al. 2012)


@dataclass(frozen=True)
class Set:
    """How a set's pictures were taken. `width`, `height`: to which they are scaled first, which undoes a squeeze."""

    width: int
    height: int
    focal: float  # px at that size
    horizon: float  # row at that size
    camera_height: float = 1.4  # m


SETS = {
    "camvid": Set(480, 360, focal=460.0, horizon=180.0),  # by eye: vanishing points of lanes; focal length from cars' size, ± 15 %
    "rural_road": Set(683, 384, focal=430.0, horizon=50.0),  # by eye; the upper part of the picture is cut off, not tilted away
    "nuscenes_unlabelled": Set(960, 540, focal=760.0, horizon=270.0, camera_height=1.5),  # nuScenes' front camera has 1266 px at 1600x900
}


@dataclass(frozen=True)
class RealFrame:
    """One picture and where its labels are. `group`: the drive, for intervals."""

    set: str
    group: str
    image: Path
    camera: CameraModel
    scene: Path | None = None
    codes: tuple[int, ...] = ()
    objects: Path | None = None


def camera_of(name: str) -> CameraModel:
    """The estimated camera of a set: level, its principal point on the horizon."""
    s = SETS[name]
    return CameraModel(name, s.width, s.height, s.focal, s.focal, (s.width - 1) / 2, s.horizon, x=1.3, z=s.camera_height)


def kitti_camera(calibration: Path, width: int, height: int) -> CameraModel:
    """The left colour camera from a KITTI calibration file (P2)."""
    rows = {line.split(":")[0]: line.split()[1:] for line in calibration.read_text().splitlines() if ":" in line}
    p = np.array(rows["P2"], float).reshape(3, 4)
    return CameraModel("kitti", width, height, p[0, 0], p[1, 1], p[0, 2], p[1, 2], x=1.3, z=KITTI_HEIGHT)


def find(data: Path, split: str) -> list[RealFrame]:
    """All labelled pictures of a split ("train" or "tune"); sets that are missing are left out. Raises FileNotFoundError when all are."""
    frames = []
    for path in sorted((data / "camvid").glob("*/images/*.jpg")):
        drive = path.name.split("_")[0]
        if (drive == "0016E5") == (split == "tune"):
            label = path.parent.parent / "labels" / f"{path.stem}.png"
            frames.append(RealFrame("camvid", drive, path, camera_of("camvid"), label, CAMVID))
    for path in sorted((data / "rural_road" / {"train": "train", "tune": "valid"}[split] / "images").glob("*.jpg")):
        label = path.parent.parent / "labels" / f"{path.stem}.png"
        frames.append(RealFrame("rural_road", path.stem, path, camera_of("rural_road"), label, RURAL))
    for k, path in enumerate(sorted((data / "kitti_object" / "image_2").glob("*"))):
        if (k % 4 == 3) == (split == "tune"):
            height, width = cv2.imread(str(path)).shape[:2]
            root = data / "kitti_object"
            camera = kitti_camera(root / "calib" / f"{path.stem}.txt", width, height)
            frames.append(RealFrame("kitti_object", path.stem, path, camera, objects=root / "label_2" / f"{path.stem}.txt"))
    if not frames:
        raise FileNotFoundError(f"no camvid, rural_road or kitti_object pictures in {data} (NANOPILOT_DATA); docs/data.md has the layout")
    return frames


def virtual(camera: CameraModel, rng: np.random.Generator | None) -> tuple[CameraModel, float]:
    """The same picture as if a shorter or longer lens had taken it, and how much larger it is then drawn; without `rng`, as it is."""
    if rng is None:
        return camera, 1.0
    zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
    pitch, yaw, roll = rng.normal(0, ANGLE_STD)
    return replace(camera, fx=camera.fx / zoom, fy=camera.fy / zoom, pitch=pitch, yaw=yaw, roll=roll), zoom


def sample(frame: RealFrame, rng: np.random.Generator | None = None) -> tuple[UInt8[Array, "256 512 3"], Fields]:
    """One look at a real frame: the model camera's picture, and its label's fields."""
    camera, zoom = virtual(frame.camera, rng)
    seen = replace(model_camera(), z=camera.z)
    homography = image_from_image(seen, camera)
    size, resize = (seen.width, seen.height), (camera.width, camera.height)
    picture = cv2.imread(str(frame.image), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{frame.image} is no picture that OpenCV can read")
    picture = cv2.resize(picture, resize, interpolation=cv2.INTER_AREA) if picture.shape[1::-1] != resize else picture
    shrink = np.sqrt(abs(np.linalg.det(homography[:2, :2])))
    if shrink < 0.5:  # as perception.runtime does
        picture = cv2.GaussianBlur(picture, (0, 0), 0.4 / shrink)
    image = cv2.warpPerspective(picture, homography, size, flags=cv2.INTER_LINEAR)[..., ::-1]

    scene = np.full(heads.SCENE_SHAPE, SceneClass.IGNORE, np.uint8)
    if frame.scene is not None:
        codes = np.array([*frame.codes, *[SceneClass.IGNORE] * (256 - len(frame.codes))], np.uint8)
        labels = cv2.imread(str(frame.scene), cv2.IMREAD_UNCHANGED)
        labels = codes[labels if labels.ndim == 2 else labels[..., 0]]
        labels = cv2.resize(labels, resize, interpolation=cv2.INTER_NEAREST)
        whole = cv2.warpPerspective(labels, homography, size, flags=cv2.INTER_NEAREST, borderValue=SceneClass.IGNORE)
        scene = scene_label(whole)
    objects = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    if frame.objects is not None:
        objects = kitti_objects(frame.objects, seen, lambda p: cv2.perspectiveTransform(p[None].astype(np.float64), homography)[0], zoom)
    labelled = {"scene": frame.scene is not None, "objects": frame.objects is not None, "confidence": True}
    fields: Fields = {
        "scene": scene,
        "lane_u": np.full((len(heads.SIDES), len(heads.ROWS)), np.nan, np.float32),
        "path": np.zeros((heads.PATH_POINTS, 2), np.float32),
        "route": heads.route_vector(None),
        "objects": objects,
        "usable": np.array(1.0),
        "known": np.array([labelled.get(name, False) for name in HEADS]),
        "junction": np.array(False),
        "turn": np.array(0.0),
    }
    return np.ascontiguousarray(image), fields


def kitti_objects(path: Path, seen: CameraModel, place: Callable[[Array], Array], zoom: float) -> Float32[Array, "40 13"]:
    """labels.OBJECT_FIELDS of a KITTI label file; `place` takes the source's pixels to the model camera's."""
    rows = []
    for line in path.read_text().splitlines():
        name, _, _, _, u0, v0, u1, v1, _, width, length, x, _, z, turn = line.split()[:15]
        corners = place(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)], float))
        low, high = corners.min(0), corners.max(0)
        box = np.array([*np.maximum(low, 0), *np.minimum(high, (seen.width - 1, seen.height - 1))])
        if (box[2:] - box[:2]).min() < 1:
            continue
        ignore = name not in KITTI_KINDS or high[1] - low[1] < LEAST_HEIGHT
        ahead, aside = float(z) / zoom, -float(x) / zoom  # KITTI's camera axes: x right, z ahead; what is drawn larger is nearer
        bearing = np.arctan2(aside, ahead)
        foot = place(np.array([((float(u0) + float(u1)) / 2, float(v1))]))[0, 0]  # the footprint's centre lies near the box's middle
        yaw = -float(turn) - np.pi / 2
        size = (float(length), float(width)) if name in KITTI_KINDS else (4.0, 1.8)
        rows.append((np.hypot(ahead, aside), (KITTI_KINDS.get(name, 0), *box, foot, seen.x + ahead, aside, yaw, bearing, *size, ignore)))
    rows.sort(key=lambda row: row[0])
    out = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    for k, (_, row) in enumerate(rows[:MAX_OBJECTS]):
        out[k] = row
    return out
