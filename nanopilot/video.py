"""A log as a film: H.264 in MP4, one picture per step, drawn after the drive so that it costs the drive nothing.

In: a log's path. Out: an MP4. The pictures are those the pilot saw (as the log keeps them) with what it made of
them drawn on by `draw`. Steps without a front picture or car state are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot import draw
from nanopilot.log import LogError, steps
from nanopilot.messages import CameraModel, Frame

QUALITY = "23"  # x264's constant rate factor
PRESET = "veryfast"


def render(log: Path, path: Path, progress: Callable[[int], None] | None = None) -> int:
    """Write the film and return its number of pictures. Raises LogError when the log shows nothing, OSError on a full disk."""
    with Film(path) as film:
        for messages in steps(log):
            frame, camera = _front(messages)
            if frame is None or camera is None or "/car" not in messages:
                continue
            parts = {name: messages.get(f"/{name}") for name in ("percept", "world", "plan", "safe", "warnings")}
            film.add(frame.t, draw.step(frame.image, camera, messages["/car"], scale=draw.scale_for(frame.image), **parts))
            if progress is not None:
                progress(film.pictures)
        if not film.pictures:
            raise LogError(f"the log {log} has no camera pictures to show")
    return film.pictures


class Film:
    """An MP4 that grows picture by picture; a context manager. It takes its name when it is whole; an
    interrupt finishes it, one without pictures, or of a drive that failed, leaves no file."""

    def __init__(self, path: Path, preset: str = PRESET) -> None:
        self.path, self.pictures, self.preset = path, 0, preset
        self._partial = path.with_name(path.name + ".part")
        self._container = av.open(str(self._partial), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: av.VideoStream | None = None
        self._start = 0.0

    def add(self, t: float, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """One RGB picture at `t` s; both sides are cut to even numbers. Raises OSError on a full disk."""
        image = image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]
        if self._stream is None:
            self._stream, self._start = self._container.add_stream("libx264", rate=20, options={"crf": QUALITY, "preset": self.preset}), t
            self._stream.height, self._stream.width, self._stream.pix_fmt = *image.shape[:2], "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, 1000)
        picture = av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), "yuv420p")  # six times as fast as FFmpeg's own
        picture.pts, picture.time_base = round((t - self._start) * 1000), Fraction(1, 1000)
        self._container.mux(self._stream.encode(picture))
        self.pictures += 1

    def __enter__(self) -> Film:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if self.pictures and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._partial.replace(self.path)
        finally:
            self._partial.unlink(missing_ok=True)


def _front(messages: dict[str, object]) -> tuple[Frame | None, CameraModel | None]:
    """The first camera's picture and model."""
    for topic, message in messages.items():
        if isinstance(message, Frame):
            return message, messages.get(f"{topic}/model")  # type: ignore[return-value]  # a model topic holds a CameraModel
    return None, None
