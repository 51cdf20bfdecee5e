"""The whole stage: good and bad input, gaps, purity, and its time."""

import time
from dataclasses import replace

import numpy as np
import pytest

from nanopilot import world
from nanopilot.messages import (
    PATH_ARC,
    CarState,
    Detection,
    Frame,
    GpsFix,
    Kind,
    LaneLine,
    Manoeuvre,
    Observation,
    PathProposal,
    Percept,
    Route,
    Turn,
)
from nanopilot.world.motion import own_motion

CONFIG = world.Config()
DT = 0.05
FRAME = Frame(0.0, "front", np.zeros((2, 2, 3), np.uint8))
ROUTE = Route(np.stack([np.arange(0, 500, 10.0), np.zeros(50)], -1), (Manoeuvre(Turn.LEFT, 120.0),), 12.0)


def observation(t: float, speed: float = 8.0, gps: bool = True, route: Route | None = None) -> Observation:
    fix = GpsFix(t, 8.0 * t, 0.0, 2.0, 0.0, 0.05) if gps else None
    return Observation(t, (FRAME,), CarState(t, speed, 0.0, 0.0, 0.0), fix, route)


def percept(t: float, n: int = 2, valid: bool = True) -> Percept:
    x = np.arange(4, 41, 2, dtype=np.float32)
    lines = tuple(
        LaneLine(side, 0.95, np.zeros((len(x), 2), np.float32), np.stack([x, np.full_like(x, y)], -1), np.full(len(x), 0.1, np.float32))
        for side, y in ((-1, 1.75), (1, -1.75), (2, -5.25))
    )
    path = PathProposal(np.stack([PATH_ARC, 0 * PATH_ARC], -1).astype(np.float32), np.full(len(PATH_ARC), 0.1, np.float32))
    objects = tuple(
        Detection(
            Kind.VEHICLE,
            0.9,
            np.zeros(4, np.float32),
            np.array([15 + 4 * (k // 3), -3.5 + 3.5 * (k % 3)], np.float32),
            0.0,
            4.5,
            1.8,
            20.0,
            0.5,
            0.005,
        )
        for k in range(n)
    )
    return Percept(t, "front", lines, path, objects, np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 0.9, valid)


def driven(steps: int = 40, n: int = 2):
    state = world.initial(CONFIG)
    for k in range(steps):
        state, now = world.step(state, observation(k * DT, route=ROUTE if k == 0 else None), percept(k * DT, n), CONFIG)
    return state, now, (steps - 1) * DT


def test_a_clear_road_is_told_whole():
    _, now, t = driven()
    assert now.t == t and now.blind == 0 and now.speed == 8.0
    np.testing.assert_allclose(now.path.points, np.stack([PATH_ARC, 0 * PATH_ARC], -1), atol=0.02)
    assert now.left.points[3, 1] == pytest.approx(1.75, abs=0.02) and now.right.points[3, 1] == pytest.approx(-1.75, abs=0.02)
    assert now.lane_width == pytest.approx(3.5, abs=0.02) and now.lane_right > 0.8 and now.lane_left < 0.05
    assert len(now.tracks) == 2 and now.next_turn == Turn.LEFT and now.next_turn_distance == pytest.approx(120 - 8 * t, abs=0.5)
    assert now.route_line.shape == (16, 2) and now.speed_limit == 12.0 and now.goal_distance == pytest.approx(490 - 8 * t, abs=0.5)


def spread(now) -> np.ndarray:
    """Every standard deviation told; the curves' from 4 m on: nearer points are taken over by surer ones from ahead."""
    curves = [c.std[PATH_ARC >= 4] for c in (now.path, now.left, now.right) if c is not None]
    return np.concatenate([*curves, [now.localisation_std], [t.position_std for t in now.tracks]])


@pytest.mark.parametrize("bad", ["none", "invalid", "stale", "late"])
def test_without_a_usable_percept_it_goes_on_blind_and_less_certain(bad):
    state, before, t = driven()
    for k in range(1, 6):
        now_t = t + k * DT
        seen = {"none": None, "invalid": percept(now_t, valid=False), "stale": percept(t), "late": percept(now_t - 0.5)}[bad]
        state, now = world.step(state, observation(now_t, gps=False), seen, CONFIG)
        assert now.blind == pytest.approx(k * DT)
        assert (spread(now) > spread(before)).all()
        before = now
    _, now = world.step(state, observation(now_t + DT), percept(now_t + DT), CONFIG)
    assert now.blind == 0


def test_the_same_instant_twice_adds_no_certainty():
    state, before, t = driven()
    for seen in (None, percept(t)):
        _, now = world.step(state, observation(t, gps=False), seen, CONFIG)
        assert (spread(now) >= spread(before)).all() and now.blind == 0


@pytest.mark.parametrize("jump", [1.0, -1.0, 30.0])
def test_after_a_jump_in_time_road_and_others_begin_anew_and_say_why(jump):
    state, before, t = driven()
    state, now = world.step(state, observation(t + jump, gps=False), None, CONFIG)
    assert state.reset.startswith("time jumped") and now.path is None and now.tracks == ()
    assert now.localisation_std >= before.localisation_std
    seen = percept(t + jump + DT)
    later, now = world.step(state, observation(t + jump + DT, gps=False), seen, CONFIG)
    assert now.path is not None and np.allclose(now.path.std, seen.path.std) and now.blind == 0  # nothing but this frame is known
    assert set(later.tracks.id).isdisjoint(x.id for x in before.tracks)


def test_from_nothing_with_nothing():
    state, now = world.step(world.initial(CONFIG), observation(5.0, gps=False), None, CONFIG)
    assert now.path is None and now.left is None and now.tracks == () and now.route_line.shape == (0, 2) and now.blind == 0
    assert np.isfinite(now.goal_distance) and state.t == 5.0


def test_empty_and_strange_percepts_raise_nothing():
    state, _, t = driven()
    dot = PathProposal(np.zeros((16, 2), np.float32), np.zeros(16, np.float32))
    back = PathProposal(np.stack([-PATH_ARC, 0 * PATH_ARC], -1).astype(np.float32), np.zeros(16, np.float32))
    line = LaneLine(-1, 1.0, np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    far = Detection(Kind.PERSON, 1.0, np.zeros(4, np.float32), np.array([1.3, 0], np.float32), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for k, path in enumerate((None, dot, back)):
        seen = replace(percept(t + (k + 1) * DT), path=path, lanes=(line,), objects=(far, far))
        state, now = world.step(state, observation(t + (k + 1) * DT), seen, CONFIG)
        assert np.isfinite(spread(now)).all()


def test_it_is_a_function_of_its_arguments():
    state, _, t = driven()
    copies = [world.step(state, observation(t + DT), percept(t + DT), CONFIG)[1] for _ in range(2)]
    np.testing.assert_array_equal(spread(copies[0]), spread(copies[1]))
    np.testing.assert_array_equal(copies[0].path.points, copies[1].path.points)
    assert copies[0].tracks == copies[1].tracks


def test_own_motion_is_the_circles_arc():
    car = CarState(0.0, 10.0, 0.0, 0.5, 0.0)
    m = own_motion(car, car, 0.8)
    radius = 10.0 / 0.5
    np.testing.assert_allclose([m.x, m.y, m.yaw], [radius * np.sin(0.4), radius * (1 - np.cos(0.4)), 0.4], rtol=1e-12)


def test_a_step_with_twenty_tracks_takes_a_few_milliseconds():
    """The budget is 3 ms (p50, one core, measured); the limit leaves room for a slow, busy machine with shapes checked."""
    state, _, t = driven(10, 20)
    took = []
    for k in range(1, 40):
        o, p = observation(t + k * DT), percept(t + k * DT, 20)
        start = time.process_time()
        state, now = world.step(state, o, p, CONFIG)
        took.append(time.process_time() - start)
    assert len(now.tracks) == 20
    assert np.median(took) < 0.025


def test_the_expected_path_is_the_known_one_moved_with_the_car_and_asks_no_percept():
    state, _, t = driven()
    now = observation(t + DT)
    turning = replace(now, car=replace(now.car, yaw_rate=0.4))
    state = replace(state, car=replace(state.car, yaw_rate=0.4))
    path = world.expected(state, turning, CONFIG)
    motion = own_motion(state.car, turning.car, DT)
    true = (0.0 - motion.y) * np.cos(motion.yaw) - np.tan(motion.yaw) * path[:, 0]  # the line y = 0 seen from the moved car, small angles
    np.testing.assert_allclose(path[:, 1], true, atol=0.03)
    seen = world.step(state, turning, percept(t + DT), CONFIG)[0].lanes.path
    assert np.abs(seen.points - path).max() < 2.0 and not np.array_equal(seen.points, path)


def test_nothing_is_expected_at_first_after_a_gap_or_back_in_time():
    state, _, t = driven()
    assert world.expected(world.initial(CONFIG), observation(0.0), CONFIG) is None
    assert world.expected(state, observation(t + 2 * CONFIG.max_gap), CONFIG) is None
    assert world.expected(state, observation(t - DT), CONFIG) is None
    assert world.expected(state, observation(t + DT), CONFIG) is not None
