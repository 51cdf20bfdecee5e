"""The pilot in the humanoid's body: one task in one room, judged by truth, and suites of them.

In: a RobotConfig. Out: a row; on the way an MCAP log and a film. The loop is `pilot.Pilot`, the same that drives the car: here are
only the humanoid's stages. The judge's numbers come from RobotTruth alone. Rooms 0-999 are for tuning, 1000-1099 are held out, training
uses rooms from 100 000 on. `oracle` gives the true classes of each pixel in place of the network's, `ideal_imu` an IMU without error;
without `by_floor` no picture corrects where it thinks it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from nanopilot import __version__
from nanopilot.assist import nobody
from nanopilot.bodies.humanoid import Humanoid, HumanoidConfig
from nanopilot.bodies.senses import SensesConfig
from nanopilot.control import walker as control
from nanopilot.evaluate import ablate, suite
from nanopilot.evaluate.drive import write_body, write_record
from nanopilot.evaluate.suite import Report, Suite, Workers
from nanopilot.log import Log
from nanopilot.messages import Behaviour, CameraModel, Frame, Percept, Room, RoomClass, WalkerState
from nanopilot.perception import plausible
from nanopilot.perception import rooms as eyes
from nanopilot.pilot import Pilot, PilotConfig, Record, Stages
from nanopilot.planning import fetch
from nanopilot.planning import walker as planning
from nanopilot.planning.errand import Task
from nanopilot.safety import keep_out
from nanopilot.safety import walker as safety
from nanopilot.sim import humanoid, rooms
from nanopilot.sim.truth import RobotTruth
from nanopilot.world import walker as world

STAGES = Stages(world, nobody, nobody, planning, control, safety, keep_out)
SECONDS = {"walk": 90.0, "fetch": 150.0, "explore": 120.0, "follow": 60.0}  # then a task counts as not done
MOVING = 0.2  # m/s from which a picture that stays the same is a frozen camera
REACHED = 0.5  # m between the true place and the true goal
FOLLOWED = (0.8, 3.2)  # m from the person, most of the time
FOLLOWED_SHARE = 0.8  # of the time after the first 8 s
FOUND = 8.0  # s to find the person
ON = 0.03  # m that the box's middle may be off the height at which it stands on the table
MOVED = 0.3  # m from where it was: it was lifted
MAPPED = 0.9  # share of the room's free floor that must be known
WRONG = 0.05  # share of it that may be called occupied
RATES = ("success", "fell", "touched")
MEANS = ("seconds", "distance", "goal_error", "drift", "drift_of_legs", "realtime_factor")
Watch = Callable[[Record, Humanoid], np.ndarray | None]  # a picture is kept in the log, as /outside


@dataclass(frozen=True)
class RobotConfig:
    """What to do and where; two runs of one config are the same."""

    task: Task = "walk"
    seed: int = 0
    oracle: bool = False
    ideal_imu: bool = False
    pushes: float = 0.0  # m/s, every 5 s
    dead_camera: bool = False  # black from 5 s to 7 s
    jitter: float = 0.0  # share by which the pictures' colours are off
    by_floor: bool = True  # False: no picture corrects dead reckoning
    seconds: float | None = None
    box: str = ""  # colours of what is fetched; "": of the first box in the room, and the empty table's
    table: str = ""
    goal: tuple[float, float] | None = None  # of a walk, m; None: the room's


def body_config(c: RobotConfig) -> HumanoidConfig:
    """The room and the body of a task."""
    if c.task == "fetch":
        room = rooms.RoomConfig(c.seed, (-2.0, 4.0), (-2.8, 2.8), things=3, people=0, fetch=True)
    elif c.task == "explore":
        room = rooms.RoomConfig(c.seed, (-2.0, 4.5), (-2.8, 2.8), things=5, people=0)
    elif c.task == "follow":
        room = rooms.RoomConfig(c.seed, things=5, people=1)
    else:
        room = rooms.RoomConfig(c.seed)
    dead = (5.0, 7.0) if c.dead_camera else (0.0, 0.0)
    senses = SensesConfig().ideal() if c.ideal_imu else SensesConfig()
    return HumanoidConfig(
        room, senses, seconds=c.seconds or SECONDS[c.task], pushes=c.pushes, dead_camera=dead, jitter=c.jitter, hands=c.task == "fetch",
        goal=c.goal, box=c.box,
    )  # fmt: skip


def run(c: RobotConfig, log_path: Path | None = None, watch: Watch | None = None) -> dict[str, Any]:
    """One task until it is done, the robot falls, or the time is up. Raises ValueError where the extra is missing."""
    body = Humanoid(body_config(c))
    perceive = _oracle(body) if c.oracle else eyes.RoomEyes().perceive
    if c.task == "fetch":
        stages = replace(STAGES, planning=fetch)
        plans: object = fetch.Config(c.box or body.room.boxes[0].called, c.table or body.room.tables[1].called)
    else:
        stages, plans = STAGES, planning.Config(task=c.task)
    config = PilotConfig(
        stages=stages, plausible=plausible.Config(moving=MOVING), world=world.Config(by_floor=c.by_floor), planning=plans,
        control=control.Config(), safety=safety.Config(), rss=keep_out.Config(),
    )  # fmt: skip
    records: list[Record] = []
    truths: list[RobotTruth] = []
    with ExitStack() as stack:
        stack.enter_context(closing(body))
        log = None
        if log_path is not None:
            log = stack.enter_context(Log(log_path, {"version": __version__, "robot": json.dumps(asdict(c))}))
            write_body(log, body)
        pilot, start, arrived = Pilot(body, config, perceive), 0.0, 0
        for record in pilot.drive():
            start = start or perf_counter()
            truth = body.truth()
            if log is not None:
                write_record(log, record, truth)
            truths.append(truth)
            records.append(record)
            picture = None if watch is None else watch(record, body)
            if log is not None and picture is not None:
                log.write("/outside", Frame(record.observation.t, "outside", picture))
            arrived = arrived + 1 if record.plan is not None and record.plan.behaviour == Behaviour.ARRIVED else 0
            if arrived >= 10:  # a second of standing
                pilot.stopped = "arrived"
                break
        wall = perf_counter() - start
        truths.append(body.truth())
        room = body.room
    return judge(c, records, truths, room, pilot.stopped, wall)


def judge(c: RobotConfig, records: list[Record], truths: list[RobotTruth], room: rooms.Room, stopped: str, wall: float) -> dict[str, Any]:
    """The row: success is what the task asks, without a fall and without touching anything."""
    last = truths[-1]
    xy = np.array([(t.x, t.y) for t in truths])
    seen = [r.world.room for r in records if r.world is not None and r.world.room is not None]
    end = next((t for t in reversed(truths[:-1])), last)
    drift = float(np.hypot(end.x - seen[-1].x, end.y - seen[-1].y)) if seen else 0.0
    felt = next((r.observation.walker for r in reversed(records) if r.observation.walker is not None), None)
    out: dict[str, Any] = {"goal_error": 0.0}
    stages = records[-1].seconds if records else ()
    if c.task == "walk":
        out["goal_error"] = float(np.hypot(last.x - last.goal[0], last.y - last.goal[1]))
        done = stopped == "arrived" and out["goal_error"] < REACHED
    elif c.task == "fetch":
        out |= placed(c, last, room)
        done = stopped == "arrived" and out["placed"]
    elif c.task == "follow":
        away = np.array([np.hypot(t.x - t.people[0, 0], t.y - t.people[0, 1]) for t in truths if t.t > FOUND])
        out["in_distance"] = float(((away > FOLLOWED[0]) & (away < FOLLOWED[1])).mean()) if len(away) else 0.0
        done = out["in_distance"] >= FOLLOWED_SHARE
    else:
        known, wrong = mapped(seen[-1], room) if seen else (0.0, 1.0)
        out |= {"known": known, "wrong": wrong}
        done = known >= MAPPED and wrong <= WRONG
    return {
        "success": bool(done and not last.fallen and not last.touched),
        "reason": stopped,
        "fell": last.fallen,
        "touched": bool(last.touched),
        "contacts": list(last.touched),
        "seconds": last.t,
        "distance": float(np.hypot(*np.diff(xy, axis=0).T).sum()),
        **out,
        "drift": drift,
        "drift_of_legs": float(np.hypot(end.x - felt.x, end.y - felt.y)) if felt is not None else 0.0,
        "faults": sorted({r.fault for r in records if r.fault}),
        "realtime_factor": last.t / wall if wall else 0.0,
        "stage_ms": {k: 1e3 * float(np.median([r.seconds[k] for r in records if k in r.seconds])) for k in stages},
    }


def placed(c: RobotConfig, last: RobotTruth, room: rooms.Room) -> dict[str, Any]:
    """Whether the box asked for lies on the table asked for, and how far its middle is from where on the top it was to be put."""
    k = next((k for k, b in enumerate(room.boxes) if b.called == (c.box or room.boxes[0].called)), None)
    table = next((t for t in room.tables if t.called == (c.table or room.tables[1].called)), None)
    if k is None or table is None:
        return {"placed": False, "lifted": False}
    box, size, start = last.boxes[k], room.boxes[k].half, room.boxes[k]
    cos, sin = np.cos(table.yaw), np.sin(table.yaw)
    x, y = np.array([[cos, sin], [-sin, cos]]) @ (box[:2] - (table.x, table.y))
    on = abs(x) < table.half[0] and abs(y) < table.half[1] and abs(box[2] - table.height - size[2]) < ON
    off = float(np.hypot(x - (table.half[0] - fetch.Config().inside), y))
    return {"placed": bool(on), "placement_error": off, "lifted": bool(np.hypot(box[0] - start.x, box[1] - start.y) > MOVED)}


def mapped(seen: Room, room: rooms.Room) -> tuple[float, float]:
    """Share of the floor a robot could stand on that the map calls free, and the share it calls occupied."""
    (x0, x1), (y0, y1) = room.config.length, room.config.width
    x, y = np.meshgrid(np.arange(x0 + 0.35, x1 - 0.35, 0.1), np.arange(y0 + 0.35, y1 - 0.35, 0.1))
    free = np.ones(x.shape, bool)
    for _, u, v, r in room.things:
        free &= np.hypot(x - u, y - v) > r + 0.3
    columns, rows = (((p - o) / seen.cell).astype(int)[free] for p, o in ((x, seen.origin[0]), (y, seen.origin[1])))
    value = seen.occupancy[rows.clip(0, seen.occupancy.shape[0] - 1), columns.clip(0, seen.occupancy.shape[1] - 1)]
    return float((value < 50).mean()), float(((value > 50) & (value != Room.UNKNOWN)).mean())


def _oracle(body: Humanoid) -> Callable[..., Percept]:
    """Perception that knows every pixel's class; metres still come from the pilot's own geometry."""
    mujoco = humanoid.require()
    renderer = mujoco.Renderer(body.built.model, 3 * eyes.HEIGHT // eyes.STRIDE, 3 * eyes.WIDTH // eyes.STRIDE)
    renderer.enable_segmentation_rendering()

    def perceive(frame: Frame, camera: CameraModel, route_line: object, expected: WalkerState) -> Percept:
        label = rooms.classes(humanoid.render(renderer, body.data, humanoid.CAMERA), body.built.model)[1::3, 1::3]
        probability = (label[None] == np.arange(len(RoomClass.NAMES))[:, None, None]).astype(np.float32)
        small = cv2.resize(frame.image, (eyes.WIDTH, eyes.HEIGHT), interpolation=cv2.INTER_AREA)
        return eyes.percept(probability, small, frame.t, expected)

    return perceive


def evaluate(c: RobotConfig, seeds: list[int], workers: Workers, path: Path | None, ablations: bool = False) -> Report:
    """Run the suite, or every ablation of it. Raises ValueError where the extra is missing."""
    humanoid.require()
    jobs = [{**asdict(c), "seed": seed} for seed in seeds]
    if ablations:
        return ablate.evaluate(f"robot {c.task}", row, (RATES, MEANS), jobs, workers, path)
    report = suite.run(Suite(f"robot {c.task}", row, RATES, MEANS), jobs, workers, path)
    report.summary["falls"] = sum(bool(r.get("fell")) for r in report.rows)
    report.summary["contacts"] = sum(bool(r.get("touched")) for r in report.rows)
    if path:
        report.save(path)
    return report


def row(job: dict[str, Any]) -> dict[str, Any]:
    """One seed, in a worker."""
    return run(RobotConfig(**{k: v for k, v in job.items() if k != "ablation"}))
