"""Standard manoeuvres in closed loop, camera only: the guardian alone behind a scripted driver, or the pilot engaged. Every run a row.

In: which groups, a seed, road friction. Out: a Report with `summary.passed_fraction` of the valid cells, JSON lines, an HTML page.
A run whose car or target left the procedure's tolerances before anybody intervened is invalid, and never counts as passed; a run
in which a stage of the pilot failed, or which was braked or steered before its procedure began, has failed. A warning of the
lead-in counts for nothing. A run that did not pass leaves its log, for the viewer. These are our runs after the procedures on our
own track: no rating.
`procedures` has the cells, `track` the car and the road, `assessor` the page.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, inf, radians, sin
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
from rich.table import Table

from nanopilot import __version__
from nanopilot.evaluate import suite
from nanopilot.evaluate.drive import write_body, write_record
from nanopilot.evaluate.procedures import GROUPS, KPH, SCORES, Case, cases
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.evaluate.track import HZ, LEAD_IN, Instant, TrackBody
from nanopilot.log import Log
from nanopilot.messages import GuardStage
from nanopilot.perception import Network
from nanopilot.pilot import Pilot, PilotConfig, Record

STAGES = tuple(GuardStage)
SPEED_OVER, SPEED_UNDER = 1.0 * KPH, 0.1 * KPH  # m/s, Euro NCAP: +1.0, -0; a tenth for the controller
PILOT_SPEED = 2.0 * KPH  # m/s that a pilot's own speed may differ at the start, guess
ASIDE = 0.05  # m, Euro NCAP
YAW_RATE = radians(1.0)  # rad/s, Euro NCAP
TARGET_SPEED = 0.5 * KPH  # m/s, by differences of its place
DEPARTING = 0.05  # m/s of lateral speed
R79_ACCELERATION, R79_JERK, R79_TIME = 3.0, 5.0, 0.5  # m/s², m/s³ as its mean over so many s
WARNED_BEFORE = 0.8  # s, R152: warning before emergency braking
MOVES = 2.0  # m/s, of a car that has moved off
TIME_GAP = 0.8  # s, ISO 15622
EPSILON = 1e-6  # s
SHOWN = 2  # of the samples one is kept for the page
PICTURE = (384, 192)  # px


@dataclass(frozen=True)
class Step:
    """What was decided at one Instant."""

    stage: int
    brakes: bool
    steers: bool
    fault: str


@lru_cache(maxsize=1)
def network() -> Network:
    """One a process."""
    return Network(None)


def evaluate(
    only: str, seed: int, engaged: bool, frictions: tuple[float, ...], coarse: bool, workers: Workers, path: Path | None
) -> Report:
    """Run the groups named in `only` (comma between; '' is all), or cells whose name holds it. Raises ValueError when none fits."""
    chosen = select(only, coarse)
    if engaged:
        chosen = [c for c in chosen if c.group != "lane"]
    folder = str(path.with_suffix(".runs")) if path else ""
    jobs = [{"seed": seed, "case": c.name, "engaged": engaged, "friction": f, "folder": folder} for f in frictions for c in chosen]
    report = suite.run(Suite("protocols", row, (), ()), jobs, workers, path)
    report = replace(report, summary=summary(report.rows))
    if path:
        report.save(path)
    return report


def parse_frictions(text: str) -> tuple[float, ...]:
    """'1.0,0.6' to numbers. Raises ValueError."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.05 <= f <= 1.5 for f in found):
        raise ValueError(f"friction must be numbers from 0.05 to 1.5 with commas between, as 1.0,0.6, not {text!r}")
    return found


def select(only: str, coarse: bool = False) -> list[Case]:
    """The cells asked for; `coarse` leaves out every second one of a row, but never its last."""
    wanted = [w for w in only.split(",") if w]
    if unknown := [w for w in wanted if not any(w == c.group or w in c.name for c in cases())]:
        raise ValueError(f"no group or cell is called {unknown[0]!r}; groups: {', '.join(GROUPS)}")
    found = [c for c in cases() if not wanted or any(w == c.group or (w not in GROUPS and w in c.name) for w in wanted)]
    if not coarse:
        return found
    rows: dict[tuple[str, str, str], list[Case]] = {}
    for c in found:
        rows.setdefault((c.group, c.scenario, c.row), []).append(c)
    return [c for row in rows.values() for k, c in enumerate(row) if (len(row) - 1 - k) % 2 == 0]


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One cell, in a worker."""
    case = next(c for c in cases() if c.name == job["case"])
    if job["engaged"] and not case.trial.engaged:
        case = replace(case, trial=replace(case.trial, engaged=True))
    body = TrackBody(case.trial, job["seed"], look(case), job["friction"])
    if not job["folder"]:
        return judge(case, body, drive(body, case, network().perceive)[0])
    file = file_of(Path(job["folder"]), job)
    file.parent.mkdir(parents=True, exist_ok=True)
    with Log(file.with_suffix(".mcap"), {"version": __version__, "protocol": json.dumps(job)}) as log:
        steps, shots = drive(body, case, network().perceive, log)
    out = judge(case, body, steps)
    keep(file, body.trace, steps, shots)
    if out["status"] in ("passed", "not required"):
        file.with_suffix(".mcap").unlink()
    return out


def look(case: Case) -> int:
    """Which of the seed's looks: another for each cell, the same for both frictions."""
    return crc32(case.name.encode())


def drive(body: TrackBody, case: Case, perceive, log: Log | None = None) -> tuple[list[Step], dict[str, np.ndarray]]:
    """Until the body stops: what was decided, and the pictures at the warning and at the closest moment. All of it into `log`."""
    if log is not None:
        write_body(log, body)
    pilot = Pilot(body, PilotConfig(engaged=case.trial.engaged), perceive)
    steps: list[Step] = []
    shots: dict[str, np.ndarray] = {}
    nearest = inf
    for record in pilot.drive():
        if log is not None:
            write_record(log, record, None)
        steps.append(_step(record))
        if steps[-1].stage >= 1 and body.warned == inf and body.trace[-1].t >= case.begins - EPSILON:
            body.warned = body.trace[-1].t  # one of the lead-in is none of this procedure's: nobody reacts to it
        if (steps[-1].stage >= 1 or steps[-1].steers) and "warning" not in shots:
            shots["warning"] = record.observation.frames[0].image
        now = body.trace[-1]
        distance = now.gap if now.gap < inf else now.line
        if distance < nearest:
            nearest, shots["closest"] = distance, record.observation.frames[0].image
    body.trace[len(steps) + 1 :] = []
    return steps, shots


def _step(record: Record) -> Step:
    guard = record.guard
    stage = 0 if guard is None else STAGES.index(guard.stage)
    return Step(stage, record.safe.brakes, record.safe.steers, record.fault)


def judge(case: Case, body: TrackBody, steps: list[Step]) -> dict[str, Any]:
    """The row: measured values, whether the run was valid, whether it passed, and why not."""
    trace, trial = body.trace, case.trial
    at = {name: _first(trace, steps, test) for name, test in (("braked", lambda s: s.brakes), ("steered", lambda s: s.steers))}
    warnings = [i.t for i, s in zip(trace, steps, strict=False) if s.stage >= 1]
    at["warned"] = next((t for t in warnings if t >= case.begins - EPSILON), None)
    before = [
        f"{n} {case.begins - t:.2f} s before the procedure began" for n, t in at.items() if t is not None and t < case.begins - EPSILON
    ]
    too_early = [] if trial.engaged else before
    contact = trace[-1] if trace[-1].gap <= 0.0 else None
    impact = max(contact.closing, 0.0) if contact else 0.0
    faults = sorted({s.fault for s in steps if s.fault})
    measured = {
        "warned": at["warned"], "warned_in_lead_in": bool(warnings) and warnings[0] < case.begins - EPSILON, "braked": at["braked"],
        "steered": at["steered"], "onset": onset(trace), "ttc": _ttc(trace, at["warned"]),
        "impact": impact, "contact": contact is not None, "least_gap": min(i.gap for i in trace), "least_line": min(i.line for i in trace),
        "least_edge": min(i.edge for i in trace), "most_braking": -min(i.acceleration for i in trace), "end_speed": trace[-1].speed,
        **r79(trace, steps, trial.engaged),
    }  # fmt: skip
    invalid = tolerances(case, body, at)
    why = (["; ".join(faults)] if faults else []) + too_early
    if not invalid:
        why += verdict(case, trace, measured)
    scored = _score(case, impact, contact is not None) if case.criterion == "score" else None
    status = "invalid" if invalid and not (faults or too_early) else "failed" if why else "passed"
    if status != "invalid" and not case.avoidable and not faults:
        status = "not required"
    reason = f"{case.name}: {status} {'; '.join(invalid if status == 'invalid' else why)}"
    rounded = {k: round(v, 3) if isinstance(v, float) and v < 1e6 else (None if isinstance(v, float) else v) for k, v in measured.items()}
    return {
        "group": case.group, "scenario": case.scenario, "row": case.row, "column": case.column, "criterion": case.criterion,
        "limit": round(case.limit, 3), "status": status, "why": why, "invalid": invalid, "score": scored, **rounded, "reason": reason,
    }  # fmt: skip


def tolerances(case: Case, body: TrackBody, at: dict[str, float | None]) -> list[str]:
    """What was out of the procedure's tolerance from its beginning to the first intervention, or a driver's reaction to a warning."""
    trial, found = case.trial, []
    told = at["warned"] if trial.driver.braking is not None else None
    end = min(t for t in (at["braked"], at["steered"], told, body.trace[-1].t) if t is not None)
    part = [i for i in body.trace if case.begins - EPSILON <= i.t <= end]
    if trial.engaged:
        start = next((i for i in body.trace if i.t >= case.begins - EPSILON), body.trace[-1])
        if abs(start.speed - trial.speed) > PILOT_SPEED:
            found.append(f"began at {start.speed / KPH:.1f} km/h")
        part = [start]
    else:
        worst = max((i.speed - trial.speed for i in part), key=abs, default=0.0)
        if not -SPEED_UNDER <= worst <= SPEED_OVER:
            found.append(f"speed off by {worst / KPH:+.1f} km/h")
    if trial.driver.heading is None and not trial.engaged:
        if any(abs(i.y - trial.y) > ASIDE for i in part):
            found.append(f"{max(abs(i.y - trial.y) for i in part):.2f} m beside the path")
        if any(abs(i.speed * i.curvature) > YAW_RATE for i in part):
            found.append("yaw rate above 1 °/s")
    if trial.driver.heading is not None and end >= trial.driver.hands_off:
        wanted = trial.speed * sin(abs(trial.driver.heading(trial.seconds)))
        got = max((abs(i.speed * sin(i.yaw)) for i in part), default=0.0)
        if abs(got - wanted) > DEPARTING:
            found.append(f"departed at {got:.2f} m/s in place of {wanted:.2f}")
    for i, j in zip(body.trace, body.trace[1:], strict=False):
        for a, b in zip(trial.actors(i.t), trial.actors(j.t), strict=True):
            real = np.hypot(b.x - a.x, b.y - a.y) / (j.t - i.t)
            if (
                min(abs(real - a.speed), abs(real - b.speed), abs(real - (a.speed + b.speed) / 2)) > TARGET_SPEED
                and a.speed > 0
                and b.speed > 0
            ):
                found.append(f"target {a.id} at {real / KPH:.1f} km/h in place of {a.speed / KPH:.1f}")
                return found
    return found


def verdict(case: Case, trace: list[Instant], m: dict[str, Any]) -> list[str]:
    """Why a valid run did not pass; empty when it did."""
    why = []
    hit = f"contact at {m['impact'] / KPH:.0f} km/h" if m["contact"] else ""
    if case.criterion in ("contact", "warning", "quiet", "drive") and hit:
        why.append(hit)
    if case.criterion == "impact" and m["contact"] and (case.limit == 0.0 or m["impact"] > case.limit):
        why.append(hit)
    if (
        case.criterion == "impact"
        and case.scenario.startswith("car")
        and m["braked"] is not None
        and m["braked"] - m["warned"] < WARNED_BEFORE - 1e-6
    ):
        why.append(f"warned only {m['braked'] - m['warned']:.2f} s before braking")
    if case.criterion == "score" and (score := _score(case, m["impact"], m["contact"])) < 1.0:
        why.append(f"{hit}, score {score:g}")
    if case.criterion == "warning" and (m["ttc"] is None or m["ttc"] <= case.limit):
        why.append("no warning" if m["ttc"] is None else f"warned {m['ttc']:.2f} s before")
    if case.criterion == "quiet" and m["most_braking"] > case.limit:
        why.append(f"braked with {m['most_braking']:.1f} m/s² for nothing")
    if case.criterion == "edge" and m["least_edge"] < case.limit:
        why.append(f"{-m['least_edge']:.2f} m over the road's edge")
    if case.criterion == "line" and m["least_line"] < case.limit:
        why.append(f"{-m['least_line']:.2f} m over the line")
    if case.criterion == "drive":
        why += iso_15622(trace)
        if case.trial.speed == 0.0 and trace[-1].speed < MOVES:
            why.append("did not move off")
    if m["most_lateral_acceleration"] > R79_ACCELERATION or m["most_lateral_jerk"] > R79_JERK:
        why.append(f"R79: {m['most_lateral_acceleration']:.1f} m/s² and {m['most_lateral_jerk']:.1f} m/s³ across")
    return why


def iso_15622(trace: list[Instant]) -> list[str]:
    """Deceleration, acceleration and negative jerk (as means over 1 s, 1 s and 1 s) by speed; the time gap at the end."""
    a, v = np.array([i.acceleration for i in trace]), np.array([i.speed for i in trace])
    n, why = round(HZ), []
    mean = np.convolve(a, np.ones(n) / n, "valid")
    share = np.clip((v[n - 1 :] - 5.0) / 15.0, 0.0, 1.0)
    if (mean < -(5.0 - 1.5 * share) - 0.1).any():
        why.append(f"braked with {-mean.min():.1f} m/s²")
    if (mean > 4.0 - 2.0 * share + 0.1).any():
        why.append(f"sped up with {mean.max():.1f} m/s²")
    jerk = (a[n:] - a[:-n]) / 1.0
    if (jerk < -(5.0 - 2.5 * np.clip((v[n:] - 5.0) / 15.0, 0.0, 1.0)) - 0.1).any():
        why.append(f"jerk {jerk.min():.1f} m/s³")
    last = trace[-1]
    if last.speed > 2.0 and 0 <= last.along < TIME_GAP * last.speed:
        why.append(f"{last.along / last.speed:.1f} s behind at the end")
    return why


def r79(trace: list[Instant], steps: list[Step], engaged: bool) -> dict[str, float]:
    """Most lateral acceleration and its mean jerk over R79_TIME while we steer; 0 where we don't."""
    n = round(R79_TIME * HZ)
    ours = np.array([engaged or s.steers for s in steps])
    across = np.array([i.speed**2 * i.curvature for i in trace[: len(steps)]])
    if not ours.any():
        return {"most_lateral_acceleration": 0.0, "most_lateral_jerk": 0.0}
    jerk = np.abs(across[n:] - across[:-n]) / R79_TIME if len(across) > n else np.zeros(1)
    during = ours[n:] if len(across) > n else np.ones(1, bool)
    return {"most_lateral_acceleration": float(np.abs(across[ours]).max()), "most_lateral_jerk": float(jerk[during].max(initial=0.0))}


def onset(trace: list[Instant]) -> float | None:
    """Euro NCAP's: where deceleration first passed 1 m/s², traced back to where it crossed 0.3. Exact values need no filter."""
    first = next((k for k, i in enumerate(trace) if i.acceleration < -1.0), None)
    if first is None:
        return None
    while first > 0 and trace[first - 1].acceleration < -0.3:
        first -= 1
    return trace[first].t


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of friction 1.0: cells by what became of them, per group, and R79 over all runs. A worker's error counts as failed."""
    out: dict[str, Any] = {}
    for name in ("", *GROUPS):
        for friction in sorted({r["job"]["friction"] for r in rows}, reverse=True):
            mine = [r for r in rows if r["job"]["friction"] == friction and (not name or r["job"]["case"].startswith(name + "/"))]
            if mine:
                key = (name or "all") + ("" if friction == 1.0 else f", friction {friction:g}")
                out[key] = _counts(mine)
    whole = out["all"] if "all" in out else next(iter(out.values()))
    ours = [r for r in rows if r.get("most_lateral_acceleration")]
    lateral = [r for r in ours if r["most_lateral_acceleration"] <= R79_ACCELERATION and r["most_lateral_jerk"] <= R79_JERK]
    return {"passed_fraction": whole["passed_fraction"], "invalid": whole["invalid"], "n": whole["n"], "groups": out,
            "r79": {"passed": len(lateral), "n": len(ours)}, "errors": sum("error" in r for r in rows)}  # fmt: skip


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    of = {s: sum(r.get("status") == s for r in rows) for s in ("passed", "invalid", "not required")}
    valid = len(rows) - of["invalid"] - of["not required"]
    return {"passed_fraction": of["passed"] / valid if valid else 0.0, "passed": of["passed"], "valid": valid, "invalid": of["invalid"],
            "not_required": of["not required"], "n": len(rows)}  # fmt: skip


def table(report: Report) -> Table:
    """Groups for people."""
    s = report.summary
    title = f"protocols: {s['passed_fraction']:.1%} of the valid cells passed, {s['invalid']} invalid, {s['n']} run. Our runs, no rating."
    out = Table("group", "passed", "valid", "invalid", "not required", title=title, title_justify="left")
    for name, g in s["groups"].items():
        out.add_row(name, str(g["passed"]), str(g["valid"]), str(g["invalid"]), str(g["not_required"]))
    out.add_row("r79, all runs in which we steer", str(s["r79"]["passed"]), str(s["r79"]["n"]), "0", "0")
    return out


def keep(file: Path, trace: list[Instant], steps: list[Step], shots: dict[str, np.ndarray]) -> None:
    """What the page shows of a run, as a file of its own: series, and pictures as JPEG."""
    kept = range(0, len(steps), SHOWN)
    series = {
        "t": [round(trace[k].t - LEAD_IN, 2) for k in kept], "speed": [round(trace[k].speed / KPH, 1) for k in kept],
        "gap": [round(min(trace[k].gap, 99.0), 2) for k in kept], "line": [round(trace[k].line, 2) for k in kept],
        "acceleration": [round(trace[k].acceleration, 2) for k in kept], "stage": [steps[k].stage for k in kept],
    }  # fmt: skip
    pictures = {name: base64.b64encode(_jpeg(image)).decode() for name, image in shots.items()}
    file.write_text(json.dumps({"series": series, "pictures": pictures}))


def file_of(folder: Path, job: dict[str, Any]) -> Path:
    """Where a run's file is."""
    text = f"{job['case']}-{job['friction']:g}"
    return folder / ("".join(c if c.isalnum() else "-" for c in text) + ".json")


def _jpeg(image: np.ndarray) -> bytes:
    small = cv2.resize(image, PICTURE, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 70))[1].tobytes()


def _first(trace: list[Instant], steps: list[Step], test) -> float | None:
    return next((i.t for i, s in zip(trace, steps, strict=False) if test(s)), None)


def _ttc(trace: list[Instant], t: float | None) -> float | None:
    """Time to collision at `t`, by distance and speed along the road; None when not closing or not warned."""
    now = next((i for i in trace if i.t == t), None)
    if now is None or now.other < 0:
        return None
    speed = now.closing if now.closing > 0.1 else now.speed * cos(now.yaw)
    return max(now.along, 0.0) / speed


def _score(case: Case, impact: float, contact: bool) -> float:
    """Euro NCAP's share of a cell's points."""
    if not contact:
        return 1.0
    return next((s for s, band in zip(SCORES[len(case.bands)], case.bands, strict=False) if impact < band), 0.0)
