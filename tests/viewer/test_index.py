"""The index against the log's own reader, cut and torn files, files that grow, and files begun anew."""

import json
import os
import tracemalloc

import cv2
import numpy as np
import pytest
import viewer_logs
from hypothesis import given, settings
from hypothesis import strategies as st

from nanopilot import log, messages
from nanopilot.log import Log, LogError, from_json
from nanopilot.messages import CarState, Route
from nanopilot.viewer import index as index_module
from nanopilot.viewer.index import Index


def indexed(path) -> Index:
    index = Index(path)
    while index.grow():
        pass
    return index


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return viewer_logs.write(tmp_path_factory.mktemp("log") / "whole.mcap")


def test_each_step_is_what_the_logs_own_reader_gives(whole):
    index = indexed(whole)
    reference = list(log.steps(whole))
    assert index.whole and index.about == {"about": "test"} and index.cameras == ["/camera/front"]
    assert index.summary()["times"] == [s["/step"].t for s in reference]
    for k in (0, 1, 57, len(reference) - 1):
        got = index.step(reference[k]["/step"].t)
        assert set(got) == set(reference[k]) - {"/camera/front"} | ({"/warning"} if "/warning" in got else set())
        for name, kind in {"/world": messages.World, "/plan": messages.Plan, "/car": CarState}.items():
            assert log.to_json(from_json(kind, json.loads(got[name]))) == log.to_json(reference[k][name])
        picture = cv2.imdecode(np.frombuffer(index.picture(reference[k]["/step"].t), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert (picture == reference[k]["/camera/front"].image).all()


def test_a_log_is_not_live_while_what_is_there_is_being_read(whole):
    index, states = Index(whole), []
    while index.grow():
        states.append(index.state)
    assert set(states) == {"reading"} and len(states) > 2 and index.state == "whole"


def test_a_time_between_two_steps_shows_the_earlier_and_one_before_all_shows_none(whole):
    index = indexed(whole)
    assert json.loads(index.step(1.024)["/car"])["t"] == 1.0
    assert index.step(-0.1) is None
    assert index.picture(1.024) == index.picture(1.0) != index.picture(1.05)
    assert index.picture(6.5) is None and index.picture(1.0, "/no/camera") is None


def test_what_a_step_does_not_say_is_not_taken_from_an_earlier_one(tmp_path):
    with Log(tmp_path / "a.mcap") as out:
        out.write("/route", Route(np.zeros((2, 2)), (), 10.0), 0.0)
        for k in range(3):
            if k == 0:
                out.write("/command", messages.Command(0.0, 1.0, 0.0))
            out.write("/step", log.Step(k * 0.05, {}, "" if k == 0 else "ValueError: no plan"))
    index = indexed(tmp_path / "a.mcap")
    assert set(index.step(0.0)) == {"/route", "/command", "/step"}
    assert set(index.step(0.05)) == {"/route", "/step"}


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1))
def test_a_log_cut_at_any_byte_shows_what_its_reader_reads(whole, tmp_path_factory, share):
    data = whole.read_bytes()
    cut = tmp_path_factory.getbasetemp() / "cut.mcap"
    cut.write_bytes(data[: int(share * len(data))])
    index = indexed(cut)
    times = [t for t, topic, _ in log.read(cut) if topic == "/step"] if len(data) * share >= 8 else []
    assert index.summary()["times"] == (times if index.topics else [])
    assert all(index.step(t) and index.picture(t) for t in times[-3:])
    if not index.whole:
        assert index.state == "live"  # by its time it was written just now
        os.utime(cut, (0, 0))
        index.grow()
        assert index.state == "cut"


def test_a_flipped_byte_ends_the_log_and_never_shows_a_wrong_message(whole, tmp_path):
    data = whole.read_bytes()
    for place in np.random.default_rng(3).integers(100, len(data) - 5000, 12):
        torn = bytearray(data)
        torn[place] ^= 0x10
        (tmp_path / "torn.mcap").write_bytes(torn)
        index = indexed(tmp_path / "torn.mcap")
        assert [json.loads(index.step(t)["/car"])["speed"] for t in index.summary()["times"]] == [
            5 + k / viewer_logs.HZ for k in range(len(index.summary()["times"]))
        ]


def test_a_log_that_grows_piece_by_piece_ends_as_the_whole_one(whole, tmp_path):
    data, path = whole.read_bytes(), tmp_path / "grows.mcap"
    index, times, seen = None, [], 0
    with open(path, "wb") as file:
        for place in range(0, len(data), 20_000):
            file.write(data[place : place + 20_000])
            file.flush()
            index = index or Index(path)
            while index.grow():
                pass
            news = index.summary(times[-1] if times else -1e9)
            times += news["times"]
            seen += bool(news["times"])
            assert news["state"] in ("live", "reading", "whole")
    assert seen >= 3 and index.whole
    assert times == indexed(whole).summary()["times"]
    assert index.events.all == indexed(whole).events.all


@pytest.mark.parametrize("how", ["in place", "as another file"])
def test_a_log_begun_anew_starts_the_index_anew(tmp_path, how):
    path = viewer_logs.write(tmp_path / "a.mcap", 3, "first")
    index = indexed(path)
    if how == "as another file":
        path.rename(tmp_path / "old.mcap")
    viewer_logs.write(path, 1, "second")
    while index.grow():
        pass
    assert index.generation == 1 and index.about == {"about": "second"}
    assert len(index.summary()["times"]) == viewer_logs.HZ
    assert json.loads(index.step(0.5)["/car"])["t"] == 0.5


def test_memory_stays_small_whatever_the_messages_weigh(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "CACHED", 4)
    with Log(tmp_path / "a.mcap") as out:
        for k in range(150):
            out.write("/route", Route(np.zeros((20_000, 2)), (), 10.0), k * 0.05)  # 160 kB of JSON, which packs well
    tracemalloc.start()
    index = indexed(tmp_path / "a.mcap")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(index.summary()["topics"].values()) == 150
    assert held < 6e6 < 150 * 160e3


@pytest.mark.parametrize("content, said", [(b"no log at all", "is not an MCAP log"), (None, "No such file")])
def test_what_is_no_log_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(LogError, match=said):
        Index(tmp_path / "x").grow()
