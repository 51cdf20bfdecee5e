"""The grid that a humanoid plans on: cells, edges of what is known, and the potential spread from goals over it.

In: a Room's occupancy, and what a metre costs in each cell. Out: the least cost from every cell to any goal, by fast sweeping (Zhao 2005),
and reading of such grids at points of the room. It knows neither tasks nor people.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32
from numba import njit

from nanopilot.geometry import child_from_parent
from nanopilot.messages import Room

Array = np.ndarray

BIG = 1e6  # m: not to be reached
WEAKLY = 50  # percent below which a cell is rather free than not


def frontier(room: Room) -> Array:
    """Free cells beside unknown ones, in patches big enough to walk to, as (n, 2) row and column."""
    free = (room.occupancy < WEAKLY).astype(np.uint8)  # at the edge a cell was seen once, from afar: 40 to 50 percent
    unknown = (room.occupancy == Room.UNKNOWN).astype(np.uint8)
    edge = free & cv2.dilate(unknown, np.ones((3, 3), np.uint8))
    count, label, stats, _ = cv2.connectedComponentsWithStats(edge, connectivity=8)
    big = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= 6]
    return np.argwhere(np.isin(label, big))


def cells(points: Float[Array, "n 2"], room: Room) -> Array:
    """Row and column of points in the room's frame, kept inside."""
    at = np.floor((points - room.origin) / room.cell).astype(int)[:, ::-1]
    return np.clip(at, 0, np.array(room.occupancy.shape) - 1)


def spread(cost: Float32[Array, "h w"], goals: Array, cell: float) -> Float32[Array, "h w"]:
    """Least cost from every cell to any goal, over eight neighbours."""
    out = np.full(cost.shape, BIG, np.float32)
    if len(goals):
        out[goals[:, 0], goals[:, 1]] = 0.0
        _sweep(out, cost, np.float32(cell))
    return out


@njit(cache=True)
def _sweep(out, cost, cell):  # fast sweeping (Zhao 2005): four orders of passes until nothing changes
    h, w = out.shape
    for _ in range(60):
        changed = False
        for order in range(4):
            for i in range(h):
                r = i if order % 2 == 0 else h - 1 - i
                for j in range(w):
                    c = j if order < 2 else w - 1 - j
                    best = out[r, c]
                    for dr in range(-1, 2):
                        for dc in range(-1, 2):
                            rr, cc = r + dr, c + dc
                            if (dr != 0 or dc != 0) and 0 <= rr < h and 0 <= cc < w:
                                length = cell * (1.41421356 if dr != 0 and dc != 0 else 1.0)
                                value = out[rr, cc] + length * 0.5 * (cost[r, c] + cost[rr, cc])
                                if value < best - 1e-4:
                                    best = value
                    if best < out[r, c]:
                        out[r, c] = best
                        changed = True
        if not changed:
            return


def descent(potential: Float32[Array, "h w"], room: Room) -> float:
    """Bearing of where the potential leads to in the next half metre, rad."""
    at = cells(np.array([[room.x, room.y]]), room)[0]
    for _ in range(5):
        low, high = np.maximum(at - 1, 0), np.minimum(at + 2, potential.shape)
        window = potential[low[0] : high[0], low[1] : high[1]]
        at = low + np.array(np.unravel_index(window.argmin(), window.shape))
    x, y = child_from_parent(np.array(room.origin) + (at[::-1] + 0.5) * room.cell, room.x, room.y, room.yaw)
    return float(np.arctan2(y, x)) if np.hypot(x, y) > room.cell else 0.0


def read(grid: Array, xy: Float[Array, "n k 2"], room: Room) -> Array:
    at = cells(xy.reshape(-1, 2), room)
    return grid[at[:, 0], at[:, 1]].reshape(xy.shape[:-1])


def smooth(grid: Float32[Array, "h w"], xy: Float[Array, "n 2"], room: Room) -> Array:
    """Between the cells' middles."""
    at = ((xy - room.origin) / room.cell - 0.5).astype(np.float32)
    return cv2.remap(grid, at[:, 0], at[:, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=BIG).ravel().astype(float)
