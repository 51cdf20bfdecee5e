"""A real camera's lens: from a calibration file (OpenCV's YAML), a field of view, a focal length, or a guess.

In: what is known. Out: a Lens: the CameraModel of the undistorted picture, and what undistorts one. The file is
that of OpenCV's calibration sample: image_width, image_height, camera_matrix, distortion_coefficients; optional here
are camera_height (m) and pitch, yaw, roll (degrees, as CameraModel). A file of another size but the same shape is scaled.
`calibrate` makes such a file from pictures of a chessboard. Source: Zhang 2000; OpenCV's camera_calibration.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import radians, tan
from pathlib import Path

import cv2
import numpy as np

from nanopilot.messages import CameraModel

Array = np.ndarray

GUESSED_FOV_DEG = 60.0  # across: the middle of phones and dash cams, guess
AHEAD = 1.3  # m from the rear axle to the lens, as the model camera's
PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
LEAST_BOARDS = 5
SHAPE_SLACK = 0.01  # by which width / height may differ between file and picture
REFINE = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 1e-3)


@dataclass(frozen=True)
class LensConfig:
    """What is known of the camera; the first of calibration, focal and fov_deg that is given counts."""

    calibration: Path | None = None
    focal: float | None = None  # px
    fov_deg: float | None = None  # across
    height: float | None = None  # m above the road
    pitch_deg: float | None = None  # nose down positive


@dataclass(frozen=True)
class Lens:
    camera: CameraModel
    source: str  # how it is known, for people
    height_told: bool = False
    distortion: Array = field(default_factory=lambda: np.zeros(5))

    def undistorter(self) -> Callable[[Array], Array] | None:
        """A function that makes a taken picture a pinhole's; None where nothing is to be done."""
        c = self.camera
        if not self.distortion.any():
            return None
        k = np.array([[c.fx, 0, c.cx], [0, c.fy, c.cy], [0, 0, 1]])
        maps = cv2.initUndistortRectifyMap(k, self.distortion, None, k, (c.width, c.height), cv2.CV_16SC2)
        return lambda image: cv2.remap(image, *maps, cv2.INTER_LINEAR)


def lens(config: LensConfig, width: int, height: int) -> Lens:
    """The lens for pictures of this size. Raises ValueError for numbers or a file that can't be one."""
    if config.calibration is not None:
        return _from_file(config, width, height)
    if config.focal is not None:
        focal, source = config.focal, f"focal length {config.focal:g} px as told"
    else:
        fov = GUESSED_FOV_DEG if config.fov_deg is None else config.fov_deg
        if not 10 <= fov <= 170:
            raise ValueError(f"a field of view must be from 10 to 170 degrees, not {fov:g}")
        focal = width / 2 / tan(radians(fov) / 2)
        source = f"{fov:g} degrees across, {'a guess' if config.fov_deg is None else 'as told'}"
    if not 0.2 * width <= focal <= 20 * width:
        raise ValueError(f"a focal length of {focal:g} px is no camera's of {width} px width")
    return Lens(_mounted(config, width, height, focal, focal, (width - 1) / 2, (height - 1) / 2), source, config.height is not None)


def _mounted(
    config: LensConfig, width: int, height: int, fx: float, fy: float, cx: float, cy: float, file: dict[str, float] | None = None
) -> CameraModel:
    told = file or {}
    z = config.height if config.height is not None else told.get("camera_height", 1.4)
    if not 0.3 <= z <= 5:
        raise ValueError(f"a camera {z:g} m above the road is on no car")
    pitch = config.pitch_deg if config.pitch_deg is not None else told.get("pitch", 0.0)
    if not -30 <= pitch <= 30:
        raise ValueError(f"a camera pitched by {pitch:g} degrees doesn't look at the road")
    yaw, roll = told.get("yaw", 0.0), told.get("roll", 0.0)
    return CameraModel("front", width, height, fx, fy, cx, cy, x=AHEAD, z=z, yaw=radians(yaw), pitch=radians(pitch), roll=radians(roll))


def _from_file(config: LensConfig, width: int, height: int) -> Lens:
    path = config.calibration
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no calibration file: {error}") from error
    if not text.startswith("%YAML"):
        text = "%YAML:1.0\n---\n" + text.removeprefix("---\n")
    try:
        file = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        matrix, distortion = file.getNode("camera_matrix").mat(), file.getNode("distortion_coefficients").mat()
        w, h = file.getNode("image_width").real(), file.getNode("image_height").real()
        told = {n: file.getNode(n).real() for n in ("camera_height", "pitch", "yaw", "roll") if not file.getNode(n).empty()}
    except (cv2.error, SystemError) as error:  # what OpenCV raises of a file that is no YAML
        raise ValueError(f"{path} is no OpenCV calibration") from error
    if matrix is None or matrix.shape != (3, 3) or not w > 0 or not h > 0:
        raise ValueError(f"{path} lacks image_width, image_height or a 3x3 camera_matrix, as OpenCV writes them")
    if abs(w / h / (width / height) - 1) > SHAPE_SLACK:
        raise ValueError(f"{path} is for pictures of {w:g}x{h:g}, these are {width}x{height}: another shape")
    k = width / w
    cx, cy = (matrix[0, 2] + 0.5) * k - 0.5, (matrix[1, 2] + 0.5) * k - 0.5
    camera = _mounted(config, width, height, matrix[0, 0] * k, matrix[1, 1] * k, cx, cy, told)
    told_height = config.height is not None or "camera_height" in told
    return Lens(camera, f"calibration {path}", told_height, np.zeros(5) if distortion is None else distortion.ravel())


@dataclass(frozen=True)
class BoardResult:
    matrix: Array
    distortion: Array
    size: tuple[int, int]
    rms: float  # px
    used: int
    left_out: tuple[str, ...]  # names of pictures without a whole board, or of another size


def calibrate(folder: Path, columns: int = 9, rows: int = 6, square: float = 0.025) -> BoardResult:
    """Lens from chessboard pictures with `columns` x `rows` inner corners. Raises ValueError when too few show the whole board."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if not files:
        raise ValueError(f"{folder} holds no pictures ({', '.join(PICTURES)})")
    if columns < 2 or rows < 2 or not square > 0:
        raise ValueError(f"a board of {columns}x{rows} inner corners and {square:g} m squares is none")
    board = np.zeros((columns * rows, 3), np.float32)
    board[:, :2] = np.mgrid[0:columns, 0:rows].T.reshape(-1, 2) * square
    images = {p.name: cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in files}
    sizes = [i.shape[::-1] for i in images.values() if i is not None]
    size = max(set(sizes), key=sizes.count) if sizes else (0, 0)
    seen, left_out = [], []
    for name, image in images.items():
        if (
            image is not None and max(abs(image.shape[1] - size[0]), abs(image.shape[0] - size[1])) <= 1
        ):  # a pixel more is the writer's whim
            found, corners = cv2.findChessboardCorners(image, (columns, rows))
            if found:
                seen.append(cv2.cornerSubPix(image, corners, (11, 11), (-1, -1), REFINE))
                continue
        left_out.append(name)
    if len(seen) < LEAST_BOARDS:
        raise ValueError(f"{folder}: {len(seen)} pictures show a whole {columns}x{rows} board, at least {LEAST_BOARDS} are needed")
    rms, matrix, distortion, _, _ = cv2.calibrateCamera([board] * len(seen), seen, size, None, None)
    return BoardResult(matrix, distortion.ravel(), size, float(rms), len(seen), tuple(left_out))


def write(result: BoardResult, path: Path, columns: int, rows: int, square: float) -> None:
    """The YAML, as OpenCV's sample names things. Raises OSError when it can't be written."""
    file = cv2.FileStorage("", cv2.FILE_STORAGE_WRITE | cv2.FILE_STORAGE_MEMORY | cv2.FILE_STORAGE_FORMAT_YAML)
    for name, value in (
        ("image_width", result.size[0]),
        ("image_height", result.size[1]),
        ("board_width", columns),
        ("board_height", rows),
        ("square_size", square),
        ("camera_matrix", result.matrix),
        ("distortion_coefficients", result.distortion.reshape(1, -1)),
        ("avg_reprojection_error", result.rms),
        ("nrof_images", result.used),
    ):
        file.write(name, value)
    _, _, body = file.releaseAndGetString().partition("\n")
    path.write_text("%YAML:1.0\n" + body)  # the head that every version of OpenCV reads
