"""The `nanopilot` command: every subcommand is a frozen dataclass, and tyro makes the options from its fields.

In: the command line. Out: an exit code: 0 done, 1 it didn't arrive (or a check failed), 2 bad usage or bad input in
one clear line, 130 Ctrl-C, 143 told to end. Imports are inside the functions, so that `--help` and a mistyped option answer at once.
Longer than other files, as the options of every subcommand stand here, half of it fields: what can be typed is read in one place.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitSubcommandPrefixes, Positional, arg, subcommand


@dataclass(frozen=True)
class Drive:
    """Drive a route in the simulator from camera pictures alone; leaves a log (MCAP) and a film (MP4)."""

    seed: str = "3000"
    """Which map and traffic: a number, or a range as 1000-1029."""
    map: str = "3"
    """How many blocks the map has, or which, as SCXO: S straight, C curve, X T junctions, O roundabout, r R ramps, y Y lanes end, begin."""
    town: str = ""
    """A town with rules in place of the map: grid, spider, random, or a file (.net.xml, .osm, .xodr). Needs the extra `town`."""
    traffic: float = 0.1
    """Density of other cars: 0 none, 0.1 ordinary, 0.3 dense."""
    camera: Literal["cpu", "opengl"] = "cpu"
    """nanopilot's own camera, or MetaDrive's (slow, needs GL)."""
    seconds: float = 200.0
    """Stop after so much simulated time; three times as long in a town."""
    hz: float = 20.0
    """Pictures and commands a second."""
    speed_kph: float = 50.0
    """The speed limit."""
    oracle: bool = False
    """Give the pilot the simulator's truth in place of the network's answer, to see what the rest of it can do."""
    truth: tuple[Literal["lights", "objects", "path"], ...] = ()
    """Give the pilot the truth in place of these parts of the network's answer: what is each worth?"""
    mode: Literal["chill", "standard", "assertive"] = "standard"
    """How it drives: gaps, how hard it accelerates, brakes and takes curves."""
    repeat: int = 1
    """Drive each seed so many times."""
    out: Path = Path("out")
    """Folder for the log and the film."""
    video: bool = True
    """Make the film."""
    show: bool = False
    """A page to watch the drive on while it is driven; it stays until Ctrl-C (as `nanopilot view` on the log)."""


@dataclass(frozen=True)
class Routes:
    """Does it arrive? Our pilot or MetaDrive's own drivers on the same maps; or our pilot in towns with rules."""

    seeds: str = "1000-1029"
    world: Literal["metadrive", "town"] = "metadrive"
    """town: SUMO's, at least a kilometre each, judged as CARLA's leaderboard judges. Needs the extra `town`."""
    town: str = "mixed"
    """Which: grid, spider, random, a file, or mixed: each seed its kind."""
    truth: tuple[Literal["lights", "objects", "path"], ...] = ()
    """The truth in place of these parts of what is seen."""
    without: tuple[Literal["narrow camera", "side cameras", "memory", "prediction"], ...] = ()
    """The pilot without these: the second camera (towns), those to the sides, the path it remembers, where others will be."""
    ablations: bool = False
    """Every part in turn, by truth and without: a table that says what to work on."""
    seconds: float = 0.0
    """Stop each drive after so much simulated time; 0: 200 on a map, 600 in a town."""
    logs: Path | None = None
    """Keep the logs of failed drives in this folder (dev/failures.py draws them)."""
    mode: Literal["chill", "standard", "assertive"] = "standard"
    """How our pilot drives."""
    driver: Literal["pilot", "oracle", "lane_follower", "idm", "expert"] = "pilot"
    """oracle: our pilot with the truth for eyes. lane_follower: without a route. idm, expert: MetaDrive's own, who see the truth."""
    map: str = "3"
    repaired: bool = False
    """MetaDrive lays some ramps' lines across every lane, so that nobody can arrive: drive maps without that fault."""
    traffic: float = 0.1
    camera: Literal["cpu", "opengl"] = "cpu"
    json: Path | None = None
    """Write the report here; finished seeds are kept beside it, and a stopped run goes on."""
    workers: int = 2
    ray: tuple[str, ...] | None = None
    """Run on a Ray cluster: its address, or none for one started here (extra: ray)."""


@dataclass(frozen=True)
class Minute:
    """A minute in lane on curved roads, every wheel in the lane it chose."""

    seeds: str = "1000-1019"
    traffic: float = 0.0
    camera: Literal["cpu", "opengl"] = "cpu"
    hz: float = 20.0
    oracle: bool = False
    """Truth in place of the network, as in drive."""
    json: Path | None = None
    """Write the report here; finished seeds are kept beside it, and a stopped run goes on."""
    workers: int = 1
    """More than one is faster but spoils the real-time factor."""
    ray: tuple[str, ...] | None = None
    """Run on a Ray cluster: its address, or none for one started here (extra: ray)."""


@dataclass(frozen=True)
class Faults:
    """Cameras, network, clock, log, sensors and commands fail while driving: is it noticed in time, and does the car end well?"""

    seed: int = 3000
    """Which maps and noise."""
    only: str = ""
    """Only faults whose name holds this, as 'camera'."""
    moments: str = ""
    """Only these of straight, curve, lead, junction; comma between."""
    json: Path | None = None
    """Write the report here; finished rows are kept beside it, and a stopped run goes on."""
    workers: int = 2
    ray: tuple[str, ...] | None = None
    """Run on a Ray cluster: its address, or none for one started here (extra: ray)."""


@dataclass(frozen=True)
class Protocols:
    """Standard manoeuvres (FMVSS 127, Euro NCAP, UN R152, R157, ISO 15622), camera only: guardian alone or pilot engaged."""

    only: str = ""
    """Only these groups (fmvss127, ccr, vru, lane, r152, r157, iso15622) or cells whose name holds this; comma between."""
    seed: int = 2000
    """Looks, roadside and sensor noise."""
    engaged: bool = False
    """The pilot drives in every cell; without it only where the procedure is the pilot's."""
    friction: str = "1.0"
    """Of the road; more than one with commas, as 1.0,0.6."""
    coarse: bool = False
    """Every second cell of a row."""
    json: Path | None = None
    """Write the report here, and the page beside it as HTML; finished cells are kept, and a stopped run goes on."""
    workers: int = 2
    ray: tuple[str, ...] | None = None
    """Run on a Ray cluster: its address, or none for one started here (extra: ray)."""
    export: Path | None = None
    """Drive nothing: write the cells into this folder as OpenSCENARIO 1.3 and OpenDRIVE 1.7, validated (extra: scenario)."""


@dataclass(frozen=True)
class Perception:
    """The network alone on labelled pictures it was not trained on: real ones (docs/data.md has the layout) and the simulator's."""

    data: Path = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
    """Folder of real sets; each is optional."""
    frames: Path = Path("~/.cache/nanopilot/frames/test").expanduser()
    """Frames of the simulator's test maps, if drawn (python -m nanopilot.train.frames --split test --maps 30 --views 40)."""
    weights: Path | None = None
    """Other weights than the committed ones."""
    all_frames: bool = False
    """Count pictures that training has seen, too."""
    json: Path | None = None
    """Write the figures here."""
    out: Path | None = None
    """Folder for pictures of the worst ten frames of each set."""


@dataclass(frozen=True)
class Warnings:
    """The warnings of `watch` against truth: simulated dash-cam clips, each with when it should be warned of, and when not."""

    only: str = ""
    """Only clips whose names hold this."""
    hz: float = 20.0
    """Pictures a second."""
    seeds: str = "100"
    """Light, colours, scenery and the camera's pitch: below 100 they are for tuning."""
    json: Path | None = None
    """Write the figures here; finished clips are kept beside it, and a stopped run goes on."""
    workers: int = 1
    """Clips at a time."""


@dataclass(frozen=True)
class RobotSuite:
    """The pilot in the humanoid's body: many rooms. Rooms 0-999 are for tuning, 1000-1099 are held out."""

    task: Literal["walk", "fetch", "explore", "follow"] = "walk"
    seeds: str = "0-9"
    oracle: bool = False
    """True classes of pixels in place of the network's."""
    ideal_imu: bool = False
    """An IMU without error."""
    pushes: float = 0.0
    """Push the robot with so many m/s every 5 s."""
    dead_camera: bool = False
    """Black pictures from 5 s to 7 s."""
    jitter: float = 0.0
    """Colours and brightness of every picture off by such a share."""
    ablations: bool = False
    """Every ablation of `evaluate.ablate.ROBOT`, instead of the flags above."""
    json: Path | None = None
    """Write the report here; finished seeds are kept beside it, and a stopped run goes on."""
    workers: int = 1
    """More than one is faster but spoils the real-time factor."""
    ray: tuple[str, ...] | None = None
    """Run on a Ray cluster: its address, or none for one started here (extra: ray)."""


@dataclass(frozen=True)
class Evaluate:
    """Measure the pilot, with 95 % intervals, or the warnings."""

    suite: (
        Annotated[Routes, subcommand("routes")]
        | Annotated[Minute, subcommand("minute")]
        | Annotated[Faults, subcommand("faults")]
        | Annotated[Protocols, subcommand("protocols")]
        | Annotated[Perception, subcommand("perception")]
        | Annotated[Warnings, subcommand("watch")]
        | Annotated[RobotSuite, subcommand("robot")]
    )


@dataclass(frozen=True)
class Robot:
    """The same pilot in a humanoid's body; writes a log and a film. What it is to do is one word or a sentence."""

    errand: Positional[str]
    """walk, fetch, explore or follow, or as people say it: "bring the red box to the blue table", "go to 3.5 -1"."""
    seed: int = 0
    """Which room."""
    out: Path = Path("out")
    """Folder for robot.mcap and robot.mp4."""
    oracle: bool = False
    """True classes of pixels in place of the network's."""
    show: bool = False
    """A page to watch it on while it is done."""


@dataclass(frozen=True)
class Label:
    """Let the offline teachers label real pictures where they agree, and draw a contact sheet to look at."""

    source: Positional[Path]
    """A folder of pictures, or a video."""
    out: Path = Path("~/.cache/nanopilot/labels").expanduser()
    """Where labels and the sheet go; existing labels are kept."""
    every: int = 1
    """Only every so many-th frame."""
    teachers: Path = Path(os.environ.get("NANOPILOT_DATA", "../shared/data")) / "teachers"
    """Folder of the teachers' weights."""
    name: str | None = None
    """The set's name, which says how its camera stood; from the path unless given."""


@dataclass(frozen=True)
class Watch:
    """Watch a road video, a folder of pictures, a webcam (0), a stream or a log, and warn as a driver assistant does."""

    source: Positional[str]
    out: Path = Path("out")
    """Folder for events (JSON Lines), log (MCAP), film (MP4) and report (HTML)."""
    camera: Path | None = None
    """Calibration in OpenCV's YAML, as `nanopilot calibrate chessboard` writes it."""
    fov: float | None = None
    """The lens's field of view across, degrees."""
    focal: float | None = None
    """Its focal length, pixels."""
    height: float | None = None
    """Of the camera above the road, m; 1.4 unless given."""
    pitch: float | None = None
    """How far it looks down, degrees, to begin with."""
    refine: bool = True
    """Find the camera's pitch and yaw on the way."""
    speed: Path | None = None
    """Own speed in place of what the video shows: CSV (t, speed, perhaps yaw_rate; SI), GPX, NMEA, or candump -L of OBD-II answers."""
    speed_later: float = 0.0
    """Second of the video at which that file begins."""
    hz: float | None = None
    """Pictures a second of a source without a clock of its own (a folder: 25 unless given), or against its clock."""
    seconds: float | None = None
    """Stop after so much of the source."""
    log: bool = True
    """Write the log."""
    video: bool = True
    """Write the film."""
    blur: bool = False
    """Hide faces and number plates in everything that is saved: areas where people and cars were seen; no proof of privacy."""
    show: bool = False
    """A page to look at while it is watched; it stays until Ctrl-C (as `nanopilot view` on the log)."""


@dataclass(frozen=True)
class Calibrate:
    """The lens of a camera, as OpenCV's YAML: calibrate chessboard DIR takes it from pictures of a chessboard."""

    by: Positional[Literal["chessboard"]]
    folder: Positional[Path]
    columns: int = 9
    """Inner corners across."""
    rows: int = 6
    """Inner corners down."""
    square: float = 0.025
    """Side of a square, m; the lens doesn't depend on it."""
    out: Path = Path("calibration.yaml")


@dataclass(frozen=True)
class Video:
    """Draw the film of a stored log again."""

    log: Positional[Path]
    out: Path | None = None
    """The MP4; beside the log unless given."""


@dataclass(frozen=True)
class View:
    """A page over a log, stored or still written: camera, the world from above, events, a timeline. It can change nothing."""

    log: Positional[Path]
    host: str = "127.0.0.1"
    """Who may see it: this machine alone, or with 0.0.0.0 the whole network."""
    port: int = 8770
    """0: any that is free."""
    open: bool = False
    """Open the browser too."""
    wait: bool = False
    """Wait for a log that is not there yet."""
    rerun: bool = False
    """No page: write the log as a Rerun recording (.rrd) beside it (extra: rerun)."""


@dataclass(frozen=True)
class Doctor:
    """What this machine has and can do."""

    quick: Annotated[bool, arg(aliases=["-q"])] = False
    """Skip the timing of stages."""


@dataclass(frozen=True)
class Train:
    """Run a training script: nanopilot train NAME [its options]."""


TOWN_TIME = 3.0  # times a map's: a kilometre with red lights

Command = (
    Annotated[Drive, subcommand("drive")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Robot, subcommand("robot")]
    | Annotated[Label, subcommand("label")]
    | Annotated[Watch, subcommand("watch")]
    | Annotated[Calibrate, subcommand("calibrate")]
    | Annotated[Video, subcommand("video")]
    | Annotated[View, subcommand("view")]
    | Annotated[Doctor, subcommand("doctor")]
    | Annotated[Train, subcommand("train")]
)


def main(argv: list[str] | None = None) -> None:
    """Run the command and exit with its code."""
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _ended)
    try:
        if argv[:1] == ["train"]:
            code = train(argv[1:])
        else:
            code = run(tyro.cli(Command, args=argv, prog="nanopilot", config=(OmitSubcommandPrefixes,)))  # type: ignore[arg-type]  # a union
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        if not _expected(error):
            raise
        print(f"nanopilot: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _ended(number: int, frame: Any) -> None:
    """Told to end: leave by the ways that end other processes and close files."""
    raise SystemExit(128 + number)


def run(command: Drive | Evaluate | Robot | Label | Watch | Calibrate | Video | View | Doctor | Train) -> int:
    """Dispatch to the one that does it."""
    if isinstance(command, Drive):
        return drive(command)
    if isinstance(command, Evaluate):
        return evaluate(command.suite)
    if isinstance(command, Robot):
        return robot(command)
    if isinstance(command, Label):
        from nanopilot.train import label

        label.main(label.LabelConfig(**vars(command)))
        return 0
    if isinstance(command, Watch):
        return watch(command)
    if isinstance(command, Calibrate):
        return calibrate(command)
    if isinstance(command, Video):
        from nanopilot import video

        out = command.out or command.log.with_suffix(".mp4")
        print(f"{out}: {video.render(command.log, out)} pictures")
        return 0
    if isinstance(command, View):
        from nanopilot import viewer

        return viewer.view(viewer.ViewConfig(**vars(command)))
    if isinstance(command, Doctor):
        from nanopilot import doctor

        return doctor.examine(command.quick)
    raise TypeError(command)


def drive(c: Drive) -> int:
    from nanopilot.evaluate import show, suite
    from nanopilot.evaluate.drive import DriveConfig

    if c.repeat < 1:
        raise ValueError(f"repeat must be at least 1, not {c.repeat}")
    seeds = suite.parse_seeds(c.seed)
    seconds = c.seconds if not c.town or c.seconds != Drive.seconds else TOWN_TIME * c.seconds
    configs = [DriveConfig(seed, c.map, c.traffic, c.camera, seconds, c.hz, c.speed_kph, c.oracle, True, c.town, c.truth, (), c.mode)
               for seed in seeds]  # fmt: skip
    if not c.show:
        return show.drive(configs, c.repeat, c.out, c.video)
    from nanopilot.viewer import Beside

    with Beside() as page:
        code = show.drive(configs, c.repeat, c.out, c.video, page.show)
        with suppress(KeyboardInterrupt):
            page.wait()
    return code


def robot(c: Robot) -> int:
    from nanopilot.planning.errand import Errand, parse

    asked = Errand(c.errand) if c.errand in ("walk", "fetch", "follow", "explore") else parse(c.errand)  # type: ignore[arg-type]  # one of the four
    from nanopilot.evaluate.robot import RobotConfig
    from nanopilot.evaluate.robot_show import show

    config = RobotConfig(asked.task, c.seed, c.oracle, box=asked.box, table=asked.table, goal=asked.goal)
    if not c.show:
        return show(config, c.out)
    from nanopilot.viewer import Beside

    with Beside() as page:
        code = show(config, c.out, page.show)
        with suppress(KeyboardInterrupt):
            page.wait()
    return code


def watch(c: Watch) -> int:
    from nanopilot.bodies.lens import LensConfig
    from nanopilot.watch import run

    lens = LensConfig(c.camera, c.focal, c.fov, c.height, c.pitch)
    config = run.RunConfig(c.source, c.out, lens, c.speed, c.speed_later, c.hz, c.seconds, c.log, c.video, c.refine, c.blur)
    if not c.show:
        return run.run(config)
    if not c.log:
        raise ValueError("the page shows the log: --show needs it, so leave --no-log out")
    from nanopilot.viewer import Beside

    with Beside() as page:
        code = run.run(config, begin=page.show)
        if code < 128:  # Ctrl-C ends both
            with suppress(KeyboardInterrupt):
                page.wait()
    return code


def calibrate(c: Calibrate) -> int:
    from nanopilot.bodies import lens

    found = lens.calibrate(c.folder, c.columns, c.rows, c.square)
    lens.write(found, c.out, c.columns, c.rows, c.square)
    k = found.matrix
    print(
        f"{found.used} pictures, {found.rms:.2f} px left; focal length {k[0, 0]:.1f}, {k[1, 1]:.1f} px, centre {k[0, 2]:.1f}, {k[1, 2]:.1f}"
    )
    if found.left_out:
        print(f"left out, no whole board in them: {', '.join(found.left_out)}")
    print(c.out)
    return 0


def evaluate(command: Routes | Minute | Faults | Protocols | Perception | Warnings | RobotSuite) -> int:
    if isinstance(command, Warnings):
        from nanopilot.evaluate import watch as warnings

        return warnings.evaluate(warnings.WatchSuite(**vars(command)))
    if isinstance(command, Perception):
        from nanopilot.evaluate import real

        real.main(real.RealConfig(**vars(command)))
        return 0
    from rich.console import Console

    from nanopilot.evaluate import ablate, assessor, faults, minute, openscenario, protocols, routes, suite

    if command.workers < 1:
        raise ValueError(f"workers must be at least 1, not {command.workers}")
    if len(command.ray or ()) > 1:
        raise ValueError(f"--ray takes one address, not {len(command.ray or ())}")
    workers = command.workers if command.ray is None else suite.Ray("".join(command.ray), command.workers)
    if isinstance(command, Faults):
        report = faults.evaluate(command.seed, command.only, command.moments, workers, command.json)
        Console().print(faults.table(report))
        return 0 if report.summary["passed_fraction"] == 1.0 else 1
    if isinstance(command, Protocols):
        p = command
        if p.export:
            cells = protocols.select(p.only, p.coarse)
            files = [f for friction in protocols.parse_frictions(p.friction) for f in openscenario.export(cells, friction, p.export)]
            print(f"{len(set(files))} files in {p.export}, none refused by its schema")
            return 0
        report = protocols.evaluate(p.only, p.seed, p.engaged, protocols.parse_frictions(p.friction), p.coarse, workers, p.json)
        Console().print(protocols.table(report))
        if p.json:
            print(assessor.write(report, p.json))
        return 0 if report.summary["passed_fraction"] == 1.0 else 1
    c, seeds = command, suite.parse_seeds(command.seeds)
    if isinstance(c, Routes) and c.world == "town":
        from nanopilot.evaluate import towns

        if c.driver not in ("pilot", "oracle") or c.camera != "cpu":
            raise ValueError("in towns there are the drivers pilot and oracle, and the camera cpu")
        report = towns.evaluate(seeds, c.driver, c.town, c.traffic, tuple(c.truth), workers, c.json, tuple(c.without), c.ablations,
                                c.seconds or towns.SECONDS, c.logs, c.mode)  # fmt: skip
        if c.ablations:
            Console().print(ablate.table(report), *([c.json] if c.json else []))
            return 1 if report.summary["errors"] else 0
        totals = ", ".join(f"{name} {report.summary[name]}" for name in ("reroutes", *towns.COUNTS, *towns.ENDS))
        Console().print(suite.table(report), totals, *([c.json] if c.json else []), highlight=False)
        return 1 if report.summary["errors"] else 0
    if isinstance(c, RobotSuite):
        from nanopilot.evaluate import robot

        config = robot.RobotConfig(c.task, 0, c.oracle, c.ideal_imu, c.pushes, c.dead_camera, c.jitter)
        report = robot.evaluate(config, seeds, workers, c.json, c.ablations)
    elif isinstance(c, Routes):
        report = routes.evaluate(seeds, c.driver, c.map, c.traffic, c.camera, workers, c.json, c.seconds or routes.SECONDS,
                                 tuple(c.truth), tuple(c.without), c.ablations, c.logs, c.mode, c.repaired)  # fmt: skip
    else:
        report = minute.evaluate(seeds, c.camera, c.traffic, c.hz, c.oracle, workers, c.json)
    Console().print(ablate.table(report) if isinstance(c, (Routes, RobotSuite)) and c.ablations else suite.table(report))
    if c.json:
        print(c.json)
    return 1 if report.summary["errors"] else 0


def train(argv: list[str]) -> int:
    """Forward to a script of nanopilot.train, which needs the extra of the same name."""
    import pkgutil
    import runpy
    from importlib.util import find_spec

    folder = Path(__file__).parent / "train"
    scripts = sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if "__main__" in (folder / f"{m.name}.py").read_text())
    if not argv or argv[0] not in scripts:
        raise ValueError(f"nanopilot train needs one of: {', '.join(scripts)}")
    if find_spec("torch") is None:
        raise ValueError("training needs torch: pip install 'nanopilot[train]'")
    sys.argv = [f"nanopilot train {argv[0]}", *argv[1:]]
    runpy.run_module(f"nanopilot.train.{argv[0]}", run_name="__main__", alter_sys=True)  # type hints are looked up in __main__
    return 0


def _expected(error: Exception) -> bool:
    """Whether an error is the user's or the machine's, to be said in one line, and not a fault of ours."""
    from nanopilot.log import LogError

    paths = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or isinstance(error, (ValueError, LogError, *paths))
