"""Which messages are events, and when one ends."""

import pytest
import viewer_logs

from nanopilot.log import Step, schema
from nanopilot.messages import CarState, Plan, SafeCommand, World
from nanopilot.viewer.events import HOLD, Events, Fact, watcher


def events(topic: str, form: dict, *said: tuple[float, dict]) -> list[tuple]:
    facts, out = watcher(topic, form), Events()
    for t, message in said:
        out.add(t, facts(message))
    return [(e.t, e.end, e.source, e.kind, e.severity, e.text) for e in out.all]


def test_a_fact_said_again_goes_on_and_after_a_gap_is_another_event():
    out, jerk, stop = Events(), Fact("safety", "jerk", "notice", "jerk"), Fact("safety", "stop", "notice", "stop")
    for t in (0.0, 0.5, 1.4, 1.4 + 1.01 * HOLD):
        out.add(t, [jerk])
    out.add(0.7, [stop])
    assert [(e.kind, e.t, e.end) for e in out.all] == [("jerk", 0.0, 1.4), ("jerk", 2.41, 2.41), ("stop", 0.7, 0.7)]
    assert [e["id"] for e in out.since(1.5)] == [0, 1, 2]  # the first and last may have changed since
    assert [e["id"] for e in out.since(2.5)] == [1]


def test_a_warning_is_found_by_its_form_on_any_topic():
    said = {"t": 1.0, "kind": "lane_departure", "level": "medium", "side": -1, "reason": "0.2 m from the line"}
    found = events("/anything", schema(viewer_logs.Danger), (1.0, said), (1.1, said | {"level": "late"}))
    assert found == [
        (1.0, 1.0, "warning", "lane_departure left", "warning", "lane departure left: 0.2 m from the line"),
        (1.1, 1.1, "warning", "lane_departure left", "critical", "lane departure left: 0.2 m from the line"),
    ]


def test_warnings_in_a_list_are_found_too_and_silent_ones_are_none():
    form = {"properties": {"t": {}, "warnings": {"type": "array", "items": schema(viewer_logs.Danger)}}}
    warnings = [{"kind": "headway", "level": "info"}, {"kind": "red_light", "level": "none"}, {"kind": "x", "level": 2, "active": False}]
    assert events("/assist", form, (3.0, {"t": 3.0, "warnings": warnings})) == [(3.0, 3.0, "warning", "headway", "notice", "headway")]


@pytest.mark.parametrize(
    "topic, kind, message, said",
    [
        ("/plan", Plan, {"behaviour": "keep_lane", "reason": "keep lane"}, ("behaviour", "info", "keep lane")),
        ("/plan", Plan, {"behaviour": "yield", "reason": "yield to 4"}, ("behaviour", "info", "yield to 4")),
        ("/plan", Plan, {"behaviour": "stop", "reason": "goal"}, ("behaviour", "info", "stop: goal")),
        ("/safe", SafeCommand, {"engaged": True, "reasons": ["jerk limited"]}, ("safety", "notice", "jerk limited")),
        ("/safe", SafeCommand, {"engaged": True, "reasons": ["emergency braking"]}, ("safety", "critical", "emergency braking")),
        ("/safe", SafeCommand, {"engaged": False, "reasons": []}, ("safety", "notice", "not engaged")),
        ("/step", Step, {"fault": "ValueError: x"}, ("fault", "critical", "ValueError: x")),
        ("/truth", Step, {"crash_vehicle": True, "arrived": False}, ("judge", "critical", "crash with vehicle")),
        ("/truth", Step, {"arrived": True}, ("judge", "info", "arrived")),
    ],
    ids=lambda v: str(v) if isinstance(v, str) else "",
)
def test_what_a_drive_logs_already_say(topic, kind, message, said):
    (event,) = events(topic, schema(kind), (0.0, message))
    assert (event[2], event[4], event[5]) == said


@pytest.mark.parametrize("kind", [CarState, World], ids=lambda k: k.__name__)
def test_messages_that_hold_no_event_are_not_parsed(kind):
    assert watcher("/x", schema(kind)) is None
