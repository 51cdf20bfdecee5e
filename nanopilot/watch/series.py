"""What is plotted, in bounded memory: columns over time that halve their own resolution when they are full.

In: a row of numbers per step (NaN: not known). Out: at most LIMIT rows, each the step nearest to its place, never a mean, so that
nothing is smoothed away but what falls between. Totals (distance, time by headway) are summed over every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

LIMIT = 4000  # rows
BANDS = (0.6, 1.0, 2.0)  # s of headway, between which time is counted


@dataclass
class Series:
    names: tuple[str, ...]
    rows: list[tuple[float, ...]] = field(default_factory=list)
    every: int = 1
    count: int = 0

    def add(self, *row: float) -> None:
        """One step's numbers, in the order of `names`."""
        if self.count % self.every == 0:
            self.rows.append(row)
            if len(self.rows) > LIMIT:
                self.rows, self.every = self.rows[::2], 2 * self.every
        self.count += 1

    def column(self, name: str) -> np.ndarray:
        return np.array([r[self.names.index(name)] for r in self.rows], float)


@dataclass
class Totals:
    """Sums over a watch: s, m, and their share with speed known."""

    pictures: int = 0
    seconds: float = 0.0
    speed_known: dict[str, float] = field(default_factory=dict)  # by who told it
    metres: float = 0.0
    metres_std: float = 0.0
    usable: float = 0.0
    headway: list[float] = field(default_factory=lambda: [0.0] * (len(BANDS) + 1))
    faults: dict[str, int] = field(default_factory=dict)
    last: float | None = None

    def step(self, t: float, speed: float | None, share: float, source: str, headway: float | None, usable: bool, fault: str) -> None:
        """One picture; `share` is the speed's relative std, which is an error of scale and hence adds up."""
        dt = 0.0 if self.last is None else min(t - self.last, 1.0)
        self.last = t
        self.pictures += 1
        self.seconds += dt
        self.usable += dt * usable
        if speed is not None:
            self.speed_known[source] = self.speed_known.get(source, 0.0) + dt
            self.metres += speed * dt
            self.metres_std += speed * dt * share
        if headway is not None:
            self.headway[sum(headway >= b for b in BANDS)] += dt
        if fault:
            self.faults[fault] = self.faults.get(fault, 0) + 1
