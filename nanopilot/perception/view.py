"""A Percept's image places, which the network gives in its own level view, in the pixels of a camera's picture instead.

In: a Percept, the camera the network was given, and the camera whose pixels are wanted (the same, or one scaled for a log). Out: the
Percept with boxes and line points there. Metres and the scene are left as they are; a turned box becomes the upright one around it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float32

from nanopilot.geometry import image_from_image
from nanopilot.messages import CameraModel, Percept
from nanopilot.perception.runtime import canonical

Array = np.ndarray


def in_picture(percept: Percept, camera: CameraModel, picture: CameraModel) -> Percept:
    """`percept` as seen through `camera`, in the pixels of `picture`, which stands and looks as `camera` does."""
    homography = image_from_image(picture, canonical(camera))

    def points(p: Float32[Array, "n 2"]) -> Float32[Array, "n 2"]:
        return cv2.perspectiveTransform(np.asarray(p, float)[None], homography)[0].astype(np.float32) if len(p) else p

    def box(b: Float32[Array, "4"]) -> Float32[Array, "4"]:
        corners = points(np.asarray(b)[[[0, 1], [2, 1], [2, 3], [0, 3]]])
        limit = (picture.width - 1, picture.height - 1)
        return np.concatenate([np.clip(corners.min(0), 0, limit), np.clip(corners.max(0), 0, limit)]).astype(np.float32)

    return replace(
        percept,
        lanes=tuple(replace(line, image_points=points(line.image_points)) for line in percept.lanes),
        edges=tuple(replace(edge, image_points=points(edge.image_points)) for edge in percept.edges),
        objects=tuple(replace(o, box=box(o.box)) for o in percept.objects),
        doubtful=tuple(replace(o, box=box(o.box)) for o in percept.doubtful),
        signs=tuple(replace(s, box=box(s.box)) for s in percept.signs),
        lights=tuple(replace(s, box=box(s.box)) for s in percept.lights),
    )


def scaled(camera: CameraModel, width: int) -> CameraModel:
    """The camera with its picture shrunk to `width` px; never enlarged."""
    k = min(1.0, width / camera.width)
    cx, cy = (camera.cx + 0.5) * k - 0.5, (camera.cy + 0.5) * k - 0.5
    size = (round(camera.width * k), round(camera.height * k))
    return replace(camera, width=size[0], height=size[1], fx=camera.fx * k, fy=camera.fy * k, cx=cx, cy=cy)
