"""A suite: many seeds over several processes or a Ray cluster, resumable, summarised with 95 % intervals.

In: a function from a job (a dict of settings, one of them the seed) to a row (a dict), and the jobs. Out: a Report,
as JSON and as a table. Every finished row is appended to NAME.rows.jsonl beside NAME.json at once, so that a
run that was stopped goes on where it was: a row counts as done only for the same job and the same commit.
A job that raises is a row with `error`, and counts as a failure in every rate that `failed` names. It measures nothing itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nanopilot.evaluate.metrics import mean_interval, wilson

Row = dict[str, Any]
ENDING = 20.0  # s a worker told to end may take to close its simulator


@dataclass(frozen=True)
class Ray:
    """A cluster to run on: its address, or none for `workers` processes of a cluster started for this run."""

    address: str = ""
    workers: int = 1


Workers = int | Ray  # how many processes of this machine, or another place


@dataclass(frozen=True)
class Suite:
    """`rates` and `means` name the row's columns to summarise; a failed row has every rate at `failed`'s value."""

    name: str
    run: Callable[[Row], Row]  # importable by name: workers are fresh processes
    rates: tuple[str, ...]
    means: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    suite: str
    commit: str
    command: str
    date: str
    machine: dict[str, Any]
    rows: list[Row]
    summary: dict[str, Any]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, default=np.generic.item) + "\n")


def run(suite: Suite, jobs: list[Row], workers: Workers = 1, path: Path | None = None) -> Report:
    """Run what isn't done yet and report on all jobs. Ctrl-C ends the workers and leaves the rows so far."""
    commit = this_commit()
    rows_path = path.with_suffix(".rows.jsonl") if path else None
    if rows_path:
        rows_path.parent.mkdir(parents=True, exist_ok=True)
        rows_path.touch()  # where nothing can be written, that is said now, not after the first drive
    done = {_key(r["job"]): r for r in _stored(rows_path) if r["suite"] == suite.name and r["commit"] == commit}
    todo = [job for job in jobs if _key(job) not in done]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(suite.name, total=len(jobs), completed=len(jobs) - len(todo))
        for job, row in _results(suite.run, todo, workers):
            done[_key(job)] = stored = {"suite": suite.name, "commit": commit, "job": job, **row}
            if rows_path:
                with open(rows_path, "a") as file:
                    file.write(json.dumps(stored, default=np.generic.item) + "\n")
            progress.advance(bar)
            progress.print(f"seed {job['seed']}: {row.get('error') or row.get('reason', '')}", highlight=False, markup=False)
    rows = [{k: v for k, v in done[_key(job)].items() if k not in ("suite", "commit")} for job in jobs]
    report = Report(**origin(suite.name) | {"commit": commit}, rows=rows, summary=summarise(suite, rows))
    if path:
        report.save(path)
    return report


def summarise(suite: Suite, rows: list[Row]) -> dict[str, Any]:
    """Rates and means over all rows, each with its 95 % interval beside it as NAME_95."""
    out: dict[str, Any] = {}
    for name in suite.rates:
        hits = sum(bool(r.get(name, False)) for r in rows)
        out[name] = hits / len(rows) if rows else 0.0
        out[f"{name}_95"] = wilson(hits, len(rows))
    for name in suite.means:
        samples = np.array([r[name] for r in rows if name in r], float)
        out[name] = float(samples.mean()) if len(samples) else 0.0
        low, high = mean_interval(samples)
        out[f"{name}_95"] = (low, high) if len(samples) > 1 else None
    return {**out, "n": len(rows), "errors": sum("error" in r for r in rows)}


def table(report: Report) -> Table:
    """The summary for people."""
    out = Table(title=f"{report.suite}, n = {report.summary['n']}", title_justify="left")
    for heading in ("", "value", "95 % interval"):
        out.add_column(heading, justify="left" if not heading else "right")
    for name, value in report.summary.items():
        interval = report.summary.get(f"{name}_95")
        if f"{name}_95" in report.summary:
            out.add_row(name, f"{value:.3f}", f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "")
    if report.summary["errors"]:
        out.add_row("errors", str(report.summary["errors"]), "")
    return out


def parse_seeds(text: str) -> list[int]:
    """'7', '3,5' or '1000-1029' or both mixed, to a list. Raises ValueError."""
    seeds: list[int] = []
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdigit() or (high and not high.isdigit()) or (high and int(high) < int(low)) or part.strip().endswith("-"):
            raise ValueError(f"seeds must look like 7, 3,5 or 1000-1029, not {text!r}")
        seeds.extend(range(int(low), int(high or low) + 1))
    return seeds


def this_commit() -> str:
    """The commit of this code; where tracked files differ from it, -dirty- and a digest of the difference; else 'unknown'."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    change = subprocess.run([*git, "diff", "HEAD", "--", "."], capture_output=True).stdout
    return (head or "unknown") + (f"-dirty-{sha256(change).hexdigest()[:8]}" if change else "")


def command_line() -> str:
    """What was typed."""
    name = Path(sys.argv[0]).name
    return shlex.join(["nanopilot" if name == "__main__.py" else name, *sys.argv[1:]])


def origin(suite: str) -> dict[str, Any]:
    """What every report says of itself besides its figures."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"suite": suite, "commit": this_commit(), "command": command_line(), "date": date, "machine": machine()}


def machine() -> dict[str, Any]:
    """What figures of time depend on; the widest vector instructions make up to a factor of three for the network."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    about = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    about = {key.strip(): value.strip() for key, value in about.items()}
    flags = about.get("flags", "").split()
    return {
        "cpu": about.get("model name") or platform.processor() or platform.machine(),
        "vectors": next((name for name in ("avx512_vnni", "avx512f", "avx2", "avx") if name in flags), ""),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
    }


def _results(work: Callable[[Row], Row], jobs: list[Row], workers: Workers) -> Iterator[tuple[Row, Row]]:
    if not jobs:
        return
    if isinstance(workers, Ray):
        from nanopilot.evaluate import cluster

        yield from cluster.results(work, jobs, workers)
        return
    pool = ProcessPoolExecutor(min(workers, len(jobs)), multiprocessing.get_context("spawn"), _worker)
    try:
        futures = {pool.submit(guarded, work, job): job for job in jobs}
        for future in as_completed(futures):
            try:
                row = future.result()
            except Exception as error:  # the worker process itself died
                row = {"error": f"{type(error).__name__}: {error}"}
            yield futures[future], row
    finally:
        children = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        for child in children:
            child.join(ENDING)
            child.kill()
            child.join()


def _worker() -> None:
    """A worker leaves Ctrl-C to its parent, closes what it holds when told to end, and ends by itself when its parent has died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ended)
    Thread(target=_outlived, daemon=True).start()


def _ended(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _outlived() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def guarded(work: Callable[[Row], Row], job: Row) -> Row:
    """The job's row, or what it raised."""
    try:
        return work(job)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    except SystemExit:  # told to end: what the job held is closed by now, and the pool would only hand out the next one
        os._exit(128 + signal.SIGTERM)


def _key(job: Row) -> str:
    return json.dumps(job, sort_keys=True)


def _stored(path: Path | None) -> Iterator[Row]:
    if path is None or not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue  # a line cut off by a kill: its job runs again
