"""Traffic signs and lights in a frame: found as patches of the scene's class for them, cut out of the camera's own picture, read.

In: the scene at the network's resolution, the camera's full picture. Out: signs and lights with their boxes in the model camera's picture.
A patch is cut from the picture as the camera took it, where a sign has more pixels than the network saw. Lights are what the reader
sees lit in a crop that stands upright; what it can't read is not told. It knows neither how far away they are nor for which lane.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot.geometry import image_from_image
from nanopilot.messages import CameraModel, Light, SceneClass, TrafficLight, TrafficSign
from nanopilot.perception import heads
from nanopilot.perception.signals import SIGNS, Reader

Array = np.ndarray

KPH = 1 / 3.6  # m/s


@dataclass(frozen=True)
class RoadsideConfig:
    """Guesses, tried on CamVid's training drives."""

    least_cells: int = 3  # of the scene: fewer is noise
    least_side: float = 10.0  # px of the camera's picture: nothing smaller can be read
    most: int = 3  # patches read in one frame, the largest: a crop costs about a millisecond
    margin: float = 0.1  # of its sides, added around a patch
    upright: float = 1.4  # a light's housing is at least so much taller than wide
    light: float = 0.8  # least probability of a light's state


def read_roadside(
    scene: UInt8[Array, "h w"], image: UInt8[Array, "h2 w2 3"], camera: CameraModel, seen: CameraModel, reader: Reader,
    config: RoadsideConfig = RoadsideConfig(),
) -> tuple[tuple[TrafficSign, ...], tuple[TrafficLight, ...]]:  # fmt: skip
    """What can be read in `image`, which `camera` took and the network saw through `seen`."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((scene == SceneClass.SIGN).astype(np.uint8), connectivity=8)
    patches = sorted(stats[1:count].tolist(), key=lambda s: -s[cv2.CC_STAT_AREA])[: config.most]
    source = image_from_image(camera, seen)
    boxes, crops = [], []
    for u, v, width, height, area in patches:
        if area < config.least_cells:
            break
        box = heads.SCENE_STRIDE * np.array([u, v, u + width, v + height], float) - 0.5
        corners = cv2.perspectiveTransform(box[[[0, 1], [2, 1], [2, 3], [0, 3]]][None], source)[0]
        low, high = corners.min(0), corners.max(0)
        grow = config.margin * (high - low)
        u0, v0 = np.maximum(low - grow, 0).round().astype(int)
        u1, v1 = np.minimum(high + grow, (camera.width, camera.height)).round().astype(int)
        if min(u1 - u0, v1 - v0) >= config.least_side:
            boxes.append(box.astype(np.float32))
            crops.append(image[v0:v1, u0:u1])
    signs, lights = [], []
    for found, crop, reading in zip(boxes, crops, reader.read(crops), strict=True):
        upright = crop.shape[0] >= config.upright * crop.shape[1]
        if upright and reading.light not in (None, Light.OFF) and reading.light_probability >= config.light:
            lights.append(TrafficLight(found, reading.light, reading.light_probability))
        elif reading.sign is not None:
            limit = (reading.speed_limit or 0) * KPH
            signs.append(TrafficSign(found, SIGNS[reading.sign], reading.sign_probability, limit))
    return tuple(signs), tuple(lights)
