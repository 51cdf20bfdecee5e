"""The network at work: one camera picture in, one Percept out, on one CPU core.

In: a Frame, the CameraModel it came from, the route line of the last World, and where the world expects the path now (or None).
Out: a Percept of that frame's time.
Pictures of another camera are warped into a level one: rotation is undone, its place is not. A wide lens is seen as the model camera
(90 degrees); a narrower one keeps its own field, scaled so that the whole picture is seen, and what the network takes for metres ahead
grows with the focal length. Lines are lifted with the camera's own height; path and object distances were learnt at 1.4 ± 0.1 m height.
The weights carry the version of perception.heads they were trained for; another version is refused.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.engine import Engine
from nanopilot.geometry import MODEL_HEIGHT, image_from_image, looks_aside, model_camera
from nanopilot.messages import CameraModel, Frame, Percept
from nanopilot.perception import heads
from nanopilot.perception.decode import Config, decode
from nanopilot.perception.roadside import read_roadside
from nanopilot.perception.signals import Reader

Array = np.ndarray

WEIGHTS = Path(__file__).parent / "weights" / "perception.onnx"
SMALLEST = 64  # px of either side: less holds no road to see
WIDE = 1.9  # picture widths in focal lengths (87 degrees) from which the model camera's own view is well filled
CELL, NARROWEST, WIDEST = 64, 128, 768  # px: the coarsest cell, and the widths the network is run at


class WeightsError(RuntimeError):
    """The weights file is not one this program can use."""


class Network:
    """An engine and the steps around it. Raises FileNotFoundError or WeightsError, each saying what to do."""

    def __init__(self, weights: Path | None = None, threads: int = 1, config: Config = Config()) -> None:
        path = Path(weights or WEIGHTS)
        if not path.is_file():
            raise FileNotFoundError(f"no network weights at {path}: train them with `python -m nanopilot.train.perception`, or name a file")
        try:
            self.engine = Engine(path, fixed=True, threads=threads)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        self.about = self.engine.about
        version = self.about.get("nanopilot_heads")
        if version != heads.VERSION:
            raise WeightsError(
                f"{path} was trained for heads version {version or 'unknown'}, this program needs {heads.VERSION}: "
                "train again or take the committed weights"
            )
        self.config = config
        self.reader = Reader()

    def perceive(
        self, frame: Frame, camera: CameraModel, route_line: Float[Array, "n 2"] | None, expected: Float[Array, "16 2"] | None = None
    ) -> Percept:
        """What one frame shows. `expected` is the path at PATH_ARC as earlier frames leave it, in the vehicle frame now.

        Raises ValueError for a picture, a route line or a path of the wrong shape or type.
        """
        seen = canonical(camera)
        image = to_model(frame.image, camera, seen)
        outputs = self.infer(image, heads.route_vector(route_line), heads.memory_vector(expected))
        percept = decode(outputs, frame.t, seen, camera.name, self.config, image)
        if not percept.valid or looks_aside(camera):
            return percept
        signs, lights = read_roadside(percept.scene, frame.image, camera, seen, self.reader)
        return replace(percept, signs=signs, lights=lights)

    def infer(self, image: UInt8[Array, "256 w 3"], route: Float[Array, "33"], memory: Float[Array, "33"]) -> dict[str, Array]:
        """The network's raw tensors of one model-camera picture, by name, without the batch axis."""
        inputs = {"image": image[None], "route": route[None].astype(np.float32), "memory": memory[None].astype(np.float32)}
        return {name: value[0] for name, value in self.engine(inputs).items()}


@lru_cache(maxsize=16)
def canonical(camera: CameraModel) -> CameraModel:
    """The level camera in the place of `camera` through which the network looks, straight ahead unless it looks aside on purpose:
    256 px high, and 512 wide unless the lens is narrow."""
    yaw = camera.yaw if looks_aside(camera) else 0.0
    if camera.width / camera.fx >= WIDE:
        return replace(model_camera(camera.name), x=camera.x, y=camera.y, z=camera.z, yaw=yaw)
    scale = min(MODEL_HEIGHT / camera.height, WIDEST / camera.width)
    width = int(np.clip(CELL * np.ceil(scale * camera.width / CELL), NARROWEST, WIDEST))
    focal = scale * camera.fx
    level = replace(camera, width=width, height=MODEL_HEIGHT, fx=focal, fy=focal, cx=0.0, cy=0.0, yaw=yaw, pitch=0.0, roll=0.0)
    middle = np.array([[[(camera.width - 1) / 2, (camera.height - 1) / 2]]])
    u, v = cv2.perspectiveTransform(middle, image_from_image(level, camera))[0, 0]
    return replace(level, cx=(width - 1) / 2 - u, cy=(MODEL_HEIGHT - 1) / 2 - v)


def to_model(image: Array, camera: CameraModel, seen: CameraModel) -> UInt8[Array, "256 w 3"]:
    """A camera's picture as the camera `seen` would have taken it; black where it sees more. Raises ValueError for a bad picture."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise ValueError(f"a picture must be uint8, this one is {getattr(image, 'dtype', type(image).__name__)}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a picture must be (height, width, 3) RGB, this one is {image.shape}")
    if image.shape[:2] != (camera.height, camera.width):
        raise ValueError(f"camera {camera.name} gives {camera.width}x{camera.height}, this picture is {image.shape[1]}x{image.shape[0]}")
    if min(image.shape[:2]) < SMALLEST:
        raise ValueError(f"a picture needs {SMALLEST} px on each side, this one is {image.shape[1]}x{image.shape[0]}")
    homography = image_from_image(seen, camera)
    if image.shape[:2] == (seen.height, seen.width) and np.allclose(homography, np.eye(3), atol=1e-9):
        return np.ascontiguousarray(image)
    return warped(image, homography, seen)


def warped(image: UInt8[Array, "h w 3"], homography: Float[Array, "3 3"], seen: CameraModel) -> UInt8[Array, "h2 w2 3"]:
    """A picture on the pixels of `seen`; finer pixels than two to one are averaged first, or lines would alias away."""
    while abs(np.linalg.det(homography[:2, :2])) < 0.25:
        image, homography = cv2.pyrDown(image), homography @ np.diag((2.0, 2.0, 1.0))
    return cv2.warpPerspective(image, homography, (seen.width, seen.height), flags=cv2.INTER_LINEAR)
