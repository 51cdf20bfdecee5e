"""Traffic lights and red-edged signs found by their colour, in any camera of ours: what the network's scene does not show yet.

In: a picture and its camera. Out: lights with their state, and signs the reader is sure of, boxes in the model camera's picture. A light is
a round spot of a lamp's red, amber or green above the horizon in a dark upright housing around it where that colour's place in a
housing is (EN 12368: 200 or 300 mm lamps, red over amber over green). A sign is a patch of sign red about as high as wide, cut
out and read. It needs a few pixels: 3 of a lamp, 10 of a sign. Made for clear pictures: at night or against the sun it will miss much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot.geometry import image_from_image, looks_aside, model_camera
from nanopilot.messages import CameraModel, Frame, Light, Percept, TrafficLight, TrafficSign
from nanopilot.perception.signals import SIGNS, Reader

Array = np.ndarray

KPH = 1 / 3.6  # m/s


@dataclass(frozen=True)
class LampConfig:
    """Guesses, tried on pictures of the tuning towns. Hues are OpenCV's, 0 to 179."""

    least_lamp: float = 2.5  # px across
    roundness: float = 1.7  # longest side by shortest
    lamp: float = 0.26  # m across, between 200 and 300 mm
    housing: tuple[float, float] = (0.36, 1.05)  # m wide and high
    lamp_up: tuple[float, float, float] = (0.81, 0.50, 0.18)  # share of the housing's height at which red, amber, green sit
    cut: float = 0.5  # of the housing's height may be above the picture: who stands at the line sees green there
    dark: float = 85.0  # brightness of a housing, at most
    dark_share: float = 0.6  # of the housing beside the lamp
    least_sign: float = 10.0  # px
    most_signs: int = 4  # read in one picture
    margin: float = 0.1  # of its sides, added around a sign
    above: float = 1.5  # px above the horizon, at least


class Roadside:
    """Lights and signs of all front cameras of a moment, added to what the first one's frame shows."""

    def __init__(self, config: LampConfig = LampConfig()) -> None:
        self.reader, self.config = Reader(), config

    def __call__(self, percept: Percept, frames: tuple[Frame, ...], cameras: tuple[CameraModel, ...]) -> Percept:
        named = {camera.name: camera for camera in cameras if not looks_aside(camera)}
        found = [find(frame.image, named[frame.camera], self.reader, self.config) for frame in frames if frame.camera in named]
        return replace(
            percept,
            signs=percept.signs + tuple(s for signs, _ in found for s in signs),
            lights=tuple(x for _, lights in found for x in lights),
        )


HUES = {Light.RED: ((0, 9), (170, 179)), Light.YELLOW: ((14, 33),), Light.GREEN: ((50, 92),)}
LIT = {Light.RED: (140, 170), Light.YELLOW: (140, 190), Light.GREEN: (110, 150)}  # least saturation and brightness
PAINTED = (110, 70)  # the same of a sign's red


def find(
    image: UInt8[Array, "h w 3"], camera: CameraModel, reader: Reader, config: LampConfig = LampConfig()
) -> tuple[tuple[TrafficSign, ...], tuple[TrafficLight, ...]]:
    """Signs and lights in a picture of a level camera that stands where the model camera does."""
    rows = int(camera.cy - config.above)
    hsv = cv2.cvtColor(np.ascontiguousarray(image[:rows]), cv2.COLOR_RGB2HSV)
    to_model = image_from_image(model_camera(), camera)
    lights = []
    for state in HUES:
        for box in _patches(_coloured(hsv, state, LIT[state]), 0.5):
            found = _housing(hsv, box, state, config)
            if found is not None:
                lights.append(TrafficLight(_moved(found, to_model), state, 1.0))
    boxes: list[Array] = []
    crops: list[Array] = []
    for u0, v0, u1, v1 in sorted(_patches(_coloured(hsv, Light.RED, PAINTED), 0.15), key=lambda b: b[0] - b[2]):
        wide, high = u1 - u0, v1 - v0
        if min(wide, high) < config.least_sign or max(wide, high) > 1.4 * min(wide, high) or len(crops) == config.most_signs:
            continue
        grow = config.margin * np.array([wide, high])
        a, b = np.maximum((u0 - grow[0], v0 - grow[1]), 0).astype(int)
        c, d = np.minimum((u1 + grow[0], v1 + grow[1]), (camera.width, camera.height)).round().astype(int)
        boxes.append(np.array([u0, v0, u1, v1]) - 0.5)
        crops.append(image[b:d, a:c])
    signs = []
    for sign_box, reading in zip(boxes, reader.read(crops), strict=True):
        if reading.sign is not None:
            signs.append(
                TrafficSign(_moved(sign_box, to_model), SIGNS[reading.sign], reading.sign_probability, (reading.speed_limit or 0) * KPH)
            )
    return tuple(signs), tuple(lights)


def _coloured(hsv: UInt8[Array, "h w 3"], state: Light, least: tuple[int, int]) -> UInt8[Array, "h w"]:
    """255 where a pixel has that light's colour."""
    ranges = [cv2.inRange(hsv, (low, *least), (high, 255, 255)) for low, high in HUES[state]]
    return np.bitwise_or.reduce(ranges)


def _patches(mask: UInt8[Array, "h w"], least_share: float) -> list[tuple[int, int, int, int]]:
    """u0, v0, u1, v1 of connected patches that fill so much of their box; u1 and v1 outside."""
    left, top, wide, high = cv2.boundingRect(mask)  # labelling a whole picture for a lamp takes ten times as long
    if not wide:
        return []
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask[top : top + high, left : left + wide], connectivity=8)
    boxes = [(u + left, v + top, w, h, area) for u, v, w, h, area in stats[1:count].tolist()]
    return [(u, v, u + w, v + h) for u, v, w, h, area in boxes if area > least_share * w * h]


def _housing(hsv: UInt8[Array, "h w 3"], box: tuple[int, int, int, int], state: Light, config: LampConfig) -> Array | None:
    """The housing's box around a lit spot, None where the spot is no lamp."""
    u0, v0, u1, v1 = box
    wide, high = u1 - u0, v1 - v0
    if min(wide, high) < config.least_lamp or max(wide, high) > config.roundness * min(wide, high):
        return None
    scale = 0.5 * (wide + high) / config.lamp  # px a metre
    width, height = scale * config.housing[0], scale * config.housing[1]
    u, v = 0.5 * (u0 + u1), 0.5 * (v0 + v1)
    top = v - (1 - config.lamp_up[(Light.RED, Light.YELLOW, Light.GREEN).index(state)]) * height
    a, b, c, d = (round(x) for x in (u - width / 2, top, u + width / 2, top + height))
    if a < 0 or b < -config.cut * height or c > hsv.shape[1]:
        return None
    b, d = max(b, 0), min(d, hsv.shape[0])
    dark = hsv[b:d, a:c, 2] < config.dark
    beside = np.ones(dark.shape, bool)
    beside[max(v0 - 1 - b, 0) : v1 + 1 - b, max(u0 - 1 - a, 0) : u1 + 1 - a] = False
    if beside.sum() < 4 or dark[beside].mean() < config.dark_share:
        return None
    return np.array([u - width / 2, top, u + width / 2, top + height]) - 0.5


def _moved(box: Array, homography: Array) -> Array:
    corners = cv2.perspectiveTransform(np.array([[(box[0], box[1]), (box[2], box[3])]]), homography)[0]
    return corners.ravel().astype(np.float32)
