"""`python -m nanopilot.perception image.png [--weights FILE] [--out seen.png]`: draws what the network saw in one picture.

In: any picture; one of the model camera's size is taken for that camera's, another for a dash-cam's of --fov across, level, with its
horizon a little above the middle. Out: a PNG with scene classes tinted, lines, path and boxes with distances; a line of text for each
thing on the terminal. No route line is given.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import tyro
from jaxtyping import UInt8

from nanopilot.geometry import MODEL_HEIGHT, MODEL_WIDTH, image_from_vehicle, model_camera
from nanopilot.messages import CameraModel, Frame, Percept, SceneClass
from nanopilot.perception import Network, WeightsError
from nanopilot.perception.runtime import canonical, to_model

TINT = 0.3
SCALE = 2  # drawn larger than seen
CLASS_COLOURS = np.zeros((256, 3), np.uint8)  # RGB, near Cityscapes'; "not sure" is black
CLASS_COLOURS[: len(SceneClass.NAMES)] = (
    (90, 90, 90), (128, 64, 128), (255, 255, 255), (244, 35, 232), (0, 0, 200), (220, 20, 60), (255, 120, 0), (220, 220, 0),
    (107, 142, 35), (70, 70, 70), (70, 130, 180), (153, 153, 153), (190, 153, 153),
)  # fmt: skip
LINE_COLOURS = {-2: (0, 160, 255), -1: (255, 60, 60), 1: (60, 255, 60), 2: (255, 60, 255)}
PATH_COLOUR, BOX_COLOUR = (0, 255, 255), (255, 230, 0)


@dataclass(frozen=True)
class Show:
    image: Annotated[Path, tyro.conf.Positional]
    weights: Path | None = None
    out: Path = Path("seen.png")
    fov_deg: float = 60.0
    """Field of view of the camera, from the left edge to the right one."""
    horizon: float = 0.45
    """Where the horizon lies, as a share of the picture's height from the top."""


def draw(image: UInt8[np.ndarray, "h w 3"], percept: Percept, camera: CameraModel) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The model camera's RGB picture with everything the percept says on it, SCALE times as large."""
    size = (SCALE * camera.width, SCALE * camera.height)
    tint = cv2.resize(CLASS_COLOURS[percept.scene], size, interpolation=cv2.INTER_NEAREST)
    out = cv2.addWeighted(cv2.resize(image, size), 1 - TINT, tint, TINT, 0)

    def dots(pixels: np.ndarray, colour: tuple[int, int, int], radius: int) -> None:
        for u, v in pixels:
            cv2.circle(out, (round(SCALE * u), round(SCALE * v)), radius, colour, -1, cv2.LINE_AA)

    for line in percept.lanes:
        dots(line.image_points, LINE_COLOURS[line.side], 2)
    if percept.path is not None:
        points = np.column_stack([percept.path.points.astype(float), np.zeros(len(percept.path.points))])
        pixels, depth = image_from_vehicle(camera, points)
        dots(pixels[depth > 1.0], PATH_COLOUR, 4)
    for thing in percept.objects:
        u0, v0, u1, v1 = (round(float(SCALE * x)) for x in thing.box)
        cv2.rectangle(out, (u0, v0), (u1, v1), BOX_COLOUR, 2)
        text = f"{thing.kind} {thing.distance:.0f} m {np.degrees(thing.yaw):.0f} deg"
        cv2.putText(out, text, (u0, v0 - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, BOX_COLOUR, 1, cv2.LINE_AA)
    cv2.putText(out, f"confidence {percept.confidence:.2f}", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return out


def taken_with(image: UInt8[np.ndarray, "h w 3"], show: Show) -> CameraModel:
    """The camera a picture is taken to be from. Raises ValueError for an impossible field of view."""
    height, width = image.shape[:2]
    if (width, height) == (MODEL_WIDTH, MODEL_HEIGHT):
        return model_camera()
    if not 10 <= show.fov_deg <= 150:
        raise ValueError(f"a field of view is from 10 to 150 degrees, not {show.fov_deg:g}")
    focal = width / 2 / np.tan(np.radians(show.fov_deg) / 2)
    return CameraModel("picture", width, height, focal, focal, (width - 1) / 2, show.horizon * height, x=model_camera().x)


def main(show: Show) -> int:
    data = cv2.imread(str(show.image), cv2.IMREAD_COLOR)
    if data is None:
        print(f"{show.image} is no picture that OpenCV can read", file=sys.stderr)
        return 2
    image = np.ascontiguousarray(data[..., ::-1])
    try:
        network = Network(show.weights)
        camera = taken_with(image, show)
        percept = network.perceive(Frame(0.0, camera.name, image), camera, None)
    except (FileNotFoundError, WeightsError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for line in percept.lanes:
        print(f"line {line.side:+d}: {line.probability:.2f}, from {line.points[0, 0]:.1f} to {line.points[-1, 0]:.1f} m")
    for thing in percept.objects:
        print(f"{thing.kind}: {thing.score:.2f}, {thing.distance:.1f} ± {thing.distance_std:.1f} m")
    print(f"confidence {percept.confidence:.2f}{'' if percept.valid else ': unusable picture'}; wrote {show.out}")
    seen = canonical(camera)
    cv2.imwrite(str(show.out), draw(to_model(image, camera, seen), percept, seen)[..., ::-1])
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Show)))
