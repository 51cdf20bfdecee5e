"""Where recorded and live pictures come from: video file, folder of frames, webcam, network stream, recorded log.

In: what the user named. Out: Pictures: t, RGB, and what a log knows besides; t in seconds from the first one by the source's
own clock: a video's timestamps (variable frame rate as it is), a live camera's arrival time. Pictures stand upright (rotation metadata is
applied). What can't be watched raises SourceError in words for people; a source that breaks later ends with SourceBroken, and
what came before was good. A live source gives its newest picture and skips what nobody had time for;
everything else is read a little ahead, in a thread; a video file behind a URL is a file.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

from nanopilot.geometry import looks_aside
from nanopilot.log import LogError, steps
from nanopilot.messages import CameraModel, CarState, Frame

Array = np.ndarray

VIDEO_HZ = 25.0  # of a folder of frames, unless told
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm")
RECONNECT = (0.5, 8.0)  # s, first and longest wait
GIVE_UP = 60.0  # s without a picture until a stream counts as gone
TIMEOUT = 5.0  # s, of one attempt to open or read a stream
AHEAD = 2  # pictures read in advance from what waits for us: decoding and seeing share the cores
ANEW = 0.5  # s by which a video's clock goes back when it begins anew: recordings that were joined
SHAPE_SLACK = 0.02  # by which width / height may change within a source, guess: encoders round sizes to 16 px


class SourceError(ValueError):
    """The source can't be watched. `args[0]` is a line for people."""


class SourceBroken(Exception):
    """The source ended before its end. `args[0]` is a line for people."""


class Picture(NamedTuple):
    t: float
    image: Array  # (H, W, 3) uint8 RGB
    car: CarState | None = None  # where the source knows it
    camera: CameraModel | None = None
    sides: tuple[Frame, ...] = ()  # of cameras that look aside
    side_cameras: tuple[CameraModel, ...] = ()  # all of them, whether they gave a picture now or not


def is_live(source: str) -> bool:
    """Whether the source is a camera or a stream: it doesn't wait for us."""
    return source.isdigit() or "://" in source


def pictures(source: str, hz: float | None = None) -> Iterator[Picture]:
    """Every picture of the source; `hz` sets the rate of what has no clock. The first may raise SourceError, later ones SourceBroken."""
    if source.isdigit():
        return _same_size(_beside(lambda: _webcam(int(source)), live=True), f"camera {source}")
    if "://" in source:
        lasts = _lasts(source)
        return _same_size(_beside(lambda: _video(source, hz) if lasts else _reconnecting(source), live=not lasts), source)
    path = Path(source)
    if not path.exists():
        raise SourceError(f"no such file or folder: {source}")
    if path.is_dir():
        return _same_size(_beside(lambda: _folder(path, hz or VIDEO_HZ), live=False), source)
    if path.stat().st_size == 0:
        raise SourceError(f"{source} is empty (zero bytes)")
    return _same_size(_beside(lambda: _log(path) if path.suffix == ".mcap" else _video(path, hz), live=False), source)


def length(source: str) -> float | None:
    """Seconds the source lasts, where that is known."""
    path = Path(source)
    if is_live(source) or not path.is_file() or path.suffix == ".mcap":
        return None
    try:
        with av.open(str(path)) as container:
            return container.duration / av.time_base if container.duration else None
    except (av.FFmpegError, OSError):
        return None


def _lasts(url: str) -> bool:
    """Whether a web server gives a whole file there, which has a length and waits for us, and no stream."""
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with av.open(url, timeout=TIMEOUT) as container:
            return bool(container.duration)
    except (av.FFmpegError, OSError):
        return False


def _video(path: Path | str, hz: float | None) -> Iterator[Picture]:
    try:
        container = av.open(str(path), timeout=GIVE_UP)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path} is no video that FFmpeg can read: {error.strerror}") from error
    with container:
        if not container.streams.video:
            raise SourceError(f"{path} holds no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.guessed_rate or stream.average_rate  # the average of a bare codec stream is FFmpeg's default, 25
        start: float | None = None
        last, count = -1.0, 0
        damaged: list[float] = []
        try:
            for frame in _frames(container, stream, damaged):
                if hz is not None:
                    at = count / hz
                elif frame.time is not None:
                    at = frame.time
                elif rate:
                    at = count / float(rate)
                else:
                    raise SourceError(f"{path} has neither timestamps nor a frame rate: name one with --hz")
                start = at if start is None else start
                if at - start < last - ANEW:
                    start = at - last - 1.0 / float(rate or VIDEO_HZ)
                count += 1
                if at - start > last:  # a frame that goes back in time is none
                    last = at - start
                    yield Picture(last, upright(frame.to_ndarray(format="rgb24"), frame.rotation))
        except av.FFmpegError as error:
            if count == 0:
                raise SourceError(f"{path}: no picture can be decoded: {error.strerror}") from error
            raise SourceBroken(f"{path} breaks off after {last:.2f} s: {error.strerror}") from error
        if count == 0:
            raise SourceError(f"{path} holds no pictures" + (" that can be decoded" if damaged else ""))
        told = container.duration / av.time_base if container.duration else last
        if told - last > max(1.0, 0.02 * told):
            raise SourceBroken(f"{path} says it lasts {told:.1f} s, but its pictures end after {last:.2f} s: it was cut off")
        if damaged:
            raise SourceBroken(f"{path} is damaged: {len(damaged)} packets were passed over, the first at {damaged[0]:.2f} s")


def _frames(container: Any, stream: Any, damaged: list[float]) -> Iterator[Any]:
    """The stream's frames; a packet that can't be decoded (a bad sector of a memory card) costs what builds on it, and its time is kept."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            damaged.append(float((packet.pts or 0) * packet.time_base))
            continue
        yield from frames


def upright(image: Array, rotation: int) -> Array:
    """The picture as it should be shown; `rotation` (degrees, counterclockwise) is how the metadata says to turn it."""
    return np.ascontiguousarray(np.rot90(image, round(rotation / 90) % 4)) if rotation else image


def _folder(path: Path, hz: float) -> Iterator[Picture]:
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=_counted)
    if not files:
        raise SourceError(f"{path} holds no pictures ({', '.join(PICTURES)})")
    for k, file in enumerate(files):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            error = SourceError if k == 0 else SourceBroken
            raise error(f"{file} is no picture that OpenCV can read")
        yield Picture(k / hz, np.ascontiguousarray(image[..., ::-1]))


def _counted(path: Path) -> list[tuple[int, str]]:
    """The order people count in: 2.jpg before 10.jpg."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]


def _log(path: Path) -> Iterator[Picture]:
    start: float | None = None
    for step in steps(path):
        aside = {v.name: v for v in step.values() if isinstance(v, CameraModel) and looks_aside(v)}
        frames = [v for v in step.values() if isinstance(v, Frame)]
        frame = next((f for f in frames if f.camera not in aside), None)
        if frame is None:
            continue
        start = frame.t if start is None else start
        sides = tuple(replace(f, t=frame.t - start) for f in frames if f.camera in aside)
        camera = step.get(f"/camera/{frame.camera}/model")
        yield Picture(frame.t - start, frame.image, step.get("/car"), camera, sides, tuple(aside.values()))
    if start is None:
        raise LogError(f"the log {path} has no camera pictures")


def _same_size(source: Iterator[Picture], name: str) -> Iterator[Picture]:
    """All pictures in the first one's size: those of the same shape are scaled, another shape is another camera, and ends it."""
    size: tuple[int, ...] | None = None
    for picture in source:
        size = picture.image.shape if size is None else size
        (h, w, _), (h2, w2, _) = size, picture.image.shape
        if abs(w2 / h2 / (w / h) - 1) > SHAPE_SLACK:
            raise SourceBroken(f"{name} changes from {w}x{h} to {w2}x{h2} after {picture.t:.2f} s: watch the parts apart")
        if (h2, w2) != (h, w):
            how = cv2.INTER_AREA if w2 > w else cv2.INTER_LINEAR
            picture = picture._replace(image=cv2.resize(picture.image, (w, h), interpolation=how))
        yield picture


def _webcam(index: int) -> Iterator[Picture]:
    capture = cv2.VideoCapture(index)
    try:
        if not capture.isOpened():
            raise SourceError(f"no camera {index} (is it plugged in, and may you read /dev/video{index}?)")
        start = monotonic()
        while True:
            ok, image = capture.read()
            if not ok:
                raise SourceBroken(f"camera {index} gives no more pictures")
            yield Picture(monotonic() - start, np.ascontiguousarray(image[..., ::-1]))
    finally:
        capture.release()


def _reconnecting(url: str) -> Iterator[Picture]:
    """A stream's pictures by their arrival; it is opened again when it stops, until nothing has come for GIVE_UP."""
    start = last = monotonic()
    wait, seen = RECONNECT[0], False
    options = {"rtsp_transport": "tcp"} if url.startswith("rtsp") else {}
    while True:
        try:
            with av.open(url, timeout=TIMEOUT, options=options) as container:
                for frame in container.decode(video=0):
                    last, wait, seen = monotonic(), RECONNECT[0], True
                    yield Picture(last - start, upright(frame.to_ndarray(format="rgb24"), frame.rotation))
            reason = "it ended"
        except (av.FFmpegError, OSError, IndexError) as error:
            reason = str(getattr(error, "strerror", None) or error)
        if monotonic() - last > (GIVE_UP if seen else TIMEOUT):
            error_kind = SourceBroken if seen else SourceError
            raise error_kind(f"{url}: no picture for {monotonic() - last:.0f} s: {reason}")
        sleep(wait)
        wait = min(2 * wait, RECONNECT[1])


def _beside(source: Callable[[], Iterator[Picture]], live: bool) -> Iterator[Picture]:
    """What `source()` yields, read in a thread of its own; of a live one the newest, and pictures nobody had time for are dropped."""
    waiting: list[Picture] = []
    changed, stop = threading.Condition(), threading.Event()
    ended: list[Exception | None] = []  # at most one: why it ended, None for as it should

    def read() -> None:
        try:
            for picture in source():
                with changed:
                    while not live and len(waiting) >= AHEAD and not stop.is_set():
                        changed.wait()
                    waiting[:] = [picture] if live else [*waiting, picture]
                    changed.notify()
                if stop.is_set():
                    return
            ended.append(SourceBroken("the source ended") if live else None)
        except Exception as error:  # told in the reader's thread
            ended.append(error)
        with changed:
            changed.notify()

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            with changed:
                while not waiting and not ended:
                    changed.wait(0.2)  # so that Ctrl-C is heard
                if not waiting:
                    if ended[0] is not None:
                        raise ended[0]
                    return
                picture = waiting.pop(0)
                changed.notify()
            yield picture
    finally:
        stop.set()
        with changed:
            changed.notify()
