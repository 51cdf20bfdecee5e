"""The wiring with a body made by hand: what each failing stage does to the command."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot import planning
from nanopilot.evaluate.drive import write_body, write_record
from nanopilot.geometry import model_camera, rotation_2d
from nanopilot.log import Log
from nanopilot.messages import (
    Alert,
    BodyStopped,
    CarState,
    Detection,
    Frame,
    Kind,
    LaneLine,
    Mode,
    Observation,
    Percept,
    VehicleModel,
    WarningKind,
    WarningLevel,
)
from nanopilot.pilot import Pilot
from nanopilot.viewer.index import Index

DT = 0.05


class Body:
    """Rolls straight on at 10 m/s for 2 s, with a new picture each step; `frames` says which steps have one."""

    cameras = (model_camera(),)
    vehicle = VehicleModel(2.5, 4.5, 1.8, 0.9, 0.7, 2.7, 8.0, 0.1)

    def __init__(self, frames=lambda k: True):
        self.k, self.frames, self.done = -1, frames, []

    def observe(self):
        self.k += 1
        t = DT * self.k
        if t > 2.0:
            raise BodyStopped("the end")
        image = np.full((64, 64, 3), 100 + self.k, np.uint8)
        return Observation(t, (Frame(t, "front", image),) if self.frames(self.k) else (), CarState(t, 10.0, 0.0, 0.0, 0.0))

    def act(self, command):
        self.done.append(command)

    def close(self):
        pass


def percept(frame, camera, route_line, path, objects=()):
    blind = np.zeros(1, np.float32)
    return Percept(frame.t, camera.name, (), None, objects, np.zeros((1, 1), np.uint8), blind, 1.0, True)


def ride(perceive=percept, **body):
    it = Body(**body)
    pilot = Pilot(it, perceive=perceive)
    records = list(pilot.drive())
    assert pilot.stopped == "the end" and len(records) == len(it.done) == 41
    return records


def test_nothing_wrong_gives_no_alert_and_a_second_opinion():
    records = ride()
    assert all(r.safe.mode == Mode.ENGAGED and r.safe.alert == Alert.NONE and not r.fault for r in records)
    assert all(r.rss.track_id == -1 for r in records)


def test_eyes_that_raise_leave_the_plan_and_ask_the_driver():
    def broken(*_):
        raise RuntimeError("no light")

    records = ride(broken)
    assert all(r.fault == "RuntimeError: no light" and r.percept is None and r.command is not None for r in records)
    assert next(r.observation.t for r in records if r.safe.alert != Alert.NONE) <= 0.3
    assert records[-1].safe.acceleration == pytest.approx(-4.0) and "RuntimeError: no light" in records[-1].safe.reasons


def test_a_picture_left_out_now_and_then_is_no_fault_but_none_at_all_is():
    assert all(r.safe.alert == Alert.NONE and not r.fault for r in ride(frames=lambda k: k % 3))
    records = ride(frames=lambda k: k < 20)
    asked = next(r.observation.t for r in records if r.safe.alert != Alert.NONE)
    assert 1.0 <= asked <= 1.35 and "blind" in records[-1].safe.reasons


def test_a_plan_that_fails_takes_the_command_away(monkeypatch):
    def broken(*_):
        raise ValueError("no way")

    monkeypatch.setattr(planning, "step", broken)
    records = ride()
    assert all(r.command is None and r.fault == "ValueError: no way" for r in records)
    assert records[0].safe.mode == Mode.TAKEOVER and records[-1].safe.mode == Mode.MINIMUM_RISK


def test_what_is_warned_of_is_in_the_record_the_log_and_the_list_of_events(tmp_path):
    def car_stands_ahead(frame, camera, *_):
        x = 34.0 - 10.0 * frame.t  # of its middle; our front is 3.6 m ahead of our rear axle
        place, box = np.array([x, 0.0], np.float32), np.array([250 - 200 / x, 100 - 100 / x, 250 + 200 / x, 100 + 100 / x], np.float32)
        there = Detection(Kind.VEHICLE, 0.9, box, place, 0.0, 4.5, 1.8, x - camera.x, 0.3, 0.01)
        return percept(frame, camera, None, None, (there,))

    records = ride(car_stands_ahead)
    begun = [w for r in records for w in r.warnings.new if w.kind == WarningKind.FORWARD_COLLISION]
    assert [w.level for w in begun] == [WarningLevel.EARLY, WarningLevel.MEDIUM, WarningLevel.LATE]
    left = (34.0 - 2.25 - 3.6) / 10.0  # s to the collision at the start; the early one waits until the track is half a second old
    assert [w.t for w in begun[1:]] == pytest.approx([left - 2.1, left - 1.2], abs=0.15)

    path = tmp_path / "drive.mcap"
    with Log(path) as log:
        write_body(log, Body())
        for record in records:
            write_record(log, record, None)
    index = Index(path)
    while index.grow():
        pass
    said = [e.text for e in index.events.all if e.source == "warning"]
    assert len(said) == 3 and said[0] == f"forward collision: {begun[0].reason}"


def test_a_camera_that_looks_aside_is_turned_back_and_the_driver_is_asked():
    off, given = np.deg2rad(4.0), []

    def looks_aside(frame, camera, *_):
        """Two straight lines, as lifted by a camera whose yaw is taken for what it is plus `off`."""
        given.append(camera.yaw)
        x = np.arange(4.0, 31.0, 1.5)
        lines = []
        for side in (-1, 1):
            points = np.stack([x, np.full_like(x, -1.75 * side)], -1) @ rotation_2d(off + camera.yaw).T
            lines.append(LaneLine(side, 0.95, np.zeros_like(points), points.astype(np.float32), np.full(len(x), 0.1, np.float32)))
        return replace(percept(frame, camera, None, None), lanes=tuple(lines))

    records = ride(looks_aside)
    found = next(k for k, r in enumerate(records) if r.world.camera_yaw)
    assert found <= 20 and given[found] == 0.0 and given[found + 1] == pytest.approx(-off, abs=np.deg2rad(0.2))
    asked = next(k for k, r in enumerate(records) if r.safe.alert != Alert.NONE)
    assert found < asked <= found + 6 and "camera: turned by 4 degrees" in records[-1].safe.reasons
