"""Small logs to look at, made from messages alone."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nanopilot.log import Log, Step
from nanopilot.messages import (
    Behaviour,
    CameraModel,
    CarState,
    Curve,
    Detection,
    Frame,
    Kind,
    LaneLine,
    Message,
    Observation,
    PaintForm,
    Percept,
    Plan,
    SafeCommand,
    Signal,
    Track,
    Turn,
    VehicleModel,
    World,
)  # fmt: skip

CAMERA = CameraModel("front", 256, 128, 128.0, 128.0, 127.5, 48.0, x=1.3)
VEHICLE = VehicleModel(2.5, 4.5, 1.85, 0.9, 0.7, 2.7, 8.0, 0.14)
HZ = 20
WARNED = (2.0, 2.5)  # s: when the one warning holds
BRAKED = 4.0  # s: when safety brakes


@dataclass(frozen=True)
class Danger(Message):
    """A warning as any package may define it."""

    t: float
    kind: str
    level: str
    reason: str


def picture(k: int) -> np.ndarray:
    noise = np.random.default_rng(k).integers(0, 255, (4, 8, 3), np.uint8)
    return cv2.resize(noise, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_CUBIC)


def write(path: Path, seconds: float = 6.0, about: str = "test") -> Path:
    """A car that follows another, is warned, and brakes."""
    with Log(path, {"about": about}) as out:
        out.write("/camera/front/model", CAMERA, 0.0)
        out.write("/vehicle", VEHICLE, 0.0)
        for k in range(round(seconds * HZ)):
            add(out, k)
    return path


def curve(y: float) -> Curve:
    x = np.linspace(2, 40, 16)
    return Curve(np.stack([x, np.full(16, y)], -1), np.full(16, 0.1), 0.9)


def add(out: Log, k: int) -> None:
    """Step number k."""
    t, x = k / HZ, np.linspace(2, 40, 16)
    speed = 5 + k / HZ
    track = Track(7, Kind.VEHICLE, 20.0, 0.2, 0.0, 4.0, 0.0, 0.0, 0.0, 0.3, 0.3, 4.5, 1.8, 3.0, 0.0, 0.95)
    line = np.stack([np.linspace(60, 120, 9), np.linspace(127, 55, 9)], -1).astype(np.float32)
    lanes = tuple(LaneLine(side, 0.9, line, line, np.ones(9, np.float32), PaintForm.DASHED) for side in (-1, 1))
    box, place = np.array([110, 40, 140, 60], np.float32), np.array([20, 0.2], np.float32)
    seen = Detection(Kind.VEHICLE, 0.9, box, place, 0.0, 4.5, 1.8, 18.7, 0.5, 0.01)
    scene = np.random.default_rng(k).integers(0, 13, (16, 32), np.uint8)
    percept = Percept(t, "front", lanes, None, (seen,), scene, np.full(32, 30, np.float32), 0.9, True)
    lane, route = (curve(0), curve(1.75), curve(-1.75), 3.5, 0.1, 0.1), np.stack([x, 0 * x], -1)
    world = World(t, speed, 0.0, 0.0, *lane, (track,), route, 0.5, Turn.LEFT, 80.0, 200.0, 13.9, 1.0, 0.0)
    follows = t >= 1
    behaviour, reason = (Behaviour.FOLLOW, "slower car ahead") if follows else (Behaviour.KEEP_LANE, "keep lane")
    zero = np.zeros(10)
    plan = Plan(
        t, behaviour, reason, zero, np.stack([np.arange(10) * 3.0, zero], -1), zero, zero, zero, zero, 7 if follows else -1, set_speed=13.9
    )
    safe = SafeCommand(t, 0.0, 0.0, Signal.OFF, True, ("emergency braking",) if BRAKED <= t < BRAKED + 0.2 else ())
    if WARNED[0] <= t <= WARNED[1]:
        out.write("/warning", Danger(t, "forward_collision", "medium", "1.9 s to the car ahead"))
    observation = Observation(t, (Frame(t, "front", picture(k)),), CarState(t, speed, 0.0, 0.0, 0.02))
    out.write_step(observation, Step(t, {"world": 0.001}), percept=percept, world=world, plan=plan, safe=safe)
