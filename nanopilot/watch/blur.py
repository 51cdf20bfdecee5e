"""Faces and number plates hidden: where people have heads and cars have plates, a picture is made of a few large squares.

In: a kept picture, its camera, what was seen in it, the world. Out: the picture with these areas hidden: the upper part of people and
cyclists, the lower part of vehicles, by the frame's boxes and, for who was missed in this frame, by the tracks, and whatever the scene
calls a person or a cyclist. A picture that was not understood is hidden whole. The squares are averages, so nothing can be undone.
It finds neither faces nor plates: who the network doesn't see is not hidden, nor is a driver behind his windscreen. No proof of privacy.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.geometry import image_from_image, image_from_vehicle
from nanopilot.messages import CameraModel, Kind, Percept, SceneClass, World
from nanopilot.perception.runtime import canonical

Array = np.ndarray

PART = {Kind.PERSON: (0.0, 0.1), Kind.CYCLIST: (0.0, 0.15), Kind.VEHICLE: (0.35, 1.0)}  # of a box, from its top, guesses
HEIGHT = {Kind.PERSON: 1.8, Kind.CYCLIST: 1.8, Kind.VEHICLE: 1.6}  # m, guesses, of a track
MARGIN = {Kind.PERSON: 0.4, Kind.CYCLIST: 0.4, Kind.VEHICLE: 0.15}  # of the box, that its edges may be off (dev/bench_blur.py)
LEAST_MARGIN = 3.0  # px
SQUARES = 30  # across the picture: at 960 px and 60 degrees a plate 2 m ahead is eight squares wide, a letter not one
NEAR = 0.5  # m of depth
DILATE = 1  # cells of the scene around a person


def hidden(image: UInt8[Array, "h w 3"], camera: CameraModel, percept: Percept | None, world: World | None) -> UInt8[Array, "h w 3"]:
    """A copy of the picture; the percept's boxes must be in `camera`'s pixels, which are the picture's."""
    height, width = image.shape[:2]
    few = cv2.resize(image, (min(SQUARES, width), max(1, min(round(SQUARES * height / width), height))), interpolation=cv2.INTER_AREA)
    squares = cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST)
    if percept is None or not percept.valid:
        return squares
    out = image.copy()
    for area in areas(camera, percept, world):
        u0, v0, u1, v1 = np.clip(np.round(area), 0, (width, height, width, height)).astype(int)
        out[v0:v1, u0:u1] = squares[v0:v1, u0:u1]
    people = np.isin(percept.scene, (SceneClass.PERSON, SceneClass.CYCLIST)).astype(np.uint8)
    if people.any():
        people = cv2.dilate(people, np.ones((2 * DILATE + 1, 2 * DILATE + 1), np.uint8))
        mask = cv2.warpPerspective(people, _picture_from_scene(camera, people.shape), (width, height), flags=cv2.INTER_NEAREST)
        cv2.copyTo(squares, mask, out)
    return out


def areas(camera: CameraModel, percept: Percept, world: World | None) -> Iterator[Float[Array, "4"]]:
    """(u0, v0, u1, v1) of what is hidden, not yet cut to the picture."""
    for thing in percept.objects:
        yield _part(np.asarray(thing.box, float), thing.kind)
    for track in world.tracks if world is not None else ():
        c, s = np.cos(track.yaw), np.sin(track.yaw)
        half = np.array(list(product((-1, 1), (-1, 1), (0, 1)))) * (track.length / 2, track.width / 2, HEIGHT[track.kind])  # (8, 3)
        corners = half @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + (track.x, track.y, 0)
        pixels, depth = image_from_vehicle(camera, corners)
        if (depth > NEAR).all():
            yield _part(np.concatenate([pixels.min(0), pixels.max(0)]), track.kind)


def _part(box: Float[Array, "4"], kind: Kind) -> Float[Array, "4"]:
    u0, v0, u1, v1 = box
    top, bottom = PART[kind]
    across, down = (max(MARGIN[kind] * side, LEAST_MARGIN) for side in (u1 - u0, v1 - v0))
    return np.array([u0 - across, v0 + top * (v1 - v0) - down, u1 + across, v0 + bottom * (v1 - v0) + down])


def _picture_from_scene(camera: CameraModel, shape: tuple[int, ...]) -> Float[Array, "3 3"]:
    """From a scene's cell to the picture's pixel."""
    seen = canonical(camera)
    kx, ky = seen.width / shape[1], seen.height / shape[0]
    cells = np.array([[kx, 0, (kx - 1) / 2], [0, ky, (ky - 1) / 2], [0, 0, 1.0]])
    return image_from_image(camera, seen) @ cells
