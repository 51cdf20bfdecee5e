"""Watching: the arrow without the car. observe -> perception | own motion -> world -> assist, once per picture.

In: a body that only watches. Out: a record of every message of each step. Speed and yaw rate come from the body, each where it knows it,
else from the pictures; the camera's mounting is found on the way. Odometry runs beside the network, in a thread of its own. A stage that
raises costs its step only; the fault's text stays in the record. It keeps no log and draws nothing: run.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

from nanopilot import assist, world
from nanopilot.bodies.speeds import UNKNOWN_YAW_RATE_STD
from nanopilot.geometry import MODEL_FOCAL
from nanopilot.messages import (
    Body,
    BodyStopped,
    Calibration,
    CameraModel,
    CarState,
    Frame,
    Observation,
    OwnMotion,
    Percept,
    Warnings,
    World,
    speed_known,
)
from nanopilot.perception import Network
from nanopilot.perception.around import Around
from nanopilot.perception.runtime import canonical
from nanopilot.perception.view import in_picture, scaled
from nanopilot.watch.blur import hidden
from nanopilot.world import mounting, odometry
from nanopilot.world.aim import AimConfig

Array = np.ndarray


@dataclass(frozen=True)
class WatchConfig:
    weights: Path | None = None  # None: the committed ones
    refine: bool = True  # find the camera's pitch and yaw on the way
    reach: float = 62.0  # m in the model camera: the network's distances were learnt to 60 m, farther ones come out as 60 to 80
    width: int = 960  # px, of the pictures that are kept; the network sees the full ones
    blur: bool = False  # hide faces and number plates in the pictures that are kept
    world: world.Config = field(default_factory=lambda: world.Config(aim=AimConfig(off=inf)))  # `mounting` finds where the camera looks
    odometry: odometry.OdometryConfig = field(default_factory=odometry.OdometryConfig)
    mounting: mounting.MountingConfig = field(default_factory=mounting.MountingConfig)
    assist: assist.Config = field(default_factory=assist.Config)


@dataclass(frozen=True)
class Record:
    """One step. The observation's frame and the percept's places are in `camera`'s pixels."""

    observation: Observation
    camera: CameraModel
    motion: OwnMotion
    calibration: Calibration | None
    percept: Percept | None
    world: World | None
    warnings: Warnings
    lead: assist.Closing | None  # how the closest in path comes closer
    edges: tuple[float | None, float | None]  # m from our outer wheel edges to the left and right line, where seen now
    fault: str
    seconds: dict[str, float]


class Watcher:
    """Watches a body. `perceive` may be replaced by any function of the same shape, `undistort` makes a pinhole's picture, `told` names
    where the body has its own speed from."""

    def __init__(
        self,
        body: Body,
        config: WatchConfig = WatchConfig(),
        undistort: Callable[[Array], Array] | None = None,
        perceive=None,
        told: str = "log",
    ) -> None:
        self.body, self.config, self.undistort, self.speed_source = body, config, undistort, told
        self.beside = Around(body.cameras, reach=np.inf)  # the camera's focal length may be refined: `_near` knows it
        self.perceive = perceive or Network(config.weights).perceive
        self.stopped = ""

    def watch(self) -> Iterator[Record]:
        """Yield a record per picture until the body stops; `self.stopped` then says why."""
        c, vehicle, camera = self.config, self.body.vehicle, self.body.cameras[0]
        seen, warned, moving = world.initial(c.world), assist.initial(), odometry.initial()
        mounted = mounting.initial(camera, c.mounting)
        calibration = mounting.told(mounted, c.mounting) if c.refine else None
        car: CarState | None = None
        with ThreadPoolExecutor(1) as beside:
            while True:
                try:
                    observation = self.body.observe()
                except BodyStopped as stop:
                    self.stopped = str(stop)
                    return
                start, t = perf_counter(), observation.t
                if self.undistort is not None:
                    frame = observation.frames[0]
                    observation = replace(observation, frames=(replace(frame, image=self.undistort(frame.image)), *observation.frames[1:]))
                told = observation.car
                pitch_std = calibration.pitch_std if calibration else 0.0
                future = None
                turning_told = told.yaw_rate_std < UNKNOWN_YAW_RATE_STD
                if c.refine or not speed_known(told) or not turning_told:
                    future = beside.submit(odometry.step, moving, observation.frames[0], camera, pitch_std, c.odometry)
                percept = now = None
                fault, shown = "", scaled(camera, c.width)
                try:
                    path = world.expected(seen, replace(observation, car=replace(car or told, t=t)), c.world)
                    percept = self.beside(self.perceive(observation.frames[0], camera, None, path), observation.frames, self.perceive)
                except Exception as error:  # a picture that can't be understood costs this step, not the watch
                    fault = f"{type(error).__name__}: {error}"
                perceived = perf_counter()
                motion, direction = OwnMotion(t, told.speed, told.speed_std, told.yaw_rate, told.yaw_rate_std, self.speed_source), None
                if future is not None:
                    moving, from_video, direction = future.result()
                    if not speed_known(told):
                        motion = from_video
                    elif not turning_told:
                        motion = replace(motion, yaw_rate=from_video.yaw_rate, yaw_rate_std=from_video.yaw_rate_std)
                moved = perf_counter()
                before, car = car, _car(motion, told)
                seen = _rebased(seen, before, car)
                try:
                    near = None if percept is None else _near(percept, c.reach * canonical(camera).fx / MODEL_FOCAL)
                    seen, now = world.step(seen, replace(observation, car=car), near, c.world)
                    percept = None if percept is None else in_picture(percept, camera, shown)
                    if c.refine and percept is not None:
                        mounted, calibration = mounting.step(mounted, t, camera, percept.lanes, direction, motion, c.mounting)
                    warned, warnings = assist.step(warned, now, percept, car, shown, vehicle, c.assist, calibration)
                except Exception as error:
                    fault = fault or f"{type(error).__name__}: {error}"
                    warnings = Warnings(t, (), (), tuple(assist.off(car)), warned.speed.limit)
                image = observation.frames[0].image
                if shown.width < camera.width:
                    sampling = cv2.INTER_AREA if 2 * shown.width <= camera.width else cv2.INTER_LINEAR  # 5 and 1 ms of 1280 px
                    image = cv2.resize(image, (shown.width, shown.height), interpolation=sampling)
                if c.blur:
                    image = hidden(image, shown, None if fault else percept, now)
                left, right = (None if e is None or e.t < t else e.value for e in warned.lane.edges)
                kept = replace(observation, car=car, frames=(Frame(t, shown.name, image),))
                seconds = {"perception": perceived - start, "motion": moved - perceived, "assist": perf_counter() - moved}
                yield Record(kept, shown, motion, calibration, percept, now, warnings, warned.how, (left, right), fault, seconds)
                if c.refine:
                    mounted, camera = mounting.turned(mounted, camera, c.mounting)


def _near(percept: Percept, reach: float) -> Percept:
    """Without objects whose distance the network can't tell."""
    return replace(percept, objects=tuple(o for o in percept.objects if o.distance <= reach))


def _car(motion: OwnMotion, told: CarState) -> CarState:
    """What the world is told of ourselves: an unknown speed is 0, so that the others' velocities are relative to us."""
    known = speed_known(motion)
    return replace(
        told,
        t=motion.t,
        speed=motion.speed if known else 0.0,
        speed_std=motion.speed_std,
        yaw_rate=motion.yaw_rate,
        yaw_rate_std=motion.yaw_rate_std,
    )


def _rebased(state: world.State, before: CarState | None, now: CarState) -> world.State:
    """Tracks' velocities over ground again when own speed becomes known or unknown."""
    if before is None or (speed_known(before)) == (speed_known(now)) or not len(state.tracks):
        return state
    mean = state.tracks.mean + (0.0, 0.0, now.speed - before.speed, 0.0)
    return replace(state, tracks=replace(state.tracks, mean=mean), car=now)
