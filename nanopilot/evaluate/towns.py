"""Routes through towns: does it arrive, and by which rules broken? CARLA leaderboard 1.0's driving score on SUMO's towns.

In: seeds, which town, who drives. Out: a suite Report with infractions by kind. Success is arriving without an infraction. The score
is route completion times the product of penalties (person 0.50, vehicle 0.60, static 0.65, red light 0.70, stop sign 0.80), completion
counted only as far as driven in lanes of our direction: leaderboard.carla.org, "Evaluation and metrics". Unlike there, whoever
touches anything has ended the route, and whoever misses a turn is shown a new way and goes on (counted as reroutes). Town seeds
3000-3099 (and 0-99) are for tuning, 1000-1099 are held out for final figures.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from nanopilot.evaluate import ablate, suite
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.planning.modes import Mode
from nanopilot.sim.sumo import TownConfig
from nanopilot.sim.sumo_net import TOWNS

Driver = Literal["pilot", "oracle"]
MIXED = "mixed"  # each seed its kind of town
SECONDS = 600.0  # until a drive is stopped as not arrived
RATES = ("success", "arrived", "red_light_run", "stop_sign_run", "pedestrian_touched", "crash_vehicle", "crash_object", "out_of_road")
MEANS = ("driving_score", "route_completion", "distance", "mean_speed", "realtime_factor", "speeding", "deceleration",
         "lateral_acceleration", "longitudinal_jerk", "lateral_jerk", "near_misses", "too_near")  # fmt: skip
COUNTS = {"red_lights_run": "red light", "stop_signs_run": "stop sign", "pedestrians_touched": "person", "vehicles_touched": "vehicle",
          "objects_touched": "static"}  # fmt: skip
ENDS = {"left_the_road": "out of road", "left_the_route": "off the route", "blocked": "blocked", "time_up": "the time is up"}  # no penalty


def evaluate(
    seeds: list[int], driver: Driver, town: str, traffic: float, truth: tuple[str, ...], workers: Workers, path: Path | None,
    without: tuple[str, ...] = (), ablations: bool = False, seconds: float = SECONDS,
    logs: Path | None = None, mode: Mode = "standard",
) -> Report:  # fmt: skip
    """Run the suite. Raises ValueError for a bad seed, density or town before anything starts."""
    if town not in (MIXED, *TOWNS) and not Path(town).is_file():
        raise ValueError(f"unknown town {town!r}: {MIXED}, {', '.join(TOWNS)}, or a file")
    for seed in seeds:
        TownConfig(seed, traffic=traffic)
    common: dict[str, Any] = {"driver": driver, "traffic": traffic, "truth": list(truth), "without": list(without), "seconds": seconds}
    common |= ({"logs": str(logs)} if logs else {}) | ({"mode": mode} if mode != "standard" else {})
    jobs = [{"seed": seed, "town": tuple(TOWNS)[seed % len(TOWNS)] if town == MIXED else town, **common} for seed in seeds]
    if ablations:
        return ablate.evaluate("town", row, (RATES, MEANS), jobs, workers, path)
    report = suite.run(Suite("town routes", row, RATES, MEANS), jobs, workers, path)
    report.summary.update(totals(report.rows))
    if path:
        report.save(path)
    return report


def totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How often each infraction, and each way to end without one, happened over all routes."""
    out = {"reroutes": sum(row.get("reroutes", 0) for row in rows)}
    out |= {name: sum(row.get("infractions", {}).get(kind, 0) for row in rows) for name, kind in COUNTS.items()}
    return out | {name: sum(str(row.get("reason", "")).startswith(words) for row in rows) for name, words in ENDS.items()}


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One seed, in a worker."""
    from nanopilot.evaluate.drive import DriveConfig, drive_keeping

    parts: dict[str, Any] = {name: tuple(job[name]) for name in ("truth", "without")} | {"mode": job.get("mode", "standard")}
    config = DriveConfig(
        job["seed"], traffic=job["traffic"], seconds=job["seconds"], oracle=job["driver"] == "oracle", town=job["town"], **parts
    )
    name = f"{job.get('ablation', job['driver'])}-{Path(job['town']).stem}-{job['seed']}"
    done = drive_keeping(config, job.get("logs", ""), name, lambda d: d.arrived and not d.infractions)
    out = asdict(done)
    hit = done.infractions
    flags = {"red_light_run": "red light", "stop_sign_run": "stop sign", "pedestrian_touched": "person", "crash_object": "static"}
    return {
        **out,
        **out.pop("comfort"),
        **{name: hit.get(kind, 0) > 0 for name, kind in flags.items()},
        "success": done.arrived and not hit,
    }
