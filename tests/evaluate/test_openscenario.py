"""Exported manoeuvres: ASAM's schemas take them, and what is read back is where the targets are."""

from dataclasses import replace
from itertools import pairwise
from math import cos, hypot, sin

import pytest

pytest.importorskip("scenariogeneration")
from lxml import etree

from nanopilot.evaluate import openscenario
from nanopilot.evaluate.procedures import KPH, cases
from nanopilot.evaluate.track import OUTER_Y

BY_NAME = {c.name: c for c in cases()}
SOME = [BY_NAME[name] for name in (
    "ccr/CCRb, 50 km/h/2 m/s²/12 m", "vru/bicycle crosses/CBNA-50, 15 km/h/30",
    "fmvss127/pedestrian crosses/child from behind parked cars/30",
    "fmvss127/false activation/steel plate/80", "lane/road edge without a line/0.3 m/s/90",
    "r157/cut-in at 45 km/h, pilot engaged/other 15 km/h/1.2 s", "fmvss127/pedestrian in the lane/stands, 25 %, own low beam/30",
)]  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    found = openscenario.export(SOME, 0.6, tmp_path_factory.mktemp("export"))
    return {f.name: f for f in found}


def scenario(files, part):
    return etree.parse(next(f for name, f in files.items() if part in name))


def vertices(tree, name):
    """(t, x, y, h) of an entity's polyline."""
    found = tree.xpath(f"//ManeuverGroup[Actors/EntityRef/@entityRef='{name}']//Vertex")
    return [(float(v.get("time")), *(float(v.find(".//WorldPosition").get(k)) for k in ("x", "y", "h"))) for v in found]


def test_every_case_and_both_roads_are_written_and_taken_by_the_schemas(files):
    assert len(files) == len(SOME) + 2 and {"road.xodr", "road-without-edge-line.xodr"} < set(files)
    for file in files.values():
        openscenario.check(file)


@pytest.mark.parametrize(("suffix", "old", "new"), [(".xosc", "TeleportAction", "Teleport"), (".xodr", 'type="driving"', 'type="flying"')])
def test_what_the_schema_does_not_know_is_refused(files, tmp_path, suffix, old, new):
    text = next(f for f in files.values() if f.suffix == suffix).read_text()
    assert old in text
    wrong = tmp_path / f"wrong{suffix}"
    wrong.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match="wrong"):
        openscenario.check(wrong)


@pytest.mark.parametrize(
    ("part", "case", "number"), [("CCRb", SOME[0], 1), ("CBNA", SOME[1], 1), ("child", SOME[2], 1), ("cut-in", SOME[5], 1)]
)
def test_a_target_read_back_is_where_it_was_driven(files, part, case, number):
    path = vertices(scenario(files, part), f"target{number}")
    assert path[0][0] == 0.0 and path[-1][0] == pytest.approx(case.trial.seconds, abs=0.05)
    for (t0, *a), (t1, *b) in pairwise(path):
        for share in (0.0, 0.5) if a[2] == b[2] else (0.0,):  # it turns at once
            t = t0 + share * (t1 - t0)
            actor = next(x for x in case.trial.actors(t) if x.id == 1)
            back = 0.0 if actor.kind == "person" else 1.3 * actor.size[0] / 4
            x, y = (p + share * (q - p) for p, q in zip(a[:2], b[:2], strict=True))
            assert hypot(x + back * cos(a[2]) - actor.x, y + back * sin(a[2]) - actor.y) < 0.02


def test_the_car_begins_and_leaves_its_lane_as_the_procedure_says(files):
    tree = scenario(files, "road-edge")
    path = vertices(tree, "ego")
    (t0, _, y0, _), (t1, _, y1, _) = path[-2:]
    assert (y1 - y0) / (t1 - t0) == pytest.approx(-0.3, abs=1e-3)
    assert tree.find(".//LogicFile").get("filepath") == "road-without-edge-line.xodr"
    speed = tree.find(".//Private[@entityRef='ego']//AbsoluteTargetSpeed").get("value")
    assert float(speed) == pytest.approx(90 * KPH)
    assert tree.find(".//RoadCondition").get("frictionScaleFactor") == "0.6"


def test_a_plate_lies_on_the_road_and_night_is_night(files):
    plate = scenario(files, "steel").find(".//Private[@entityRef='plate']//WorldPosition")
    assert float(plate.get("x")) - 1.85 == pytest.approx(SOME[3].trial.plate, abs=1e-6) and float(plate.get("y")) == OUTER_Y
    assert "T00:" in scenario(files, "low-beam").find(".//TimeOfDay").get("dateTime")


def test_the_road_has_two_lanes_each_way_and_its_edge_line_where_the_camera_draws_it(files):
    road, bare = (etree.parse(files[name]) for name in ("road.xodr", "road-without-edge-line.xodr"))
    right = road.find(".//right").findall("lane")
    widths = [float(lane.find("width").get("a")) for lane in right]
    assert sum(widths[:3]) == pytest.approx(7.0) and [lane.get("type") for lane in right] == ["driving", "driving", "shoulder", "sidewalk"]
    assert [lane.find("roadMark").get("type") for lane in right[:2]] == ["broken", "solid"]
    assert [lane.find("roadMark").get("type") for lane in bare.find(".//right").findall("lane")[:2]] == ["broken", "none"]


def test_a_standing_target_has_no_path_and_a_case_without_targets_is_written(files, tmp_path):
    stands = scenario(files, "stands")
    assert vertices(stands, "target1") == []
    empty = replace(SOME[3], trial=replace(SOME[3].trial, plate=-1.0))
    assert len(openscenario.export([empty], 1.0, tmp_path)) == 2
