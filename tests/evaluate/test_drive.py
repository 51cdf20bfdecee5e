"""The judge on drives made by hand, and what counts as a minute in lane."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from nanopilot.evaluate.drive import DriveConfig, WithoutRoute, judge
from nanopilot.evaluate.minute import passed
from nanopilot.messages import CarState, Observation, Route, SafeCommand, Signal
from nanopilot.pilot import Record
from nanopilot.sim.truth import SimTruth

RADIUS, SPEED, HZ = 100.0, 10.0, 20.0


def truth(t: float, **changes) -> SimTruth:
    """An instant of a drive round a circle at constant speed."""
    angle = SPEED * t / RADIUS
    fields = dict.fromkeys(("crash_vehicle", "crash_object", "crash_person", "out_of_road", "arrived"), False)
    known = SimTruth.__dataclass_fields__
    values = {
        "t": t, "x": RADIUS * np.sin(angle), "y": RADIUS * (1 - np.cos(angle)), "yaw": (angle + pi) % (2 * pi) - pi, "speed": SPEED,
        "lane_offset": 0.0, "lane_width": 3.5, "lane_heading_error": 0.0, "lane_index": 1, "lane_count": 3, "wheels_in_lane": True,
        "lane_path": np.zeros((2, 2)), "actors": (), "route_completion": t / 60, **fields, **changes,
    }  # fmt: skip
    return SimTruth(**{k: v for k, v in values.items() if k in known})


def record(t: float, reasons: tuple[str, ...] = (), fault: str = "") -> Record:
    safe = SafeCommand(t, 0.0, 0.0, Signal.OFF, True, reasons)
    seen = Observation(t, (), CarState(t, SPEED, 0.0, 0.0, 0.0))
    return Record(seen, None, None, None, None, safe, fault, {"world": 0.002, "planning": 0.004})


def minute(**last) -> tuple[list[Record], list[SimTruth]]:
    times = np.arange(0, 60 + 0.5 / HZ, 1 / HZ)
    return [record(float(t)) for t in times], [truth(float(t), **(last if t == times[-1] else {})) for t in times]


def test_a_drive_round_a_circle_is_measured_as_geometry_says():
    row = judge(*minute(arrived=True), wall=30.0, stopped="arrived")
    assert row.arrived and row.reason == "arrived" and row.in_lane
    assert row.distance == pytest.approx(600.0, rel=1e-3) and row.mean_speed == pytest.approx(10.0, rel=1e-3)
    assert row.seconds == pytest.approx(60.0) and row.realtime_factor == pytest.approx(2.0)
    assert row.comfort.lateral_acceleration == pytest.approx(SPEED**2 / RADIUS)
    assert row.stage_ms["frame to command"] == pytest.approx((6.0, 6.0))


def test_interventions_and_faults_are_counted():
    records = [record(0.0, ("jerk",)), record(0.05, ("jerk", "late")), record(0.1, (), "ValueError: x")]
    row = judge(records, [truth(0.0), truth(0.05)], 1.0, "")
    assert row.interventions == {"jerk": 2, "late": 1} and row.faults == 1


def test_an_empty_drive_is_a_failure():
    row = judge([], [], 0.0, "the simulator failed")
    assert not row.arrived and not row.in_lane and row.realtime_factor == 0.0


@pytest.mark.parametrize(
    "what, last, good",
    [
        ("a clean minute", {}, True),
        ("one wheel over a line at the last instant", {"wheels_in_lane": False}, False),
        ("a crash", {"crash_vehicle": True}, False),
        ("a crash with a cone", {"crash_object": True}, False),
        ("leaving the road", {"out_of_road": True}, False),
    ],
)
def test_a_minute_in_lane(what, last, good):
    assert passed(judge(*minute(**last), 60.0, ""), HZ) is good


def test_half_a_minute_and_a_standing_car_do_not_pass():
    row = judge(*minute(), 60.0, "")
    assert not passed(replace(row, seconds=30.0), HZ)
    assert not passed(replace(row, mean_speed=1.0), HZ)


@pytest.mark.parametrize("bad", [{"hz": 0.0}, {"seconds": -1.0}, {"traffic": 2.0}, {"map": ""}, {"seed": -1}, {"speed_kph": 500.0}])
def test_a_bad_config_is_refused_when_it_is_made(bad):
    with pytest.raises(ValueError, match=r"must|unknown map|out of range"):
        DriveConfig(**bad)


def test_without_a_route_everything_else_is_there():
    class Body:
        cameras, vehicle = (), None
        act = close = staticmethod(lambda *_: None)

        def observe(self) -> Observation:
            return replace(record(1.0).observation, route=Route(np.array([[0.0, 0], [9, 0]]), (), 10.0))

    seen = WithoutRoute(Body()).observe()
    assert seen.route is None and seen.car == record(1.0).observation.car
