"""A minute in lane: 60 s on curved roads of several lanes, every wheel in the lane it chose.

In: seeds. Out: a suite Report. Success asks all of: 60 s driven, wheels never over a line of the lane it is in, the
lane never changed, no crash, not out of the road, and a mean speed of at least SLOWEST (a car that stands is in its
lane as well). The roads carry no traffic by default, so nothing gives a reason to change lanes.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nanopilot.evaluate import suite
from nanopilot.evaluate.suite import Report, Suite

MAP = "CCCCCCCCCC"  # curves of random radius and direction, two or more lanes each way
SECONDS = 60.0
SLOWEST = 5.0  # m/s; guess: below it, it isn't driving
RATES = ("success", "in_lane", "crash_vehicle", "out_of_road")
MEANS = ("realtime_factor", "mean_speed", "lateral_acceleration", "lateral_jerk", "command_p50_ms", "command_p99_ms")


def evaluate(seeds: list[int], camera: str, traffic: float, hz: float, workers: int, path: Path | None) -> Report:
    """Run the suite. With more than one worker the real-time factor says little."""
    common = {"map": MAP, "traffic": traffic, "camera": camera, "seconds": SECONDS, "hz": hz}
    return suite.run(Suite("minute", row, RATES, MEANS), [{"seed": seed, **common} for seed in seeds], workers, path)


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One seed, in a worker; logged as a real drive is, so that the real-time factor has everything in it."""
    from tempfile import TemporaryDirectory

    from nanopilot.evaluate.drive import DriveConfig, drive

    config = DriveConfig(job["seed"], job["map"], job["traffic"], job["camera"], job["seconds"], job["hz"])
    with TemporaryDirectory() as folder:
        done = drive(config, Path(folder) / "drive.mcap")
    p50, p99 = done.stage_ms.get("frame to command", (0.0, 0.0))
    whole = done.seconds >= SECONDS - 1.0 / job["hz"]
    success = whole and done.in_lane and not (done.crash_vehicle or done.crash_other or done.out_of_road) and done.mean_speed >= SLOWEST
    out = asdict(done)
    return {**out, **out.pop("comfort"), "success": success, "command_p50_ms": p50, "command_p99_ms": p99}
