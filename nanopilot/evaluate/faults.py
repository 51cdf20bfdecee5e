"""Faults while driving: each fault at each moment, in closed loop, judged by the simulator's truth.

In: a seed. Out: a suite Report with a row for every fault and moment, and `summary.passed_fraction`. Passed asks all of: the
driver asked to take over within the fault's bound (where it has none: driven through), no contact, no wheel out of its lane
after the moment, and every step recorded before the log ended there to be read. Nobody takes over: the car must end well by
itself. `none` is the same drive without a fault; a moment at which it fails says nothing about faults, and is counted as failed.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from nanopilot import log as logs
from nanopilot.bodies.simcar import SimCar
from nanopilot.evaluate import suite
from nanopilot.evaluate.drive import DriveConfig, body_config, write_body, write_record
from nanopilot.evaluate.inject import FAULTS, Fault, FaultyBody, FaultyEyes, Killed
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.geometry import child_from_parent
from nanopilot.log import Log, LogError
from nanopilot.messages import Alert, BodyStopped, Observation
from nanopilot.pilot import Pilot
from nanopilot.sim.truth import SimTruth

MOVING = 5.0  # m/s at the moment
WAIT = 60.0  # s until the moment must have come
AFTER = 8.0  # s driven after it: a stop from 50 km/h at 4 m/s² takes 4
STANDING = 0.1  # m/s
STOOD = 1.0  # s of standing that end a drive after the moment
HALF_WAY = 0.45  # of the route of a map that is one crossing: in its first half
BEND = 0.15  # rad within 15 m: a curve
CHUNK_TIME = 2.0  # s of steps that the log's last, unfinished chunk may hold


@dataclass(frozen=True)
class Moment:
    """Where a fault strikes: a map, its traffic, and what must be so."""

    name: str
    map: str
    traffic: float = 0.0

    def come(self, truth: SimTruth, seen: Observation) -> bool:
        """Whether it is now, by the truth."""
        if truth.speed < MOVING:
            return False
        if self.name == "lead":
            return any(self._ahead(truth, a.x, a.y) for a in truth.actors)
        path = child_from_parent(truth.lane_path, truth.x, truth.y, truth.yaw)
        step = np.diff(path, axis=0)
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(*step.T))])
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        bend = abs(float(np.interp(15.0, arc[:-1], heading) - np.interp(0.0, arc[:-1], heading)))
        if self.name == "curve":
            return bend > BEND
        if self.name == "junction":
            return truth.route_completion > HALF_WAY
        return bend < 0.01 and seen.t > 6.0

    @staticmethod
    def _ahead(truth: SimTruth, x: float, y: float) -> bool:
        along, across = child_from_parent(np.array([x, y]), truth.x, truth.y, truth.yaw)
        return 8.0 < along < 35.0 and abs(across) < 1.5


MOMENTS = (Moment("straight", "SSS"), Moment("curve", "CCC"), Moment("lead", "SSS", 0.3), Moment("junction", "X"))


def evaluate(seed: int, only: str, moments: str, workers: Workers, path: Path | None) -> Report:
    """Run the faults whose name holds `only`, at the moments named (comma between; '' is all). Raises ValueError when none fits."""
    wanted = [m.name for m in MOMENTS if not moments or m.name in moments.split(",")]
    jobs = [{"seed": seed, "fault": f.name, "moment": m} for f in FAULTS if only in f.name for m in wanted]
    if not jobs:
        known = f"faults: {', '.join(f.name for f in FAULTS)}; moments: {', '.join(m.name for m in MOMENTS)}"
        raise ValueError(f"no fault holds '{only}' or no moment is '{moments}'. {known}")
    report = suite.run(Suite("faults", row, ("passed",), ()), jobs, workers, path)
    report = replace(report, summary=report.summary | {"passed_fraction": report.summary["passed"]})
    if path:
        report.save(path)
    return report


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One fault at one moment, in a worker."""
    fault = next(f for f in FAULTS if f.name == job["fault"])
    moment = next(m for m in MOMENTS if m.name == job["moment"])
    config = DriveConfig(job["seed"], moment.map, moment.traffic)
    with TemporaryDirectory() as folder:
        return drive(config, fault, moment, Path(folder) / "drive.mcap")


def drive(config: DriveConfig, fault: Fault, moment: Moment, log_path: Path) -> dict[str, Any]:
    """Drive until the moment, AFTER s more or until it stands; the row."""
    car = SimCar(body_config(config))
    body = FaultyBody(car, fault, moment.come, config.seed)
    pilot = Pilot(body, perceive=FaultyEyes(body))
    log: Log | None = Log(log_path)
    write_body(log, body)
    written: list[float] = []
    told = ""
    try:
        for record in pilot.drive():
            if log is not None:
                if fault.name == "log disk full" and body.active and not told:
                    _fill_disk(log_path)
                    told = "filled"
                try:
                    write_record(log, record, body.truths[-1])
                    written.append(record.observation.t)
                except LogError as error:
                    log, told = None, str(error)
            if _over(body):
                break
    except Killed:
        try:
            while not _over(body):
                body.elapse(0.05)
        except BodyStopped as stop:
            pilot.stopped = str(stop)
    finally:
        if log is not None:
            try:
                log.close()
            except LogError as error:
                told = str(error)
        _free_disk()
        last = car.truth()
        car.close()
    if last is not None and last.t > body.truths[-1].t:
        body.truths.append(last)
    kept = sum(topic == "/step" for _, topic, _ in logs.read(log_path))
    return judge(body, written, kept, told, pilot.stopped)


def judge(body: FaultyBody, written: list[float], kept: int, told: str, stopped: str) -> dict[str, Any]:
    """The row: what was asked of it, what happened, and every reason why it did not pass."""
    fault, since = body.fault, body.since
    if since is None:
        return {"passed": False, "why": ["the moment never came"], "reason": stopped or "the moment never came"}
    after = [s for s in body.truths if s.t >= since]
    alerts = [t for t, safe in body.sent if safe.alert != Alert.NONE]
    detected = next((t - since for t in alerts if t >= since), None)
    contact = any(s.crash_vehicle or s.crash_object or s.crash_person for s in after)
    lane_left = any(s.out_of_road or not s.wheels_in_lane for s in after)
    why = []
    if any(t < since for t in alerts):
        why.append("alerted before the fault")
    if fault.bound is not None and (detected is None or detected > fault.bound + 1e-6):
        why.append("not detected" if detected is None else f"detected after {detected:.2f} s")
    if contact:
        why.append("contact")
    if lane_left:
        why.append("lane left")
    full = fault.name == "log disk full"
    lost = len(written) - kept
    if full and (not told.endswith("s") or "stopped" not in told or (kept < len(written) and written[-1] - written[kept] > CHUNK_TIME)):
        why.append(f"log: {told or 'did not notice'}, {lost} steps lost")
    if not full and lost:
        why.append(f"{lost} steps lost from the log")
    distance = sum(hypot(b.x - a.x, b.y - a.y) for a, b in pairwise(after))
    return {
        "passed": not why, "why": why, "detected": detected, "bound": fault.bound, "since": since, "speed": after[0].speed,
        "contact": contact, "lane_left": lane_left, "steps_lost": lost, "stands": after[-1].speed < STANDING, "distance": distance,
        "most_offset": max(abs(s.lane_offset) for s in after), "mode": body.sent[-1][1].mode.value if body.sent else "",
        "reason": f"{fault.name}: " + ("passed" if not why else ", ".join(why)) + (f"; {stopped}" if stopped else ""),
    }  # fmt: skip


def table(report: Report) -> Table:
    """Fault by moment: s until the driver was asked, or why it failed."""
    moments = [m.name for m in MOMENTS if any(r["job"]["moment"] == m.name for r in report.rows)]
    out = Table(title=f"faults, {report.summary['passed_fraction']:.0%} of {report.summary['n']} passed", title_justify="left")
    for heading in ("fault", "bound", *moments):
        out.add_column(heading)
    cells = {(r["job"]["fault"], r["job"]["moment"]): _cell(r) for r in report.rows}
    for fault in FAULTS:
        if any(name == fault.name for name, _ in cells):
            bound = "drive on" if fault.bound is None else f"{fault.bound:g} s"
            out.add_row(fault.name, bound, *(cells.get((fault.name, m), "") for m in moments))
    return out


def _cell(row: dict[str, Any]) -> str:
    if not row.get("passed"):
        return f"[red]{row.get('error') or ', '.join(row['why'])}"
    return "[green]" + ("driven on" if row["detected"] is None else f"{row['detected']:.2f} s")


def _over(body: FaultyBody) -> bool:
    """Whether enough was driven."""
    now = body.truths[-1].t
    if body.since is None:
        return now > WAIT
    stood = [s for s in body.truths if s.t > now - STOOD]
    return now - body.since > AFTER or (now - body.since > STOOD and all(s.speed < STANDING for s in stood))


def _fill_disk(path: Path) -> None:
    """From now on this process may not make a file longer than the log is: the kernel's own error, as a full disk's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, resource.RLIM_INFINITY))


def _free_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
