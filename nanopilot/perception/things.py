"""Boxes and tables in a head picture: what the network called so, as things with a place, a front and a colour's name.

In: class per cell, the picture, the head camera as it stood. Out: `messages.Thing`s. Metres come from planes: a table's foot stands on
the floor, a box's on a table of TABLE_HEIGHT; the lowest cells of each are carried along their rays to that plane, and a line
through most of them (RANSAC: Fischler and Bolles 1981) is the front's foot. Colour only names what was found, it finds nothing:
the mean hue, by HSV's circle, weighted by saturation. It knows boxes on tables only, and no table of another height.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from nanopilot.geometry import image_from_vehicle, road_from_image
from nanopilot.messages import CameraModel, Reach, RoomClass, Thing

Array = np.ndarray

TABLE_HEIGHT = 0.74  # m, EN 527-1 for desks
HUES = {"red": 0.0, "yellow": 50.0, "green": 125.0, "blue": 232.0}  # degrees
PALE = 0.2  # mean saturation below which a thing is "pale"
FEWEST = {"box": 8, "table": 20}  # cells
FURTHEST = 6.0  # m that a foot may be away
LINE = {"box": 0.02, "table": 0.05}  # m beside a line that belong to it, at a metre
GAP = 0.3  # m without foot between two things whose cells are in one piece: one stands behind the other
LONG = {"box": 0.5, "table": 1.3}  # m: a longer front is two things', or not one
SHORT = {"box": 0.08, "table": 0.25}  # m: fronts shorter than this have no direction
SLANT = 0.3  # cosine between where a front looks and where we stand below which neither its place nor its length is to be told
WHOLE = 0.7  # of a thing's columns must show their foot: else the look counts little
HELD_APART = 0.36  # m between palms from which something is held between them
HELD_HALF = (0.15, 0.14)  # m that what is held may reach forward and back of the palms, up and down


def things(scene: UInt8[Array, "h w"], image: UInt8[Array, "H W 3"], camera: CameraModel) -> tuple[Thing, ...]:
    """All that are big enough to be sure of; `image` is what the network saw."""
    out: list[Thing] = []
    for kind, label, height in (("table", RoomClass.TABLE, 0.0), ("box", RoomClass.BOX, TABLE_HEIGHT)):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((scene == label).astype(np.uint8), connectivity=8)
        for k in range(1, count):
            if stats[k, cv2.CC_STAT_AREA] < FEWEST[kind]:
                continue
            foot, cut = _foot(parts == k, scene, camera, height, kind)
            if len(foot) < 3:
                continue
            thing = _thing(kind, foot, cut, colour(image, parts == k), height)
            if thing is not None:
                out.append(thing)
    return tuple(out)


def _foot(mask: Bool[Array, "h w"], scene: Array, camera: CameraModel, height: float, kind: str) -> tuple[Float[Array, "n 2"], bool]:
    """Lowest edges of the columns, on the plane at `height`, vehicle frame; and whether the picture's rim or a hand cuts it."""
    h, w = mask.shape
    columns = np.flatnonzero(mask.any(0))
    lowest = h - 1 - mask[::-1, columns].argmax(0)
    under = scene[np.minimum(lowest + 1, h - 1), columns]
    whole = (lowest < h - 1) & (under != RoomClass.ROBOT)
    whole &= (under == RoomClass.FLOOR) if kind == "table" else (under != RoomClass.BOX)
    scale = camera.width / w
    pixels = np.stack([(columns + 0.5) * scale - 0.5, (lowest + 1.0) * scale - 0.5], -1)[whole]
    points = road_from_image(replace(camera, z=camera.z - height), pixels)
    away = np.hypot(points[:, 0] - camera.x, points[:, 1] - camera.y)
    cut = columns[0] == 0 or columns[-1] == w - 1 or whole.mean() < WHOLE
    return points[np.nan_to_num(away, nan=np.inf) < FURTHEST], bool(cut)


def _thing(kind: str, foot: Float[Array, "n 2"], cut: bool, name: str, height: float) -> Thing | None:
    """The front along most of the foot's points; a short one looks at us. What a cell errs by grows as the distance squared: its weight."""
    away = float(np.median(np.hypot(*foot.T)))
    on = _line(foot, LINE[kind] * max(away, 0.5))
    if on.sum() < 3:
        return None
    points = foot[on]
    middle = points.mean(0)
    way = np.linalg.svd(points - middle)[2][0]
    along = np.sort((points - middle) @ way)
    along = max(np.split(along, np.flatnonzero(np.diff(along) > GAP) + 1), key=len)
    width = float(along.max() - along.min())
    if len(along) < 3 or width > LONG[kind]:
        return None
    middle = middle + way * (along.max() + along.min()) / 2
    normal = np.array([-way[1], way[0]])
    normal = normal if normal @ -middle > 0 else -normal  # it looks towards us
    long = width > SHORT[kind]
    slant = float(normal @ -middle) / max(float(np.hypot(*middle)), 1e-6)
    if long and slant < SLANT:
        return None
    yaw = float(np.arctan2(normal[1], normal[0])) if long else float(np.arctan2(-middle[1], -middle[0]))
    weight = (0.2 if cut else 1.0) * (min(1.0, width / 0.5) if kind == "table" else 1.0) * (1.0 if long else 0.3) / max(away, 0.4) ** 4
    return Thing(kind, name, float(middle[0]), float(middle[1]), height, yaw, width, float(weight))


def _line(points: Float[Array, "n 2"], near: float) -> Bool[Array, " n"]:
    """Which points lie on the line that most lie on; all pairs of a spread are tried, nothing is random."""
    n = len(points)
    pick = np.unique(np.linspace(0, n - 1, min(n, 24)).astype(int))
    best = np.zeros(n, bool)
    for i in pick:
        for j in pick[pick > i + n // 8]:
            way = points[j] - points[i]
            length = np.hypot(*way)
            if length < 1e-3:
                continue
            on = np.abs((points - points[i]) @ np.array([-way[1], way[0]]) / length) < near
            if on.sum() > best.sum():
                best = on
    return best


def colour(image: UInt8[Array, "H W 3"], mask: Bool[Array, "h w"]) -> str:
    """The name of the mean hue where the mask is, by saturation times brightness; "pale" where there is hardly any."""
    small = cv2.resize(image, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[mask].astype(float)
    hue, strength = np.deg2rad(2 * hsv[:, 0]), hsv[:, 1] / 255
    if strength.mean() < PALE:
        return "pale"
    x, y = (strength**2 * np.cos(hue)).sum(), (strength**2 * np.sin(hue)).sum()
    mean = np.rad2deg(np.arctan2(y, x))
    return min(HUES, key=lambda name: abs((mean - HUES[name] + 180) % 360 - 180))


def held(reach: Reach | None, camera: CameraModel, shape: tuple[int, int]) -> Bool[Array, "h w"] | None:
    """Cells in which what is held between the palms is seen; None where they are too far apart to hold anything."""
    if reach is None:
        return None
    left, right = np.array(reach.left), np.array(reach.right)
    if np.hypot(*(left - right)[:2]) > HELD_APART or min(left[0], right[0]) < 0.15:
        return None
    forward, up = HELD_HALF
    corners = np.array([p + (dx, 0.0, dz) for p in (left, right) for dx in (-forward, forward) for dz in (-up, up)])
    pixels, depth = image_from_vehicle(camera, corners)
    if (depth < 0.05).any():
        return None
    scale = shape[1] / camera.width
    hull = cv2.convexHull(np.round((pixels + 0.5) * scale - 0.5).astype(np.int32))
    out = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(out, hull, 1)
    return out.astype(bool)
