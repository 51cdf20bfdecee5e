"""The page of failures: failed rows and no others, a map where a log is, words where none is."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "dev"))
from failures import DRIVEN, OTHER, OURS, REACH, ROUTE, SIDE, map_of, page

from nanopilot.evaluate.drive import DriveRow, drive_keeping
from nanopilot.log import Log, LogError
from nanopilot.messages import Route
from nanopilot.sim.truth import SimTruth, TrueActor


def write(path: Path) -> Path:
    """50 m to the east from (0, 0), along a route that ends at 200 m; somebody stands 20 m north of the end."""
    false = dict.fromkeys(("crash_vehicle", "crash_object", "crash_person", "out_of_road", "arrived"), False)
    other = TrueActor(1, "vehicle", 50.0, 20.0, 0.0, 0.0, 4.4, 1.8, 1.5)
    with Log(path, {}) as log:
        log.write("/route", Route(np.array([(0.0, -5.0), (200.0, -5.0)]), (), 10.0), 0.0)
        for k in range(51):
            lane = np.array([(float(k), 3.0), (k + 60.0, 3.0)])
            log.write("/truth", SimTruth(t=0.1 * k, x=float(k), y=0.0, yaw=0.0, speed=10.0, lane_offset=0.0, lane_width=3.5,
                                         lane_heading_error=0.0, lane_index=0, lane_count=1, wheels_in_lane=True, lane_path=lane,
                                         actors=(other,), route_completion=0.2, **false))  # fmt: skip
    return path


def shows(picture, x: float, y: float, colour) -> bool:
    """Whether that colour is drawn within a pixel or two of a place in metres from the end."""
    u, v = (round(SIDE / 2 + k * SIDE / (2 * REACH)) for k in (x, -y))
    return bool((np.abs(picture[v - 2 : v + 3, u - 2 : u + 3].astype(int) - colour).max(-1) < 40).any())


def test_a_map_shows_where_things_are(tmp_path):
    picture = map_of(write(tmp_path / "a.mcap"))
    assert shows(picture, -20.0, 0.0, DRIVEN) and not shows(picture, 20.0, 0.0, DRIVEN)  # behind us
    assert shows(picture, 20.0, -5.0, ROUTE) and shows(picture, 2.2, 20.0, OTHER) and shows(picture, -1.0, 0.9, OURS)
    assert not shows(picture, 2.2, -20.0, OTHER)  # north is up


def test_no_log_is_said(tmp_path):
    with pytest.raises(LogError):
        map_of(tmp_path / "gone.mcap")


def test_the_page_has_failed_drives_alone(tmp_path):
    row = {"route_completion": 0.4, "distance": 100.0, "seconds": 9.0, "place": [50.0, 0.0]}
    rows = [
        {"job": {"seed": 1, "town": "grid"}, "success": True, **row},
        {"job": {"seed": 2, "town": "grid"}, "success": False, "reason": "hit a person", "infractions": {"person": 1}, **row,
         "log": str(write(tmp_path / "two.mcap"))},
        {"job": {"seed": 3, "map": "3"}, "success": False, "reason": "out of road", **row, "log": str(tmp_path / "gone.mcap")},
        {"job": {"seed": 4, "map": "3"}, "error": "RuntimeError: no map"},
    ]  # fmt: skip
    (tmp_path / "r.json").write_text(json.dumps({"rows": rows, "command": "nanopilot", "date": "today", "commit": "c"}))
    text = page([tmp_path / "r.json"], tmp_path / "failures")
    assert "3 of 4 failed" in text and "**1**" not in text
    assert "**2**, grid town: hit a person; 40% of the route, 100 m driven in 9 s; person 1; ended at x 50, y 0 m" in text
    assert "(failures/two.webp)" in text and (tmp_path / "failures" / "two.webp").stat().st_size < 15_000
    assert "(no map: " in text and "**4**, map 3: RuntimeError: no map" in text


def test_logs_of_failed_drives_are_kept_alone(tmp_path, monkeypatch):
    def fake(config, path=None):
        path.write_text("log")
        return DriveRow(config, "", 0, False, False, False, True, 0, 0, 0, 0, 0, None)

    monkeypatch.setattr("nanopilot.evaluate.drive.drive", fake)
    kept = [drive_keeping(arrived, str(tmp_path / "logs"), f"d{k}", lambda d: d.arrived).log for k, arrived in enumerate((True, False))]
    assert kept == ["", str(tmp_path / "logs" / "d1.mcap")] and [p.name for p in (tmp_path / "logs").iterdir()] == ["d1.mcap"]
