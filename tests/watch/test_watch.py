"""The watch as a whole, with a made-up eye in place of the network: what it leaves, and that nothing is lost when it ends early."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from nanopilot.bodies.lens import LensConfig
from nanopilot.bodies.speeds import UNKNOWN_YAW_RATE_STD
from nanopilot.cli import main
from nanopilot.geometry import image_from_image, image_from_vehicle
from nanopilot.log import Log, Step, steps
from nanopilot.messages import (
    PATH_ARC,
    CameraModel,
    CarState,
    Detection,
    Frame,
    Kind,
    LaneLine,
    Observation,
    OwnMotion,
    PathProposal,
    Percept,
    TrafficSign,
    Warning,
    WarningKind,
    WarningLevel,
    Warnings,
)
from nanopilot.perception.runtime import canonical
from nanopilot.perception.view import in_picture, scaled
from nanopilot.watch.events import EventBook
from nanopilot.watch.run import RunConfig, run
from nanopilot.watch.series import LIMIT, Series

HZ = 20
SPEED = 20.0  # m/s, told by a table
QUIET = Console(quiet=True)


@pytest.fixture
def source(tmp_path) -> Path:
    """Four seconds of noise, for whoever looks at it."""
    rng = np.random.default_rng(0)
    path = tmp_path / "road.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=HZ)
        stream.width, stream.height, stream.pix_fmt = 256, 144, "yuv420p"
        for k in range(4 * HZ):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (144, 256, 3), dtype=np.uint8), "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    (tmp_path / "speed.csv").write_text(f"t,speed,yaw_rate\n-1,{SPEED},0\n99,{SPEED},0\n")
    return path


def eye(frame, camera, route_line, expected) -> Percept:
    """A lane, and a standing car ahead that is reached after 4.5 s."""
    seen = canonical(camera)
    x = np.arange(4, 41, 2, dtype=np.float32)
    lines = tuple(
        LaneLine(side, 0.95, _pixels(seen, x, y), np.stack([x, np.full_like(x, y)], -1), np.full(len(x), 0.1, np.float32))
        for side, y in ((-1, 1.75), (1, -1.75))
    )
    path = PathProposal(np.stack([PATH_ARC, 0 * PATH_ARC], -1).astype(np.float32), np.full(len(PATH_ARC), 0.1, np.float32))
    ahead = SPEED * (4.5 - frame.t) + 5.85
    (u0, v0), (u1, v1) = _pixels(seen, np.array([ahead - 2.25, ahead - 2.25]), np.array([0.9, -0.9]), np.array([1.5, 0.0]))
    box = np.array([u0, v0, u1, v1], np.float32)
    car = Detection(Kind.VEHICLE, 0.9, box, np.array([ahead, 0], np.float32), 0.0, 4.5, 1.8, ahead - camera.x, 0.5, 0.005)
    return Percept(frame.t, frame.camera, lines, path, (car,), np.zeros((8, 8), np.uint8), np.zeros(8, np.float32), 0.9, True)


def _pixels(camera: CameraModel, x, y, z=None) -> np.ndarray:
    points = np.stack([x, np.broadcast_to(y, x.shape), 0 * x if z is None else z], -1)
    return image_from_vehicle(camera, points)[0].astype(np.float32)


def config(source: Path, **more) -> RunConfig:
    known = {"out": source.with_name("out"), "speed": source.with_name("speed.csv"), "refine": False}
    return RunConfig(str(source), lens=LensConfig(fov_deg=60), **{**known, **more})


def lines_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "road.events.jsonl").read_text().splitlines()]


def test_a_watch_leaves_events_log_film_and_report_that_agree(source):
    assert run(config(source), eye, QUIET) == 0
    out = source.with_name("out")
    events = [e for e in lines_of(out) if e["kind"] == "forward_collision"]
    assert [e["event"] for e in events] == ["begin", "rise", "rise", "end"]
    assert [e["level"] for e in events[:3]] == ["early", "medium", "late"]
    assert events[0]["t"] == pytest.approx(4.5 - 2.7, abs=0.25) and events[0]["speed"] == pytest.approx(SPEED)
    logged = list(steps(out / "road.mcap"))
    assert len(logged) == 4 * HZ
    assert {"/camera/front", "/camera/front/model", "/car", "/percept", "/world", "/motion", "/warnings", "/step"} <= set(logged[-1])
    begun = [w for s in logged for w in s["/warnings"].new if w.kind == WarningKind.FORWARD_COLLISION]
    assert [w.level for w in begun] == [WarningLevel.EARLY, WarningLevel.MEDIUM, WarningLevel.LATE]
    with av.open(str(out / "road.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 4 * HZ
    page = (out / "road.html").read_text()
    assert "forward collision" in page and "data:image/jpeg;base64," in page and page.count("<svg") >= 4
    assert "http" not in page and "0.08 ± " in page  # kilometres


@pytest.mark.parametrize("told, code", [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_watch_that_is_told_to_end_keeps_everything_so_far(source, told, code):
    def interrupted(frame, *rest):
        if frame.t > 3.0:
            raise told
        return eye(frame, *rest)

    assert run(config(source), interrupted, QUIET) == code
    out = source.with_name("out")
    assert lines_of(out)[-1]["event"] == "end" and len(list(steps(out / "road.mcap"))) == 61
    with av.open(str(out / "road.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 61
    assert "interrupted" in (out / "road.html").read_text()


def test_a_source_that_breaks_off_is_said_and_exits_1(source):
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert run(config(source), eye, QUIET) == 1
    assert "cut off" in (source.with_name("out") / "road.html").read_text()


def test_a_stage_that_fails_costs_its_step_and_is_told(source):
    def blinks(frame, *rest):
        if 1.0 < frame.t < 1.3:
            raise RuntimeError("a blink")
        return eye(frame, *rest)

    assert run(config(source, video=False), blinks, QUIET) == 1
    out = source.with_name("out")
    assert sum("a blink" in s["/step"].fault for s in steps(out / "road.mcap")) == 5
    assert "5: RuntimeError: a blink" in (out / "road.html").read_text() and not (out / "road.mp4").exists()


def test_without_own_speed_the_collision_is_still_warned_of_and_the_rest_is_said_to_be_off(source):
    assert run(config(source, speed=None, log=True, video=False), eye, QUIET) == 0
    out = source.with_name("out")
    told = {s["/motion"].source for s in steps(out / "road.mcap")}
    off = [s["/warnings"].off for s in steps(out / "road.mcap")]
    assert told == {"video"} and WarningKind.HEADWAY in off[-1]
    assert {e["kind"] for e in lines_of(out)} == {"forward_collision"}
    assert "without own speed" in (out / "road.html").read_text()


def test_a_table_without_yaw_rate_leaves_turning_to_the_video_and_what_it_does_not_span_too(source):
    table = source.with_name("speed.csv")
    table.write_text(f"t,speed\n0,{SPEED}\n2,{SPEED}\n")
    assert run(config(source, speed=table, speed_later=1.0, video=False), eye, QUIET) == 0
    told = {s["/step"].t: s["/motion"] for s in steps(source.with_name("out") / "road.mcap")}
    assert [told[t].source for t in (0.5, 2.0, 3.5)] == ["video", "csv", "video"] and told[2.0].speed == SPEED
    assert told[2.0].yaw_rate_std != UNKNOWN_YAW_RATE_STD
    assert "from csv 52 % of the time" in (source.with_name("out") / "road.html").read_text()


def test_a_limit_that_was_read_is_an_event_and_stays_in_the_log(source):
    def reads(frame, *rest):
        sign = TrafficSign(np.zeros(4, np.float32), "speed limit 80", 0.95, 80 / 3.6)
        return replace(eye(frame, *rest), signs=(sign,) if 0.5 < frame.t < 1.0 else ())

    assert run(config(source, video=False), reads, QUIET) == 0
    out = source.with_name("out")
    assert [e["reason"] for e in lines_of(out) if e["kind"] == "speed_limit" and e["event"] == "begin"] == ["sign: 80 km/h"]
    assert [s["/warnings"].speed_limit for s in steps(out / "road.mcap")][:: 4 * HZ - 1] == [0.0, pytest.approx(80 / 3.6)]


def test_a_log_with_a_side_camera_tells_who_is_beside_us(tmp_path):
    front = CameraModel("front", 256, 144, 222.0, 222.0, 127.5, 71.5, x=1.3)
    side = replace(front, name="left", y=0.8, yaw=1.4)
    with Log(tmp_path / "drive.mcap") as log:
        for camera in (front, side):
            log.write(f"/camera/{camera.name}/model", camera, 0.0)
        for k in range(2 * HZ):
            t = k / HZ
            frames = tuple(Frame(t, c.name, np.full((144, 256, 3), 90, np.uint8)) for c in (front, side))
            log.write_step(Observation(t, frames, CarState(t, SPEED, 0.0, 0.0, 0.0)), Step(t, {}))

    def looks(frame, camera, *rest):
        seen = eye(frame, camera, *rest)
        place = np.array([0.5, 3.4], np.float32)
        beside = replace(seen.objects[0], position=place, distance=2.7)
        return replace(seen, objects=(beside,)) if camera.name == "left" else replace(seen, objects=())

    out = tmp_path / "out"
    assert run(RunConfig(str(tmp_path / "drive.mcap"), out, refine=False, video=False), looks, QUIET) == 0
    told = [w for s in steps(out / "drive.mcap") for w in s["/warnings"].active]
    assert {(w.kind, w.side, w.level) for w in told} == {(WarningKind.BLIND_SPOT, -1, WarningLevel.INFO)}
    assert {s["/motion"].source for s in steps(out / "drive.mcap")} == {"log"}


def test_what_is_watched_is_never_overwritten_and_old_pictures_of_events_are(source):
    before, out = source.read_bytes(), source.parent
    assert run(config(source, out=out, seconds=1.0), eye, QUIET) == 0
    assert (out / "road-watched.mp4").exists() and not (out / "road.mp4").exists()
    log, kept = out / "road-watched.mcap", (out / "road-watched.mcap").read_bytes()
    (out / "road-watched-watched.events").mkdir()
    (out / "road-watched-watched.events" / "0001-headway.jpg").touch()
    assert run(config(log, out=out, speed=None, video=False), eye, QUIET) == 0
    assert source.read_bytes() == before and log.read_bytes() == kept
    assert not list((out / "road-watched-watched.events").glob("*headway*"))


def test_seconds_end_the_watch(source):
    assert run(config(source, seconds=1.0, video=False), eye, QUIET) == 0
    assert len(list(steps(source.with_name("out") / "road.mcap"))) == HZ + 1


@pytest.mark.parametrize(
    "args, said",
    [
        (["watch", "/nowhere.mp4"], "no such file or folder: /nowhere.mp4"),
        (["watch", "{}", "--seconds", "0"], "seconds must be more than 0"),
        (["watch", "{}", "--hz", "0"], "hz must be from 1 to 240"),
        (["watch", "{}", "--fov", "500"], "field of view"),
        (["watch", "{}", "--out", "{}"], "File exists"),
        (["watch", "{}", "--camera", "/nowhere.yaml"], "/nowhere.yaml"),
        (["watch", "{}", "--speed", "{}"], "road.mkv"),
        (["calibrate", "chessboard", "/nowhere"], "/nowhere"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_is_said_in_words_and_exits_2(args, said, source, capsys, monkeypatch):
    monkeypatch.chdir(source.parent)
    with pytest.raises(SystemExit) as stop:
        main([a.format(source) for a in args])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_events_end_after_a_second_of_silence_and_pauses_shorter_than_that_are_none(tmp_path):
    book, motion = EventBook(tmp_path / "e.jsonl"), OwnMotion(0.0, 20.0, 0.1, 0.0, 0.1, "csv")
    for k in range(100):
        t = k / 10
        on = t < 1 or 1.5 < t < 2 or 5 < t < 6
        w = Warning(t, WarningKind.LANE_DEPARTURE, WarningLevel.MEDIUM, 0.1, 0.1, 0.2, "m", "near", 1)
        shown = Warning(t, WarningKind.HEADWAY, WarningLevel.INFO, 1.0, 0.1, 2.5, "s", "1.0 s behind")
        book.step(Warnings(t, (w, shown) if on else (shown,), (), ()), motion, True)
    book.close()
    told = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [(e["event"], round(e["t"], 1)) for e in told] == [("begin", 0.0), ("end", 1.9), ("begin", 5.1), ("end", 5.9)]


def test_a_notice_that_keeps_the_moment_it_was_given_is_one_event(tmp_path):
    book, motion = EventBook(tmp_path / "e.jsonl"), OwnMotion(0.0, 20.0, 0.1, 0.0, 0.1, "csv")
    notice = Warning(1.0, WarningKind.CUT_IN, WarningLevel.INFO, 1.0, 0.4, 0.5, "m/s", "from the left", -1)
    for t in np.arange(1.0, 3.05, 0.1):
        book.step(Warnings(float(t), (notice,), (), ()), motion, True)
    book.close()
    told = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [(e["event"], round(e["t"], 1)) for e in told] == [("begin", 1.0), ("end", 3.0)]


def test_what_is_plotted_stays_bounded_and_spans_everything():
    series = Series(("t", "v"))
    for k in range(20 * LIMIT):
        series.add(float(k), 2.0 * k)
    t = series.column("t")
    assert LIMIT / 2 <= len(t) <= LIMIT and t[0] == 0 and t[-1] > 20 * LIMIT - 2 * series.every
    np.testing.assert_array_equal(series.column("v"), 2 * t)


@pytest.mark.parametrize("pitch", [0.0, 0.05])
def test_a_percept_in_the_pictures_pixels_lies_where_the_camera_sees_it(pitch):
    camera = CameraModel("front", 1280, 720, 1100, 1100, 650, 340, x=1.3, z=1.4, pitch=pitch)
    small = scaled(camera, 960)
    x = np.array([8.0, 15, 25])
    seen = canonical(camera)
    line = LaneLine(-1, 0.9, _pixels(seen, x, 1.5), np.stack([x, np.full(3, 1.5)], -1).astype(np.float32), np.full(3, 0.1, np.float32))
    percept = Percept(0.0, "front", (line,), None, (), np.zeros((2, 2), np.uint8), np.zeros(2, np.float32), 0.9, True)
    there = in_picture(percept, camera, small)
    np.testing.assert_allclose(there.lanes[0].image_points, _pixels(small, x, 1.5), atol=0.05)
    assert small.width == 960 and small.height == 540 and np.allclose(image_from_image(small, camera)[0, 0], 0.75)
