"""Drives for people to watch: a live line while driving, a summary after, a log and a film to keep.

In: how to drive and where to put things. Out: an exit code: 0 when every drive arrived, else 1. It judges nothing
itself: `drive` does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nanopilot import video
from nanopilot.evaluate.drive import KPH, DriveConfig, DriveRow
from nanopilot.evaluate.drive import drive as drive_once
from nanopilot.pilot import Record
from nanopilot.sim.truth import SimTruth

REFRESH = 5  # live lines a second
EVERY = 10.0  # s of drive between lines where nobody looks at a terminal


def drive(configs: list[DriveConfig], repeat: int, out: Path, film: bool, begin: Callable[[Path], None] | None = None) -> int:
    """Drive every config `repeat` times and leave logs and films in the folder `out`; `begin` hears of each log before it is written."""
    console = Console(highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    arrived = []
    for config in configs:
        for k in range(repeat):
            name = f"drive-{Path(config.town).name or config.map}-{config.seed}" + (f"-{k + 1}" if repeat > 1 else "")
            if begin is not None:
                begin(out / f"{name}.mcap")
            arrived.append(_one(config, out / f"{name}.mcap", film, console))
    if len(arrived) > 1:
        console.print(f"arrived {sum(arrived)} of {len(arrived)}")
    return 0 if all(arrived) else 1


def _one(config: DriveConfig, log: Path, film: bool, console: Console) -> bool:
    where = f"town {config.town}" if config.town else f"map {config.map}"
    console.print(f"seed {config.seed}, {where}, traffic {config.traffic:g}, {config.hz:g} Hz: starting the simulator ...")
    line = _LiveLine(console)
    try:
        row = drive_once(config, log, line)
    except KeyboardInterrupt:
        console.print(f"interrupted; the log so far is {log}")
        raise
    finally:
        line.stop()
    console.print(summary(row))
    console.print(f"log   {log}")
    if film and row.stage_ms:  # a simulator that never started leaves nothing to show
        path = log.with_suffix(".mp4")
        with console.status("drawing the film ..."):
            video.render(log, path)
        console.print(f"film  {path}")
    return row.arrived


class _LiveLine:
    """One line that follows the drive; on something that is no terminal, a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console, self.distance, self.printed = console, 0.0, -EVERY
        self.last_t: float | None = None
        self.live = Live(console=console, refresh_per_second=REFRESH, transient=True) if console.is_terminal else None

    def __call__(self, record: Record, truth: SimTruth | None) -> None:
        t = record.observation.t
        if self.last_t is not None:
            self.distance += record.observation.car.speed * (t - self.last_t)
        self.last_t = t
        if self.live is not None:
            if not self.live.is_started:
                self.live.start()
            self.live.update(Text(sentence(record, self.distance), no_wrap=True, overflow="ellipsis"))
        elif t - self.printed >= EVERY:
            self.console.print(sentence(record, self.distance), soft_wrap=True)
            self.printed = t

    def stop(self) -> None:
        if self.live is not None and self.live.is_started:
            self.live.stop()


def sentence(record: Record, distance: float) -> str:
    """Speed, distance, what it does, what it sees."""
    car, plan, world = record.observation.car, record.plan, record.world
    parts = [f"{record.observation.t:5.1f} s", f"{car.speed / KPH:3.0f} km/h", f"{distance:4.0f} m"]
    parts.append(plan.reason if plan else record.fault or "no plan")
    if world is not None:
        others = [t for t in world.tracks if t.unseen < 0.5]
        near = min((t.x for t in others if t.x > 0 and abs(t.y) < world.lane_width / 2), default=None)
        sees = f"sees {len(others)} others" + (f", one ahead at {near:.0f} m" if near is not None else "")
        parts.append(sees if world.blind < 0.5 else f"blind for {world.blind:.1f} s")
    if record.safe.reasons:
        parts.append("safety: " + ", ".join(record.safe.reasons))
    return " | ".join(parts)


def summary(row: DriveRow) -> Table:
    """The drive in a dozen lines."""
    out = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    c = row.comfort
    lines = {
        "arrived" if row.arrived else "did not arrive": row.reason,
        "route": f"{row.route_completion:.0%} done, {row.distance:.0f} m in {row.seconds:.1f} s, mean {row.mean_speed / KPH:.1f} km/h",
        "lane": "every wheel in its lane, all the time" if row.in_lane else "wheels crossed a line (lane changes and junctions count)",
        "safety": ", ".join(f"{k} ({n} steps)" for k, n in sorted(row.interventions.items())) or "never had to change a command",
        "comfort": f"at most {c.acceleration:.1f} m/s² accelerating, {c.deceleration:.1f} braking, {c.lateral_acceleration:.1f} sideways; "
        f"jerk {c.longitudinal_jerk:.1f} along, {c.lateral_jerk:.1f} m/s³ sideways",
        "time": f"{row.realtime_factor:.2f} times real time",
        "ms p50/p99": ", ".join(f"{name} {p50:.1f}/{p99:.1f}" for name, (p50, p99) in row.stage_ms.items()),
    }
    if row.driving_score or row.infractions:
        said = ", ".join(f"{kind} {n}" for kind, n in row.infractions.items()) or "no infraction"
        lines["driving score"] = f"{row.driving_score:.2f} (CARLA's), {said}; above the limit {row.speeding:.0%} of the time"
    if row.faults:
        lines["faults"] = f"{row.faults} steps without an answer; see /step in the log"
    for name, text in lines.items():
        out.add_row(Text(name, style="bold green" if name == "arrived" else "bold red" if name == "did not arrive" else "bold"), text)
    return out
