"""What kind of paint a lane line is: solid, dashed or unknown; white, yellow or unknown.

In: an RGB picture and where the line runs in it. Out: its form and colour, from the lower half of its rows, where paint is wide enough to
see. Paint is what is brighter than the road beside it. Thresholds are guesses, checked on contact sheets.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.messages import PaintColour, PaintForm

Array = np.ndarray

CONTRAST = 20.0  # grey levels above the road beside it, and
SHARE = 0.5  # of the line's own best (its 90th percentile), at least
REACH = (0.006, 0.03)  # of the width at the picture's bottom: half the paint, and where the road beside it is looked at
SOLID, DASHED = 0.85, 0.60  # share of painted rows: at least, at most
SPARSEST = 0.1  # fewer painted rows tell nothing
YELLOW = 35.0  # grey levels of (red + green) / 2 above blue, more than the road beside it
NEAR_HALF = 0.5  # of a line's rows, the lower ones, which are looked at
LEAST_ROWS = 12  # painted ones, to tell a colour
ACROSS = np.array([-REACH[0], 0.0, REACH[0], -REACH[1], REACH[1]])
WARMTH = np.array([0.5, 0.5, -1.0], np.float32)  # of red, green, blue


def paint(image: UInt8[Array, "h w 3"], line: Float[Array, "n 2"]) -> tuple[PaintForm, PaintColour]:
    """Form and colour of the line through (u, v) points, from the top down."""
    h, w = image.shape[:2]
    if not len(line):
        return PaintForm.UNKNOWN, PaintColour.UNKNOWN
    every = np.arange(line[0, 1], line[-1, 1] + 1)  # the gaps too, where a line ends with each dash
    line = np.stack([np.interp(every, line[:, 1], line[:, 0]), every], -1)[int(len(every) * NEAR_HALF) :]
    rows = np.clip(line[:, 1].round().astype(int), 0, h - 1)
    shrink = np.maximum(rows / h, 0.2)[:, None] * w  # paint is narrower farther away
    columns = np.clip((line[:, :1] + ACROSS * shrink).round().astype(int), 0, w - 1)
    colours = image[rows[:, None], columns].astype(np.float32)  # (n, 5, 3): three on the line, two beside it
    grey = colours.sum(-1) / 3
    on = grey[:, :3].argmax(1)
    contrast = grey[np.arange(len(on)), on] - (grey[:, 3] + grey[:, 4]) / 2
    best = np.partition(contrast, int(0.9 * (len(contrast) - 1)))[int(0.9 * (len(contrast) - 1))]
    painted = contrast > max(CONTRAST, SHARE * float(best))
    count = int(painted.sum())
    share = count / len(painted)
    form = PaintForm.SOLID if share >= SOLID else PaintForm.DASHED if SPARSEST < share <= DASHED else PaintForm.UNKNOWN
    if count < LEAST_ROWS:
        return form, PaintColour.UNKNOWN
    warmth = colours[painted] @ WARMTH  # (n, 5)
    more = float(np.median(warmth[np.arange(count), on[painted]] - (warmth[:, 3] + warmth[:, 4]) / 2))
    return form, PaintColour.YELLOW if more > YELLOW else PaintColour.WHITE
