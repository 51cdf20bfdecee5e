"""Lanes over time against exact geometry: circles and straights of known place, driven along with known motion."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.geometry import child_from_parent, project, resample
from nanopilot.messages import PATH_ARC, LaneLine, PathProposal, Percept
from nanopilot.world.curves import CurveConfig, RoadCurve, displaced, fused, measured, moved
from nanopilot.world.lanes import LaneConfig, LaneState, advised, fade, move, update
from nanopilot.world.motion import Motion

DT, SPEED = 0.05, 8.0
WIDTH = 3.5


def road(radius: float, straight: float = 0.0) -> np.ndarray:
    """A lane's centre: `straight` m along x, then a left circle; 10 cm steps, 200 m."""
    s = np.arange(-20, 200, 0.1)
    a = np.maximum(s - straight, 0) / radius
    return np.stack([np.minimum(s, straight) + radius * np.sin(a), radius * (1 - np.cos(a))], -1)


def pose(radius: float, straight: float, s: float) -> tuple[float, float, float]:
    a = max(s - straight, 0) / radius
    return min(s, straight) + radius * np.sin(a), radius * (1 - np.cos(a)), a


def seen_from(line: np.ndarray, x: float, y: float, yaw: float) -> np.ndarray:
    """The line at PATH_ARC from abeam of a car at the pose, in its frame."""
    s, _ = project(line, x, y)
    return child_from_parent(resample(line, s + PATH_ARC), x, y, yaw)


def parallel(line: np.ndarray, left: float) -> np.ndarray:
    t = np.gradient(line, axis=0)
    t /= np.hypot(*t.T)[:, None]
    return line + left * np.stack([-t[:, 1], t[:, 0]], -1)


def motion(ds: float, dyaw: float, dt: float = DT) -> Motion:
    chord = ds * np.sinc(dyaw / 2 / np.pi)
    return Motion(dt, float(chord * np.cos(dyaw / 2)), float(chord * np.sin(dyaw / 2)), float(dyaw), float(ds), 0.0, 0.0)


def percept(
    path: np.ndarray | None = None, std: float = 0.1, lines: dict[int, np.ndarray] | None = None, probability: float = 0.95
) -> Percept:
    lanes = []
    for side, points in (lines or {}).items():
        ahead = points[(points[:, 0] > 3.5) & (points[:, 0] < 40)].astype(np.float32)
        lanes.append(LaneLine(side, probability, ahead, ahead, np.full(len(ahead), std, np.float32)))
    proposal = None if path is None else PathProposal(path.astype(np.float32), np.full(len(PATH_ARC), std, np.float32))
    return Percept(0.0, "front", tuple(lanes), proposal, (), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 1.0, True)


def across(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Signed distance of points from a true line."""
    return np.array([project(truth, *p)[1] for p in points])


@pytest.mark.parametrize("radius", [10.0, 25.0, 1e6])
def test_a_curve_carried_blindly_around_a_bend_stays_on_the_true_line(radius):
    config = CurveConfig()
    curve = RoadCurve(seen_from(road(radius), 0, 0, 0), np.full(len(PATH_ARC), 0.1), np.zeros(len(PATH_ARC)), 1.0)
    ds = 0.4
    for _ in range(20):  # 8 m, most of a right angle at 10 m
        before, curve = curve, moved(curve, motion(ds, ds / radius), config)
        assert (curve.std >= before.std.min()).all() and curve.std[0] > before.std[0]
    truth = seen_from(road(radius), *pose(radius, 0, 20 * ds))
    near = PATH_ARC <= 12  # beyond, knots 10 m apart can't hold a 10 m circle
    assert np.abs(across(curve.points[near], truth)).max() < 0.06
    np.testing.assert_allclose(np.hypot(*(curve.points - truth)[near].T), 0, atol=0.15)


def test_fusion_equals_a_textbook_kalman_filter_with_fading_memory():
    config, rng = CurveConfig(gate=100.0), np.random.default_rng(0)
    straight = np.stack([PATH_ARC, np.zeros_like(PATH_ARC)], -1)
    mean, var = rng.normal(0, 0.1, len(PATH_ARC)), np.full(len(PATH_ARC), 0.2**2)
    flat = np.zeros_like(PATH_ARC)
    curve = RoadCurve(straight.copy(), np.sqrt(var), flat, 1.0)
    mean[:] = 0
    for _ in range(5):
        z, std = rng.normal(0, 0.002, len(PATH_ARC)), np.full(len(PATH_ARC), rng.uniform(0.1, 0.5))
        share = DT / (DT + config.memory)  # of a frame's information that counts; as much is forgotten, at hand only if that much was known
        forgotten = np.where(config.overlooked > PATH_ARC, np.minimum(1 / var, 1 / std**2), 1 / var)
        var, noise = 1 / (1 / var - share * forgotten), std**2 / share
        mean, var = mean + var / (var + noise) * (z - mean), 1 / (1 / var + 1 / noise)
        seen = measured(straight, std, config)
        assert seen is not None and seen.seen.all()
        seen = type(seen)(straight + z[:, None] * [0, 1], std, seen.seen)
        curve = fused(curve, seen, DT, config)
    np.testing.assert_allclose(curve.points[:, 1], mean, atol=1e-4)  # normals tilt by the noise
    np.testing.assert_allclose(curve.std, np.sqrt(var), rtol=1e-6)


def test_what_was_seen_well_is_not_forgotten_for_poor_frames():
    """The way into a junction, seen to 0.2 m; then 1 s of guesses that are all 1.5 m off and honest about it."""
    config = CurveConfig()
    straight = np.stack([PATH_ARC, np.zeros_like(PATH_ARC)], -1)
    curve = fused(None, measured(straight, np.full(len(PATH_ARC), 0.2), config), DT, config)
    for _ in range(20):
        curve = moved(curve, motion(0.2, 0.0), config)
        curve = fused(curve, measured(straight + [0, 1.5], np.full(len(PATH_ARC), 1.5), config), DT, config)
    near = config.overlooked - 4.0 >= PATH_ARC  # these 4 m were driven since
    assert (curve.points[near, 1] < 0.75).all() and (curve.std[near] < 0.5).all()
    far = config.overlooked <= PATH_ARC  # what comes nearer and is told with more doubt than from afar was a wrong certainty
    assert (curve.std[far] > 1.0).all()
    for _ in range(4):  # and two tenths of a second of a good view put it right
        curve = fused(curve, measured(straight + [0, 1.5], np.full(len(PATH_ARC), 0.1), config), DT, config)
    assert (curve.points[:, 1] > 1.3).all()


def test_a_line_that_begins_beyond_a_junction_does_not_move_the_lane_at_our_wheels():
    """Known to 5 cm up to 15 m; beyond, a line of some other road is taken for ours, 2 m aside. It once drew all over to it."""
    config = CurveConfig()
    straight = np.stack([PATH_ARC, np.zeros_like(PATH_ARC)], -1)
    curve = fused(None, measured(straight, np.where(PATH_ARC > 15, 1.0, 0.05), config), DT, config)
    other = measured(np.stack([np.linspace(18.0, 40.0, 20), np.full(20, 2.0)], -1), np.full(20, 0.5), config)
    for _ in range(20):
        curve = fused(curve, other, DT, config, stubborn=True)
    assert np.abs(curve.points[PATH_ARC <= 10, 1]).max() < 0.1


def test_a_line_that_is_seen_from_8_m_on_lies_where_it_is_seen():
    config = CurveConfig()
    at = np.stack([np.linspace(8.0, 40.0, 20), np.full(20, 1.8)], -1)
    seen = measured(at, np.full(20, 0.05), config)
    curve = fused(None, measured(at - [0, 0.5], np.full(20, 0.05), config), DT, config)
    for _ in range(40):
        curve = fused(moved(curve, motion(0.0, 0.0), config), seen, DT, config)
    np.testing.assert_allclose(curve.points[:, 1], 1.8, atol=0.02)


def test_white_noise_of_a_tenth_of_a_metre_comes_out_at_half_or_less():
    rng, config, state = np.random.default_rng(1), LaneConfig(), LaneState()
    line, errors = road(1e6), []
    for k in range(1000):
        state = move(state, motion(SPEED * DT, 0.0), config)
        path = seen_from(line, 0, 0, 0)
        path[:, 1] += rng.normal(0, 0.1, len(path))
        state = update(state, percept(path), DT, config)
        if k > 20:
            errors.append(state.path.points[:, 1])
    rms = np.sqrt(np.mean(np.square(errors), 0))
    assert (rms[:-1] < 0.05).all() and rms[-1] < 0.06, rms  # the last point is half extrapolation
    jitter = np.sqrt(np.mean(np.square(np.diff(errors, axis=0)), 0))  # from frame to frame; raw it would be 0.141
    assert (jitter < 0.06).all(), jitter


def test_a_path_that_starts_to_bend_in_the_measurement_only_is_followed_within_015_s():
    """No own motion: a ramp of v m/s in the measured far point is a pure test of the filter's lag (closed form: d / v)."""
    config, ramp = CurveConfig(), 1.0  # m/s
    curve = None
    straight = np.stack([PATH_ARC, np.zeros_like(PATH_ARC)], -1)
    for k in range(60):
        at = straight + np.stack([np.zeros_like(PATH_ARC), np.full_like(PATH_ARC, ramp * k * DT)], -1)
        curve = fused(curve, measured(at, np.full(len(PATH_ARC), 0.1), config), DT, config)
        lag = ramp * k * DT - curve.points[:, 1]
        assert (lag < 0.15 * ramp + 0.02).all()
    assert lag.mean() / ramp < 0.15


def test_entering_a_curve_leaves_no_lag_where_the_car_is():
    rng, config, state = np.random.default_rng(2), LaneConfig(), LaneState()
    radius, straight = 20.0, 30.0
    line, worst = road(radius, straight), 0.0
    for k in range(120):
        s, s0 = k * SPEED * DT, max(k - 1, 0) * SPEED * DT
        here, last = pose(radius, straight, s), pose(radius, straight, s0)
        state = move(state, motion(s - s0, here[2] - last[2]), config)
        path = seen_from(line, *here)
        path[:, 1] += rng.normal(0, 0.1, len(path))
        state = update(state, percept(path), DT, config)
        near = PATH_ARC <= 15
        if k > 10:
            worst = max(worst, np.sqrt(np.mean(across(state.path.points[near], seen_from(line, *here)) ** 2)))
    assert worst < 0.12  # rms over near points in the worst of 110 frames


def test_width_comes_from_the_lines_and_either_source_alone_gives_the_centre():
    config, line = LaneConfig(), road(200.0)
    for width in (3.0, 3.8):
        state = LaneState()
        both = {-1: parallel(line, width / 2), 1: parallel(line, -width / 2)}
        for _ in range(60):
            state = update(move(state, motion(0, 0), config), percept(None, 0.1, both), DT, config)
        assert state.width == pytest.approx(width, abs=0.03)
        seen = (PATH_ARC >= 4) & (PATH_ARC <= 35)  # nearer the lines are below the picture
        assert np.abs(across(state.path.points[seen], line)).max() < 0.01
        assert np.abs(across(state.path.points[~seen], line)).max() < 1.0
        assert state.left.probability > 0.9 and state.path.probability == 1.0
        for _ in range(60):
            state = update(move(state, motion(0, 0), config), percept(seen_from(line, 0, 0, 0)), DT, config)
        assert state.left is None and state.right is None
        assert np.abs(across(state.path.points, line)).max() < 0.05


@pytest.mark.parametrize("to_left", [True, False])
def test_a_lane_change_moves_over_by_one_lane_at_once_and_never_averages(to_left):
    config, state = LaneConfig(), LaneState()
    side, lane = (1 if to_left else -1), road(1e6)
    for k in range(100):
        y = side * WIDTH * np.clip((k - 30) / 40, 0, 1)  # of the car in the road, crossing at k = 50
        y0 = side * WIDTH * np.clip((k - 31) / 40, 0, 1)
        state = move(state, Motion(DT, SPEED * DT, y - y0, 0.0, SPEED * DT, 0.0, 0.0), config)
        own = side * WIDTH if abs(y) > WIDTH / 2 else 0.0  # the network's own lane jumps here
        centre = own - y
        path = np.stack([PATH_ARC, np.full_like(PATH_ARC, centre)], -1)
        lines = {-1: lane + (0, centre + WIDTH / 2), 1: lane + (0, centre - WIDTH / 2)}
        state = update(state, percept(path, 0.1, lines), DT, config)
        assert np.abs(state.path.points[:, 1] - centre).max() < 0.05, k
        for line, at in ((state.left, WIDTH / 2), (state.right, -WIDTH / 2)):
            assert np.abs(line.points[PATH_ARC < 35, 1] - centre - at).max() < 0.05, k
    assert state.changes == 1


def test_one_frame_that_shows_the_next_lane_while_we_stand_in_the_centre_changes_nothing():
    config, state = LaneConfig(), LaneState()
    own, other = (np.stack([PATH_ARC, np.full_like(PATH_ARC, y)], -1) for y in (0.0, WIDTH))
    for k in range(40):
        state = update(move(state, motion(0.4, 0), config), percept(other if k == 20 else own), DT, config)
    assert state.changes == 0 and np.abs(state.path.points[:, 1]).max() < 1e-6


def test_a_contradiction_that_lasts_is_believed_after_its_patience():
    """The route turns off: only the far part of the path disagrees, near points go on undisturbed."""
    config, state = LaneConfig(), LaneState()
    ahead, turning = road(1e6), road(10.0, 25.0)
    times = []
    for k in range(40):
        path = seen_from(turning if k >= 20 else ahead, 0, 0, 0)
        state = update(move(state, motion(0, 0), config), percept(path), DT, config)
        near = PATH_ARC <= 21
        assert np.abs(state.path.points[near, 1]).max() < 0.02
        times.append(np.abs(state.path.points[-1] - path[-1]).max())
    assert times[20] > 10 and max(times[20 + int(config.curve.patience / DT) + 1 :]) < 0.1


def test_blind_the_lane_is_carried_on_ever_less_certain_and_fades():
    config, state = LaneConfig(), LaneState()
    for _ in range(20):
        state = update(move(state, motion(0.4, 0), config), percept(seen_from(road(1e6), 0, 0, 0), 0.1, {2: road(1e6)}), DT, config)
    assert state.lane_right > 0.5
    while state.path is not None:
        before = state
        state = fade(move(state, motion(0.4, 0), config), DT, config)
        if state.path is not None:
            assert (state.path.std > before.path.std).all()
            assert state.path.probability < before.path.probability and state.lane_right < before.lane_right


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.array([[3.0, 1.0]]), np.zeros((0, 2)), np.array([[1.0, 0], [2.0, 0]])])
def test_a_line_without_direction_is_no_measurement(points):
    assert measured(points, np.ones(len(points)), CurveConfig()) is None
    line = LaneLine(-1, 0.9, np.zeros_like(points, np.float32), points.astype(np.float32), np.ones(len(points), np.float32))
    seen = Percept(0.0, "front", (line,), None, (), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 1.0, True)
    assert update(LaneState(), seen, DT, LaneConfig()).left is None


def test_a_parallel_curve_is_as_far_away_as_asked_also_in_a_tight_bend():
    line = seen_from(road(15.0), 0, 0, 0)
    seen = measured(line, np.full(len(line), 0.1), CurveConfig())
    moved_over = displaced(seen, 1.75, 0.0)
    near = PATH_ARC <= 12
    np.testing.assert_allclose(across(moved_over.points[near], road(15.0)), 1.75, atol=0.03)


def test_a_line_follows_what_the_pictures_say_across_even_where_they_begin_ahead_of_us():
    """A drift of 0.2 m/s across the lane at 20 m/s that own motion knows nothing of: a yaw rate in error, a road that falls aside."""
    config = LaneConfig()
    state = LaneState()
    for k in range(100):
        y = 1.75 - 0.2 * k * DT
        lines = {-1: np.stack([PATH_ARC + 4.5, np.full_like(PATH_ARC, y)], -1)}
        state = update(move(state, motion(20 * DT, 0.0), config), percept(lines=lines, std=0.03), DT, config)
    assert np.abs(state.left.points[PATH_ARC < 40, 1] - y).max() < 0.35  # of 1 m


def test_the_routes_line_has_its_say_in_turns_told_badly_and_none_on_straights():
    straight, turn, bent_too_late = road(1e6), road(9.0, straight=4.0), road(13.0, straight=5.0)
    for true, line, std, drawn in (
        (parallel(straight, 2.0), straight, 0.1, (0.0, 0.03)),
        (turn, bent_too_late, 0.6 + 0.1 * PATH_ARC, (0.25, 0.9)),
    ):
        told, seen = seen_from(true, 0.0, 0.0, 0.0), seen_from(line, 0.0, 0.0, 0.0)
        frame, state = replace(percept(seen), path=PathProposal(seen, np.broadcast_to(std, len(PATH_ARC)))), LaneState()
        for _ in range(40):
            state = advised(update(state, frame, DT, LaneConfig()), told, 1.0, 2.0, DT, LaneConfig())
        near = PATH_ARC < 20
        share = 1 - np.abs(across(state.path.points[near], true)).mean() / np.abs(across(seen[near], true)).mean()
        assert drawn[0] <= share <= drawn[1]
    assert advised(LaneState(), told, 1.0, 2.0, DT, LaneConfig()).path is None
    assert advised(state, np.zeros((0, 2)), 1.0, 2.0, DT, LaneConfig()) is state
