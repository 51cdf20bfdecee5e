"""RSS against the paper's definitions by simulation: the worst that both may do must end just short of touching."""

from dataclasses import replace
from math import atan2, cos, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanopilot.messages import Curve, Kind, Track, Turn, VehicleModel, World
from nanopilot.safety import rss
from nanopilot.safety.rss import RssConfig, RssState

CONFIG = RssConfig()
CAR = VehicleModel(2.5, 4.5, 1.8, 0.9, 0.7, 2.7, 8.0, 0.1)  # front bumper 3.6 m ahead of the rear axle


def travel(v, response, a, braking, seconds=40.0, dt=1e-3):
    """Step by step: speed up at `a` until the response, then brake to a stand; the way gone (the last step is a trapezium)."""
    s = t = 0.0
    while t < seconds and (v > 0 or t < response):
        new = v + a * dt if t < response else max(v - braking * dt, 0.0)
        s, v, t = s + (v + new) / 2 * dt, new, t + dt
    return s


@given(st.floats(0, 30), st.floats(0, 30))
@settings(max_examples=15, deadline=None)
def test_following_distance_is_what_the_worst_case_needs(rear, front):
    need = travel(rear, 1.0, 3.5, 4.0) - travel(front, 0.0, 0.0, 8.0)
    assert rss.following_distance(rear, front, CONFIG) == pytest.approx(max(need, 0.0), abs=0.1)


@given(st.floats(0, 30), st.floats(0, 30))
@settings(max_examples=15, deadline=None)
def test_oncoming_distance_is_what_the_worst_case_needs(own, other):
    need = travel(own, 1.0, 3.5, 3.0) + travel(other, 2.0, 3.5, 4.0)
    assert rss.oncoming_distance(own, other, CONFIG) == pytest.approx(need, abs=0.1)


def test_by_hand():
    """20 m/s behind 10: 20 + 1.75 + 23.5² / 8 - 100 / 16; side by side and still: 0.1 + 0.1 + 0.2² / 1.6 + 0.4 + 0.4² / 1.6."""
    assert rss.following_distance(20.0, 10.0, CONFIG) == pytest.approx(20 + 1.75 + 23.5**2 / 8 - 6.25)
    assert rss.following_distance(20.0, -5.0, CONFIG) == pytest.approx(20 + 1.75 + 23.5**2 / 8)
    assert rss.following_distance(0.0, 30.0, CONFIG) == 0.0
    assert rss.following_distance(-3.0, 0.0, CONFIG) == pytest.approx(1.75 + 3.5**2 / 8)
    margin = replace(CONFIG, margin=2.0)
    assert rss.following_distance(0.0, 30.0, margin) == 2.0
    assert rss.oncoming_distance(0.0, 0.0, margin) == pytest.approx(1.75 + 3.5**2 / 6 + 7 + 49 / 8 + 2)
    assert rss.side_distance(0.0, 0.0, CONFIG) == pytest.approx(0.1 + 0.1 + 0.04 / 1.6 + 0.4 + 0.16 / 1.6)
    assert rss.side_distance(1.0, 0.0, CONFIG) == pytest.approx(0.1 + 1.1 + 1.44 / 1.6 + 0.4 + 0.16 / 1.6)
    assert rss.side_distance(0.0, -1.0, CONFIG) == pytest.approx(0.1 + 0.1 + 0.04 / 1.6 + 2.4 + 1.96 / 1.6)
    assert rss.side_distance(-3.0, 0.0, CONFIG) == 0.1


def track(x, y=0.0, vx=0.0, vy=0.0, yaw=0.0, id=1, length=4.0, width=2.0):
    return Track(id, Kind.VEHICLE, x, y, yaw, vx, vy, 0.0, 0.0, 0.1, 0.1, length, width, 1.0, 0.0, 1.0)


def world(*tracks, t=0.0, speed=10.0, path=None):
    curve = None if path is None else Curve(np.array(path, float), np.full(len(path), 0.1), 1.0)
    return World(
        t, speed, 0.0, 0.0, curve, None, None, 3.5, 0.0, 0.0, tracks, np.zeros((0, 2)), 1.0, Turn.ARRIVE, 1e3, 1e3, 14.0, 1.0, 0.0
    )  # fmt: skip


def judge(*tracks, **about):
    return rss.step(RssState(), world(*tracks, **about), CAR, CONFIG)[1]


def test_a_lead_straight_ahead_is_measured_from_bumper_to_bumper():
    v = judge(track(30.0, 0.5, vx=10.0))
    assert (v.track_id, v.distance, v.side_distance) == (1, pytest.approx(30 - 2 - 3.6), 0.0)
    assert v.safe_distance == pytest.approx(rss.following_distance(10.0, 10.0, CONFIG))
    assert v.safe_side_distance == pytest.approx(rss.side_distance(0.0, 0.0, CONFIG))
    assert judge(track(4.0)).distance == 0.0
    assert judge(track(30.0, 4.0)).side_distance == pytest.approx(4.0 - 1.0 - 0.9)
    assert judge(track(30.0, -4.0)).side_distance == pytest.approx(4.0 - 1.0 - 0.9)
    turned = judge(track(30.0, 4.0, yaw=np.pi / 2))
    assert turned.distance == pytest.approx(30 - 1 - 3.6) and turned.side_distance == pytest.approx(4 - 2 - 0.9)
    for yaw, half_s, half_d in ((np.pi, 2, 1), (-np.pi / 2, 1, 2)):
        other = judge(track(30.0, 4.0, yaw=yaw))
        assert other.distance == pytest.approx(30 - half_s - 3.6) and other.side_distance == pytest.approx(4 - half_d - 0.9)
    slanting = judge(track(30.0, 4.0, yaw=np.pi / 6))
    assert slanting.distance == pytest.approx(30 - (4 * cos(np.pi / 6) + 2 * 0.5) / 2 - 3.6)
    assert slanting.side_distance == pytest.approx(4 - (4 * 0.5 + 2 * cos(np.pi / 6)) / 2 - 0.9)


def test_an_oncoming_track_needs_more_room_and_noise_makes_none_oncoming():
    v = judge(track(60.0, vx=-10.0))
    assert v.safe_distance == pytest.approx(rss.oncoming_distance(10.0, 10.0, CONFIG))
    assert judge(track(60.0, vx=-0.55)).safe_distance == pytest.approx(rss.oncoming_distance(10.0, 0.55, CONFIG))
    assert judge(track(60.0, vx=-0.5)).safe_distance == pytest.approx(rss.following_distance(10.0, 0.0, CONFIG))


def test_a_track_that_comes_across_needs_more_room_on_either_side():
    for side in (1, -1):
        v = judge(track(20.0, 6.0 * side, vy=-1.0 * side))
        assert v.safe_side_distance == pytest.approx(rss.side_distance(0.0, -1.0, CONFIG))
        v = judge(track(20.0, 6.0 * side, vy=1.0 * side))
        assert v.safe_side_distance == pytest.approx(rss.side_distance(0.0, 1.0, CONFIG))


def test_the_one_least_far_from_danger_is_told_and_who_is_behind_is_not():
    far, near, behind = track(80.0, vx=10.0, id=1), track(45.0, vx=10.0, id=2), track(-5.0, vx=10.0, id=3)
    assert judge(far, near, behind).track_id == 2 and judge(near, far).track_id == 2
    assert judge(replace(near, id=8), replace(near, id=9)).track_id == 8
    assert judge(behind).track_id == -1 and judge().track_id == -1
    assert judge(track(0.0, 5.0)).track_id == -1
    beside = track(10.0, 8.0, vx=10.0, id=4)  # 5.4 m more than is safe across
    assert judge(near, beside).track_id == 4 and judge(track(35.0, vx=10.0, id=5), beside).track_id == 5


def ride(tracks, seconds=1.5, **about):
    state, out = RssState(), []
    for k in range(round(seconds / 0.1) + 1):
        state, v = rss.step(state, world(*tracks, t=0.1 * k, **about), CAR, CONFIG)
        out.append(v)
    return out


def test_danger_must_be_both_ways_and_the_proper_response_comes_after_the_response_time():
    out = ride([track(20.0, vx=10.0)])
    assert [v.danger for v in out] == pytest.approx([0.1 * k for k in range(16)])
    assert [v.acceleration for v in out] == [-4.0 if 0.1 * k > 1.0 + 1e-9 else 0.0 for k in range(16)]
    assert ride([track(60.0, vx=-10.0)])[-1].acceleration == -3.0
    assert ride([track(20.0)])[-1].acceleration == -4.0  # a standing one is not oncoming
    assert ride([track(20.0, 3.6, vx=10.0)])[-1].danger == 0.0  # a lane beside
    assert ride([track(20.0, -3.6, vx=10.0)])[-1].acceleration == 0.0
    assert ride([track(70.0, vx=10.0)])[-1].danger == 0.0  # far enough
    state = RssState(1.0, 5.0)
    assert rss.step(state, world(track(70.0, vx=10.0), t=1.1), CAR, CONFIG)[0] == RssState(1.1, 0.0)
    assert rss.step(state, world(track(20.0, vx=10.0), t=0.9), CAR, CONFIG)[0] == RssState(0.9, 5.0)


def test_just_far_enough_is_safe():
    touching = world(track(5.0, vx=30.0), t=1.0, speed=0.0)  # both the gap and what it must be are 0
    assert rss.step(RssState(0.0, 0.0), touching, CAR, CONFIG)[1].danger == 0.0
    need = rss.following_distance(10.0, 10.0, CONFIG)
    for extra, danger in ((0.01, False), (-0.01, True)):
        assert (ride([track(need + 5.6 + extra, vx=10.0)])[-1].danger > 0) == danger
    need = rss.side_distance(0.0, 0.0, CONFIG)
    for extra, danger in ((0.01, False), (-0.01, True)):
        assert (ride([track(15.0, need + 1.9 + extra, vx=10.0)])[-1].danger > 0) == danger


@given(st.floats(-0.02, 0.02).filter(lambda k: abs(k) > 1e-3), st.floats(20, 50), st.floats(-4, 4), st.floats(-0.2, 0.2))
@settings(max_examples=25, deadline=None)
def test_on_an_arc_distances_are_along_and_across_it(k, s, d, lead_yaw):
    """Closed form of a circle of curvature k; the car sits on it, a track at arc length s, d to the left."""
    arc = np.arange(0.0, 70.0, 0.2)
    path = np.column_stack([np.sin(k * arc) / k, (1 - np.cos(k * arc)) / k])
    x, y, heading = np.sin(k * s) / k - d * np.sin(k * s), (1 - np.cos(k * s)) / k + d * np.cos(k * s), k * s
    yaw = heading + lead_yaw
    v = judge(track(x, y, vx=8 * cos(heading) - 0.3 * sin(heading), vy=8 * sin(heading) + 0.3 * cos(heading), yaw=yaw), path=path)
    c, sn = abs(cos(lead_yaw)), abs(sin(lead_yaw))
    assert v.distance == pytest.approx(max(s - (4 * c + 2 * sn) / 2 - 3.6, 0.0), abs=0.1)
    assert v.side_distance == pytest.approx(max(abs(d) - (4 * sn + 2 * c) / 2 - 0.9, 0.0), abs=0.05)
    assert v.safe_distance == pytest.approx(rss.following_distance(10.0, 8.0, CONFIG), abs=0.3)
    if abs(d) > 0.1:
        assert v.safe_side_distance == pytest.approx(rss.side_distance(0.0, 0.3 if d > 0 else -0.3, CONFIG), abs=0.15)


def test_our_own_slant_counts():
    """The path leaves to the left at 0.1 rad: we go 10 cos along and -10 sin across it, towards a track on the right."""
    direction = np.array([cos(0.1), sin(0.1)])
    path = np.outer(np.arange(0, 60, 5.0), direction)
    right, left = np.array([sin(0.1), -cos(0.1)]), np.array([-sin(0.1), cos(0.1)])
    v = judge(track(*(25 * direction + 4 * right), yaw=0.1), path=path)
    assert v.safe_side_distance == pytest.approx(rss.side_distance(10 * sin(0.1), 0.0, CONFIG))
    assert v.safe_distance == pytest.approx(rss.following_distance(10 * cos(0.1), 0.0, CONFIG))
    assert v.distance == pytest.approx(25 - 2 - 3.6 * cos(0.1)) and v.side_distance == pytest.approx(4 - 1 - 0.9)
    v = judge(track(*(25 * direction + 4 * left), yaw=0.1), path=path)
    assert v.safe_side_distance == pytest.approx(rss.side_distance(-10 * sin(0.1), 0.0, CONFIG))


def test_beside_the_path_we_count_from_where_we_are():
    path = [(x, 1.0) for x in range(-5, 60, 5)]
    v = judge(track(25.0, 4.0), path=path)
    assert v.side_distance == pytest.approx(4 - 1 - 0.9) and v.distance == pytest.approx(25 - 2 - 3.6)
    assert judge(track(25.0, 0.5), path=path).safe_side_distance == pytest.approx(rss.side_distance(0.0, 0.0, CONFIG))


@pytest.mark.parametrize("path", [[(0.0, 0.0), (0.0, 0.0)], [(0.0, 0.0), (0.0, 0.0), (10.0, 0.0)], [(0.0, 0.0), (10.0, 0.0)], None])
def test_a_path_without_length_and_one_too_short_go_straight_on(path):
    assert judge(track(30.0, 3.0), path=path).distance == pytest.approx(30 - 2 - 3.6)
    assert judge(track(30.0, 3.0), path=path).side_distance == pytest.approx(3 - 1 - 0.9)


def test_places_on_a_bent_line():
    line = rss._line(world(path=[(0, 0), (10, 0), (10, 10)]))
    assert rss._place(line, 4.0, 1.0) == pytest.approx((4.0, 1.0, 0.0))
    assert rss._place(line, 11.0, 6.0) == pytest.approx((16.0, -1.0, np.pi / 2))
    assert rss._place(line, -3.0, -2.0) == pytest.approx((-3.0, -2.0, 0.0))
    assert rss._place(line, 9.0, 30.0) == pytest.approx((40.0, 1.0, np.pi / 2))
    assert rss._place(line, 12.0, -1.0)[0] == pytest.approx(10.0)
    s, d, heading = rss._place(rss._line(world(path=[(1, 1), (4, 5)])), 1.0, 1.0)
    assert (s, d, heading) == pytest.approx((0.0, 0.0, atan2(4, 3)))
