"""Warnings against truth: the clips of clips.py played through the watch, with no truth but the lens's focal length and height.

In: which clips. Out: per warning recall (in its time window), misses in seconds, false alarms per hour, and speed error. An event is
false when it is none the clip expects; the first of the expected kind is the one that is timed. The pictures are the simulator's, of
the kind the network was trained on: real roads are harder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from nanopilot.assist import is_event
from nanopilot.evaluate import suite
from nanopilot.evaluate.clips import Clip, ClipBody, Expectation, clips, judged, road
from nanopilot.evaluate.suite import Suite, parse_seeds
from nanopilot.messages import WarningKind, WarningLevel, speed_known
from nanopilot.watch import WatchConfig, Watcher


@dataclass(frozen=True)
class WatchSuite:
    only: str = ""
    """Only clips whose names hold this."""
    hz: float = 20.0
    seeds: str = "100"
    """Light, colours, scenery and the camera's pitch: 0-99 are for tuning, others for figures."""
    json: Path | None = None
    workers: int = 1


@dataclass(frozen=True)
class Row:
    """One clip. Times in s of the clip; None where there is none."""

    name: str
    seconds: float
    expected: str
    earliest: float | None
    latest: float | None
    warned: float | None
    error_s: float | None  # s outside the window; None: never came, or nothing expected
    in_time: bool
    false: tuple[str, ...]
    speed_error: float | None  # median share, where speed was known
    error_m: float | None = None  # m driven in `error_s`
    seed: int = 0
    told: str = ""  # the kind that was warned of


def play(clip: Clip, hz: float, seed: int = 0) -> Row:
    """Watch one clip and judge it."""
    watcher = Watcher(ClipBody(clip, road(clip.curvature, clip.scenery), hz), WatchConfig())
    first, told = None, ""
    false: list[str] = []
    speeds: list[float] = []
    open_until: dict[tuple[WarningKind, int], float] = {}
    for record in watcher.watch():
        t = record.observation.t
        if record.fault:
            raise RuntimeError(f"{clip.name}: {record.fault}")
        if speed_known(record.motion):
            speeds.append(abs(record.motion.speed / clip.speed - 1))
        for w in record.warnings.active:
            if not is_event(w):
                continue
            key = (w.kind, w.side)
            begins = t - open_until.get(key, -9.0) > 1.0
            open_until[key] = t
            e = clip.expected
            wanted = e is not None and w.kind in e.kinds and (e.side == 0 or w.side == e.side)
            if wanted and first is None and not (w.kind == WarningKind.HEADWAY and w.level == WarningLevel.INFO):
                first, told = t, w.kind
            elif begins and not wanted and not _follows(e, w.kind, t):
                false.append(f"{w.kind} at {t:.2f} s: {w.reason}")
    e = clip.expected
    error = judged(e, first) if e else 0.0
    return Row(clip.name, clip.seconds, e.kinds[0] if e else "", e.earliest if e else None, e.latest if e else None, first,
               error if e and isfinite(error) else None, e is not None and error == 0.0, tuple(false),
               float(np.median(speeds)) if speeds else None, error * clip.speed if e and isfinite(error) else None, seed, told)  # fmt: skip


def _follows(e: Expectation | None, kind: WarningKind, t: float) -> bool:
    """Headway before a collision, and a collision after a headway or beside a cyclist, are right as well."""
    if e is None or t < e.earliest or e.kinds[0] in (WarningKind.LANE_DEPARTURE, WarningKind.CUT_IN):
        return False
    return kind in (*e.also, WarningKind.HEADWAY, WarningKind.FORWARD_COLLISION, WarningKind.URBAN_COLLISION)


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Per expected kind: clips, recall, and of the misses the median in seconds; and per kind false alarms an hour over all clips."""
    hours = sum(r.seconds for r in rows) / 3600
    out: dict[str, dict[str, float]] = {}
    for kind in WarningKind:
        mine = [r for r in rows if r.expected == kind]
        false = sum(f.startswith(f"{kind} at") for r in rows for f in r.false)
        if mine or false:
            came = [abs(r.error_s) for r in mine if r.error_s is not None]
            out[kind] = {"clips": len(mine), "in_time": sum(r.in_time for r in mine), "never": sum(r.warned is None for r in mine),
                         "other_kind": sum(r.told not in ("", kind) for r in mine),
                         "worst_error_s": max(came, default=0.0),
                         "worst_error_m": max((abs(r.error_m) for r in mine if r.error_m is not None), default=0.0),
                         "false_per_hour": false / hours}  # fmt: skip
    return out


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One clip of a seed, in a worker."""
    r = play(next(c for c in clips(job["seed"]) if c.name == job["clip"]), job["hz"], job["seed"])
    when, told, error = cells(r)[2:5]
    came = f"{told}, wanted {when}" + (f", {error}" if error else "")
    reason = f"{r.name}: {'; '.join((came,) * bool(r.expected) + r.false) or 'silent'}"
    return asdict(r) | {"reason": reason, "success": (r.in_time or not r.expected) and not r.false}


def cells(r: Row) -> tuple[str, ...]:
    """A row for readers: clip, seed, window, when warned (and as what, if another kind), error in s and in m, speed error, false alarms."""
    window = f"{r.earliest:.1f} to {r.latest:.1f}" if r.expected else "silence"
    told = "-" if not r.expected else "never" if r.warned is None else f"{r.warned:.2f}"
    told += f" as {r.told}" if r.told not in ("", r.expected) else ""
    error = "-" if not r.expected else "in time" if r.in_time else "" if r.error_s is None else f"{r.error_s:+.2f}"
    metres = f"{r.error_m:+.1f}" if r.error_m else ""
    speed = "-" if r.speed_error is None else f"{100 * r.speed_error:.1f} %"
    return r.name, str(r.seed), window, told, error, metres, speed, "\n".join(r.false)


def _stored(row: dict[str, Any]) -> Row:
    known = {f.name: row[f.name] for f in fields(Row)}
    return Row(**known | {"false": tuple(row["false"])})


def evaluate(config: WatchSuite) -> int:
    """Play what isn't done yet, print, write. Exit code 1 when a clip's warning never came; RuntimeError for a clip that failed."""
    console = Console(highlight=False, width=150)
    jobs = [
        {"seed": seed, "clip": c.name, "hz": config.hz} for seed in parse_seeds(config.seeds) for c in clips(seed) if config.only in c.name
    ]
    if not jobs:
        raise ValueError(f"no clip's name holds {config.only!r}")
    report = suite.run(Suite("watch", row, (), ()), jobs, config.workers, config.json)
    for failed in (r for r in report.rows if "error" in r):
        raise RuntimeError(f"{failed['job']['clip']}: {failed['error']}")
    rows = [_stored(r) for r in report.rows]
    table = Table("clip", "seed", "window, s", "warned, s", "error, s", "error, m", "speed error", "false alarms")
    for r in rows:
        table.add_row(*cells(r))
    console.print(table)
    totals = summary(rows)
    head = Table("warning", "clips", "in time", "never", "as another kind", "worst error, s", "worst error, m", "false alarms per hour")
    for kind, s in totals.items():
        counts = (f"{s[name]:.0f}" for name in ("clips", "in_time", "never", "other_kind"))
        head.add_row(kind, *counts, f"{s['worst_error_s']:.2f}", f"{s['worst_error_m']:.1f}", f"{s['false_per_hour']:.1f}")
    console.print(head)
    console.print(f"{sum(r.seconds for r in rows):.0f} s of clips; false alarms in all: {sum(len(r.false) for r in rows)}")
    if config.json is not None:
        replace(report, summary=totals).save(config.json)
        console.print(config.json)
    return 1 if any(r.expected and r.warned is None for r in rows) else 0
