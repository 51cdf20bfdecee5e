"""The world against MetaDrive's own bookkeeping: frame, signs, paint, traffic, ends of a drive."""

import math
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from nanopilot.geometry import project
from nanopilot.messages import Turn
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
from nanopilot.sim.metadrive_map import markings


@contextmanager
def opened(**config):
    world = MetaDriveWorld(WorldConfig(**config))
    try:
        world.reset()
        yield world
    finally:
        world.close()


@pytest.fixture
def world():
    with opened(seed=1003, map="3", accident_prob=0.5) as world:
        yield world


WRONG = [{"map": ""}, {"map": "0"}, {"map": "SZ"}, {"map": "21"}, {"seed": -1}, {"traffic": 2.0}, {"lane_num": 0}, {"step": 0.5}]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_config_is_refused_with_what_is_allowed(wrong):
    with pytest.raises(ValueError, match=r"blocks|from|range"):
        WorldConfig(**wrong)


def test_a_second_world_in_one_process_is_refused_and_nothing_is_written_into_the_package(world):
    import metadrive

    with pytest.raises(RuntimeError, match="one world per process"):
        MetaDriveWorld(WorldConfig())
    assert not os.path.exists(os.path.join(os.path.dirname(metadrive.__file__), "assets"))


def test_steering_left_turns_left_in_a_right_handed_frame(world):
    for _ in range(30):
        world.step(0.0, 1.0)
    x, y, yaw = world.pose
    for _ in range(10):
        world.step(0.1, 0.0)
    assert world.yaw_rate > 0.02 and world.pose[2] > yaw + 0.01 and world.pose[1] > y and world.pose[0] > x


def test_truth_agrees_with_metadrive(world):
    for k in range(40):
        world.step(0.02 * math.sin(k / 5), 0.5)
        truth, v = world.truth(), world.vehicle
        _, lateral = v.lane.local_coordinates(v.position)
        assert truth.lane_offset == pytest.approx(-lateral, abs=0.02)
        assert truth.lane_index == v.lane_index[2] and truth.lane_count == 3
        assert truth.t == pytest.approx((k + 1) * 0.05)
        assert math.hypot(truth.x - v.position[0], truth.y - v.position[1]) == pytest.approx(v.REAR_WHEELBASE)
        assert truth.wheels_in_lane == (max(abs(-lateral + s * 0.94) for s in (-1, 1)) < 1.7) or abs(abs(lateral) - 0.8) < 0.1
    assert truth.route_completion == pytest.approx(v.navigation.route_completion)
    assert len(truth.actors) == len(world.scene().actors) > 0


def test_every_line_metadrive_ends_a_drive_for_is_painted_where_it_is(world):
    """MetaDrive's own map features hold the same lines (doubled where two roads share one)."""
    ours = markings(world.env.current_map)
    points = {False: [], True: []}
    for m in ours:
        points[m.dash is None].append(m.points)
    for feature in world.env.current_map.get_map_features(2).values():
        if "polyline" not in feature or "LINE_SOLID" not in feature["type"]:
            continue
        solid = np.concatenate(points[True])
        gaps = [np.hypot(*(solid - p[:2]).T).min() for p in feature["polyline"]]
        assert max(gaps) < 0.8  # our points lie a metre apart


def test_the_route_leads_from_the_start_to_the_destination_in_coarse_steps(world):
    route = world.route()
    assert np.hypot(*(route.points[0] - world.pose[:2])) < 11  # the carriageway's middle, three lanes wide
    step = np.hypot(*np.diff(route.points, axis=0).T)
    assert step.min() > 8.5 and step.max() < 11.5
    final = world.vehicle.navigation.final_lane
    end = final.position(final.length, 0)
    assert project(route.points, *end)[0] == pytest.approx(step.sum(), abs=1.0)
    assert route.manoeuvres[-1].turn == Turn.ARRIVE and route.manoeuvres[-1].s == pytest.approx(step.sum(), rel=0.02)


def test_turn_instructions_name_the_way_the_route_bends():
    seen = set()
    for seed in (7, 21, 34):
        with opened(seed=seed, map="XTX", traffic=0.0) as world:
            route = world.route()
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(route.points, axis=0).T))])
        headings = np.unwrap(np.arctan2(*np.diff(route.points, axis=0).T[::-1]))
        for m in route.manoeuvres[:-1]:
            before, after = (headings[np.clip(np.searchsorted(along, s), 0, len(headings) - 1)] for s in (m.s - 15, m.s + 45))
            bend = np.degrees(after - before)
            expected = Turn.LEFT if bend > 45 else Turn.RIGHT if bend < -45 else Turn.STRAIGHT
            assert m.turn == expected
            seen.add(m.turn)
    assert {Turn.LEFT, Turn.RIGHT} <= seen


def test_leaving_the_road_ends_the_drive_with_its_reason():
    with opened(seed=5, map="S", traffic=0.0) as world:
        for _ in range(200):
            world.step(0.1, 0.5)
            if world.stopped:
                break
        assert world.stopped == "out of road: on a continuous yellow line" and world.truth().out_of_road


def test_traffic_starts_where_metadrives_own_environment_puts_it():
    program = """
import sys
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
if sys.argv[1] == "ours":
    world = MetaDriveWorld(WorldConfig(seed=1001)); world.reset(); env = world.env
else:
    import logging
    from metadrive.engine.base_engine import BaseEngine
    from metadrive.envs.metadrive_env import MetaDriveEnv
    BaseEngine.try_pull_asset = staticmethod(lambda: None)
    env = MetaDriveEnv(dict(start_seed=1001, num_scenarios=1, map=3, traffic_density=0.1, log_level=logging.ERROR)); env.reset(seed=1001)
print([(type(o).__name__, *(round(float(c), 3) for c in o.position)) for o in env.engine.get_objects().values() if hasattr(o, "position")])
"""
    runs = [subprocess.run([sys.executable, "-c", program, who], capture_output=True, text=True, check=True) for who in ("ours", "theirs")]
    ours, theirs = (run.stdout for run in runs)
    assert ours == theirs and ours.count("Vehicle") > 4
