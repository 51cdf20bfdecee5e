"""A body that only watches: a recording, a webcam or a stream as the same Body protocol that drives.

In: a source (sources.py), a camera, perhaps a table of own speeds. Out: Observations with the source's own times. Own speed
comes from the log's CarState, from a CSV (t in s, speed in m/s, optionally yaw rate in rad/s), or is unknown: then
`speed_std` says so. It has no wheels: `act` does nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nanopilot.bodies import sources
from nanopilot.bodies.sources import SourceBroken, SourceError
from nanopilot.messages import UNKNOWN_SPEED_STD, BodyStopped, CameraModel, CarState, Frame, Observation, SafeCommand, VehicleModel

CSV_SPEED_STD = 0.3  # m/s, guess: a GPS receiver's
CSV_YAW_RATE_STD = 0.02  # rad/s, guess
UNKNOWN_YAW_RATE_STD = 0.1  # rad/s

PASSENGER_CAR = VehicleModel(  # a middle-class car, where nobody tells ours
    wheelbase=2.7, length=4.5, width=1.8, rear_overhang=0.9, max_wheel_angle=0.6, max_acceleration=3.0, max_deceleration=8.0,
    actuator_delay=0.1,
)  # fmt: skip


@dataclass(frozen=True)
class SpeedTable:
    """Own speed over time: t ascending (s), speed (m/s), yaw rate (rad/s) or None."""

    t: np.ndarray
    speed: np.ndarray
    yaw_rate: np.ndarray | None

    def at(self, t: float) -> CarState:
        """Interpolated; unknown outside the table."""
        if not self.t[0] <= t <= self.t[-1]:
            return unknown(t)
        speed = float(np.interp(t, self.t, self.speed))
        yaw_rate = 0.0 if self.yaw_rate is None else float(np.interp(t, self.t, self.yaw_rate))
        std = UNKNOWN_YAW_RATE_STD if self.yaw_rate is None else CSV_YAW_RATE_STD
        return CarState(t, speed, 0.0, yaw_rate, 0.0, speed_std=CSV_SPEED_STD, yaw_rate_std=std)


def unknown(t: float) -> CarState:
    """Nobody told."""
    return CarState(t, 0.0, 0.0, 0.0, 0.0, speed_std=UNKNOWN_SPEED_STD, yaw_rate_std=UNKNOWN_YAW_RATE_STD)


def read_speeds(path: Path) -> SpeedTable:
    """A CSV with a header: t, speed, and perhaps yaw_rate; SI. Raises SourceError for anything else."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        if not rows or not {"t", "speed"} <= set(rows[0]):
            raise SourceError(f"{path} needs a header with t and speed (s, m/s), perhaps yaw_rate (rad/s), and rows")
        names = [n for n in ("t", "speed", "yaw_rate") if n in rows[0]]
        columns = {n: np.array([float(r[n]) for r in rows]) for n in names}
    except (TypeError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is no table: {error}") from error
    except ValueError as error:
        raise error if isinstance(error, SourceError) else SourceError(f"{path}: {error}") from error
    if not all(np.isfinite(c).all() for c in columns.values()) or (np.diff(columns["t"]) <= 0).any():
        raise SourceError(f"{path}: every number must be finite and t must rise from row to row")
    return SpeedTable(columns["t"], columns["speed"], columns.get("yaw_rate"))


class Recording:
    """The Body. `camera` is made from the first picture's (width, height), unless the source (a log) brings its own."""

    def __init__(
        self,
        source: str,
        camera: Callable[[int, int], CameraModel],
        speeds: SpeedTable | None = None,
        hz: float | None = None,
        vehicle: VehicleModel = PASSENGER_CAR,
        own_camera: bool = False,
    ) -> None:
        self.source, self.vehicle, self.speeds = source, vehicle, speeds
        self.broken = ""  # why it ended before its end
        self._pictures = sources.pictures(source, hz)
        try:
            self._next: sources.Picture | None = next(self._pictures)
        except (StopIteration, SourceBroken) as error:
            raise SourceError(str(error) or f"{source} holds no pictures") from error
        height, width = self._next.image.shape[:2]
        told = None if own_camera else self._next.camera
        self.cameras: tuple[CameraModel, ...] = (camera(width, height) if told is None else told,)

    def observe(self) -> Observation:
        """The next picture. Raises BodyStopped at the end; `broken` then says whether it was too early."""
        picture, self._next = self._next, None
        if picture is None:
            try:
                picture = next(self._pictures)
            except StopIteration:
                raise BodyStopped("the source has ended") from None
            except SourceBroken as error:
                self.broken = str(error)
                raise BodyStopped(self.broken) from error
        t, car = picture.t, picture.car
        if self.speeds is not None:
            car = self.speeds.at(t)
        car = unknown(t) if car is None else replace(car, t=t)
        return Observation(t, (Frame(t, self.cameras[0].name, picture.image),), car)

    def act(self, command: SafeCommand) -> None:
        """Nothing: who watches doesn't drive."""

    def close(self) -> None:
        """Let go of the source; may be called twice."""
        close = getattr(self._pictures, "close", None)
        if close is not None:
            close()
