"""A picture of lane-line probability -> lines.

In: a probability per pixel (a teacher's). Out: lines as columns row by row, from the top down. Runs of line pixels are followed from the
bottom row up, and pieces that continue one another become one. It knows no road: a line is what is long enough and thin enough in the
picture. Thresholds are guesses, checked on contact sheets.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Line = Float[Array, "n 2"]

LEAST = 0.5  # probability of a line pixel
WIDEST = 0.08  # of the picture's width: a wider run is a stop line or a blot
STEP = 0.012  # of the width: how far a line may jump from where it was heading
GAP = 0.05  # of the height: rows without it before it ends
SHORTEST = 0.10  # of the height
SLOPE_ROWS = 12  # over which its heading is measured
PIECE = 0.02  # of the width: how near one piece's end must point at the next one's beginning
PIECE_GAP = 0.25  # of the height


def follow(probability: Float[Array, "h w"]) -> list[Line]:
    """Lines in a probability picture, the longest first."""
    h, w = probability.shape
    growing: list[list[tuple[float, int]]] = []
    done: list[list[tuple[float, int]]] = []
    for v in range(h - 1, -1, -1):
        edge = np.flatnonzero(np.diff(np.concatenate([[0], (probability[v] > LEAST).astype(np.int8), [0]])))
        middles = [(a + b - 1) / 2 for a, b in zip(edge[::2], edge[1::2], strict=True) if b - a < WIDEST * w]
        for line in list(growing):
            if line[-1][1] - v > GAP * h:
                growing.remove(line)
                done.append(line)
        for line in sorted(growing, key=len, reverse=True):
            heading = _heading(line)
            if middles:
                k = int(np.argmin([abs(u - heading(v)) for u in middles]))
                if abs(middles[k] - heading(v)) <= STEP * w * (1 + 0.2 * (line[-1][1] - v)):
                    line.append((middles.pop(k), v))
        growing += [[(u, v)] for u in middles]
    lines = _joined([line for line in done + growing if len(line) > SLOPE_ROWS], h, w)
    long = [line for line in lines if line[0][1] - line[-1][1] >= SHORTEST * h]
    return [np.array(line[::-1], float) for line in sorted(long, key=len, reverse=True)]


def _heading(line: list[tuple[float, int]]):
    """Column by row, going on as its last SLOPE_ROWS do."""
    u, v = line[-1]
    u0, v0 = line[max(0, len(line) - SLOPE_ROWS)]
    slope = (u - u0) / (v - v0) if len(line) > SLOPE_ROWS // 2 else 0.0
    return lambda row: u + slope * (row - v)


def _joined(lines: list[list[tuple[float, int]]], h: int, w: int) -> list[list[tuple[float, int]]]:
    """Pieces that point at one another as one, from the bottom up."""
    lines = sorted(lines, key=lambda line: -line[0][1])
    out: list[list[tuple[float, int]]] = []
    for line in lines:
        u, v = line[0]
        ends = [(abs(_heading(other)(v) - u), k) for k, other in enumerate(out) if 0 < other[-1][1] - v < PIECE_GAP * h]
        gap, k = min(ends, default=(np.inf, -1))
        if gap < PIECE * w:
            out[k] = out[k] + line
        else:
            out.append(line)
    return out
