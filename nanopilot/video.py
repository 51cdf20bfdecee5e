"""A log as a film: H.264 in MP4, one picture per step, drawn after the drive so that it costs the drive nothing.

In: a log's path. Out: an MP4. The pictures are those the pilot saw (as the log keeps them) with what it made of
them drawn on by `draw`. Steps without a front picture or car state are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from nanopilot import draw
from nanopilot.log import LogError, steps
from nanopilot.messages import CameraModel, Frame

QUALITY = "23"  # x264's constant rate factor
PRESET = "veryfast"


def render(log: Path, path: Path, progress: Callable[[int], None] | None = None) -> int:
    """Write the film and return its number of pictures. Raises LogError when the log shows nothing, OSError on a full disk."""
    pictures = 0
    partial = path.with_name(path.name + ".part")
    try:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream, start = None, 0.0
            for messages in steps(log):
                frame, camera = _front(messages)
                if frame is None or camera is None or "/car" not in messages:
                    continue
                parts = {name: messages.get(f"/{name}") for name in ("percept", "world", "plan", "safe")}
                image = draw.step(frame.image, camera, messages["/car"], **parts)
                if stream is None:
                    stream, start = container.add_stream("libx264", rate=20, options={"crf": QUALITY, "preset": PRESET}), frame.t
                    stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
                    stream.codec_context.time_base = Fraction(1, 1000)
                picture = av.VideoFrame.from_ndarray(image, "rgb24")
                picture.pts, picture.time_base = round((frame.t - start) * 1000), Fraction(1, 1000)
                container.mux(stream.encode(picture))
                pictures += 1
                if progress is not None:
                    progress(pictures)
            if stream is None:
                raise LogError(f"the log {log} has no camera pictures to show")
            container.mux(stream.encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return pictures


def _front(messages: dict[str, object]) -> tuple[Frame | None, CameraModel | None]:
    """The first camera's picture and model."""
    for topic, message in messages.items():
        if isinstance(message, Frame):
            return message, messages.get(f"{topic}/model")  # type: ignore[return-value]
    return None, None
