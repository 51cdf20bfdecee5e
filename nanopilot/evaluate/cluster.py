"""A suite's jobs over a Ray cluster in place of this machine's processes: the same rows, from more machines.

In: the function and jobs of a suite, and where the cluster is; no address starts one of processes on this machine, which ends with
the run. Out: (job, row) as they finish, each job once. A worker or a node that dies is Ray's to replace, and its job is tried again; a
job that takes TRIES workers with it is a row with `error`. Each node needs nanopilot at this commit; one that has another says so.
Source: Ray's documentation on tasks and fault tolerance. It brings no code to a node and collects no files: logs stay where a drive ran.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from nanopilot.evaluate.suite import Ray, Row, guarded, this_commit

TRIES = 3  # workers a job may cost
PATIENCE = 5.0  # s for a cluster's head to answer
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers


def results(work: Callable[[Row], Row], jobs: list[Row], where: Ray) -> Iterator[tuple[Row, Row]]:
    """Run `jobs` on the cluster. Raises ValueError where Ray is not installed or no cluster answers."""
    try:
        import ray
    except ImportError:
        raise ValueError("--ray needs Ray: pip install 'nanopilot[ray]'") from None
    if where.address and where.address != "auto":
        host, _, port = where.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()  # Ray itself would wait for minutes
        except (OSError, ValueError) as error:
            raise ValueError(f"no Ray cluster at {where.address} (host:port, or auto): {error}") from None
    place: dict[str, Any] = {"address": "local", "num_cpus": where.workers, "include_dashboard": False}
    try:
        ray.init(**({"address": where.address} if where.address else place), log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, RuntimeError) as error:
        raise ValueError(f"no Ray cluster at {where.address or 'this machine'}: {error}") from None
    try:
        there = ray.remote(max_retries=TRIES - 1, num_cpus=1, scheduling_strategy="SPREAD")(_there)
        waiting = {there.remote(work, job, this_commit(), os.getcwd()): job for job in jobs}
        while waiting:
            for done in ray.wait(list(waiting))[0]:
                try:
                    row = ray.get(done)
                except ray.exceptions.RayError as error:  # it took all its workers with it
                    row = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
                yield waiting.pop(done), row
    finally:
        ray.shutdown()


def _there(work: Callable[[Row], Row], job: Row, commit: str, folder: str) -> Row:
    """In a worker somewhere: the job as it would be done here."""
    if this_commit() != commit:
        return {"error": f"ValueError: a node has nanopilot at {this_commit()}, not {commit}"}
    if os.path.isdir(folder):
        os.chdir(folder)  # relative paths of a job mean this run's folder, where it can be reached
    return guarded(work, job)
