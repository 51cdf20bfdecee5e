"""One drive in the simulator, judged by its truth: what `nanopilot drive` and every suite run.

In: a DriveConfig. Out: a DriveRow, and on the way an MCAP log. The judge's numbers come from SimTruth alone; what
the pilot believed counts for nothing. The log has every message of every step, the truth under /truth.
It draws nothing and prints nothing: `watch` is called after each step by who wants to.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from nanopilot import __version__
from nanopilot.bodies.simcar import SimCar, SimCarConfig
from nanopilot.evaluate import ablate, oracle
from nanopilot.evaluate.metrics import Comfort, comfort
from nanopilot.evaluate.near import near_misses
from nanopilot.geometry import model_camera, narrow_camera, rear_camera, side_camera
from nanopilot.log import Log, Step
from nanopilot.messages import Body, Observation
from nanopilot.perception.lamps import Roadside
from nanopilot.pilot import Pilot, PilotConfig, Record
from nanopilot.planning.modes import Mode, chosen
from nanopilot.sim.metadrive import WorldConfig
from nanopilot.sim.sumo import PENALTIES, TownConfig
from nanopilot.sim.truth import RobotTruth, SimTruth

KPH = 1 / 3.6  # m/s
SPEEDING = 1.05  # of the limit
EDGE_BEARING = 0.6  # rad of the camera's 0.79 to each side: tuning town grid 5
TOWN_TURN = (
    3.5,
    5.0,
)  # m/s, and m by which navigation may have it too far: at 5 m/s a corner of 6 m left us in the oncoming lane (grid 3003)
TRUTHS = ("lights", "objects", "path")
Watch = Callable[[Record, SimTruth | None], None]


@dataclass(frozen=True)
class DriveConfig:
    """Where and how long; two drives of one config are the same."""

    seed: int = 7
    map: str = "3"  # number of blocks, or a string of block letters
    traffic: float = 0.1  # MetaDrive's density: vehicles per 10 m of lane
    camera: Literal["cpu", "opengl"] = "cpu"
    seconds: float = 200.0  # then it is stopped as not arrived
    hz: float = 20.0
    speed_kph: float = 50.0  # the speed limit
    oracle: bool = False  # perception is the truth's, not the network's
    route: bool = True  # False: the pilot is told no route and follows its lane
    town: str = ""  # grid, spider, random or a file: a town of SUMO's in place of MetaDrive's map
    truth: tuple[str, ...] = ()  # ablation: what the truth says in place of perception, of TRUTHS
    without: tuple[str, ...] = ()  # ablation: parts the pilot must do without, of ablate.WITHOUT
    mode: Mode = "standard"  # how it drives
    repaired: bool = False  # MetaDrive's ramps laid along their road

    def __post_init__(self) -> None:
        for name, low, high in (("seconds", 0, 86_400), ("hz", 10, 100), ("speed_kph", 0, 130)):
            value = getattr(self, name)
            if not low <= value <= high or value == 0:
                raise ValueError(f"{name} must be from {low} to {high} and not 0, but is {value:g}")
        if unknown := set(self.truth) - set(TRUTHS):
            raise ValueError(f"truth can stand in for {', '.join(TRUTHS)}, not for {', '.join(sorted(unknown))}")
        if unknown := set(self.without) - set(ablate.WITHOUT):
            raise ValueError(f"one can do without {', '.join(ablate.WITHOUT)}, not without {', '.join(sorted(unknown))}")
        chosen(PilotConfig().planning, self.mode)
        body_config(self)  # the world checks the rest: seed, map, traffic


@dataclass
class DriveRow:
    """How a drive went. `reason` is why it ended; times are the simulator's, `stage_ms` this machine's."""

    arrived: bool
    reason: str
    route_completion: float
    crash_vehicle: bool
    crash_other: bool
    out_of_road: bool
    in_lane: bool  # every wheel in one lane, all the time
    distance: float
    seconds: float
    mean_speed: float
    realtime_factor: float
    faults: int
    comfort: Comfort
    interventions: dict[str, int] = field(default_factory=dict)  # safety's reason -> steps
    stage_ms: dict[str, tuple[float, float]] = field(default_factory=dict)  # stage -> (p50, p99)
    driving_score: float = 0.0  # of towns, as CARLA's leaderboard 1.0 has it: completion in our lanes times the penalties; 0 elsewhere
    infractions: dict[str, int] = field(default_factory=dict)  # of towns: kind -> how often
    speeding: float = 0.0  # of towns: share of the time above the road's limit by more than 5 %
    place: tuple[float, float] = (0.0, 0.0)  # where it ended: the rear axle, map frame
    log: str = ""  # of a failed drive, if it was to be kept
    reroutes: int = 0  # of towns: missed turns for which navigation found a new way
    near_misses: int = 0  # times too near to somebody, by responsibility-sensitive safety
    too_near: float = 0.0  # share of the time
    passable: bool = True  # False: continuous lines across every lane, nobody can arrive


def drive(
    config: DriveConfig, log_path: Path | None = None, watch: Watch | None = None, pilot_config: PilotConfig = PilotConfig()
) -> DriveRow:
    """Drive until the body stops or the time is up. Raises ValueError on a bad map or seed, LogError on a full disk."""
    records: list[Record] = []
    truths: list[SimTruth] = []
    with ExitStack() as stack:
        body = SimCar(body_config(config))
        stack.callback(body.close)
        log = None
        if log_path is not None:
            log = stack.enter_context(Log(log_path, {"version": __version__, "drive": json.dumps(asdict(config))}))
            write_body(log, body)
        perceive = (lambda frame, camera, route_line, path: oracle.percept(body.truth(), camera)) if config.oracle else None
        if config.town:
            pilot_config = in_town(pilot_config)
        if config.mode != "standard":  # that is what every configuration starts from
            pilot_config = replace(pilot_config, planning=chosen(pilot_config.planning, config.mode))
        pilot_config = ablate.without(pilot_config, config.without)
        pilot = Pilot(body if config.route else WithoutRoute(body), pilot_config, perceive)
        if "memory" in config.without:
            pilot.perceive = ablate.forgetful(pilot.perceive)
        if config.town and pilot.roadside is None:
            pilot.roadside = Roadside()  # one camera looks for lights and signs, too
        if config.truth:
            pilot.perceive = oracle.mixed(pilot.perceive, body.truth, config.truth)
        if config.oracle or "lights" in config.truth:
            pilot.roadside = None
        start = 0.0  # the clock starts with the first step: making the world is not driving
        for record in pilot.drive():
            start = start or perf_counter()
            truth = body.truth()
            if log is not None:
                write_record(log, record, truth)
            records.append(_without_pictures(record))
            if truth is not None:
                truths.append(truth)
            if watch is not None:
                watch(record, truth)
            if record.observation.t - records[0].observation.t >= config.seconds:
                pilot.stopped = "the time is up"
                break
        wall = perf_counter() - start if records else 0.0
        last = body.truth()
        if last is not None and (not truths or last.t > truths[-1].t):
            truths.append(last)
            if log is not None:
                log.write("/truth", last)
    return judge(records, truths, wall, pilot.stopped)


def drive_keeping(config: DriveConfig, logs: str, name: str, success: Callable[[DriveRow], bool]) -> DriveRow:
    """As `drive`; with a folder `logs` a drive that fails leaves NAME.mcap in it."""
    if not logs:
        return drive(config)
    path = Path(logs) / f"{name}.mcap"
    path.parent.mkdir(parents=True, exist_ok=True)
    row = drive(config, path)
    if success(row):
        path.unlink()
        return row
    return replace(row, log=str(path))


def in_town(config: PilotConfig) -> PilotConfig:
    """The pilot's configuration for towns: signs and lights count, corners are tight, and what the picture's side cuts off is believed to
    stay beside us."""
    conflicts = replace(config.planning.conflicts, edge_bearing=EDGE_BEARING)
    rules = replace(config.planning.rules, unsigned=True)
    turns = replace(config.planning.longitudinal, turn_speed=TOWN_TURN[0], turn_margin=TOWN_TURN[1])
    planning = replace(config.planning, conflicts=conflicts, rules=rules, longitudinal=turns)
    return replace(config, lamps=True, world=replace(config.world, rules_of_the_road=True), planning=planning)


def write_body(log: Log, body: Body) -> None:
    """What is said once: cameras and vehicle."""
    for camera in body.cameras:
        log.write(f"/camera/{camera.name}/model", camera, 0.0)
    log.write("/vehicle", body.vehicle, 0.0)


def write_record(log: Log, record: Record, truth: SimTruth | RobotTruth | None) -> None:
    """Every message of a step."""
    step = Step(record.observation.t, record.seconds, record.fault)
    answers = {"percept": record.percept, "world": record.world, "plan": record.plan, "command": record.command, "rss": record.rss,
               "guard": record.guard, "warnings": record.warnings}  # fmt: skip
    log.write_step(record.observation, step, **answers, safe=record.safe, truth=truth)


class WithoutRoute:
    """A body whose navigation device is off."""

    def __init__(self, body: Body) -> None:
        self.body, self.cameras, self.vehicle = body, body.cameras, body.vehicle
        self.act, self.close = body.act, body.close

    def observe(self) -> Observation:
        return replace(self.body.observe(), route=None)


def body_config(config: DriveConfig) -> SimCarConfig:
    """The simulator car's own configuration."""
    sides = () if "side cameras" in config.without else (side_camera("left"), side_camera("right"), rear_camera())
    far = () if "narrow camera" in config.without else (narrow_camera(),)
    if config.town:  # where lights are read through the longer lens, standing too
        return SimCarConfig(TownConfig(config.seed, config.town, config.traffic, step=1.0 / config.hz, speed_limit=config.speed_kph * KPH),
                            config.camera, cameras=(model_camera(), *far), sides=sides)  # fmt: skip
    world = WorldConfig(config.seed, config.map, config.traffic, step=1.0 / config.hz, speed_limit=config.speed_kph * KPH,
                        repaired=config.repaired)  # fmt: skip
    return SimCarConfig(world, config.camera, far=far, sides=sides)


def judge(records: list[Record], truths: list[SimTruth], wall: float, stopped: str) -> DriveRow:
    """The row of a drive; an empty one counts as a failure."""
    t = np.array([s.t for s in truths])
    xy = np.array([(s.x, s.y) for s in truths]).reshape(-1, 2)
    distance = float(np.hypot(*np.diff(xy, axis=0).T).sum()) if len(xy) > 1 else 0.0
    seconds = float(t[-1] - t[0]) if len(t) else 0.0
    done = float(truths[-1].route_completion) if truths else 0.0
    infractions = truths[-1].infractions if truths else ()
    in_lanes = 1.0 - min(truths[-1].wrong_way / distance, 1.0) if truths and distance else 1.0
    in_a_town = any(s.limit > 0 for s in truths)  # elsewhere nobody counts infractions
    score = done * in_lanes * float(np.prod([PENALTIES[name] for name in infractions])) if in_a_town else 0.0
    stages = {name: [r.seconds[name] for r in records if name in r.seconds] for name in (records[-1].seconds if records else ())}
    near, too_near = near_misses(truths)
    stages["frame to command"] = [sum(r.seconds.values()) for r in records]
    return DriveRow(
        arrived=any(s.arrived for s in truths),
        reason=stopped,
        route_completion=float(truths[-1].route_completion) if truths else 0.0,
        crash_vehicle=any(s.crash_vehicle for s in truths),
        crash_other=any(s.crash_object or s.crash_person for s in truths),
        out_of_road=any(s.out_of_road for s in truths),
        in_lane=bool(truths) and all(s.wheels_in_lane for s in truths),
        distance=distance,
        seconds=seconds,
        mean_speed=distance / seconds if seconds else 0.0,
        realtime_factor=seconds / wall if wall else 0.0,
        faults=sum(bool(r.fault) for r in records),
        comfort=comfort(t, np.array([s.speed for s in truths]), np.array([s.yaw for s in truths])),
        interventions=dict(Counter(reason for r in records for reason in r.safe.reasons)),
        stage_ms={name: (1e3 * float(np.median(v)), 1e3 * float(np.percentile(v, 99))) for name, v in stages.items() if v},
        driving_score=score,
        infractions=dict(Counter(infractions)),
        speeding=float(np.mean([s.limit > 0 and s.speed > SPEEDING * s.limit for s in truths])) if truths else 0.0,
        place=(float(xy[-1, 0]), float(xy[-1, 1])) if len(xy) else (0.0, 0.0),
        reroutes=truths[-1].reroutes if truths else 0,
        near_misses=near,
        too_near=too_near,
        passable=bool(truths) and truths[-1].passable,
    )


def _without_pictures(record: Record) -> Record:
    """A record that does not keep its frames in memory."""
    return replace(record, observation=replace(record.observation, frames=()), percept=None)
