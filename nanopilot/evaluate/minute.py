"""A minute in lane: 60 s on curved roads of several lanes, every wheel in the lane it chose.

In: seeds. Out: a suite Report. Success asks all of: 60 s driven, wheels never over a line of the lane it is in, the
lane never changed, no crash, not out of the road, and a mean speed of at least SLOWEST (a car that stands is in its
lane as well). The roads carry no traffic by default, so nothing gives a reason to change lanes.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nanopilot.evaluate import suite
from nanopilot.evaluate.drive import DriveConfig, DriveRow, drive
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.sim.metadrive import WorldConfig

MAP = "CCCCCCCC"  # eight curves of random radius and direction, 3 lanes each way, at least 900 m: 60 s at 50 km/h are 833
SECONDS = 60.0
SLOWEST = 5.0  # m/s; guess: below it, it isn't driving
RATES = ("success", "in_lane", "crash_vehicle", "out_of_road")
MEANS = ("realtime_factor", "mean_speed", "lateral_acceleration", "lateral_jerk", "command_p50_ms", "command_p99_ms")


def evaluate(seeds: list[int], camera: str, traffic: float, hz: float, oracle: bool, workers: Workers, path: Path | None) -> Report:
    """Run the suite. With more than one worker the real-time factor says little. Raises ValueError as `routes` does."""
    for seed in seeds:
        WorldConfig(seed, MAP, traffic, step=1 / hz)
    common = {"map": MAP, "traffic": traffic, "camera": camera, "seconds": SECONDS, "hz": hz, "oracle": oracle}
    return suite.run(Suite("minute", row, RATES, MEANS), [{"seed": seed, **common} for seed in seeds], workers, path)


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One seed, in a worker; logged as a real drive is, so that the real-time factor has everything in it."""
    config = DriveConfig(job["seed"], job["map"], job["traffic"], job["camera"], job["seconds"], job["hz"], oracle=job["oracle"])
    with TemporaryDirectory() as folder:
        done = drive(config, Path(folder) / "drive.mcap")
    p50, p99 = done.stage_ms.get("frame to command", (0.0, 0.0))
    out = asdict(done)
    return {**out, **out.pop("comfort"), "success": passed(done, job["hz"]), "command_p50_ms": p50, "command_p99_ms": p99}


def passed(done: DriveRow, hz: float) -> bool:
    """Whether a drive was a minute in lane."""
    whole = done.seconds >= SECONDS - 1.0 / hz
    harmless = not (done.crash_vehicle or done.crash_other or done.out_of_road)
    return whole and harmless and done.in_lane and done.mean_speed >= SLOWEST
