"""Routes: does it arrive? Our pilot and MetaDrive's own drivers on the same maps by the same rules.

In: seeds, a driver, a map and a traffic density. Out: a suite Report. Success is arriving, as MetaDrive judges it; a
crash, leaving the road or touching a solid line ends a drive, as MetaDrive has it by default. `passable` is the share of maps that can be
finished at all (`sim.ramps`): MetaDrive lays some ramps' lines across every lane; `repaired` drives maps without that fault.
The peers see the truth (lidar, lane, map); ours sees pictures. `lane_follower` is our own pilot that stays in its
lane and knows no route: what lane keeping alone is worth; `oracle` is ours with the truth in place of the network.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from nanopilot.evaluate import ablate, suite
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.planning.modes import Mode
from nanopilot.sim.metadrive import WorldConfig

Driver = Literal["pilot", "oracle", "lane_follower", "idm", "expert"]
SECONDS = 200.0  # until a drive is stopped as not arrived
RATES = ("success", "passable", "crash_vehicle", "out_of_road")
MEANS = ("route_completion", "mean_speed", "realtime_factor", "deceleration", "lateral_acceleration", "longitudinal_jerk", "lateral_jerk",
         "near_misses")  # fmt: skip


def evaluate(
    seeds: list[int], driver: Driver, map: str, traffic: float, camera: str, workers: Workers, path: Path | None, seconds: float = SECONDS,
    truth: tuple[str, ...] = (), without: tuple[str, ...] = (), ablations: bool = False,
    logs: Path | None = None, mode: Mode = "standard", repaired: bool = False,
) -> Report:  # fmt: skip
    """Run the suite. `path` is the JSON to write. Raises ValueError on a bad map, seed or density before anything starts."""
    for seed in seeds:
        WorldConfig(seed, map, traffic)
    common: dict[str, Any] = {"driver": driver, "map": map, "traffic": traffic, "camera": camera, "seconds": seconds}
    common |= {name: list(parts) for name, parts in (("truth", truth), ("without", without)) if parts}
    common |= ({"logs": str(logs)} if logs else {}) | ({"mode": mode} if mode != "standard" else {})
    common |= {"repaired": True} if repaired else {}
    jobs = [{"seed": seed, **common} for seed in seeds]
    if ablations:
        return ablate.evaluate("metadrive", row, (RATES, MEANS), jobs, workers, path)
    return suite.run(Suite("routes", row, RATES, MEANS), jobs, workers, path)


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One seed, in a worker."""
    if job["driver"] in ("idm", "expert"):
        from nanopilot.sim.peers import drive_peer

        result = drive_peer(job["driver"], job["seed"], job["map"], job["traffic"], repaired=job.get("repaired", False))
        return {**result, "success": result["arrived"]}
    from nanopilot.evaluate.drive import DriveConfig, drive_keeping

    driver = job["driver"]
    where = DriveConfig(job["seed"], job["map"], job["traffic"], job["camera"], job["seconds"])
    parts: dict[str, Any] = {name: tuple(job.get(name, ())) for name in ("truth", "without")} | {"mode": job.get("mode", "standard")}
    parts["repaired"] = job.get("repaired", False)
    config = replace(where, oracle=driver == "oracle", route=driver != "lane_follower", **parts)
    done = drive_keeping(config, job.get("logs", ""), f"{job.get('ablation', driver)}-{job['map']}-{job['seed']}", lambda d: d.arrived)
    out = asdict(done)
    return {**out, **out.pop("comfort"), "success": done.arrived}
