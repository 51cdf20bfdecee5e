"""How fast something changes: a Kalman filter of a value and its rate, for box heights and for distances to a line.

In: measurements with their variances, at any times. Out: value, rate and covariance. White noise on the rate; frames closer together than
`memory` share their errors. A `closing` value's rate grows by its own square, as a box's log height does at constant closing speed.
Source: Bar-Shalom, Li & Kirubarajan 2001, ch. 6. It refuses no measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp


@dataclass(frozen=True)
class Rate:
    """Value, its rate per second, their covariance; when it was first and last measured."""

    value: float
    rate: float
    p00: float
    p01: float
    p11: float
    first: float
    t: float


def begun(z: float, r: float, rate_std: float, t: float) -> Rate:
    """From a first measurement `z` of variance `r`."""
    return Rate(z, 0.0, r, 0.0, rate_std**2, t, t)


def corrected(f: Rate, z: float, r: float, t: float, noise: float, memory: float, closing: bool = False) -> Rate:
    """After a measurement `z` of variance `r` at `t`; the same where time has not moved on. `noise`: rate change in 1 s at 1 Hz."""
    dt = t - f.t
    if dt <= 0:
        return f
    swell, q = max(f.rate, 0.0) if closing else 0.0, noise**2
    bend = 1 + 2 * dt * swell
    p00 = f.p00 + 2 * dt * f.p01 + dt * dt * f.p11 + q * dt**3 / 3
    p01 = bend * (f.p01 + dt * f.p11) + q * dt**2 / 2
    p11 = bend**2 * f.p11 + q * dt
    r = r / (1 - exp(-dt / memory))
    k0, k1 = p00 / (p00 + r), p01 / (p00 + r)
    predicted = f.value + dt * f.rate
    innovation = z - predicted
    return Rate(
        predicted + k0 * innovation, f.rate + dt * swell**2 + k1 * innovation, (1 - k0) * p00, (1 - k0) * p01, p11 - k1 * p01, f.first, t
    )
