"""What a judge computes: intervals of rates and means, and how a drive felt.

In: counts, samples, or a drive's time, speed and heading from the simulator's truth. Out: 95 % intervals, and the
worst accelerations and jerks. Sources: Wilson 1927 (the score interval, as recommended by Brown, Cai and DasGupta
2001); Student's t for means; UN R79 (second-hand) for jerk as a moving average over 0.5 s.
It does not filter accelerations: at 20 Hz the truth has no noise to filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

Z_95 = 1.959963984540054  # standard normal quantile at 97.5 %
JERK_WINDOW = 0.5  # s, UN R79 5.6.2.1.3 (second-hand)


def wilson(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a rate of `successes` in `n` trials; (0, 1) of none."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if n == 0:
        return 0.0, 1.0
    p, zz = successes / n, z * z / n
    middle, half = (p + zz / 2) / (1 + zz), z * sqrt((p * (1 - p) + zz / 4) / n) / (1 + zz)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(samples: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Student's 95 % interval of the mean; infinite for fewer than two samples."""
    samples = np.asarray(samples, float)
    if len(samples) < 2:
        return float("-inf"), float("inf")
    half = stdtrit(len(samples) - 1, 0.975) * samples.std(ddof=1) / sqrt(len(samples))
    return float(samples.mean() - half), float(samples.mean() + half)


@dataclass(frozen=True)
class Comfort:
    """The worst of a drive, all positive; jerks are moving averages over 0.5 s."""

    acceleration: float  # m/s²
    deceleration: float
    lateral_acceleration: float
    longitudinal_jerk: float  # m/s³
    lateral_jerk: float


def comfort(t: Float[np.ndarray, " n"], speed: Float[np.ndarray, " n"], yaw: Float[np.ndarray, " n"]) -> Comfort:
    """How a drive felt at the point whose speed and heading are given; zero for fewer than two samples."""
    t, speed, yaw = (np.asarray(v, float) for v in (t, speed, yaw))
    if len(t) < 2:
        return Comfort(0.0, 0.0, 0.0, 0.0, 0.0)
    dt = np.diff(t)
    if (dt <= 0).any():
        raise ValueError("times must ascend")
    along = np.diff(speed) / dt  # each over one step
    across = (speed[1:] + speed[:-1]) / 2 * np.diff(np.unwrap(yaw)) / dt
    middle = (t[1:] + t[:-1]) / 2
    return Comfort(
        acceleration=float(max(0.0, along.max())),
        deceleration=float(max(0.0, -along.min())),
        lateral_acceleration=float(np.abs(across).max()),
        longitudinal_jerk=_mean_rate(middle, along),
        lateral_jerk=_mean_rate(middle, across),
    )


def _mean_rate(t: np.ndarray, value: np.ndarray) -> float:
    """The greatest |change| over JERK_WINDOW, per second: the moving average of the derivative."""
    if t[-1] - t[0] < JERK_WINDOW:
        return 0.0
    start = t[t <= t[-1] - JERK_WINDOW + 1e-9]
    change = np.interp(start + JERK_WINDOW, t, value) - np.interp(start, t, value)
    return float(np.abs(change).max() / JERK_WINDOW)
