"""`nanopilot watch SOURCE`: everything a watch leaves behind, and its exit code.

In: a source, what is known of its camera, a folder. Out: NAME.events.jsonl (flushed per event), NAME.mcap (pictures and all messages),
NAME.mp4 (what was seen, drawn), NAME.events/ (a picture per event) and NAME.html (the report). Log and film are written in a thread
of their own, by a short queue, so memory stays constant. Ctrl-C or SIGTERM ends the watch as if the source had ended: everything is kept.
Exit code: 0 watched to the end, 1 the source broke off or steps failed, 130 Ctrl-C, 143 SIGTERM; bad input raises ValueError.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from threading import Thread
from time import perf_counter

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nanopilot import __version__, draw
from nanopilot.bodies import lens as lenses
from nanopilot.bodies import sources
from nanopilot.bodies.lens import LensConfig
from nanopilot.bodies.recording import Recording
from nanopilot.bodies.speeds import read_speeds
from nanopilot.log import Log, Step
from nanopilot.messages import CameraModel, speed_known
from nanopilot.video import Film
from nanopilot.watch import Record, WatchConfig, Watcher
from nanopilot.watch.events import Event, EventBook
from nanopilot.watch.report import About, write_report
from nanopilot.watch.series import Series, Totals

KPH = 3.6
HEIGHT_STD, GUESSED_HEIGHT_STD = 0.03, 0.07  # of the camera's height, where it is told, and where 1.4 m is taken (cars: 1.2 to 1.5)
PRESET = "ultrafast"  # of the film: less than half of superfast's processor time, a third larger (measured)
QUEUE = 8  # steps the writer may be behind
EVENT_WIDTH = 640  # px
MOST_PICTURES = 300  # of events
EVERY = 10.0  # s between lines where nobody looks at a terminal
COLUMNS = ("t", "speed", "speed_std", "headway", "ttc", "left", "right")


@dataclass(frozen=True)
class RunConfig:
    source: str
    out: Path = Path("out")
    lens: LensConfig = field(default_factory=LensConfig)
    speed: Path | None = None  # a file of own speeds, as bodies.speeds reads it, and
    speed_later: float = 0.0  # s of the video at which it begins
    hz: float | None = None
    seconds: float | None = None
    log: bool = True
    video: bool = True
    refine: bool = True
    blur: bool = False
    watch: WatchConfig = field(default_factory=WatchConfig)


def run(config: RunConfig, perceive=None, console: Console | None = None, begin: Callable[[Path], None] | None = None) -> int:
    """Watch and write; `begin` hears of the log before it is written.

    Raises ValueError (SourceError) for bad input, LogError or OSError for a disk that takes no more.
    """
    console = console or Console(stderr=True, highlight=False)
    if config.seconds is not None and not config.seconds > 0:
        raise ValueError(f"seconds must be more than 0, not {config.seconds:g}")
    if config.hz is not None and not 1 <= config.hz <= 240:
        raise ValueError(f"hz must be from 1 to 240, not {config.hz:g}")
    speeds = None if config.speed is None else read_speeds(config.speed, config.speed_later)
    found: list[lenses.Lens] = []

    def camera(width: int, height: int):
        found.append(lenses.lens(config.lens, width, height))
        return found[0].camera

    body = Recording(config.source, camera, speeds, config.hz, own_camera=config.lens != LensConfig())
    lens = found[0] if found else lenses.Lens(body.cameras[0], "the log's own camera", height_told=True)
    height_std = HEIGHT_STD if lens.height_told else GUESSED_HEIGHT_STD
    watch_config = replace(
        config.watch, refine=config.refine, blur=config.blur, odometry=replace(config.watch.odometry, height_std=height_std)
    )
    watcher = Watcher(body, watch_config, lens.undistorter(), perceive, body.speed_source)
    config.out.mkdir(parents=True, exist_ok=True)
    stem = config.out / _name(config.source, config.out)
    interrupted, wall = 0, perf_counter()
    series, totals = Series(COLUMNS), Totals()
    with ExitStack() as stack:
        stack.callback(body.close)
        if begin is not None:
            begin(Path(f"{stem}.mcap"))
        events = EventBook(Path(f"{stem}.events.jsonl"))
        stack.callback(events.close)
        shots = Path(f"{stem}.events")
        for old in shots.glob("*.jpg"):  # of an earlier watch, perhaps without --blur
            old.unlink()
        about = {"version": __version__, "source": config.source, "command": " ".join(sys.argv[1:]), "camera": lens.source}
        log = stack.enter_context(Log(f"{stem}.mcap", about)) if config.log else None
        film = stack.enter_context(Film(Path(f"{stem}.mp4"), PRESET)) if config.video else None
        if log is not None:
            log.write("/vehicle", body.vehicle, 0.0)
        writer = _Writer(log, film)
        stack.callback(writer.stop)
        progress = stack.enter_context(_ProgressLine(console, sources.length(config.source), config.seconds))
        record = None
        try:
            for record in watcher.watch():
                fresh = _account(record, series, totals, events)
                for event in fresh:
                    if len(events.all) <= MOST_PICTURES:
                        _shoot(record, event, len(events.all), shots)
                        console.print(f"{event.worst.t:8.2f} s  {event.worst.kind} {event.worst.level}: {event.worst.reason}")
                writer.put(record)
                progress.step(record, totals, events)
                if config.seconds is not None and record.observation.t >= config.seconds:
                    watcher.stopped = "the time is up"
                    break
        except (KeyboardInterrupt, SystemExit) as told:
            interrupted, watcher.stopped = 143 if isinstance(told, SystemExit) else 130, "interrupted"
        writer.finish()
        events.close()
    wall = perf_counter() - wall
    stopped = body.broken or watcher.stopped
    calibration = record.calibration if record is not None else None
    what = About(config.source, lens.source, stopped, wall, record.camera if record else body.cameras[0], calibration)
    write_report(Path(f"{stem}.html"), what, totals, series, events.all, shots)
    _summary(console, what, totals, events, stem, config)
    if interrupted:
        return interrupted
    return 1 if body.broken or totals.faults else 0


def _account(record: Record, series: Series, totals: Totals, events: EventBook) -> list[Event]:
    """The step's numbers into series and totals; events that begin or rise."""
    t, motion, how = record.observation.t, record.motion, record.lead
    known = speed_known(motion)
    headway = how.gap / motion.speed if known and how is not None and motion.speed > 30 / KPH else None
    usable = record.percept is not None and record.percept.valid
    nan = float("nan")
    edges = [nan if e is None else e for e in record.edges]
    series.add(t, motion.speed if known else nan, motion.speed_std if known else nan, nan if headway is None else headway,
               how.ttc if how is not None and how.ttc < 10 else nan, *edges)  # fmt: skip
    share = motion.speed_std / motion.speed if motion.speed > 1 else 0.0
    totals.step(t, motion.speed if known else None, share, motion.source, headway, usable, record.fault)
    return events.step(record.warnings, motion, known)


def _shoot(record: Record, event: Event, number: int, folder: Path) -> None:
    """The step's picture with its overlay as a JPEG; of an event that rises, again under the same name."""
    folder.mkdir(exist_ok=True)
    event.picture = event.picture or f"{number:04d}-{event.first.kind}.jpg"
    image = _drawn(record)
    k = min(1.0, EVENT_WIDTH / image.shape[1])
    small = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / event.picture), small[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 80))


def _drawn(record: Record) -> np.ndarray:
    image = record.observation.frames[0].image
    return draw.step(image, record.camera, record.observation.car, record.percept, record.world, warnings=record.warnings,
                     scale=draw.scale_for(image))  # fmt: skip


class _Writer:
    """Log and film in a thread of their own. An error there is raised by the next `put`, or by `finish`."""

    def __init__(self, log: Log | None, film: Film | None) -> None:
        self.log, self.film = log, film
        self.camera: CameraModel | None = None
        self.queue: Queue[Record | None] = Queue(QUEUE)
        self.error: Exception | None = None
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def put(self, record: Record) -> None:
        if self.error is not None:
            raise self.error
        self.queue.put(record)

    def stop(self) -> None:
        """Wait for what was put; may be called twice."""
        if self.thread.is_alive():
            self.queue.put(None)
            self.thread.join()

    def finish(self) -> None:
        self.stop()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        while (record := self.queue.get()) is not None:
            if self.error is None:
                try:
                    self._write(record)
                except Exception as error:
                    self.error = error

    def _write(self, record: Record) -> None:
        if self.log is not None:
            if record.camera != self.camera:
                self.camera = record.camera
                self.log.write(f"/camera/{record.camera.name}/model", record.camera, record.observation.t)
            step = Step(record.observation.t, record.seconds, record.fault)
            self.log.write_step(record.observation, step, percept=record.percept, world=record.world, motion=record.motion,
                                calibration=record.calibration, warnings=record.warnings)  # fmt: skip
        if self.film is not None:
            self.film.add(record.observation.t, _drawn(record))


class _ProgressLine:
    """A bar on a terminal, else a line now and then."""

    def __init__(self, console: Console, length: float | None, seconds: float | None) -> None:
        self.console, self.printed, self.start = console, perf_counter(), perf_counter()
        total = min((x for x in (length, seconds) if x is not None), default=None)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, transient=True) if console.is_terminal else None
        self.task = self.bar.add_task("watching", total=total, told="") if self.bar else None

    def __enter__(self) -> _ProgressLine:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, record: Record, totals: Totals, events: EventBook) -> None:
        now = perf_counter()
        if self.bar is None and now - self.printed < EVERY:
            return
        self.printed, t, m = now, record.observation.t, record.motion
        speed = f"{m.speed * KPH:.0f} ± {m.speed_std * KPH:.0f} km/h" if speed_known(m) else "speed unknown"
        mounted = f", camera {100 * record.calibration.progress:.0f} %" if record.calibration else ""
        told = f"{t:.1f} s, {totals.pictures / (now - self.start):.0f} pictures/s, {speed}{mounted}, {len(events.all)} events"
        if self.bar:
            self.bar.update(self.task, completed=t, told=told)
        else:
            self.console.print(told)


def _name(source: str, out: Path) -> str:
    """What the files are called: after the source, and never so that one of them is the source."""
    if "://" in source:
        return "stream"
    if source.isdigit():
        return f"camera{source}"
    path = Path(source).resolve()
    return (path.stem or "watch") + ("-watched" if path.parent == out.resolve() else "")


def _summary(console: Console, about: About, totals: Totals, events: EventBook, stem: Path, config: RunConfig) -> None:
    rate = totals.pictures / about.wall if about.wall else 0.0
    console.print(
        f"{totals.pictures} pictures, {totals.seconds:.1f} s, {totals.metres / 1000:.2f} km; {rate:.1f} pictures/s; {about.stopped}"
    )
    for fault, count in totals.faults.items():
        console.print(f"{count} steps failed: {fault}")
    console.print(f"{len(events.all)} events")
    for ending in ("events.jsonl", *(["mcap"] if config.log else []), *(["mp4"] if config.video else []), "html"):
        print(f"{stem}.{ending}")
