"""A log as a Rerun recording: `nanopilot view LOG --rerun` writes LOG's .rrd, which Rerun's viewer opens.

In: a log's path. Out: an .rrd with the camera picture and its boxes, the road and the others in metres (vehicle frame, as the picture was
taken), own speed, and what is warned of, done and faulty as text; timeline `t` in the log's seconds. Needs the extra `rerun`; nothing else
does. Scene, signs and messages of an unknown type are left out; pictures are encoded anew. Source: rerun.io/docs/reference/types.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from nanopilot.geometry import camera_from_vehicle, intrinsics
from nanopilot.log import JPEG_QUALITY, LogError, steps
from nanopilot.messages import CameraModel, Frame, Kind, Percept, Plan, SafeCommand, Track, WarningLevel, Warnings, World, speed_known

if TYPE_CHECKING:
    import rerun

HEIGHT = {Kind.VEHICLE: 1.6, Kind.PERSON: 1.8, Kind.CYCLIST: 1.8}  # m, drawn only
PICTURE_AT = 3.0  # m before the lens at which the viewer hangs the picture
CYAN, WHITE, GREEN, ORANGE = (60, 220, 240), (245, 245, 245), (70, 220, 120), (255, 170, 50)
TEXT_LEVEL = {WarningLevel.INFO: "INFO", WarningLevel.EARLY: "WARN", WarningLevel.MEDIUM: "WARN", WarningLevel.LATE: "ERROR"}


def export(log: Path, out: Path) -> int:
    """Write the recording and return its number of steps. Raises ValueError without the extra, LogError for a log that holds none."""
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise ValueError("--rerun needs the extra of that name: pip install 'nanopilot[rerun]'") from error
    writer, count = _Writer(rerun), 0
    source = steps(log)
    first = next(source, None)
    if first is None:
        raise LogError(f"the log {log} holds no steps")
    partial = out.with_name(out.name + ".part")  # it takes its name when it is whole
    try:
        writer.stream.save(partial)
        for messages in (m for part in ((first,), source) for m in part):
            writer.step(messages)
            count += 1
        writer.stream.disconnect()
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return count


class _Writer:
    """One step after another into a stream; what is said again is told once."""

    def __init__(self, rr: Any) -> None:
        self.rr = rr
        self.stream: rerun.RecordingStream = rr.RecordingStream("nanopilot")
        self.stream.log("/", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self.said: dict[str, str] = {}
        self.camera: CameraModel | None = None

    def step(self, messages: dict[str, Any]) -> None:
        rr, log = self.rr, self.stream.log
        self.stream.set_time("t", duration=messages["/step"].t)
        for topic, frame in messages.items():
            if isinstance(frame, Frame):
                self._picture(frame, messages.get(f"{topic}/model"), messages.get("/percept"))
        car, world, plan, warnings = (messages.get(f"/{name}") for name in ("car", "world", "plan", "warnings"))
        if car is not None and speed_known(car):
            log("own/speed", rr.Scalars(car.speed))
        if isinstance(world, World):
            for name, curve, colour in (("path", world.path, WHITE), ("left", world.left, CYAN), ("right", world.right, CYAN)):
                self._line(f"vehicle/{name}", None if curve is None else curve.points, colour)
            self._tracks(world.tracks)
        if isinstance(plan, Plan):
            self._line("vehicle/plan", plan.xy, GREEN)
            self._say("behaviour", f"{plan.behaviour}: {plan.reason}", "INFO")
        if isinstance(warnings, Warnings):
            for w in warnings.new:
                log("text/warnings", rr.TextLog(f"{w.kind.replace('_', ' ')} {w.level}: {w.reason}", level=TEXT_LEVEL[w.level]))
        safe = messages.get("/safe")
        self._say("safety", ", ".join(safe.reasons) if isinstance(safe, SafeCommand) else "", "WARN")
        self._say("fault", messages["/step"].fault, "ERROR")

    def _picture(self, frame: Frame, camera: CameraModel | None, percept: Percept | None) -> None:
        rr, at = self.rr, f"vehicle/{frame.camera}"
        if camera is not None and camera != self.camera:
            self.camera = camera
            r, _ = camera_from_vehicle(camera)
            self.stream.log(at, rr.Transform3D(translation=(camera.x, camera.y, camera.z), mat3x3=r.T))
            pinhole = rr.Pinhole(image_from_camera=intrinsics(camera), resolution=(camera.width, camera.height),
                                 image_plane_distance=PICTURE_AT)  # fmt: skip
            self.stream.log(at, pinhole)
        ok, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        if ok:
            self.stream.log(at, rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        objects = percept.objects if percept is not None else ()
        boxes = np.array([o.box for o in objects], float).reshape(-1, 4)
        labels = [f"{o.kind} {o.distance:.0f} m" for o in objects]
        self.stream.log(
            f"{at}/objects", rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYXY, labels=labels, colors=[ORANGE] * len(labels))
        )

    def _line(self, at: str, points: np.ndarray | None, colour: tuple[int, int, int]) -> None:
        strips = [] if points is None or len(points) < 2 else [np.column_stack([points, np.zeros(len(points))])]
        self.stream.log(at, self.rr.LineStrips3D(strips, colors=[colour] * len(strips)))

    def _tracks(self, tracks: tuple[Track, ...]) -> None:
        rr = self.rr
        heights = [HEIGHT[t.kind] for t in tracks]
        centres = np.array([(t.x, t.y, h / 2) for t, h in zip(tracks, heights, strict=True)]).reshape(-1, 3)
        halves = np.array([(t.length / 2, t.width / 2, h / 2) for t, h in zip(tracks, heights, strict=True)]).reshape(-1, 3)
        turned = [rr.Quaternion(xyzw=(0, 0, np.sin(t.yaw / 2), np.cos(t.yaw / 2))) for t in tracks]
        labels = [f"{t.kind} {t.id}" for t in tracks]
        self.stream.log("vehicle/tracks", rr.Boxes3D(centers=centres, half_sizes=halves, quaternions=turned, labels=labels,
                                                     colors=[ORANGE] * len(labels)))  # fmt: skip

    def _say(self, what: str, text: str, level: str) -> None:
        if text != self.said.get(what, ""):
            self.said[what] = text
            if text:
                self.stream.log(f"text/{what}", self.rr.TextLog(text, level=level))
