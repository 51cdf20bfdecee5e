"""A closed loop without any simulator: true roads as polylines, a car with delay and lag, and the stages under test.

Planning, control and safety are in the loop. The car is `nanopilot.dynamics` with actuators slower than the pilot is
told of. The world is made of the truth, in the vehicle frame, with optional noise. `run` gives back what really happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import thread_time

import numpy as np

from nanopilot import control, dynamics, planning, safety
from nanopilot.geometry import child_from_parent, project, resample
from nanopilot.messages import PATH_ARC, ROUTE_ARC, CarState, Curve, Kind, Plan, Track, Turn, VehicleModel, World

CAR = VehicleModel(
    wheelbase=2.6,
    length=4.6,
    width=1.85,
    rear_overhang=0.9,
    max_wheel_angle=0.7,
    max_acceleration=4.0,
    max_deceleration=9.0,
    actuator_delay=0.1,
)
LAG = dynamics.Lag(acceleration=0.15, curvature=0.08)  # s
DT = 0.05  # s
KPH = 1 / 3.6
LANE_WIDTH = 3.5  # m


def road(*pieces: tuple[float, float], spacing: float = 0.25) -> np.ndarray:
    """Points of a line made of (length, curvature) pieces, from the origin along x."""
    motion, points = dynamics.Motion(speed=1.0), [(0.0, 0.0)]
    for length, curvature in pieces:
        n = round(length / spacing)
        motion = motion._replace(curvature=curvature)
        for _ in range(n):
            motion = dynamics.advance(motion, length / n)
            points.append((motion.x, motion.y))
    return np.array(points)


@dataclass(frozen=True)
class Actor:
    """Another road user: `where(t)` gives (x, y, yaw, speed, yaw_rate) of its middle in the map frame."""

    where: Callable[[float], tuple[float, float, float, float, float]]
    id: int = 1
    length: float = 4.5
    width: float = 1.8
    kind: Kind = Kind.VEHICLE


@dataclass
class Drive:
    """What happened, one row a step."""

    t: np.ndarray
    s: np.ndarray  # along the road's line
    d: np.ndarray  # across, left positive
    speed: np.ndarray
    acceleration: np.ndarray
    curvature: np.ndarray
    gap: np.ndarray  # smallest distance between our rectangle and any actor's, m
    plans: list[Plan] = field(default_factory=list)
    seconds: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reasons: list[str] = field(default_factory=list)  # of safety, in order

    @property
    def lateral_acceleration(self) -> np.ndarray:
        return self.curvature * self.speed**2


def straight(x: float, y: float, yaw: float, speed: float) -> Callable:
    """An actor that goes straight on at constant speed."""
    return lambda t: (x + speed * np.cos(yaw) * t, y + speed * np.sin(yaw) * t, yaw, speed, 0.0)


def rectangle(x: float, y: float, yaw: float, length: float, width: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 9) * length, np.linspace(-0.5, 0.5, 5) * width), -1).reshape(-1, 2)
    return grid @ np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]) + (x, y)


def clearance(car: dynamics.Motion, actor: Actor, t: float) -> float:
    """Distance between the sampled rectangles, m; below about 0.3 they touch."""
    middle = CAR.length / 2 - CAR.rear_overhang
    ours = rectangle(car.x + middle * np.cos(car.yaw), car.y + middle * np.sin(car.yaw), car.yaw, CAR.length, CAR.width)
    x, y, yaw, *_ = actor.where(t)
    theirs = rectangle(x, y, yaw, actor.length, actor.width)
    return float(np.sqrt(((ours[:, None] - theirs[None]) ** 2).sum(-1).min()))


def make_track(actor: Actor, car: dynamics.Motion, t: float, rng: np.random.Generator, noise: float) -> Track:
    x, y, yaw, speed, yaw_rate = actor.where(t)
    before = actor.where(t - 0.1)[3]
    (px, py), relative = child_from_parent(np.array([x, y]), car.x, car.y, car.yaw), yaw - car.yaw
    vx, vy = speed * np.cos(relative), speed * np.sin(relative)
    n = noise * rng.standard_normal(5)
    return Track(
        id=actor.id, kind=actor.kind, x=float(px + n[0]), y=float(py + 0.5 * n[1]), yaw=float(relative + 0.1 * n[2]), vx=float(vx + n[3]),
        vy=float(vy + 0.3 * n[4]), acceleration=(speed - before) / 0.1, yaw_rate=yaw_rate, position_std=0.3, velocity_std=0.3,
        length=actor.length, width=actor.width, age=3.0, unseen=0.0, probability=1.0,
    )  # fmt: skip


def run(
    line: np.ndarray,
    seconds: float,
    speed: float = 30 * KPH,
    limit: float = 30 * KPH,
    actors: tuple[Actor, ...] = (),
    lanes: tuple[float, ...] = (0.0,),
    turn: tuple[Turn, float] | None = None,
    goal: float = 1e3,
    blind_from: float = np.inf,
    unseen: tuple[float, float] = (np.inf, np.inf),
    path_noise: float = 0.0,
    track_noise: float = 0.0,
    offset: float = 0.0,
    config: planning.Config = planning.Config(),
) -> Drive:
    """Drive `seconds` along `line`; `lanes` are centre offsets from it, `turn` an instruction and its place along it."""
    rng = np.random.default_rng(0)
    car = dynamics.Motion(x=line[0, 0], y=line[0, 1] + offset, speed=speed)
    plan_state, control_state = planning.initial(config), control.initial()
    safety_state = safety.initial(engaged=True)
    waiting: deque[tuple[float, float]] = deque([(0.0, 0.0)] * round(CAR.actuator_delay / DT))
    rows, plans, times, reasons = [], [], [], []
    normal_of = np.gradient(line, axis=0)
    normal = np.stack([-normal_of[:, 1], normal_of[:, 0]], -1) / np.linalg.norm(normal_of, axis=1, keepdims=True)
    lines = {lane: line + lane * normal for lane in lanes}
    for k in range(round(seconds / DT)):
        t = k * DT
        s, d = project(line, car.x, car.y)
        own = min(lanes, key=lambda lane: abs(lane - d))
        at = project(lines[own], car.x, car.y)[0]
        points = child_from_parent(resample(lines[own], at + PATH_ARC), car.x, car.y, car.yaw)
        points = points + path_noise * rng.standard_normal(points.shape) * np.linspace(0.3, 1.0, len(points))[:, None]
        seen = Curve(points, np.full(len(points), 0.1), 1.0)
        world = World(
            t=t, speed=max(car.speed, 0.0), yaw_rate=car.speed * car.curvature, acceleration=car.acceleration,
            path=None if unseen[0] <= t < unseen[1] else seen, left=None, right=None, lane_width=LANE_WIDTH,
            lane_left=float(any(abs(lane - own - LANE_WIDTH) < 0.1 for lane in lanes)),
            lane_right=float(any(abs(lane - own + LANE_WIDTH) < 0.1 for lane in lanes)),
            tracks=tuple(make_track(a, car, t, rng, track_noise) for a in actors),
            route_line=child_from_parent(resample(line, s + ROUTE_ARC), car.x, car.y, car.yaw),  route_std=1.0,
            next_turn=turn[0] if turn else Turn.ARRIVE, next_turn_distance=turn[1] - s if turn else goal - s,
            goal_distance=goal - s, speed_limit=limit, localisation_std=1.0, blind=max(t - blind_from, 0.0),
        )  # fmt: skip
        start = thread_time()
        plan_state, plan = planning.step(plan_state, world, CAR, config)
        times.append(thread_time() - start)
        wheel = dynamics.wheel_angle_from_curvature(car.curvature, CAR.wheelbase)
        state = CarState(t, car.speed, car.acceleration, car.speed * car.curvature, wheel)
        control_state, command = control.step(control_state, plan, state, CAR)
        safety_state, safe = safety.step(safety_state, command, state, t)
        reasons += safe.reasons
        waiting.append((safe.acceleration, safe.curvature))
        rows.append((t, s, d, car.speed, car.acceleration, car.curvature, min((clearance(car, a, t) for a in actors), default=np.inf)))
        plans.append(plan)
        asked = waiting.popleft()
        for _ in range(5):
            car = dynamics.step(car, *asked, DT / 5, LAG)
    return Drive(*np.array(rows).T, plans=plans, seconds=np.array(times), reasons=reasons)
