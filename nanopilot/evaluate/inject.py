"""Faults put between a healthy body and the pilot, and into its eyes: wrappers, so that the pilot knows nothing of them.

In: a body, a Fault, and a function that tells when its moment has come. Out: a Body, and a `perceive`. Both are healthy until
that moment. The wrapper is also the body's own watchdog: whatever it is given goes through `safety.watchdog`, so that a command
that is late, or never comes, ends in braking. While a stage hangs, the world goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import radians
from typing import Any

import numpy as np

from nanopilot.messages import CameraModel, CarState, Frame, Observation, Percept, SafeCommand
from nanopilot.perception import Network
from nanopilot.safety import watchdog
from nanopilot.sim.truth import SimTruth

Array = np.ndarray

HANG = 2.0  # s
LOST = 0.2  # s, of commands lost for a while


class Killed(BaseException):
    """The pilot's process is gone: nothing of it may catch this."""


@dataclass(frozen=True)
class Fault:
    """`bound`: s within which the driver must be asked to take over; None: it must be driven through."""

    name: str
    bound: float | None
    amount: float = 0.0


FAULTS = (
    Fault("none", None),
    Fault("camera black", 0.5), Fault("camera frozen", 0.5), Fault("camera torn", None), Fault("camera half covered", 0.5),
    Fault("camera over-exposed", 0.5), Fault("camera noise", 0.5, 40.0),
    Fault("camera delayed 0.1 s", None, 0.1), Fault("camera delayed 0.3 s", 0.5, 0.3), Fault("camera delayed 1 s", 0.5, 1.0),
    Fault("frames dropped 10 %", None, 0.1), Fault("frames dropped 50 %", None, 0.5), Fault("frames in wrong order", None),
    Fault("calibration off by 1 degree", None, 1.0), Fault("calibration off by 2 degrees", None, 2.0),
    Fault("calibration off by 4 degrees", 5.0, 4.0),
    Fault("network gives NaN", 0.5), Fault("network constant", 0.5), Fault("network shuffled", 0.5),
    Fault("stage raises", 0.5), Fault("stage hangs 2 s", 0.5, HANG), Fault("pilot killed", 0.5),
    Fault("clock jumps 1 s ahead", 0.1, 1.0), Fault("clock jumps 1 s back", 0.1, -1.0), Fault("log disk full", None),
    Fault("wheel speed stuck", 5.0), Fault("wheel speed absurd", 0.1, 60.0),
    Fault("commands lost for 0.2 s", None, LOST), Fault("commands lost for good", 0.5, 1e9),
)  # fmt: skip


class FaultyBody:
    """The Body with a fault. `since` is when it began; `sent` is every command that reached the car, with its time."""

    def __init__(self, body: Any, fault: Fault, moment: Callable[[SimTruth, Observation], bool], seed: int) -> None:
        self.body, self.fault, self.moment = body, fault, moment
        self.cameras, self.vehicle, self.close = body.cameras, body.vehicle, body.close
        self.rng = np.random.default_rng([seed, 0xFA])
        self.since: float | None = None
        self.sent: list[tuple[float, SafeCommand]] = []
        self.truths: list[SimTruth] = []
        self._frames: deque[Frame] = deque(maxlen=64)
        self._watchdog = watchdog.initial()
        self._car: CarState | None = None
        self._now = self._shift = 0.0
        self._count = 0
        self._stuck_speed: float | None = None
        self._frozen: Array | None = None

    @property
    def active(self) -> bool:
        return self.since is not None

    def observe(self) -> Observation:
        seen = self.body.observe()
        truth = self.body.truth()
        self.truths.append(truth)
        self._now = seen.t
        if not self.active and self.moment(truth, seen):
            self.since = seen.t
        self._frames.append(seen.frames[0])
        given = self._spoilt(seen) if self.active else seen
        self._car = given.car
        return given

    def act(self, command: SafeCommand) -> None:
        lost = self.active and self.fault.name.startswith("commands lost") and self._now < self.since + self.fault.amount
        self.pass_on(None if lost else command)

    def pass_on(self, command: SafeCommand | None = None) -> None:
        """What the car does with this command, or without one."""
        self._watchdog, done = watchdog.step(self._watchdog, command, self._car, self._now + self._shift)
        self.sent.append((self._now, done))
        self.body.act(done)

    def elapse(self, seconds: float) -> None:
        """The world goes on without the pilot, which has had an observation and not answered."""
        until = self._now + seconds
        while self._now < until - 1e-6:
            self.pass_on()
            self.observe()

    def _spoilt(self, seen: Observation) -> Observation:
        name, amount = self.fault.name, self.fault.amount
        self._count += 1
        if name.startswith("clock"):
            self._shift = amount
            frames = tuple(replace(f, t=f.t + amount) for f in seen.frames)
            gps = seen.gps and replace(seen.gps, t=seen.gps.t + amount)
            return replace(seen, t=seen.t + amount, frames=frames, car=replace(seen.car, t=seen.car.t + amount), gps=gps)
        if name.startswith("wheel speed"):
            if self._stuck_speed is None:
                self._stuck_speed = amount or seen.car.speed
            return replace(seen, car=replace(seen.car, speed=self._stuck_speed))
        if name.startswith("frames dropped"):
            return replace(seen, frames=() if self.rng.random() < amount else seen.frames)
        frame = self._spoilt_frame(seen.frames[0])
        return seen if frame is seen.frames[0] else replace(seen, frames=(frame, *seen.frames[1:]))

    def _spoilt_frame(self, frame: Frame) -> Frame:
        name, image = self.fault.name, frame.image
        if name == "frames in wrong order":  # 1, 0, 3, 2, 5, 4, ...
            return frame if self._count % 2 or len(self._frames) < 3 else self._frames[-3]
        if name.startswith("camera delayed"):
            return next(f for f in self._frames if f.t > frame.t - self.fault.amount - 1e-6)
        if name == "camera black":
            return replace(frame, image=np.zeros_like(image))
        if name == "camera frozen":
            self._frozen = image if self._frozen is None else self._frozen
            return replace(frame, image=self._frozen)
        if name == "camera torn" and len(self._frames) > 1:  # the lower part is of the picture before
            cut = image.shape[0] * 6 // 10
            return replace(frame, image=np.concatenate([image[:cut], self._frames[-2].image[cut:]]))
        if name == "camera half covered":
            covered = image.copy()
            covered[:, : image.shape[1] // 2] = 0
            return replace(frame, image=covered)
        if name == "camera over-exposed":
            return replace(frame, image=np.clip(image.astype(np.int32) * 6, 0, 255).astype(np.uint8))
        if name == "camera noise":
            noisy = image + self.rng.normal(0.0, self.fault.amount, image.shape)
            return replace(frame, image=np.clip(noisy, 0, 255).astype(np.uint8))
        return frame


class FaultyEyes:
    """`perceive` with a fault of the network, of the calibration, or of the stage itself."""

    def __init__(self, body: FaultyBody) -> None:
        self.body, self.network = body, Network()
        self._infer = self.network.infer
        self._held: dict[str, Array] | None = None
        self.network.infer = self._answer  # type: ignore[method-assign, assignment]  # the fault
        self._hung = False

    def __call__(self, frame: Frame, camera: CameraModel, route_line: Array | None, expected: Array | None = None) -> Percept:
        name, amount = self.body.fault.name, self.body.fault.amount
        if self.body.active:
            if name == "stage raises":
                raise RuntimeError("perception failed")
            if name == "pilot killed":
                raise Killed
            if name.startswith("stage hangs") and not self._hung:
                self._hung = True
                self.body.elapse(amount)
            if name.startswith("calibration"):
                camera = replace(camera, yaw=camera.yaw + radians(amount))
        return self.network.perceive(frame, camera, route_line, expected)

    def _answer(self, *inputs: Array) -> dict[str, Array]:
        answer, name = self._infer(*inputs), self.body.fault.name
        if not self.body.active:
            return answer
        if name == "network gives NaN":
            return {k: np.full_like(v, np.nan) if v.dtype.kind == "f" else v for k, v in answer.items()}
        if name == "network constant":
            self._held = self._held or answer
            return self._held
        if name == "network shuffled":
            return {k: self.body.rng.permutation(v.ravel()).reshape(v.shape) for k, v in answer.items()}
        return answer
