"""Boxes and tables that a humanoid remembers: looks of one picture -> what is known of them, in the frame of the start.

In: things as one picture showed them, the robot's pose, and how far what it holds hides the floor. Out: for each a mean of what
was seen, weighted by how good the look was, with old looks fading. A table's front is its longest side; a look at a part of it, or at
another side, counts little. Nothing is ever forgotten, only corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import parent_from_child, wrap
from nanopilot.messages import Thing, WalkerState

Array = np.ndarray


@dataclass(frozen=True)
class Config:
    same: tuple[float, float] = (0.4, 0.8)  # m within which a box, a table is the one known before
    other_face: float = 0.8  # rad between the fronts of two looks at a table from which they saw two of its sides
    longer: float = 1.2  # times as long as the side known before is another side that is its front
    square: float = 0.6  # cosine between where that side looks and us: from beside, lengths are guesses
    whole: float = 0.75  # of the known width that a look must show, else something hides the rest
    held: float = 0.32  # m between palms from which nothing is held between them
    before_us: float = 0.22  # m of palms from the pelvis: arms that hang are behind it
    half: tuple[float, float] = (0.12, 0.13)  # m that what is held reaches before and above the palms
    doubtful: float = 0.15  # of the weight of a look at a part, or at another side than the front
    shrink: float = 0.99  # of the known width, each look: one that was too long is forgotten
    fade: tuple[float, float] = (0.8, 0.95)  # of the weight of earlier looks at a box, a table, each look


@dataclass(frozen=True)
class Known:
    """A box or table in the frame of the start."""

    kind: str
    at: Float[Array, "2"]
    front: Float[Array, "2"]  # where its front looks, of length `weight`
    z: float
    width: float
    weight: float
    seen: float
    colours: tuple[tuple[str, float], ...]  # and how much weight spoke for each


def hidden(walker: WalkerState, config: Config) -> float:
    """How far ahead what is held hides the floor, m; 0 where nothing is between the palms."""
    if (
        walker.reach is None
        or not walker.reach.left[1] - walker.reach.right[1] < config.held
        or not walker.reach.left[0] > config.before_us
    ):
        return 0.0
    ahead, up = walker.reach.left[0] + config.half[0], walker.reach.left[2] + config.half[1]
    eye = walker.camera
    return inf if up >= eye.z else eye.x + (ahead - eye.x) * eye.z / (eye.z - up)


def remembered(
    known: tuple[Known, ...], seen: tuple[Thing, ...], pose: tuple[float, float, float], t: float, config: Config, hidden: float = 0.0
) -> tuple[Known, ...]:
    """What is known of boxes and tables after a look: each goes to the nearest of its kind, or is new. No table nearer than `hidden` m."""
    out = list(known)
    for one in seen:
        at = parent_from_child(np.array([one.x, one.y]), *pose)
        yaw, weight = one.yaw + pose[2], one.weight
        front = weight * np.array([np.cos(yaw), np.sin(yaw)])
        gate = config.same[one.kind == "table"]
        near = [(float(np.hypot(*(k.at - at))), i) for i, k in enumerate(out) if k.kind == one.kind]
        away, i = min(near, default=(inf, -1))
        if one.kind == "table" and np.hypot(one.x, one.y) < hidden:
            continue
        if away > gate:
            out.append(Known(one.kind, at, front, one.z, one.width, weight, t, ((one.colour, weight),)))
            continue
        old = out[i]
        aside = one.kind == "table" and abs(wrap(yaw - float(np.arctan2(old.front[1], old.front[0])))) > config.other_face
        square = np.cos(one.yaw - np.arctan2(-one.y, -one.x)) > config.square
        if aside and square and one.width > config.longer * old.width:  # its front at last: a table's front is its longest side
            out[i] = Known(one.kind, at, front, one.z, one.width, weight, t, ((one.colour, weight),))
            continue
        if aside and one.width < config.whole * old.width:  # a side of it, which is shorter
            continue
        trust = config.doubtful if aside or one.width < config.whole * old.width else 1.0  # another side of it, or a part
        weight, fade = trust * weight, config.fade[one.kind == "table"] ** trust
        votes = dict(old.colours)
        votes[one.colour] = votes.get(one.colour, 0.0) + weight
        kept = fade * old.weight
        place = old.at + weight / (weight + kept) * (at - old.at)
        width = max(config.shrink * old.width, 0.0 if aside else one.width)
        out[i] = Known(one.kind, place, fade * old.front + trust * front, one.z, width, weight + kept, t, tuple(votes.items()))
    return tuple(out)
