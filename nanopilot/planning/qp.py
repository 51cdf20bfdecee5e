"""One dense quadratic program: minimise ½ xᵀPx + cᵀx with l ≤ Gx ≤ u and box bounds on x.

In: arrays. Out: x, or None when the solver did not finish: the caller must have a fallback. Source: PIQP, Schwan et
al. 2023 (interior point, proximal), the quickest of three on our own problems in `dev/bench_solvers.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import piqp
from jaxtyping import Float

Array = np.ndarray


@dataclass(frozen=True)
class Problem:
    """The problem's data; n variables, m rows."""

    p: Float[Array, "n n"]
    c: Float[Array, " n"]
    g: Float[Array, "m n"]
    low: Float[Array, " m"]
    high: Float[Array, " m"]
    x_low: Float[Array, " n"]
    x_high: Float[Array, " n"]


def solve(problem: Problem) -> Float[Array, " n"] | None:
    """The minimiser, or None if the solver says anything but solved."""
    solver = piqp.DenseSolver()
    solver.settings.verbose = False
    solver.settings.eps_abs = 1e-5  # of m, m/s, m/s²: far below what a car can tell
    solver.settings.eps_rel = 1e-5
    solver.settings.max_iter = 60  # usual are 8-15
    solver.setup(
        P=np.asfortranarray(problem.p), c=problem.c, G=np.asfortranarray(problem.g),
        h_l=problem.low, h_u=problem.high, x_l=problem.x_low, x_u=problem.x_high,
    )  # fmt: skip
    if solver.solve() != piqp.PIQP_SOLVED:
        return None
    x = np.array(solver.result.x)
    return x if np.isfinite(x).all() else None
