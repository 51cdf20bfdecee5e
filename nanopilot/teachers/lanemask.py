"""A picture of lane-line probability -> lines, and what kind of paint each is.

In: a probability per pixel (a teacher's) and the RGB picture. Out: lines as columns row by row, from the top down; solid, dashed or
unknown; white, yellow or unknown. Runs of line pixels are followed from the bottom row up, and pieces that continue one another become
one. It knows no road: a line is what is long enough and thin enough in the picture. Thresholds are guesses, checked on contact sheets.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

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

PAINT_CONTRAST = 20.0  # grey levels above the road beside it, and
PAINT_SHARE = 0.5  # of the line's own best (its 90th percentile), at least
PAINT_REACH = (0.006, 0.03)  # of the width at the picture's bottom: half the paint, and where the road beside it is looked at
SOLID, DASHED = 0.85, 0.60  # share of painted rows: at least, at most
YELLOW = 35.0  # grey levels of (red + green) / 2 above blue, more than the road beside it
NEAR_HALF = 0.5  # of a line's rows, the lower ones, which are looked at


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


def paint(image: UInt8[Array, "h w 3"], line: Line) -> tuple[str, str]:
    """(solid, dashed or unknown; white, yellow or unknown) of a line, from the lower part of it."""
    h, w = image.shape[:2]
    if not len(line):
        return "unknown", "unknown"
    every = np.arange(line[0, 1], line[-1, 1] + 1)  # the gaps too, where a teacher's line ends with each dash
    line = np.stack([np.interp(every, line[:, 1], line[:, 0]), every], -1)[int(len(every) * NEAR_HALF) :]
    rows = np.clip(line[:, 1].round().astype(int), 0, h - 1)
    shrink = np.maximum(rows / h, 0.2)[:, None] * w  # paint is narrower farther away
    inner, outer = (np.array([-1, 0, 1]) * PAINT_REACH[0])[None] * shrink, (np.array([-1, 1]) * PAINT_REACH[1])[None] * shrink

    def colours(offset: Array) -> Array:
        columns = np.clip((line[:, :1] + offset).round().astype(int), 0, w - 1)
        return image[rows[:, None], columns].astype(float)  # (n, k, 3)

    on, beside = colours(inner), colours(outer).mean(1)
    on = on[np.arange(len(on)), on.mean(-1).argmax(1)]
    contrast = on.mean(-1) - beside.mean(-1)
    painted = contrast > max(PAINT_CONTRAST, PAINT_SHARE * float(np.quantile(contrast, 0.9)))
    share = painted.mean()
    form = "solid" if share >= SOLID else "dashed" if 0.1 < share <= DASHED else "unknown"
    if painted.sum() < SLOPE_ROWS:
        return form, "unknown"

    def warmth(c: Array) -> Array:
        return c[:, :2].mean(1) - c[:, 2]

    more = float(np.median(warmth(on[painted]) - warmth(beside[painted])))
    return form, "yellow" if more > YELLOW else "white"
