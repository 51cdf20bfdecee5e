"""Which line is followed: lane hypotheses, the route's lane changes, UN R79's gap."""

from dataclasses import replace

import numpy as np
import pytest
from closed_loop import CAR, LANE_WIDTH

from nanopilot.messages import PATH_ARC, ROUTE_ARC, Curve, Kind, Signal, Track, Turn, World
from nanopilot.planning import planner
from nanopilot.planning.behaviour import BehaviourConfig, LaneChange, Line, blended, follow, gap_is_safe, minimum_jerk

CONFIG = BehaviourConfig()


def world(y=0.0, turn=Turn.STRAIGHT, at=100.0, speed=10.0, tracks=(), lane_right=1.0, path=True):
    points = np.stack([PATH_ARC, np.full(len(PATH_ARC), y)], -1)
    return World(
        0.0, speed, 0.0, 0.0, Curve(points, np.full(16, 0.1), 1.0) if path else None, None, None, LANE_WIDTH, 0.0, lane_right,
        tracks, np.stack([ROUTE_ARC, 0 * ROUTE_ARC], -1), 0.8, turn, at, 500.0, 10.0, 1.0, 0.0,
    )  # fmt: skip


def track(x, y, v):
    return Track(1, Kind.VEHICLE, x, y, 0.0, v, 0.0, 0.0, 0.0, 0.2, 0.2, 4.5, 1.8, 2.0, 0.0, 1.0)


def beside(line):
    return line.target.find(0.0, 0.0)[1]


def settled(y=0.0, shown=-1):
    """In its lane for long, and the turn signal on for long."""
    return replace(follow(Line(), world(y), 0.0, CAR, CONFIG), settled=10.0, wish=shown, wished=10.0)


def test_a_seen_lane_that_jumps_by_a_lane_width_does_not_move_the_target():
    line = replace(settled(), change=LaneChange(-1, LANE_WIDTH, 0.5))
    assert beside(follow(line, world(LANE_WIDTH), 0.05, CAR, CONFIG)) == pytest.approx(beside(line), abs=0.02)
    assert beside(follow(line, world(-LANE_WIDTH), 0.05, CAR, CONFIG)) == pytest.approx(beside(line), abs=0.02)


def test_far_beside_its_target_it_takes_the_own_lane_instead():
    assert beside(follow(settled(3.4), world(0.0), 0.05, CAR, CONFIG)) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(("lane_right", "followed"), [(1.0, -LANE_WIDTH), (0.0, 0.0)])
def test_a_line_beside_the_own_lane_where_no_lane_is_seen_is_given_up(lane_right, followed):
    """We stand on a line one lane right of what is seen as our own: a lane, or the oncoming one."""
    line, aside = settled(), []
    for _ in range(int(CONFIG.astray / 0.05) + 3):
        line = follow(line, world(LANE_WIDTH, lane_right=lane_right, speed=0.0), 0.05, CAR, CONFIG)
        aside.append(line.target.xy[line.target.s >= 0][0, 1])
    assert aside[len(aside) // 2] == pytest.approx(0.0, abs=0.05)
    assert aside[-1] == pytest.approx(followed + LANE_WIDTH, abs=0.05)


def test_keep_right_begins_a_change_to_the_right_by_one_lane():
    line = follow(settled(), world(turn=Turn.KEEP_RIGHT), 0.05, CAR, CONFIG)
    assert line.change.direction == -1
    assert line.target.find(0.0, 0.0)[1] == pytest.approx(LANE_WIDTH, abs=0.02)  # we are left of it


def test_the_turn_signal_shows_for_a_second_first():
    line, shown = settled(shown=0), []
    while line.change is None:
        line = follow(line, world(turn=Turn.KEEP_RIGHT), 0.05, CAR, CONFIG)
        shown.append(line.side)
    assert set(shown) == {-1} and len(shown) == pytest.approx(CONFIG.indicate / 0.05 + 1, abs=1)


def test_a_wish_that_ends_begins_its_second_anew():
    line = follow(settled(), world(turn=Turn.KEEP_RIGHT, lane_right=0.2), 0.05, CAR, CONFIG)
    assert line.side == 0
    assert follow(line, world(turn=Turn.KEEP_RIGHT), 0.05, CAR, CONFIG).change is None


@pytest.mark.parametrize(
    "unfit",
    [
        {"turn": Turn.STRAIGHT},
        {"turn": Turn.KEEP_LEFT},  # no lane there
        {"lane_right": 0.2},
        {"at": 200.0},
        {"at": 5.0},
        {"path": False},
        {"tracks": (track(0.0, -LANE_WIDTH, 10.0),)},
        {"tracks": (track(-15.0, -LANE_WIDTH, 14.0),)},
        {"tracks": (track(12.0, -LANE_WIDTH, 8.0),)},
    ],
)
def test_no_change_without_reason_lane_room_or_gap(unfit):
    assert follow(settled(), world(**{"turn": Turn.KEEP_RIGHT} | unfit), 0.05, CAR, CONFIG).change is None


@pytest.mark.parametrize("closing", [0.0, 2.0, 6.0])
def test_the_gap_behind_is_that_of_un_r79(closing):
    needed = closing * 0.4 + closing**2 / 6 + 10.0 * 1.0
    own = settled().target
    for spare, safe in ((0.1, True), (-0.1, False)):
        x = -CAR.rear_overhang - needed - spare - 4.5 / 2
        assert gap_is_safe(own, world(tracks=(track(x, -LANE_WIDTH, 10.0 + closing),)), -1, CAR, CONFIG) is safe


def test_a_change_is_given_up_when_the_gap_closes_early():
    line = follow(settled(), world(turn=Turn.KEEP_RIGHT), 0.05, CAR, CONFIG)
    line = follow(line, world(turn=Turn.KEEP_RIGHT, tracks=(track(-8.0, -LANE_WIDTH, 15.0),)), 0.5, CAR, CONFIG)
    assert line.change.direction == 1
    assert abs(line.target.find(0.0, 0.0)[1]) < 0.05  # the old lane again


def test_a_lane_change_takes_under_5_seconds_and_1_metre_per_second_squared():
    t = np.linspace(0, CONFIG.change_time, 1001)
    y = 3.5 * minimum_jerk(t / CONFIG.change_time)
    assert CONFIG.change_time < 5.0
    assert np.abs(np.gradient(np.gradient(y, t), t)).max() <= 1.0


def test_the_blended_line_joins_both_lanes():
    line = follow(settled(), world(turn=Turn.KEEP_RIGHT), 0.0, CAR, CONFIG)
    path = blended(line, 10.0, CONFIG)
    assert path.xy[path.s < 0, 1] == pytest.approx(0.0, abs=0.02)
    assert path.xy[path.s > 10 * CONFIG.change_time, 1] == pytest.approx(-LANE_WIDTH, abs=0.02)


def test_without_a_lane_the_line_is_dead_reckoned():
    line = follow(settled(), world(path=False), 0.5, CAR, CONFIG)
    assert line.unseen == 0.5
    assert line.target.s[-1] == pytest.approx(60 - 5, abs=0.1)
    assert follow(Line(), world(path=False), 0.5, CAR, CONFIG).target is None


@pytest.mark.parametrize(
    ("turn", "at", "signal"),
    [
        (Turn.LEFT, 20.0, Signal.LEFT),
        (Turn.RIGHT, 20.0, Signal.RIGHT),
        (Turn.LEFT, 60.0, Signal.OFF),
        (Turn.STRAIGHT, 20.0, Signal.OFF),
        (Turn.KEEP_RIGHT, 100.0, Signal.RIGHT),
    ],
)
def test_turns_and_wished_for_lane_changes_are_signalled(turn, at, signal):
    assert planner.step(planner.State(), world(turn=turn, at=at), CAR)[1].signal == signal
