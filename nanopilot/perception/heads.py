"""What the network's tensors mean: sizes, rows, scales and names shared by training, decoding and the weights file.

In: nothing. Out: constants. Changing any of them changes what weights mean: raise VERSION, which the ONNX file carries and
the runtime compares. The picture is geometry.model_camera()'s 512 x 256.

Lane lines are row-wise (Ultra Fast Lane Detection, Qin et al. 2020, here with a soft-argmax over columns): on each of ROWS a
line has one column, an existence probability and a Laplace scale. Objects are centre points (CenterNet, Zhou et al. 2019).
"""

from __future__ import annotations

import numpy as np

from nanopilot.geometry import MODEL_HEIGHT, MODEL_WIDTH
from nanopilot.messages import PATH_ARC, ROUTE_ARC, Kind

VERSION = "3"
INPUTS = ("image", "route", "memory")
OUTPUTS = ("scene", "lane_u", "lane_exists", "lane_scale", "path", "path_std", "heat", "box", "people", "confidence")

SIDES = (-2, -1, 1, 2)  # messages.LaneLine.side of the four line slots
KINDS = (Kind.VEHICLE, Kind.PERSON, Kind.CYCLIST)

SCENE_STRIDE = 4
GRID_STRIDE = 8  # of lane columns and of objects
SCENE_SHAPE = (MODEL_HEIGHT // SCENE_STRIDE, MODEL_WIDTH // SCENE_STRIDE)
GRID_SHAPE = (MODEL_HEIGHT // GRID_STRIDE, MODEL_WIDTH // GRID_STRIDE)

ROW_STRIDE = 4
FIRST_ROW = 25  # v = 101.5: 65 m ahead of a level camera at 1.4 m
ROWS = ROW_STRIDE * np.arange(FIRST_ROW, MODEL_HEIGHT // ROW_STRIDE) + (ROW_STRIDE - 1) / 2  # v of each lane row, px
COLUMNS = GRID_STRIDE * np.arange(GRID_SHAPE[1]) + (GRID_STRIDE - 1) / 2  # u of each lane column's centre, px

PATH_POINTS = len(PATH_ARC)
ROUTE_POINTS = len(ROUTE_ARC)
ROUTE_SIZE = 2 * ROUTE_POINTS + 1  # x and y of each point / ROUTE_SCALE, then 1 = a route is known
ROUTE_SCALE = 20.0  # m
MEMORY_SIZE = 2 * PATH_POINTS + 1  # x and y of each point of the expected path / MEMORY_SCALE, then 1 = there is one
MEMORY_SCALE = 20.0  # m

# Channels of the tensors `box` (of vehicles) and `people` (of persons and cyclists), each (32, 64): distances of the box's sides from the
# cell's centre in cells, then geometry.
BOX_CHANNELS = ("left", "top", "right", "bottom", "log_distance", "log_distance_std", "foot_u", "sin", "cos", "log_length", "log_width")
FOOT_U, SIN, COS = 6, 7, 8  # foot_u: column of the projected footprint centre less the cell's centre, in cells; yaw is relative to the ray


def memory_vector(points: np.ndarray | None) -> np.ndarray:
    """The network's (33,) memory input: where earlier frames put the path, at PATH_ARC in the vehicle frame now ((16, 2), m), or None."""
    vector = np.zeros(MEMORY_SIZE, np.float32)
    if points is not None:
        if points.shape != (PATH_POINTS, 2):
            raise ValueError(f"an expected path has {PATH_POINTS} points at PATH_ARC, this one has shape {points.shape}")
        vector[:-1] = np.asarray(points, np.float32).ravel() / MEMORY_SCALE
        vector[-1] = 1.0
    return vector


def route_vector(points: np.ndarray | None) -> np.ndarray:
    """The network's (33,) route input from a line at ROUTE_ARC in the vehicle frame ((16, 2), m), or from none (None or (0, 2))."""
    vector = np.zeros(ROUTE_SIZE, np.float32)
    if points is not None and len(points):
        if points.shape != (ROUTE_POINTS, 2):
            raise ValueError(f"a route line has {ROUTE_POINTS} points at ROUTE_ARC, this one has shape {points.shape}")
        vector[:-1] = np.asarray(points, np.float32).ravel() / ROUTE_SCALE
        vector[-1] = 1.0
    return vector
