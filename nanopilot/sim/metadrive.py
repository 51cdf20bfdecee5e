"""The simulated world: MetaDrive's maps, traffic and physics with its own rendering off.

In: a WorldConfig, then steering and throttle. Out: what a camera sees (StaticScene, Scene), what a judge knows (SimTruth),
what a navigation device says (Route). MetaDrive: Li et al. 2022, "MetaDrive: Composing Diverse Driving Scenarios"; its map
frame is right-handed (x forward, y left at the start), heading and steering are left positive, as ours are. It needs no
display, no GL and no assets: the only place where MetaDrive 0.4.3 asks for them without rendering is `try_pull_asset`.
MetaDrive keeps one engine per process; a second world needs the first closed. No sensor noise here: bodies add it.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.abc import MetaPathFinder
from itertools import pairwise
from typing import Any

import numpy as np

from nanopilot.geometry import project, wrap
from nanopilot.messages import Kind, Route
from nanopilot.sim import ramps
from nanopilot.sim.lanemap import LaneMap, along, from_metadrive
from nanopilot.sim.metadrive_map import markings, surfaces
from nanopilot.sim.routes import make_route
from nanopilot.sim.scene import Actor, Prop, Scene, StaticScene
from nanopilot.sim.scenery import scatter_props
from nanopilot.sim.truth import SimTruth, TrueActor

Array = np.ndarray

BLOCKS = {
    "S": "straight", "C": "curve", "r": "ramp onto the road", "R": "ramp off the road", "X": "intersection", "T": "T-intersection",
    "O": "roundabout", "f": "fork joining", "F": "fork leaving", "y": "fewer lanes", "Y": "more lanes", "P": "parking lot",
    "$": "toll gate", "B": "two-way road", "U": "intersection with U-turn",
}  # fmt: skip
MAX_BLOCKS = 20  # longer maps rarely fit without crossing themselves (guess)
MAX_SUBSTEP = 0.02  # s, MetaDrive's own physics step
TRAFFIC_PERIOD = 0.1  # s: MetaDrive's IDM counts in its own steps of 0.1 s, so its traffic decides that often whatever ours is
BRAKE_LIGHT = -0.1  # throttle below which a traffic car's brake lights are on (guess: IDM hovers just below zero)
STANDING = 0.1  # m/s
PATH_LENGTH = 60.0  # m of lane_path
TYRE_OUTSIDE = 0.815 + 0.25 / 2  # m from the car's middle: MetaDrive's DefaultVehicle
TOP_SPEED_KPH = 150.0  # MetaDrive cuts the engine at 80 km/h, which is inside our range


@dataclass(frozen=True)
class WorldConfig:
    """`map` is a number of random blocks ("3") or their letters ("SCCX"); raises ValueError saying what is allowed."""

    seed: int = 0
    map: str = "3"
    traffic: float = 0.1  # MetaDrive's density: 0.1 is a car every 100 m of lane
    accident_prob: float = 0.0  # of a broken-down car with cones or barriers, per block
    lane_num: int = 3
    lane_width: float = 3.5
    step: float = 0.05  # s
    speed_limit: float = 50 / 3.6  # m/s; MetaDrive has none of its own
    repaired: bool = False  # ramps laid along their road, not along map x: `sim.ramps`

    def __post_init__(self) -> None:
        number = self.map.isdigit() and 1 <= int(self.map) <= MAX_BLOCKS
        letters = bool(self.map) and len(self.map) <= MAX_BLOCKS and all(c in BLOCKS for c in self.map)
        if not (number or letters):
            known = ", ".join(f"{k} {v}" for k, v in BLOCKS.items())
            allowed = f"a number of blocks from 1 to {MAX_BLOCKS}, or up to {MAX_BLOCKS} letters of {known}"
            raise ValueError(f"unknown map '{self.map}': give {allowed}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed {self.seed} is out of range: 0 to {2**31 - 1}")
        if not 0.0 <= self.traffic <= 1.0 or not 0.0 <= self.accident_prob <= 1.0:
            raise ValueError(f"traffic {self.traffic} and accident_prob {self.accident_prob} must be from 0 to 1")
        if not 1 <= self.lane_num <= 5 or not 2.5 <= self.lane_width <= 5.0:
            raise ValueError(f"lane_num {self.lane_num} must be from 1 to 5 and lane_width {self.lane_width} from 2.5 to 5 m")
        if not 0.01 <= self.step <= 0.1:
            raise ValueError(f"step {self.step} s must be from 0.01 to 0.1 s")


class _NoTorch(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == "torch":
            raise ModuleNotFoundError("left out")


@contextmanager
def without_torch() -> Iterator[None]:
    """MetaDrive imports torch for its expert driver if it can, and does without otherwise: save its seconds and its memory."""
    finder = _NoTorch()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _NoPipes:
    """Panda3D's list of ways to draw where it has none, without libGL and libX11: MetaDrive's log line needs a name in it."""

    @staticmethod
    def getGlobalPtr() -> type:
        return _NoPipes

    @staticmethod
    def getPipeTypes() -> tuple[str, ...]:
        return ("none",)


def environment(config: WorldConfig, overrides: dict[str, Any] | None = None) -> Any:
    """MetaDrive's environment for a config; `overrides` are MetaDrive's own settings (the OpenGL camera needs some).

    Raises RuntimeError while another one is open in this process.
    """
    with without_torch():
        from metadrive.engine.base_engine import BaseEngine
        from metadrive.engine.core import engine_core
        from metadrive.engine.engine_utils import engine_initialized
        from metadrive.engine.logger import get_logger
        from metadrive.envs.metadrive_env import MetaDriveEnv
        from metadrive.manager.traffic_manager import PGTrafficManager
        from metadrive.obs.observation_base import DummyObservation

    if engine_initialized():
        raise RuntimeError("MetaDrive runs one world per process: close the other one first")
    get_logger().setLevel(logging.ERROR)
    BaseEngine.try_pull_asset = staticmethod(lambda: None)
    if not engine_core.GraphicsPipeSelection.getGlobalPtr().getPipeTypes():
        engine_core.GraphicsPipeSelection = _NoPipes
    hold = max(1, round(TRAFFIC_PERIOD / config.step))

    class Traffic(PGTrafficManager):
        """MetaDrive's traffic, deciding every TRAFFIC_PERIOD; between, pedals and wheel stay where they are."""

        def before_step(self) -> dict:
            if self.engine.episode_step % hold == 0:
                return super().before_step()
            for vehicle in self._traffic_vehicles:
                vehicle.before_step(None)
            return {}

    class World(MetaDriveEnv):
        def setup_engine(self) -> None:
            super().setup_engine()
            self.engine.update_manager("traffic_manager", Traffic())

    substeps = math.ceil(config.step / MAX_SUBSTEP - 1e-9)
    return World(
        {
            "start_seed": config.seed,
            "num_scenarios": 1,
            "map": int(config.map) if config.map.isdigit() else config.map,
            "map_config": {"lane_num": config.lane_num, "lane_width": config.lane_width, "exit_length": 50},
            "traffic_density": config.traffic,
            "accident_prob": config.accident_prob,
            "physics_world_step_size": config.step / substeps,
            "decision_repeat": substeps,
            "agent_observation": DummyObservation,  # no lidar for us
            "vehicle_config": {"show_navi_mark": False, "show_navigation_arrow": False},
            "log_level": logging.ERROR,
        }
        | (overrides or {})
    )


class MetaDriveWorld:
    """One drive at a time in MetaDrive. `env` is MetaDrive's environment, for the OpenGL camera."""

    def __init__(self, config: WorldConfig, overrides: dict[str, Any] | None = None) -> None:
        self.config = config
        self.env = environment(config, overrides)
        self.lane_map: LaneMap
        self.info: dict[str, Any] = {}
        self.reward = 0.0

    def reset(self) -> None:
        """Put everything at its start."""
        with ramps.laid_along_the_road(self.config.repaired):
            _, self.info = self.env.reset(seed=self.config.seed)
        vehicle = self.vehicle
        vehicle.config["max_speed_km_h"] = TOP_SPEED_KPH
        self.lane_map = from_metadrive(self.env.current_map.road_network)
        points = vehicle.navigation.checkpoints
        self.roads = tuple(pairwise(points))
        self.t, self.acceleration, self.reward = 0.0, 0.0, 0.0
        self._speed, self._steps, self._ids = self.speed, 0, {}
        self._static = self._build()
        continuous = [line.points for line in self._static.markings if line.dash is None]
        self._passable = ramps.passable(self.lane_map, self.roads, continuous)

    def step(self, steer: float, throttle: float) -> None:
        """Advance by one step: steer in [-1, 1] of the wheels' full lock, left positive; throttle in [-1, 1], negative brakes."""
        _, self.reward, _, _, self.info = self.env.step([steer, throttle])
        self._steps += 1
        self.t = self._steps * self.config.step
        self.acceleration = (self.speed - self._speed) / self.config.step
        self._speed = self.speed

    def close(self) -> None:
        self.env.close()

    @property
    def vehicle(self) -> Any:
        """MetaDrive's own car; after an accident it is still the same one."""
        return next(iter(self.env.agents_including_just_terminated.values()))

    @property
    def stopped(self) -> str:
        """Why MetaDrive ended the episode, '' while it goes on."""
        reasons = {
            "arrive_dest": "arrived",
            "crash_vehicle": "crashed into a vehicle",
            "crash_object": "crashed into an object",
            "crash_human": "hit a person",
            "crash_building": "crashed into a building",
        }
        if reason := next((text for key, text in reasons.items() if self.info.get(key)), ""):
            return reason
        if not self.info.get("out_of_road"):
            return ""
        v = self.vehicle
        where = {
            "on the kerb": v.crash_sidewalk, "on a continuous yellow line": v.on_yellow_continuous_line,
            "on a continuous white line": v.on_white_continuous_line,
        }  # fmt: skip
        return "out of road: " + next((text for text, yes in where.items() if yes), "off every lane")

    @property
    def pose(self) -> tuple[float, float, float]:
        """The rear axle's x, y and yaw."""
        v = self.vehicle
        x, y = v.position
        yaw = float(v.heading_theta)
        return float(x) - v.REAR_WHEELBASE * math.cos(yaw), float(y) - v.REAR_WHEELBASE * math.sin(yaw), yaw

    @property
    def speed(self) -> float:
        """Along the car, m/s: what wheel speed sensors on the rear axle see."""
        v = self.vehicle
        return float(np.dot(v.velocity, v.heading))

    @property
    def yaw_rate(self) -> float:
        return float(self.vehicle.body.getAngularVelocity()[2])

    def route(self) -> Route:
        """MetaDrive's checkpoints as a navigation device gives them, from the start; exact, a body's receiver isn't."""
        return make_route(self.lane_map, self.roads, self.pose[:2], self.config.speed_limit)

    def static_scene(self) -> StaticScene:
        """Ground, paint and things that stay, with trees and houses beside the road."""
        return self._static

    def _build(self) -> StaticScene:
        roads = StaticScene(surfaces(self.env.current_map), markings(self.env.current_map))
        return replace(roads, props=self._obstacles() + scatter_props(roads, self.config.seed))

    def scene(self) -> Scene:
        """Everybody else, now."""
        return Scene(self._static, tuple(self._actor(o) for o in self._movers()), t=self.t)

    def truth(self) -> SimTruth:
        """All a judge needs of this instant."""
        v = self.vehicle
        x, y, yaw = self.pose
        lane, s, _ = self.lane_map.locate(x, y, yaw, self.roads)
        path = self.lane_map.path(lane, s, PATH_LENGTH, along(self.roads)).centre
        heading = math.atan2(*(path[2] - path[0])[::-1])
        half = lane.width / 2
        forward, left = np.array([math.cos(yaw), math.sin(yaw)]), np.array([-math.sin(yaw), math.cos(yaw)])
        axles = (0.0, v.FRONT_WHEELBASE + v.REAR_WHEELBASE)
        wheels = [np.array([x, y]) + a * forward + b * left for a in axles for b in (-TYRE_OUTSIDE, TYRE_OUTSIDE)]
        sample = int(np.argmin(np.abs(lane.arc - s)))
        return SimTruth(
            t=self.t,
            x=x,
            y=y,
            yaw=yaw,
            speed=self.speed,
            lane_offset=project(path, *(float(c) for c in v.position))[1],
            lane_width=lane.width,
            lane_heading_error=wrap(yaw - heading),
            lane_index=self._lanes_beside(lane, sample, "left"),
            lane_count=1 + self._lanes_beside(lane, sample, "left") + self._lanes_beside(lane, sample, "right"),
            wheels_in_lane=all(abs(project(path, *w)[1]) <= half for w in wheels),
            lane_path=path,
            actors=tuple(self._true_actor(o) for o in self._movers()),
            route_completion=float(v.navigation.route_completion) if v.navigation else float(self.info.get("route_completion", 0.0)),
            crash_vehicle=bool(self.info.get("crash_vehicle")),
            crash_object=bool(self.info.get("crash_object") or self.info.get("crash_building")),
            crash_person=bool(self.info.get("crash_human")),
            out_of_road=bool(self.info.get("out_of_road")),
            arrived=bool(self.info.get("arrive_dest")),
            passable=self._passable,
        )

    def _lanes_beside(self, lane, sample: int, side: str) -> int:
        other = getattr(lane, f"{side}_sample")[sample]
        neighbour = getattr(lane, side)
        if neighbour is None or other < 0:
            return 0
        return 1 + self._lanes_beside(self.lane_map.lanes[neighbour], other, side)

    def _movers(self) -> list[Any]:
        from metadrive.component.traffic_participants.base_traffic_participant import BaseTrafficParticipant
        from metadrive.component.vehicle.base_vehicle import BaseVehicle

        own = self.vehicle
        return [o for o in self.env.engine.get_objects().values() if isinstance(o, (BaseVehicle, BaseTrafficParticipant)) and o is not own]

    def _id(self, thing: Any) -> int:
        return self._ids.setdefault(thing.name, len(self._ids))  # MetaDrive's names are random, their order isn't

    def _actor(self, o: Any) -> Actor:
        speed = float(np.hypot(*o.velocity))
        braking = getattr(o, "throttle_brake", 0.0) < BRAKE_LIGHT or (_kind(o) == Kind.VEHICLE and speed < STANDING)
        x, y = (float(c) for c in o.position)
        return Actor(self._id(o), _shape(o), x, y, float(o.heading_theta), _size(o), speed, braking)

    def _true_actor(self, o: Any) -> TrueActor:
        x, y = (float(c) for c in o.position)
        return TrueActor(self._id(o), _kind(o).value, x, y, float(o.heading_theta), float(np.hypot(*o.velocity)), *_size(o))

    def _obstacles(self) -> tuple[Prop, ...]:
        from metadrive.component.static_object.traffic_object import TrafficObject

        kinds = {"TrafficCone": "cone", "TrafficBarrier": "barrier", "TrafficWarning": "sign"}
        things = [(kinds[type(o).__name__], o) for o in self.env.engine.get_objects().values() if isinstance(o, TrafficObject)]
        return tuple(Prop(kind, *map(float, o.position), float(o.heading_theta), _size(o)) for kind, o in things)


def _kind(o: Any) -> Kind:
    return {"Pedestrian": Kind.PERSON, "Cyclist": Kind.CYCLIST}.get(type(o).__name__, Kind.VEHICLE)


def _shape(o: Any) -> str:
    if _kind(o) != Kind.VEHICLE:
        return _kind(o).value
    height = float(o.HEIGHT)  # MetaDrive's five cars: 1.19, 1.37, 1.7, 1.85 and 2.8 m
    return "car" if height < 1.75 else "suv" if height < 2.2 else "truck"


def _size(o: Any) -> tuple[float, float, float]:
    if hasattr(o, "RADIUS"):  # cones and pedestrians are cylinders, and call their radius length
        return 2 * o.RADIUS, 2 * o.RADIUS, float(o.HEIGHT)
    return float(o.LENGTH), float(o.WIDTH), float(o.HEIGHT)
