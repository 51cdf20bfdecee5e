"""A path as earlier frames may have left it: made-up memories, for training the network and for judging it frame by frame.

In: the true path of a frame. Out: the network's memory input, wrong in the ways a drive's own memory is: displaced, turned and
bent, from some point on only straight, turning too early, too late or not at all, now and then of the lane beside, or of where the
car happens to be. In a drive the memory is world.expected; nothing here runs there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from nanopilot.messages import PATH_ARC
from nanopilot.perception import heads

Array = np.ndarray

# How wrong a remembered path is (guesses, wider than what a drive shows so that the network corrects more than it must)
MEMORY_OFFSET, MEMORY_YAW, MEMORY_BEND = 0.7, np.radians(3.5), 0.012  # m, rad, 1/m: standard deviations at full error
MEMORY_REACH = (6.0, 70.0)  # m from which on it only goes straight on: what earlier frames did not see
LANE_WIDTHS = (2.8, 4.0)  # m
MEMORY_OTHER_LANE = 0.1  # share that lies a lane beside, as just after a lane change, or in error
MEMORY_HERE = 0.15  # share that runs through where the car is, right or not: a drive's memory is what the car was steered by
MEMORY_STRAIGHT = 0.15  # share that knows of no bend at all, and goes on as the car stands
MEMORY_SHIFTED, MEMORY_SHIFT = 0.4, 12.0  # share whose bends come up to so many metres too early or too late


def remembered(path: Float32[Array, "16 2"], rng: np.random.Generator) -> Float32[Array, "33"]:
    """A path as earlier frames may have left it: the true one displaced, turned and bent, and from some point on straight."""
    error = rng.random() ** 1.5
    aside = rng.normal(0, MEMORY_OFFSET) * error
    if rng.random() < MEMORY_OTHER_LANE:
        aside += rng.choice((-1, 1)) * rng.uniform(*LANE_WIDTHS)
    here = rng.random() < MEMORY_HERE
    step = np.diff(path.astype(float), axis=0)
    turn: Array = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    normal = np.stack([-np.sin(turn), np.cos(turn)], -1)[np.r_[0, : len(turn)]]
    start = path[0] + (aside - (path[0] @ normal[0] if here else 0.0)) * normal[0]
    if rng.random() < MEMORY_SHIFTED:
        turn = np.interp(PATH_ARC[:-1] + rng.uniform(-MEMORY_SHIFT, MEMORY_SHIFT), PATH_ARC[:-1], turn)
    if rng.random() < MEMORY_STRAIGHT:
        turn[:] = 0.0
    last = int(np.searchsorted(PATH_ARC, rng.uniform(*MEMORY_REACH))) - 1
    turn[last:] = turn[min(last, len(turn) - 1)]
    turn += error * (rng.normal(0, MEMORY_YAW) + rng.normal(0, MEMORY_BEND) * PATH_ARC[:-1])
    length = np.hypot(*step.T)[:, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    points = np.concatenate([start[None], start + np.cumsum(length, 0)])
    return heads.memory_vector(points)
