"""Which solver for the planner's quadratic programs? The same problems, from closed-loop drives, to each in one run.

Prints p50 and p99 of set-up plus solving for PIQP (dense and sparse), OSQP and Clarabel, each at tolerance 1e-5 on one
thread, how often each failed, and how far its answer's cost is from dense PIQP's. Run: OMP_NUM_THREADS=1 python dev/bench_solvers.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import clarabel
import numpy as np
import osqp
import piqp
from scipy import sparse

from nanopilot.planning import lateral, longitudinal, qp

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "planning"))
from closed_loop import Actor, road, run, straight

TOLERANCE = 1e-5


def collect() -> dict[str, list[qp.Problem]]:
    """Every problem of a turn, a standing lead and a crossing car."""
    problems: dict[str, list[qp.Problem]] = {"lateral": [], "longitudinal": []}
    for module in (lateral, longitudinal):

        def keep(problem: qp.Problem, kept: list = problems[module.__name__.rsplit(".", 1)[-1]]) -> np.ndarray | None:
            kept.append(problem)
            return qp.solve(problem)

        module.solve = keep
    run(road((40, 0), (15.7, 0.1), (80, 0)), 10)
    run(road((200, 0)), 12, actors=(Actor(straight(80, 0, 0, 0)),))
    run(road((200, 0)), 8, actors=(Actor(straight(60, -40, np.pi / 2, 7)),))
    return problems


def piqp_sparse(q: qp.Problem) -> np.ndarray | None:
    solver = piqp.SparseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = TOLERANCE
    solver.setup(P=sparse.csc_matrix(q.p), c=q.c, G=sparse.csc_matrix(q.g), h_l=q.low, h_u=q.high, x_l=q.x_low, x_u=q.x_high)
    return solver.result.x if solver.solve() == piqp.PIQP_SOLVED else None


def osqp_sparse(q: qp.Problem) -> np.ndarray | None:
    rows = sparse.vstack([sparse.csc_matrix(q.g), sparse.eye(len(q.c))], format="csc")
    solver = osqp.OSQP()
    solver.setup(
        sparse.triu(q.p, format="csc"), q.c, rows, np.concatenate([q.low, q.x_low]), np.concatenate([q.high, q.x_high]),
        verbose=False, eps_abs=TOLERANCE, eps_rel=TOLERANCE, max_iter=20000,
    )  # fmt: skip
    result = solver.solve()
    return result.x if result.info.status == "solved" else None


def clarabel_sparse(q: qp.Problem) -> np.ndarray | None:
    rows = sparse.vstack([sparse.csc_matrix(q.g), sparse.eye(len(q.c))], format="csc")
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_threads = False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = TOLERANCE
    b = np.concatenate([q.high, q.x_high, -q.low, -q.x_low])
    stacked = sparse.vstack([rows, -rows], format="csc")
    solution = clarabel.DefaultSolver(
        sparse.triu(q.p, format="csc"), q.c, stacked, b, [clarabel.NonnegativeConeT(len(b))], settings
    ).solve()
    return np.array(solution.x) if str(solution.status) == "Solved" else None


SOLVERS: dict[str, Callable[[qp.Problem], np.ndarray | None]] = {
    "piqp dense": qp.solve,
    "piqp sparse": piqp_sparse,
    "osqp": osqp_sparse,
    "clarabel": clarabel_sparse,
}


def main() -> None:
    for name, problems in collect().items():
        n, m = np.median([(len(q.c), len(q.low)) for q in problems], axis=0).astype(int)
        print(f"{name}: {len(problems)} problems, about {n} variables and {m} rows")
        costs = {}
        for solver, solve in SOLVERS.items():
            seconds, cost = [], []
            for q in problems:
                start = perf_counter()
                x = solve(q)
                seconds.append(perf_counter() - start)
                cost.append(np.nan if x is None else 0.5 * x @ q.p @ x + q.c @ x)
            p50, p99 = 1e3 * np.quantile(seconds, [0.5, 0.99])
            costs[solver] = np.array(cost)
            above = np.nanmax(np.abs(costs[solver] - costs["piqp dense"]) / (1 + np.abs(costs["piqp dense"])))
            print(f"  {solver:12s} p50 {p50:7.3f} ms  p99 {p99:7.3f} ms  failed {np.isnan(cost).sum():3d}  cost off by {above:.0e}")


if __name__ == "__main__":
    main()
