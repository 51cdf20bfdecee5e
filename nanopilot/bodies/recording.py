"""A body that only watches: a recording, a webcam or a stream as the same Body protocol that drives.

In: a source (sources.py), a camera, perhaps a table of own speeds (speeds.py). Out: Observations with the source's own times. Own speed
comes from the log's CarState, from the table, or is unknown: then `speed_std` says so. A log brings its own cameras, those that look
aside too. It has no wheels: `act` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nanopilot.bodies import sources
from nanopilot.bodies.sources import SourceBroken, SourceError
from nanopilot.bodies.speeds import SpeedTable, unknown
from nanopilot.messages import BodyStopped, CameraModel, Frame, Observation, SafeCommand, VehicleModel

PASSENGER_CAR = VehicleModel(  # a middle-class car, where nobody tells ours
    wheelbase=2.7, length=4.5, width=1.8, rear_overhang=0.9, max_wheel_angle=0.6, max_acceleration=3.0, max_deceleration=8.0,
    actuator_delay=0.1,
)  # fmt: skip


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
        self.cameras: tuple[CameraModel, ...] = (camera(width, height) if told is None else told, *self._next.side_cameras)
        self.speed_source = "log" if speeds is None else speeds.source

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
        return Observation(t, (Frame(t, self.cameras[0].name, picture.image), *picture.sides), car)

    def act(self, command: SafeCommand) -> None:
        """Nothing: who watches doesn't drive."""

    def close(self) -> None:
        """Let go of the source; may be called twice."""
        close = getattr(self._pictures, "close", None)
        if close is not None:
            close()
