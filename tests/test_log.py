"""The log against round trips, truncation at any byte, a killed writer, and disks that take no more."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from nanopilot import log, messages
from nanopilot.log import Log, LogError, Step, from_json, read, steps, to_json
from nanopilot.messages import CarState, Command, Frame, Message, Observation, Plan, SafeCommand, Track, World
from nanopilot.sim.truth import SimTruth

KINDS = [k for k in (*vars(messages).values(), SimTruth, Step) if is_dataclass(k) and k is not Frame]


def example(kind, rng: np.random.Generator):
    """A value of an annotated type, by its annotation alone."""
    if log._optional(kind):
        return None if rng.random() < 0.5 else example(log._required(kind), rng)
    if is_dataclass(kind):
        return kind(**{name: example(h, rng) for name, h in log._hints(kind).items()})
    if log._is_array(kind):
        sizes = {"h": 8, "w": 16, "n": 5}
        shape = [int(d) if d.isdigit() else sizes[d] for d in kind.dim_str.split()]
        if "uint8" in kind.dtypes:
            return rng.integers(0, 255, shape, np.uint8)
        return rng.normal(size=shape).astype(np.float32 if "float64" not in kind.dtypes else float)
    if getattr(kind, "__origin__", None) is tuple:
        return tuple(example(kind.__args__[0], rng) for _ in range(rng.integers(0, 4)))
    if getattr(kind, "__origin__", None) is dict:
        return {"planning": rng.random()}
    if issubclass(kind, StrEnum):
        return list(kind)[rng.integers(len(kind))]
    return {bool: lambda: bool(rng.integers(2)), int: lambda: int(rng.integers(1, 99)), float: rng.random, str: lambda: "höchstens"}[kind]()


def assert_same(a, b) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    elif is_dataclass(a):
        for f in fields(a):
            if not isinstance(getattr(a, f.name), np.ndarray) or f.name != "image":  # JPEG: compared by its own test
                assert_same(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def picture(seed: int = 0) -> np.ndarray:
    """A smooth picture with an edge, as a camera's."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 16, 3), np.uint8)
    return cv2.resize(noise, (512, 256), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_message_comes_back_as_it_was(tmp_path, kind):
    rng = np.random.default_rng(1)
    sent = [example(kind, rng) for _ in range(5)]
    with Log(tmp_path / "a.mcap") as out:
        for k, message in enumerate(sent):
            out.write("/x", message, k * 0.05)
    got = list(read(tmp_path / "a.mcap", (SimTruth,)))
    assert [t for t, _, _ in got] == [0.0, 0.05, 0.1, 0.15, 0.2]
    for a, (_, topic, b) in zip(sent, got, strict=True):
        assert topic == "/x"
        assert_same(a, b)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_json_fits_its_own_schema(kind):
    jsonschema = pytest.importorskip("jsonschema")
    data = to_json(example(kind, np.random.default_rng(2)))
    jsonschema.Draft202012Validator(log.schema(kind)).validate(json.loads(json.dumps(data)))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=0, max_size=8))
def test_floats_come_back_exactly(values):
    times = np.array(values)
    plan = Plan(0.0, messages.Behaviour.STOP, "", times, np.zeros((len(values), 2)), times, times, times, times)
    assert_same(plan, from_json(Plan, to_json(plan)))


def test_foxglove_finds_a_picture_it_can_show(tmp_path):
    image = picture()
    with Log(tmp_path / "a.mcap", {"seed": "7"}) as out:
        out.write("/camera/front", Frame(1.25, "front", image))
    with open(tmp_path / "a.mcap", "rb") as file:  # read by the format's own library, not by ours
        reader = make_reader(file)
        schema, channel, message = next(reader.iter_messages())
        assert reader.get_summary().statistics.message_count == 1
    assert (schema.name, schema.encoding, channel.message_encoding) == ("foxglove.CompressedImage", "jsonschema", "json")
    assert message.log_time == 1_250_000_000
    assert log.about(tmp_path / "a.mcap") == {"seed": "7"}
    _, _, frame = next(read(tmp_path / "a.mcap"))
    assert (frame.t, frame.camera) == (1.25, "front")
    assert cv2.PSNR(frame.image, image) > 35


def drive(path, n: int = 60) -> None:
    with Log(path) as out:
        for k in range(n):
            t = k * 0.05
            out.write("/camera/front", Frame(t, "front", picture(k)))
            out.write("/car", CarState(t, float(k), 0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "whole.mcap"
    drive(path)
    return path


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1))
def test_a_log_cut_at_any_byte_reads_up_to_the_cut(whole, tmp_path_factory, share):
    data = whole.read_bytes()
    cut = tmp_path_factory.getbasetemp() / "cut.mcap"
    cut.write_bytes(data[: int(share * len(data))])
    speeds = [m.speed for _, topic, m in read(cut) if topic == "/car"]
    assert speeds == list(range(len(speeds)))
    if share * len(data) > len(data) - 1000:
        assert len(speeds) == 60


def test_a_flipped_byte_never_gives_a_wrong_message(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    for place in np.random.default_rng(3).integers(100, len(data) - 5000, 30):
        torn = data.copy()
        torn[place] ^= 0x10
        (tmp_path / "torn.mcap").write_bytes(torn)
        speeds = [m.speed for _, topic, m in read(tmp_path / "torn.mcap") if topic == "/car"]
        assert speeds == list(range(len(speeds)))


def test_a_killed_writer_leaves_all_but_the_last_chunk(tmp_path):
    path = tmp_path / "killed.mcap"
    code = f"""
import time
from nanopilot.log import Log
from nanopilot.messages import CarState
out = Log({str(path)!r})
k = 0
while True:
    out.write("/car", CarState(k * 0.05, float(k), 0.0, 0.0, 0.0)); k += 1
    if k % 1000 == 0: print(k, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    written = 0
    while written < 30000:
        written = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    child.wait()
    speeds = [m.speed for _, _, m in read(path)]
    assert speeds == list(range(len(speeds)))
    assert len(speeds) > written - log.CHUNK / 100  # a message is over 100 bytes


def test_a_full_disk_is_said_and_leaves_a_readable_log(tmp_path):
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
from nanopilot.log import Log, LogError
from nanopilot.messages import CarState
import os
try:
    with Log({str(tmp_path / "full.mcap")!r}) as out:
        for k in range(200_000):
            out.write("/car", CarState(k * 0.05, float(k), 0.0, 0.0, 0.0))
except LogError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "full.mcap stopped: File too large; it is readable up to" in said
    speeds = [m.speed for _, _, m in read(tmp_path / "full.mcap")]
    assert len(speeds) > 1000 and speeds == list(range(len(speeds)))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_no_space_left_is_said():
    with pytest.raises(LogError, match="No space left on device"):
        Log("/dev/full")


@pytest.mark.parametrize("content, said", [(b"no log at all, but text", "is not an MCAP log"), (None, "No such file")])
def test_what_is_no_log_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(LogError, match=said):
        list(read(tmp_path / "x"))


def test_types_the_reader_was_not_given_are_passed_over(tmp_path):
    @dataclass(frozen=True)
    class Secret(Message):
        t: float

    with Log(tmp_path / "a.mcap") as out:
        out.write("/command", Command(0.0, 1.0, 0.0))
        out.write("/truth", Secret(0.0))
    assert [topic for _, topic, _ in read(tmp_path / "a.mcap")] == ["/command"]


def test_a_message_of_another_version_is_said(tmp_path):
    with Log(tmp_path / "a.mcap") as out:
        out.write("/command", Command(0.0, 1.0, 0.0))
        out._writer.add_message(out._channels["/command"], 0, b'{"t": 0.0, "thrust": 1.0}', 0)
    with pytest.raises(LogError, match="another version"):
        list(read(tmp_path / "a.mcap"))


def busy_step(k: int) -> dict:
    """Messages as large as a drive's: 20 tracks, 25 plan points."""
    rng, t = np.random.default_rng(k), k * 0.05
    curve = messages.Curve(rng.normal(size=(16, 2)), rng.random(16), 0.9)
    tracks = tuple(Track(i, messages.Kind.VEHICLE, *rng.random(13).tolist(), 0.9) for i in range(20))
    return {
        "world": World(
            t,
            1.0,
            0.0,
            0.0,
            curve,
            curve,
            curve,
            3.5,
            0.5,
            0.5,
            tracks,
            rng.random((16, 2)),
            0.8,
            messages.Turn.LEFT,
            9.0,
            99.0,
            13.0,
            1.0,
            0.0,
        ),
        "plan": Plan(t, messages.Behaviour.FOLLOW, "follows", *(rng.random(s) for s in (25, (25, 2), 25, 25, 25, 25))),
        "percept": example(messages.Percept, rng),
        "command": Command(t, 0.0, 0.0),
        "safe": SafeCommand(t, 0.0, 0.0, messages.Signal.OFF, True),
        "truth": example(SimTruth, rng),
    }


def test_busy_steps_come_back_as_they_were_and_stay_small(tmp_path):
    said = [busy_step(k) for k in range(20)]
    with Log(tmp_path / "a.mcap") as out:
        for k, answers in enumerate(said):
            t = 0.05 * k
            seen = Observation(t, (Frame(t, "front", picture(k)),), CarState(t, 1.0, 0.0, 0.0, 0.0))
            out.write_step(seen, Step(t, {"world": 0.001}), **answers)
    back = list(steps(tmp_path / "a.mcap", (SimTruth,)))
    assert len(back) == 20
    for record, answers in zip(back, said, strict=True):
        for name in ("world", "plan", "safe"):
            assert_same(record[f"/{name}"], answers[name])
    assert (tmp_path / "a.mcap").stat().st_size < 20 * 100e3  # bytes; a minute at 20 Hz stays under 120 MB
