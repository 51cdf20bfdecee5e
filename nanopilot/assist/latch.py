"""Hysteresis: a level that rises once it was wanted for a while, and falls once it was not wanted for a while.

In: the time and the level wanted now (0 none). Out: the level shown. `rung` makes a level of a value and its limits,
where the limit of a level already shown is wider. Nothing here knows what is warned of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Latch:
    level: int = 0
    wanted: int = 0  # a higher level that waits, or 0
    since: float = 0.0  # when that began to be wanted
    kept: float = 0.0  # when the shown level was last wanted


def latched(latch: Latch, t: float, wanted: int, confirm: float, hold: float) -> Latch:
    """The latch at `t`: up after `confirm` s of wanting, down after `hold` s of not wanting."""
    if wanted > latch.level:
        since = latch.since if latch.wanted > latch.level else t
        if t - since < confirm:
            return replace(latch, wanted=wanted, since=since, kept=t)
        return Latch(wanted, 0, t, t)
    if wanted == latch.level or t - latch.kept <= hold:
        return replace(latch, wanted=0, kept=t if wanted == latch.level else latch.kept)
    return Latch(wanted, 0, t, t)


def rung(value: float, limits: Sequence[float], shown: int, release: float) -> int:
    """How many of the falling `limits` the value is below; those shown already reach further by the factor `release`."""
    return sum(value < limit * (release if k < shown else 1.0) for k, limit in enumerate(limits))
