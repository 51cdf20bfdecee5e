"""MetaDrive's own drivers, for comparison: the IDM rule and the PPO expert, with MetaDrive's defaults.

In: the driver's name, a seed and a map. Out: a dict of how the drive ended. Both see the truth (map and lidar), decide
ten times a second, and are judged by MetaDrive's own rules: a continuous line touched is out of road. The expert is the
network in MetaDrive's wheel (`examples/ppo_expert`), computed by MetaDrive's numpy code, its actions sampled as there.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from nanopilot.sim import ramps
from nanopilot.sim.lanemap import from_metadrive
from nanopilot.sim.metadrive import without_torch
from nanopilot.sim.metadrive_map import markings

PERIOD = 0.1  # s, MetaDrive's step


def drive_peer(
    name: Literal["idm", "expert"], seed: int, map: str = "3", traffic: float = 0.1, max_steps: int = 2000, repaired: bool = False
) -> dict[str, Any]:
    """Drive one episode.

    Keys: arrived, crash_vehicle, crash_object, crash_person, out_of_road, time_out, route_completion, mean_speed (m/s), steps,
    seconds, why (which line was touched), where (x, y at the end) and passable (`sim.ramps`).
    """
    with without_torch():
        from metadrive.engine.base_engine import BaseEngine
        from metadrive.engine.logger import get_logger
        from metadrive.envs.metadrive_env import MetaDriveEnv
        from metadrive.policy.idm_policy import IDMPolicy

    if name not in ("idm", "expert"):
        raise ValueError(f"unknown driver '{name}': idm or expert")
    get_logger().setLevel(logging.ERROR)
    BaseEngine.try_pull_asset = staticmethod(lambda: None)
    config: dict[str, Any] = {
        "start_seed": seed,
        "num_scenarios": 1,
        "map": int(map) if map.isdigit() else map,
        "traffic_density": traffic,
        "log_level": logging.ERROR,
    }
    env = MetaDriveEnv(config | ({"agent_policy": IDMPolicy} if name == "idm" else {}))
    try:
        with ramps.laid_along_the_road(repaired):
            env.reset(seed=seed)
        continuous = [line.points for line in markings(env.current_map) if line.dash is None]
        roads = tuple(pairwise(env.agent.navigation.checkpoints))
        passable = ramps.passable(from_metadrive(env.current_map.road_network), roads, continuous)
        np.random.seed(seed)  # noqa: NPY002  the expert samples from numpy's global generator
        speeds, info, done = [], {}, False
        while not done and len(speeds) < max_steps:
            _, _, done, _, info = env.step([0.0, 0.0] if name == "idm" else _expert(env.agent))
            speeds.append(float(info["velocity"]))
        car = next(iter(env.agents_including_just_terminated.values()))
        flags = ("crash_sidewalk", "on_yellow_continuous_line", "on_white_continuous_line")
        return {
            "arrived": bool(info["arrive_dest"]),
            "crash_vehicle": bool(info["crash_vehicle"]),
            "crash_object": bool(info["crash_object"] or info["crash_building"]),
            "crash_person": bool(info["crash_human"]),
            "out_of_road": bool(info["out_of_road"]),
            "time_out": not done,
            "route_completion": float(info["route_completion"]),
            "mean_speed": float(np.mean(speeds)),
            "steps": len(speeds),
            "seconds": len(speeds) * PERIOD,
            "why": next((f for f in flags if getattr(car, f)), "off every lane") if info["out_of_road"] else "",
            "passable": passable,
            "where": tuple(float(c) for c in car.position),
        }
    finally:
        env.close()


def _expert(car: Any) -> Any:
    from metadrive.examples.ppo_expert.numpy_expert import expert  # the torch one is the same network

    return expert(car)
