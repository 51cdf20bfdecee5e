"""Towns: the same for the same seed, joined up as SUMO says, judged by hand-made truth; bad input is refused in words."""

import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("libsumo")

from nanopilot.geometry import project
from nanopilot.messages import GpsFix, Turn
from nanopilot.sim.lanemap import Paint
from nanopilot.sim.sumo import TownConfig, TownWorld, _overlap
from nanopilot.sim.sumo_net import FOLDER, TownError, make_net, read_net, town_net
from nanopilot.sim.sumo_routes import _roads, write_traffic

LANE = '<lane id="{}" type="driving" level="false"><link/><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
XODR = f"""<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="4" name="" version="1" north="0" south="0" east="0" west="0"/>
<road name="" length="300" id="1" junction="-1"><link/><type s="0" type="town"/>
<planView><geometry s="0" x="0" y="0" hdg="0" length="300"><line/></geometry></planView>
<lanes><laneSection s="0"><left>{LANE.format(1)}</left><center><lane id="0" type="none" level="false"/></center>
<right>{LANE.format(-1)}</right></laneSection></lanes></road></OpenDRIVE>"""


@pytest.fixture(scope="module")
def world():
    world = TownWorld(TownConfig(3, "grid"))
    yield world
    world.close()


def drive(world: TownWorld, seconds: float) -> list[tuple]:
    world.reset()
    for _ in range(round(seconds / world.config.step)):
        world.drive(1.0 if world.speed < 5 else 0.0, 0.0)
    return [(a.id, a.kind, a.x, a.y, a.yaw, a.speed) for a in world.scene().actors], world.lights(), world.pose


def test_the_same_seed_gives_the_same_drive_bit_for_bit(world):
    assert drive(world, 4.0) == drive(world, 4.0)


def test_every_lane_is_joined_to_the_next_without_a_gap(world):
    lanes = world.lane_map.lanes
    gaps = [np.hypot(*(lanes[k].centre[0] - lane.centre[-1])) for lane in lanes for k in lane.successors]
    assert len(gaps) > 300 and max(gaps) < 0.01


def test_traffic_keeps_right_of_the_yellow_line(world):
    lane = next(lane for lane in world.lane_map.lanes if lane.road[1] == "" and lane.left_colour == "yellow")
    start, end = world.net.edges[lane.road[0]]
    back = next(e for e, ends in world.net.edges.items() if ends == (end, start))
    other = next(o for o in world.lane_map.lanes if o.road == (back, ""))
    ahead = lane.centre[1] - lane.centre[0]
    to_other = other.centre[-1] - lane.centre[0]
    assert ahead[0] * to_other[1] - ahead[1] * to_other[0] > 0  # the oncoming lane is on the left
    assert lane.left_paint[0] == Paint.SOLID


def test_everybody_who_drives_has_a_way_to_where_he_goes(tmp_path):
    """SUMO lets who has none drive to a junction from which it would go on, and stand there for two minutes."""
    net, _, folder = town_net("random", 3002)  # it has roads that end
    with folder:
        write_traffic(net, tmp_path / "town.rou.xml", 200, 5, 100.0, np.random.default_rng(0))
    onward, _ = _roads(net)
    assert not all(onward.values())
    trips = ElementTree.parse(tmp_path / "town.rou.xml").findall("trip")
    assert len(trips) > 100
    for a, b in {(t.get("from"), t.get("to")) for t in trips}:
        near, reached = {a}, {a}
        while near:
            near = {edge for road in near for edge in onward[road]} - reached
            reached |= near
        assert a != b and b in reached


def test_the_route_is_a_kilometre_and_tells_every_junction(world):
    world.reset()
    route = world.route()
    length = np.hypot(*np.diff(route.points, axis=0).T).sum()
    assert length >= 950.0  # its points cut the corners of a way of at least 1000 m
    junctions = [m for m in route.manoeuvres if m.turn in (Turn.STRAIGHT, Turn.LEFT, Turn.RIGHT)]
    assert len(junctions) == len(world.way) // 2
    assert route.manoeuvres[-1].turn == Turn.ARRIVE


def test_an_instruction_stands_at_the_stop_line(world):
    """Told 0.6 m farther, we stop where the light is above the picture."""
    lines = [s for s, *_ in world._stops]  # along the exact way from the route's first point on
    told = [m.s for m in world.route().manoeuvres if m.turn in (Turn.STRAIGHT, Turn.LEFT, Turn.RIGHT)]
    assert len(lines) == len(told) and np.abs(np.array(lines) - told).max() < 0.25


def test_lights_follow_sumo_and_a_red_one_run_is_counted_once(world):
    for seed in range(3, 30):  # a way with a light first
        world.config = TownConfig(seed, "grid", traffic=0.0)
        world.reset()
        if world._stops[0][1].rule == "light":
            break
    stop, approach, link = world._stops[0]
    while world._link_state(link).value != "red":
        world.drive(0.0, 0.0)
    assert world.lights()[approach.light_id] in ("red", "yellow", "green")
    world.motion = world.motion._replace(speed=13.0)
    while world._s < stop + 2.0 and not world.stopped:
        world.drive(0.0, 0.0)
        assert world._link_state(link).value != "green", "it turned green before we came: not the case this test is about"
    assert world.infractions == ["red light"]
    world.config = TownConfig(3, "grid")


def missed_turn(world: TownWorld) -> tuple[int, str]:
    """(which junction of the way, a road out of it that is not the way's) of the first turn that can be missed."""
    roads = [lane.road[0] for lane in world.way[::2]]
    for k, (here, there) in enumerate(pairwise(roads)):
        leads = {world.net.lanes[w.target].edge for w in world.net.links if world.net.lanes[w.source].edge == here}
        if others := sorted(leads - {there, *roads}):
            return k, others[0]
    raise AssertionError("every turn must be taken")


def test_who_misses_a_turn_is_shown_another_way_to_the_same_goal(world):
    world.config = TownConfig(3, "grid", traffic=0.0)
    world.reset()
    goal, first = world.line[-1], world.route()
    for at in (0.0, 30.0, 60.0):  # on the way, with a receiver that errs by 5 m: nothing is said
        x, y = world.line[int(2 * at)]
        fixes = [GpsFix(0.1 * k, x + 3.0, y - 4.0, 2.0, 0.0, 0.05) for k in range(20)]
        assert [world.reroute(fix) for fix in fixes] == [None] * 20
    k, wrong = missed_turn(world)
    lane = next(lane for lane in world.lane_map.lanes if lane.road == (wrong, ""))
    (x, y), heading = lane.centre[25], float(lane.heading[25])
    world._s = world._told = float(project(world.line, *world.way[2 * k].centre[-1])[0])
    driven = world._s
    world.motion = world.motion._replace(x=x, y=y, yaw=heading, speed=5.0)
    told = [world.reroute(GpsFix(0.1 * j, x, y, 2.0, heading, 0.05)) for j in range(8)]
    assert told[:4] == [None] * 4 and told[5:] == [None] * 3  # once, and not at the first fix
    assert np.hypot(*(told[4].points[0] - (x, y))) < 2.0 and np.hypot(*(told[4].points[-1] - goal)) < 4.0
    assert told[4].manoeuvres[-1].turn == Turn.ARRIVE and told[4] is world.route() is not first
    assert all(b.id in a.successors for a, b in pairwise(world.way))
    world.drive(0.0, 0.0)
    assert world.stopped == "" and world.truth().reroutes == 1
    assert world.truth().route_completion == pytest.approx(driven / (driven + world._arc[-1]), abs=0.02)
    world.config = TownConfig(3, "grid")


def test_rectangles_overlap_when_they_do():
    a = np.array([0.0, 0.0, 0.0, 4.0, 2.0])
    assert _overlap(a, np.array([3.9, 0.0, 0.0, 4.0, 2.0]))
    assert not _overlap(a, np.array([4.1, 0.0, 0.0, 4.0, 2.0]))
    assert not _overlap(a, np.array([2.8, 1.8, np.pi / 4, 2.0, 1.0]))  # its bounding box overlaps, it doesn't
    assert _overlap(a, np.array([0.0, 1.4, np.pi / 2, 1.0, 1.0]))


def test_an_opendrive_file_becomes_a_town(tmp_path):
    path = tmp_path / "road.xodr"
    path.write_text(XODR)
    net, _, folder = town_net(str(path), 0)
    folder.cleanup()
    assert len(net.lanes) == 2 and all(abs(lane.width - 3.5) < 0.1 for lane in net.lanes.values())


@pytest.mark.parametrize(("name", "words"), [("village", "unknown town"), ("gone.net.xml", "no such file"), ("gone.osm", "no such file")])
def test_what_is_no_town_is_refused_in_words(tmp_path, name, words):
    with pytest.raises(TownError, match=words):
        make_net(name, 0, tmp_path)
    with pytest.raises(ValueError, match=words):
        TownConfig(0, name)  # said before a simulator is started or a log begun


def test_folders_of_killed_towns_are_swept_and_those_of_living_ones_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout.strip()
    for name in (f"{FOLDER}{dead}-a", f"{FOLDER}{os.getpid()}-b", f"{FOLDER}old", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "road.xodr").write_text(XODR)
    folder = town_net(str(tmp_path / "road.xodr"), 0)[2]
    here = Path(folder.name).name
    assert {p.name for p in tmp_path.iterdir()} == {f"{FOLDER}{os.getpid()}-b", f"{FOLDER}old", "other", "road.xodr", here}
    folder.cleanup()


def test_a_broken_file_is_refused_in_words(tmp_path):
    (tmp_path / "bad.net.xml").write_text("<net><edge>")
    with pytest.raises(TownError, match="no SUMO network"):
        read_net(tmp_path / "bad.net.xml")
    (tmp_path / "bad.osm").write_text("nothing")
    with pytest.raises(TownError, match="netconvert"):
        make_net(str(tmp_path / "bad.osm"), 0, tmp_path)
