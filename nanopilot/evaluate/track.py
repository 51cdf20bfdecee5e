"""A proving ground without a simulator: a straight road, targets on exact paths, and a car with a scripted driver.

In: a Trial (who is where at each time, the driver's script). Out: a Body that gives camera pictures and a car's own sensors, and a trace
of the truth for the judge. Targets are functions of time, so their speeds and paths are exact. The car is `dynamics`' bicycle with
brakes that answer late and rise as a lag, on tyres that give no more than the circle of friction. Not modelled: slip below that
limit, pitch under braking, slopes.
Shares road, sizes and pedestrians' looks with `clips`, which has pictures only and a car that reacts to nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, hypot, sin

import numpy as np

from nanopilot import dynamics
from nanopilot.bodies.recording import PASSENGER_CAR
from nanopilot.bodies.simcar_ecu import LOOK_FAR, SensorConfig, Sensors
from nanopilot.dynamics import Lag, Motion
from nanopilot.evaluate.clips import EDGE, FRONT, LANE, OWN_Y, road
from nanopilot.geometry import model_camera, narrow_camera
from nanopilot.messages import BodyStopped, CameraModel, Frame, Observation, Route, SafeCommand
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.scene import Actor, Scene, StaticScene, Surface

__all__ = ["EDGE", "FRONT", "LANE", "LEAD_IN", "OUTER_Y", "OWN_Y", "Driver", "Instant", "TrackBody", "Trial", "nobody"]

G = dynamics.GRAVITY
OUTER_Y = -1.5 * LANE  # m, the lane beside the road's edge
LEAD_IN = 1.5  # s of plain driving before a procedure's start: filters begin
HZ, SUBSTEP = 20.0, 0.01  # pictures and commands a second; s of physics
DEAD_TIME, DEAD_TIME_READY = 0.15, 0.05  # s until the brakes answer, and after pre-charge; guess
LAG = Lag(acceleration=0.12, curvature=0.09)  # s: 90 % of full braking 0.28 s later, guess; steering as bodies.simcar_ecu measured
LOOKS = 6  # appearances a seed gives
LENGTH = 420.0  # m of road
BEYOND = 3.0  # s after standing or passing that are still driven
STOOD = 0.8  # s


@dataclass(frozen=True)
class Driver:
    """Holds speed and lane exactly, or as told. After `reaction` s of a warning he brakes with `braking`, where that is not None."""

    braking: float | None = None  # m/s²
    reaction: float = 1.2  # s
    gas: bool = True  # his foot stays on the pedal until the guardian brakes
    heading: Callable[[float], float] | None = None  # the yaw he steers at t; None: straight on
    hands_off: float = float("inf")  # s from which the wheel is left alone, straight


def nobody(t: float) -> tuple[Actor, ...]:
    """An empty road."""
    return ()


@dataclass(frozen=True)
class Trial:
    """What happens on the track. Times in s from the first picture, LEAD_IN included."""

    speed: float  # m/s
    seconds: float
    actors: Callable[[float], tuple[Actor, ...]] = nobody
    driver: Driver = Driver()
    y: float = OUTER_Y  # m, the middle of the own lane
    offset: float = 0.0  # m left of it at the start
    night: bool = False
    plate: float = -1.0  # m along the road of a steel plate; negative: none
    edge_line: bool = True
    engaged: bool = False
    limit: float | None = None  # m/s that navigation tells; None: the speed


@dataclass(frozen=True)
class Instant:
    """The truth at one picture. `gap` is between outlines (0: contact), `line` from our flank to the nearer line's inner side."""

    t: float
    x: float
    y: float
    yaw: float
    speed: float
    acceleration: float
    curvature: float
    gap: float
    closing: float  # m/s, along x, of the nearest
    line: float
    edge: float  # m from the outer wheel to the road's edge, the nearer
    other: int  # the nearest's id, -1: nobody
    along: float  # m from our front to the nearest's near end along x


@lru_cache(maxsize=2)
def ground(seed: int, plate: float, edge_line: bool) -> StaticScene:
    """The road of a seed, with a steel plate or without."""
    static = road(0.0, seed, LENGTH, edge_line)
    if plate < 0:
        return static
    outline = np.array([(plate, OUTER_Y - 1.2), (plate + 3.7, OUTER_Y - 1.2), (plate + 3.7, OUTER_Y + 1.2), (plate, OUTER_Y + 1.2)])
    return replace(static, surfaces=(*static.surfaces, Surface("dirt", outline)))  # FMVSS 127: 2.4 x 3.7 m


@lru_cache(maxsize=LOOKS)
def camera(seed: int, look: int, night: bool, plate: float, edge_line: bool) -> CpuCamera:
    """The camera under one of a seed's looks: clear or overcast by day, own low beam by night."""
    weather = "night" if night else ("clear", "clear", "overcast")[look % 3]
    return CpuCamera(ground(seed, plate, edge_line), Appearance.from_seed(seed * LOOKS + look, weather=weather))


class TrackBody:
    """A Body; `trace` is the judge's. `warned` may be set by who watches: then the driver reacts. Without `eyes` pictures are black."""

    def __init__(self, trial: Trial, seed: int, look: int = 0, friction: float = 1.0, eyes: bool = True) -> None:
        self.trial, self.friction = trial, friction
        self.cameras: tuple[CameraModel, ...] = (model_camera(), narrow_camera())
        self.vehicle = PASSENGER_CAR
        self.draw = camera(seed, look % LOOKS, trial.night, trial.plate, trial.edge_line) if eyes else None
        self.sensors = Sensors(SensorConfig(), 1 / HZ, seed)
        self.motion = Motion(0.0, trial.y + trial.offset, 0.0, trial.speed)
        self.asked: deque[tuple[float, float]] = deque([(0.0, 0.0)])  # (acceleration, curvature) on their way to the actuators
        self.trace: list[Instant] = []
        self.step, self.warned = 0, float("inf")
        self.braked = self.steered = False

    @property
    def t(self) -> float:
        return self.step / HZ

    def observe(self) -> Observation:
        t, m, trial = self.t, self.motion, self.trial
        actors = trial.actors(t)
        self.trace.append(self._instant(actors))
        if why := self._over():
            raise BodyStopped(why)
        scene = Scene(self.draw.static, actors, {}, t) if self.draw else None
        frames = tuple(Frame(t, camera.name, self._picture(scene, camera)) for camera in self.cameras[: 1 + (m.speed > LOOK_FAR)])
        wheel = dynamics.wheel_angle_from_curvature(m.curvature, self.vehicle.wheelbase)
        car = self.sensors.car(t, m.speed, m.acceleration, m.speed * m.curvature, wheel)
        braking = trial.driver.braking is not None and t >= self.warned + trial.driver.reaction
        if not trial.engaged:
            car = replace(car, driver_brake=braking, driver_gas=trial.driver.gas and not braking and not self.braked)
        gps = self.sensors.gps(t, (m.x, m.y, m.yaw), m.speed)
        line = np.array([(-50.0, -LANE), (LENGTH, -LANE)])
        route = Route(line, (), trial.limit or trial.speed) if self.step == 0 else None
        self.step += 1
        return Observation(t, frames, car, gps, route)

    def _picture(self, scene: Scene | None, camera: CameraModel) -> np.ndarray:
        if self.draw is None or scene is None:
            return np.zeros((camera.height, camera.width, 3), np.uint8)
        m = self.motion
        return self.draw.render(scene, camera, (m.x, m.y, m.yaw), labels=False, speed=m.speed).rgb

    def act(self, command: SafeCommand) -> None:
        """A step of physics: the driver's foot and hands, or the command."""
        acceleration, curvature = (command.acceleration, command.curvature) if command.engaged else self._driven(command)
        self.braked, self.steered = command.brakes, command.steers
        dead = round((DEAD_TIME_READY if command.precharge else DEAD_TIME) / SUBSTEP)
        for _ in range(round(1 / HZ / SUBSTEP)):
            self.asked.append((acceleration, curvature))
            while len(self.asked) > dead + 1:
                self.asked.popleft()
            pedal = self.asked[0][0] if acceleration < 0 or self.asked[0][0] < 0 else acceleration
            pedal = max(pedal, -self.vehicle.max_deceleration)
            lag = LAG if command.engaged or command.steers else replace(LAG, curvature=0.0)  # his hands have no lag
            pedal, bend = dynamics.within_friction(pedal, curvature, self.motion.speed, self.friction)
            self.motion = dynamics.step(self.motion, pedal, bend, SUBSTEP, lag)
            if self.motion.speed <= 0.0:
                self.motion = self.motion._replace(acceleration=0.0)

    def close(self) -> None:
        """Nothing to let go of."""

    def _driven(self, command: SafeCommand) -> tuple[float, float]:
        """The scripted driver, with the guardian's additions."""
        m, d, t = self.motion, self.trial.driver, self.t
        speed = self.trial.speed + 0.4 / 3.6  # in the middle of the procedures' tolerance of +1 km/h
        acceleration = min(max(2.0 * (speed - m.speed), -0.5), 0.5)
        if d.braking is not None and t >= self.warned + d.reaction:
            acceleration = -d.braking
        elif self.warned < float("inf") and d.braking is None and self.braked:
            acceleration = 0.0
        if m.speed < 0.1 and self.braked:
            acceleration = 0.0
        if command.brakes:
            acceleration = min(acceleration, command.acceleration)
        if command.steers:
            return acceleration, command.curvature
        if t >= d.hands_off or self.steered:
            return acceleration, 0.0
        yaw = 0.0 if d.heading is None else d.heading(t)
        curvature = (yaw - m.yaw) / max(m.speed / HZ, 0.05) if d.heading else -0.02 * (m.y - self.trial.y) - 0.25 * m.yaw
        return acceleration, curvature

    def _instant(self, actors: tuple[Actor, ...]) -> Instant:
        m = self.motion
        ours = outline(m.x + cos(m.yaw) * CENTRE, m.y + sin(m.yaw) * CENTRE, m.yaw, self.vehicle.length, self.vehicle.width)
        near, closing, other, along = float("inf"), 0.0, -1, float("inf")
        for a in actors:
            theirs = outline(a.x, a.y, a.yaw, a.size[0], a.size[1])
            gap = between(ours, theirs)
            if gap < near:
                near, closing, other = gap, m.speed * cos(m.yaw) - a.speed * cos(a.yaw), a.id
                along = float(theirs[:, 0].min() - ours[:, 0].max())
        low, high = float(ours[:, 1].min()), float(ours[:, 1].max())
        right, left = self.trial.y - LANE / 2, self.trial.y + LANE / 2  # the road's edge line stands 0.2 m inside its edge
        line = min(low - right - (0.2 + EDGE_PAINT if self.trial.y == OUTER_Y else PAINT), left - PAINT - high)
        edge = low + EDGE
        return Instant(self.t, m.x, m.y, m.yaw, m.speed, m.acceleration, m.curvature, near, closing, line, edge, other, along)

    def _over(self) -> str:
        now = self.trace[-1]
        if now.gap <= 0.0:
            return "contact"
        if now.t > self.trial.seconds:
            return "the time is up"
        stood = [i for i in self.trace[-round(STOOD * HZ) :] if i.speed < 0.1]
        return "stands" if len(stood) >= STOOD * HZ and now.t > LEAD_IN + 2.0 and not self.trial.engaged else ""


CENTRE = PASSENGER_CAR.length / 2 - PASSENGER_CAR.rear_overhang  # m from the rear axle to the middle of the car
PAINT, EDGE_PAINT = 0.06, 0.075  # m, half a line


def outline(x: float, y: float, yaw: float, length: float, width: float) -> np.ndarray:
    """Four corners, in order."""
    c, s = cos(yaw), sin(yaw)
    along, across = np.array([c, s]) * length / 2, np.array([-s, c]) * width / 2
    return np.array([x, y]) + np.array([along + across, along - across, -along - across, -along + across])


def between(a: np.ndarray, b: np.ndarray) -> float:
    """Metres between two rectangles; 0 where they touch or overlap (separating axes)."""
    for one in (a, b):
        for k in range(2):
            axis = one[k + 1] - one[k]
            pa, pb = a @ axis, b @ axis
            if pa.max() < pb.min() or pb.max() < pa.min():
                return min(min(_point_edge(p, b) for p in a), min(_point_edge(p, a) for p in b))
    return 0.0


def _point_edge(p: np.ndarray, corners: np.ndarray) -> float:
    """Metres from a point to the nearest side of a rectangle."""
    best = float("inf")
    for k in range(4):
        side = corners[(k + 1) % 4] - corners[k]
        share = min(max(float((p - corners[k]) @ side / (side @ side)), 0.0), 1.0)
        away = p - corners[k] - share * side
        best = min(best, hypot(float(away[0]), float(away[1])))
    return best
