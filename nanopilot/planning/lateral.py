"""Lateral MPC: which curvature to drive over the next seconds so as to stay on the path, smoothly.

In: the path, the predicted speeds, where the car is on it. Out: curvature at each time, and the poses it leads to.
Linearised kinematic bicycle in the path's (Frenet) frame: offset d, heading error e, curvature k; input: rate of
curvature. The states are eliminated (condensed), so the quadratic program has one variable a step and, as its bounds
widen to what is reachable, always a solution. Sources: Rajamani ch. 2; Rawlings, Mayne & Diehl, MPC, section 8.
The offset is taken as small beside the path's radius: a lane change must already be part of the path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nanopilot.planning.path import Path
from nanopilot.planning.qp import Problem, solve

Array = np.ndarray


@dataclass(frozen=True)
class LateralConfig:
    """The weights are Bryson's: one over the square of the deviation that costs 1. Tuned in the closed-loop tests."""

    offset: float = 0.15  # m
    heading: float = 0.15  # rad
    lateral_acceleration: float = 1.0  # m/s², beside that of the path itself
    lateral_jerk: float = 1.5  # m/s³
    scale_speed: float = 3.0  # m/s: below, jerk and acceleration are weighed and bounded as at this speed, guess
    max_lateral_acceleration: float = 3.0  # m/s², UN R79 (second-hand)
    max_lateral_jerk: float = 5.0  # m/s³, UN R79 (second-hand)
    pursuit_time: float = 0.8  # s of look-ahead of the fallback, guess
    pursuit_distance: float = 4.0  # m, and at least this, guess


@dataclass(frozen=True)
class Trajectory:
    """Poses at the plan's times, vehicle frame of now. `solved` is False when the fallback made it."""

    xy: Float[Array, "n 2"]
    yaw: Float[Array, " n"]
    curvature: Float[Array, " n"]
    solved: bool


def problem(
    path: Path,
    times: Float[Array, " n"],
    s: Float[Array, " n"],
    speed: Float[Array, " n"],
    curvature: float,
    max_curvature: float,
    config: LateralConfig,
) -> Problem:
    """The condensed quadratic program; its variables are the curvature's rates, 1/(m s), one a step."""
    dt = np.diff(times)
    ds = np.diff(s)
    n = len(dt)
    _, yaw_ref, k_ref = path.at(s)
    d0 = path.find(0.0, 0.0)[1]

    # each state is free response + matrix @ rates; all are cumulative sums down the rows
    to_k = np.tril(np.broadcast_to(dt, (n, n)))  # (n, n)
    mean_k = 0.5 * (to_k + np.vstack([np.zeros(n), to_k[:-1]]))
    to_e = np.cumsum(ds[:, None] * mean_k, 0)
    free_e = np.concatenate([[0.0], np.cumsum(ds * curvature)]) - yaw_ref  # (n + 1,)
    mean_e = 0.5 * (to_e + np.vstack([np.zeros(n), to_e[:-1]]))
    to_d = np.cumsum(ds[:, None] * mean_e, 0)
    free_d = d0 + np.cumsum(ds * 0.5 * (free_e[1:] + free_e[:-1]))

    v2 = np.maximum(speed, config.scale_speed)[1:] ** 2
    weight = dt / dt[0]
    p, c = np.zeros((n, n)), np.zeros(n)
    for matrix, free, scale in (
        (to_d, free_d, 1 / config.offset),
        (to_e, free_e[1:], 1 / config.heading),
        (to_k, curvature - k_ref[1:], v2 / config.lateral_acceleration),
    ):
        weighted = (weight * scale**2)[:, None] * matrix
        p += matrix.T @ weighted
        c += weighted.T @ free
    p[np.diag_indices(n)] += weight * (v2 / config.lateral_jerk) ** 2

    rate = config.max_lateral_jerk / v2
    reachable = np.maximum(abs(curvature) - np.cumsum(rate * dt), 0.0)  # coming from outside the bounds
    bound = np.maximum(np.minimum(max_curvature, config.max_lateral_acceleration / v2), reachable)
    return Problem(p, c, to_k, -bound - curvature, bound - curvature, -rate, rate)


def plan(
    path: Path,
    times: Float[Array, " n"],
    s: Float[Array, " n"],
    speed: Float[Array, " n"],
    curvature: float,
    max_curvature: float,
    config: LateralConfig,
) -> Trajectory:
    """The best trajectory along `path` for a car at the origin that drives `s` metres by `times`, now at `curvature`."""
    rates = solve(problem(path, times, s, speed, curvature, max_curvature, config))
    solved = rates is not None
    if rates is None:
        rates = _pursuit(path, times, speed, curvature, max_curvature, config)
    k = curvature + np.concatenate([[0.0], np.cumsum(np.diff(times) * rates)])
    ds = np.diff(s)
    turn = ds * 0.5 * (k[1:] + k[:-1])
    yaw = np.concatenate([[0.0], np.cumsum(turn)])
    middle = yaw[:-1] + 0.5 * turn
    chord = ds * np.sinc(turn / (2 * np.pi))
    xy = np.concatenate([np.zeros((1, 2)), np.cumsum(chord[:, None] * np.stack([np.cos(middle), np.sin(middle)], -1), 0)])  # (n, 2)
    return Trajectory(xy, yaw, k, solved)


def _pursuit(
    path: Path, times: Float[Array, " n"], speed: Float[Array, " n"], curvature: float, max_curvature: float, config: LateralConfig
) -> Float[Array, " n-1"]:
    """Curvature rates of pure pursuit (Coulter 1992): the circle through a point some way ahead on the path."""
    ahead = config.pursuit_distance + config.pursuit_time * speed[0]
    (x, y), *_ = path.at(np.array([ahead]))[0]
    v2 = max(speed[0], config.scale_speed) ** 2
    bound = min(max_curvature, config.max_lateral_acceleration / v2)
    wanted = float(np.clip(2 * y / (x**2 + y**2), -bound, bound))
    step = config.max_lateral_jerk / v2 * np.diff(times)
    k = curvature + np.clip(wanted - curvature, -np.cumsum(step), np.cumsum(step))
    return np.diff(k, prepend=curvature) / np.diff(times)
