"""The timing table: what a row says, whether a kind taken for another is told, and that a stopped table goes on."""

import json
from dataclasses import replace

import pytest

from nanopilot.evaluate.clips import Expectation
from nanopilot.evaluate.watch import Row, WatchSuite, _follows, cells, evaluate
from nanopilot.messages import WarningKind

CUT_IN, FORWARD, HEADWAY = WarningKind.CUT_IN, WarningKind.FORWARD_COLLISION, WarningKind.HEADWAY
LATE = Row(
    "a person crosses", 9.0, "pedestrian_collision", 6.0, 8.1, 8.4, 0.3, False, ("cut_in at 2.00 s: x",), 0.02, 3.3, 1, "cyclist_collision"
)


def test_a_row_says_what_was_wanted_what_came_and_as_what():
    assert cells(LATE) == (
        "a person crosses",
        "1",
        "6.0 to 8.1",
        "8.40 as cyclist_collision",
        "+0.30",
        "+3.3",
        "2.0 %",
        "cut_in at 2.00 s: x",
    )
    assert cells(replace(LATE, warned=None, told="", error_s=None, error_m=None, speed_error=None))[3:7] == ("never", "", "", "-")
    assert cells(replace(LATE, expected="", told="", warned=None))[2:5] == ("silence", "-", "-")


@pytest.mark.parametrize(
    "expected, also, kind, t, right",
    [
        (FORWARD, (CUT_IN,), CUT_IN, 6.0, True),  # who cuts in too near is told as both
        (FORWARD, (CUT_IN,), CUT_IN, 4.0, False),  # but not before he does
        (FORWARD, (), CUT_IN, 6.0, False),  # a car that was always ahead has not cut in
        (FORWARD, (), HEADWAY, 6.0, True),
        (CUT_IN, (), FORWARD, 6.0, False),  # a faster car that cuts in is no danger
        (WarningKind.LANE_DEPARTURE, (), HEADWAY, 6.0, False),
    ],
)
def test_what_else_is_right_beside_what_is_expected(expected, also, kind, t, right):
    assert _follows(Expectation((expected,), 5.0, 7.0, "", also=also), kind, t) is right
    assert not _follows(None, kind, t)


@pytest.mark.drive
def test_a_silent_road_is_silent_and_a_table_that_was_stopped_goes_on(tmp_path, capsys):
    config = WatchSuite("an empty road, 72 km/h", hz=2.0, seeds="1", json=tmp_path / "watch.json")
    assert evaluate(config) == 0
    rows = (tmp_path / "watch.rows.jsonl").read_text().splitlines()
    first = json.loads(config.json.read_text())
    assert len(rows) == len(first["rows"]) == 2 and all(r["success"] and r["reason"].endswith(": silent") for r in first["rows"])
    (tmp_path / "watch.rows.jsonl").write_text(rows[0] + "\n")  # killed before the second
    assert evaluate(config) == 0
    again = json.loads(config.json.read_text())
    assert again["rows"] == first["rows"] and again["summary"] == first["summary"] == {}
    assert len((tmp_path / "watch.rows.jsonl").read_text().splitlines()) == 2 and "false alarms in all: 0" in capsys.readouterr().out
