"""Ablations: what is each part of the pilot worth? The same routes with the truth in place of a part of perception, or without a part.

In: seeds and where. Out: a suite Report with a row for every ablation and seed, and `summary.ablations`: one line each, to be compared with
the first, the pilot as it is. The truth goes no farther than `oracle.mixed`, which gives ordinary Percepts: no stage of the pilot has a
type for it. "Without prediction" everybody is planned around as if he stood where he is. It says which part to work on next, not why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from nanopilot import planning
from nanopilot.evaluate import suite
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.messages import Plan, VehicleModel, World
from nanopilot.pilot import PilotConfig

WITHOUT = ("narrow camera", "side cameras", "memory", "prediction")
TABLE: dict[str, dict[str, Any]] = {
    "as it is": {},
    "true lights and signs": {"truth": ("lights",)},
    "true road users": {"truth": ("objects",)},
    "true path and lanes": {"truth": ("path",)},
    "all of it true": {"driver": "oracle"},
    "without the narrow camera": {"without": ("narrow camera",)},
    "without side cameras": {"without": ("side cameras",)},
    "one camera only": {"without": ("narrow camera", "side cameras")},
    "without memory": {"without": ("memory",)},
    "without prediction": {"without": ("prediction",)},
}
IN_TOWNS_ALONE = ("true lights and signs", "without the narrow camera", "one camera only")  # MetaDrive's maps have no rules to read
ROBOT: dict[str, dict[str, Any]] = {  # the humanoid, where each line but the first three makes it harder
    "as it is": {},
    "true classes": {"oracle": True},
    "ideal IMU": {"ideal_imu": True},
    "legs alone": {"by_floor": False},
    "colours off by 20 %": {"jitter": 0.2},
    "pushes of 0.5 m/s": {"pushes": 0.5},
    "camera dead for 2 s": {"dead_camera": True},
}
COLUMNS = ("success", "arrived", "touched", "fell", "seconds", "route_completion", "driving_score", "mean_speed", "near_misses")


def evaluate(world: str, one: Callable[[dict[str, Any]], dict[str, Any]], names: tuple[tuple[str, ...], tuple[str, ...]],
             jobs: list[dict[str, Any]], workers: Workers, path: Path | None) -> Report:  # fmt: skip
    """Every ablation of the jobs, whose rows `one` makes; `names` are the columns to summarise as rates and as means."""
    table = ROBOT if world.startswith("robot") else TABLE
    table = {name: change for name, change in table.items() if world != "metadrive" or name not in IN_TOWNS_ALONE}
    all_jobs = [{**job, **change, "ablation": name} for name, change in table.items() for job in jobs]
    done = suite.run(Suite(f"ablations {world}", one, *names), [_plain(job) for job in all_jobs], workers, path)
    parts = {name: [r for r in done.rows if r["job"]["ablation"] == name] for name in table}
    about = Suite("", one, *names)
    report = replace(done, summary=done.summary | {"ablations": {name: suite.summarise(about, rows) for name, rows in parts.items()}})
    if path:
        report.save(path)
    return report


def _plain(job: dict[str, Any]) -> dict[str, Any]:
    """As JSON will give it back, so that a stopped run finds its rows."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in job.items()}


def table(report: Report) -> Table:
    """One line an ablation; rates and means over its routes."""
    lines = report.summary["ablations"]
    columns = [c for c in COLUMNS if c in next(iter(lines.values()))]
    out = Table(title=f"{report.suite}, n = {next(iter(lines.values()))['n']} each", title_justify="left")
    for heading in ("", *columns, "errors"):
        out.add_column(heading, justify="left" if not heading else "right")
    for name, summary in lines.items():
        out.add_row(name, *(f"{summary[c]:.3f}" for c in columns), str(summary["errors"]))
    return out


# --------------------------------------------------------------------------- the pilot without a part


class StandingOthers:
    """The planning stage in a world where nobody moves."""

    initial = staticmethod(planning.initial)

    @staticmethod
    def step(state: planning.State, world: World, vehicle: VehicleModel, config: planning.Config) -> tuple[planning.State, Plan]:
        still = tuple(replace(t, vx=0.0, vy=0.0, acceleration=0.0, yaw_rate=0.0) for t in world.tracks)
        return planning.step(state, replace(world, tracks=still), vehicle, config)


def without(config: PilotConfig, parts: tuple[str, ...]) -> PilotConfig:
    """The pilot's configuration without its prediction, if that is among the parts."""
    return replace(config, stages=replace(config.stages, planning=StandingOthers)) if "prediction" in parts else config


def forgetful(perceive: Callable) -> Callable:
    """A network that is never told where the path was."""
    return lambda frame, camera, route_line, path: perceive(frame, camera, route_line, None)
