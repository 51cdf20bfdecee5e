"""Localisation against a simulated receiver with the stated Gauss-Markov error, and routes of known shape."""

import numpy as np
import pytest
from scipy.stats import chi2

from nanopilot.geometry import child_from_parent, parent_from_child, resample, rotation_2d
from nanopilot.messages import PATH_ARC, ROUTE_ARC, CarState, GpsFix, Manoeuvre, Route, Turn
from nanopilot.world.curves import RoadCurve
from nanopilot.world.localise import LocaliseConfig, LocaliseState, ahead, lined, predict, update
from nanopilot.world.motion import own_motion

DT, SIGMA, TAU, WHITE = 0.1, 2.0, 60.0, 0.3
CONFIG = LocaliseConfig()


def straight_route(length: float = 400.0, manoeuvres=()) -> Route:
    return Route(np.stack([np.arange(0, length + 1, 5.0), np.zeros(int(length / 5) + 1)], -1), manoeuvres, 10.0)


def drive(
    line: np.ndarray, route: Route, seconds: float, rng: np.random.Generator, speed: float = 8.0, noise: float = 1.0, gps: bool = True
):
    """States along a drive on `line` (fine polyline), and true poses."""
    state, last, bias = LocaliseState(), None, rng.normal(0, SIGMA, 2) * noise
    rate_bias = rng.normal(0, CONFIG.yaw_rate_bias_std) * noise
    keep = np.exp(-DT / TAU)
    s = speed * DT * np.arange(int(seconds / DT) + 1)
    xy, ahead_xy = resample(line, s), resample(line, s + 0.05)
    yaw = np.unwrap(np.arctan2(*(ahead_xy - xy).T[::-1]))
    out = []
    for k in range(len(s)):
        turn = np.diff(yaw[max(k - 1, 0) : k + 1]).sum() / DT
        car = CarState(k * DT, speed + rng.normal(0, 0.05) * noise, 0.0, turn + rate_bias + rng.normal(0, 0.005) * noise, 0.0)
        bias = bias * keep + rng.normal(0, SIGMA * np.sqrt(1 - keep**2), 2) * noise
        fix = xy[k] + bias + rng.normal(0, WHITE, 2) * noise
        heading = yaw[k] + rng.normal(0, np.radians(3)) * noise
        gps_fix = GpsFix(k * DT, *fix, np.hypot(SIGMA, WHITE), heading, np.radians(3)) if gps and k % 10 == 0 else None
        if last is not None:
            m = own_motion(car, car, DT)  # the mean yaw rate over the step is `turn`
            state = predict(state, m, CONFIG)
        state = update(state, car, gps_fix, route if k == 0 else None, None, False, k * DT, DT if k else 0.0, CONFIG)
        last = car
        out.append((state, np.array([*xy[k], yaw[k]])))
    return out


def bend(radius: float = 30.0) -> np.ndarray:
    s = np.arange(0, 2000, 0.5)
    a = np.where(s < 100, 0, np.minimum((s - 100) / radius, np.pi / 2))
    return np.cumsum(np.stack([np.cos(a), np.sin(a)], -1) * 0.5, 0)


def test_errors_are_as_large_as_the_filter_says_though_the_receivers_error_is_correlated():
    """NEES of (x, y) after 25 s over seeds: the mean of n chi-square(2) lies within its 99.9 % bounds."""
    nees, errors, said = [], [], []
    line = bend()
    for seed in range(30):
        state, truth = drive(line, straight_route(), 25.0, np.random.default_rng(seed))[-1]
        e = state.mean[:2] - truth[:2]
        nees.append(e @ np.linalg.solve(state.cov[:2, :2], e))
        errors.append(np.hypot(*e) / np.sqrt(2))
        said.append(ahead(state, CONFIG).localisation_std)
    n = len(nees)
    assert chi2.ppf(0.0005, 2 * n) < sum(nees) < chi2.ppf(0.9995, 2 * n), np.mean(nees)
    assert min(said) > 1.0  # 25 fixes taken as independent would claim 0.4 m
    assert np.sqrt(np.mean(np.square(errors))) < SIGMA * 1.2


def test_yaw_is_consistent_too():
    e = [
        (st.mean[2] - tr[2], np.sqrt(st.cov[2, 2]))
        for seed in range(20)
        for st, tr in drive(bend(), straight_route(), 15.0, np.random.default_rng(seed))[-1:]
    ]
    z = np.array([(err + np.pi) % (2 * np.pi) - np.pi for err, _ in e]) / np.array([s for _, s in e])
    assert chi2.ppf(0.0005, len(z)) < (z**2).sum() < chi2.ppf(0.9995, len(z))
    assert max(s for _, s in e) < np.radians(2)


def test_without_noise_the_route_ahead_is_exact():
    manoeuvres = (Manoeuvre(Turn.LEFT, 100.0), Manoeuvre(Turn.RIGHT, 150.0))
    line = resample(bend(), np.arange(0, 300.5, 0.5))
    route = Route(line, manoeuvres, 12.0)
    for k, (state, truth) in enumerate(drive(line, route, 25.0, np.random.default_rng(0), noise=0.0)):
        told = ahead(state, CONFIG)
        s = 0.8 * k
        np.testing.assert_allclose(told.route_line, child_from_parent(resample(line, s + ROUTE_ARC), *truth), atol=0.25)
        assert told.goal_distance == pytest.approx(300 - s, abs=0.3)
        expected = Turn.LEFT if s < 103 else Turn.RIGHT if s < 153 else Turn.ARRIVE
        if min(abs(s - 103), abs(s - 153)) > 0.5:
            assert told.next_turn == expected
            at = {Turn.LEFT: 100, Turn.RIGHT: 150, Turn.ARRIVE: 300}[expected]
            assert told.next_turn_distance == pytest.approx(max(at - s, 0), abs=0.3)
        assert told.speed_limit == 12.0


@pytest.mark.parametrize("seed", range(5))
def test_progress_on_a_route_that_crosses_itself_and_comes_back_never_jumps(seed):
    """A figure of eight, twice around: every place lies on the route two to four times."""
    u = np.linspace(0, 4 * np.pi, 4000)
    line = np.stack([60 * np.sin(u), 30 * np.sin(2 * u)], -1)
    length = np.hypot(*np.diff(line, axis=0).T).sum()
    drives = drive(line, Route(line[::20], (), 10.0), length / 8.0 - 1, np.random.default_rng(seed))
    progress = np.array([state.s for state, _ in drives])
    assert np.abs(progress - 0.8 * np.arange(len(progress))).max() < 12.0  # three sigma of the receiver, and its coarse line
    assert np.diff(progress).min() > -8.0 and np.diff(progress).max() < 10.0


def test_a_route_on_which_the_car_is_found_in_the_middle():
    route = straight_route()
    state = update(
        LocaliseState(), CarState(0.0, 5.0, 0.0, 0.0, 0.0), GpsFix(0.0, 203.0, 4.0, 2.0, 0.1, 0.05), route, None, False, 0.0, 0.0, CONFIG
    )
    assert state.s == pytest.approx(203.0) and ahead(state, CONFIG).goal_distance == pytest.approx(197.0)


def test_a_new_route_in_the_middle_of_a_drive_is_followed_from_where_we_are():
    """As navigation gives it after a missed turn: its first point is abeam of us, its turn another one."""
    old = straight_route(manoeuvres=(Manoeuvre(Turn.LEFT, 100.0), Manoeuvre(Turn.ARRIVE, 400.0)))
    state, _ = drive(old.points, old, 20.0, np.random.default_rng(0), noise=0.0)[-1]
    assert state.s == pytest.approx(160.0, abs=0.5) and state.passed == 1
    line = np.concatenate(
        [np.stack([np.arange(160.0, 241, 5), np.zeros(17)], -1), np.stack([np.full(20, 240.0), -np.arange(5.0, 105, 5)], -1)]
    )
    new = Route(line, (Manoeuvre(Turn.RIGHT, 70.0), Manoeuvre(Turn.ARRIVE, 180.0)), 10.0)
    state = update(state, CarState(20.1, 8.0, 0.0, 0.0, 0.0), None, new, None, False, 20.1, 0.1, CONFIG)
    told = ahead(state, CONFIG)
    assert (told.next_turn, state.passed) == (Turn.RIGHT, 0)
    assert told.next_turn_distance == pytest.approx(70.0, abs=1.0) and told.goal_distance == pytest.approx(180.0, abs=1.0)
    assert told.route_line[0] == pytest.approx((0.0, 0.0), abs=1.0)


def test_standing_still_the_route_tells_the_yaw_and_the_receivers_course_is_ignored():
    turned = Route(straight_route().points @ rotation_2d(1.0).T, (), 10.0)
    state, car = LocaliseState(), CarState(0.0, 0.0, 0.0, 0.0, 0.0)
    for k in range(20):
        fix = GpsFix(float(k), 0.0, 0.0, 2.0, -2.0, np.radians(3))
        state = update(predict(state, own_motion(car, car, 1.0), CONFIG), car, fix, turned, None, False, float(k), 1.0, CONFIG)
    assert state.mean[2] == pytest.approx(1.0, abs=1e-6)


def test_without_fixes_we_grow_less_certain_and_without_any_there_is_no_route_line():
    rng = np.random.default_rng(3)
    drives = drive(bend(), straight_route(), 10.0, rng, gps=False)
    told = ahead(drives[-1][0], CONFIG)
    assert told.route_line.shape == (0, 2) and told.localisation_std == CONFIG.unknown_std and np.isfinite(told.goal_distance)
    state, car, last = drive(bend(), straight_route(), 10.0, rng)[-1][0], CarState(0.0, 8.0, 0.0, 0.0, 0.0), 0.0
    for dt in (0.05, 0.05, 1.0, 5.0):
        state = predict(state, own_motion(car, car, dt), CONFIG)
        assert ahead(state, CONFIG).localisation_std > last
        last = ahead(state, CONFIG).localisation_std


def test_a_wild_fix_is_refused_and_a_lasting_one_believed():
    route = straight_route()
    state, _ = drive(route.points, route, 10.0, np.random.default_rng(4))[-1]
    car = CarState(0.0, 8.0, 0.0, 0.0, 0.0)
    for k in range(CONFIG.max_refused + 1):
        before = state
        state = update(state, car, GpsFix(20.0 + k, 300.0, 100.0, 2.0, 0.0, 0.05), None, None, False, 20.0 + k, 0.05, CONFIG)
        if k < CONFIG.max_refused:
            np.testing.assert_array_equal(state.cov[:2, :2], before.cov[:2, :2])
    np.testing.assert_allclose(state.mean[:2], [300, 100])


def test_the_perceived_road_improves_the_yaw_on_straights_only():
    route, car = straight_route(), CarState(0.0, 8.0, 0.0, 0.0, 0.0)
    fix = GpsFix(0.0, 50.0, 0.0, 2.0, 0.1, 0.1)
    start = update(LocaliseState(), car, fix, route, None, False, 0.0, 0.0, CONFIG)
    flat = np.zeros(len(PATH_ARC))
    level = RoadCurve(parent_from_child(np.stack([PATH_ARC, flat], -1), 0.0, 0.0, 0.0), flat + 0.1, flat, 1.0)
    bent = RoadCurve(np.stack([PATH_ARC, PATH_ARC**2 / 60], -1), flat + 0.1, flat, 1.0)
    state, other = start, start
    for k in range(400):
        state = update(state, car, None, None, level, False, k * 0.05, 0.05, CONFIG)
        other = update(other, car, None, None, bent, False, k * 0.05, 0.05, CONFIG)
    assert abs(state.mean[2]) < 0.03 and np.sqrt(state.cov[2, 2]) > 0.01  # true yaw 0, and no false certainty
    assert other.mean[2] == start.mean[2]


def started(x: float = 50.0, y: float = 0.0, route: Route | None = None) -> LocaliseState:
    """After one fix, 2 m sure, on a straight route with a turn at 100 m."""
    route = route or straight_route(manoeuvres=(Manoeuvre(Turn.LEFT, 100.0), Manoeuvre(Turn.ARRIVE, 400.0)))
    car, fix = CarState(0.0, 8.0, 0.0, 0.0, 0.0), GpsFix(0.0, x, y, 2.0, 0.0, 0.02)
    return update(LocaliseState(), car, fix, route, None, False, 0.0, 0.0, CONFIG)


def lane_at(offset: float) -> RoadCurve:
    flat = np.zeros(len(PATH_ARC))
    return RoadCurve(np.stack([PATH_ARC, flat + offset], -1), flat + 0.1, flat, 1.0)


@pytest.mark.parametrize("aside", [1.5, -1.5])
def test_a_lone_lane_tells_where_we_are_across_and_one_of_several_does_not(aside):
    """The receiver says we drive in the route's middle; the lane runs `aside` m to our left."""
    alone = several = started()
    for k in range(200):
        alone = update(alone, CarState(0.0, 8.0, 0.0, 0.0, 0.0), None, None, lane_at(aside), True, k * 0.05, 0.05, CONFIG)
        several = update(several, CarState(0.0, 8.0, 0.0, 0.0, 0.0), None, None, lane_at(aside), False, k * 0.05, 0.05, CONFIG)
    assert alone.mean[1] == pytest.approx(-aside, abs=0.15) and abs(alone.aside) < 0.3
    assert several.mean[1] == pytest.approx(0.0, abs=0.1) and several.aside == pytest.approx(aside, abs=0.1)
    assert 0.02 < np.sqrt(alone.cov[1, 1]) < 0.3 < 1.9 < np.sqrt(alone.cov[0, 0])  # along, it tells nothing
    for state in (alone, several):  # either way the line is told where the lane is
        assert ahead(state, CONFIG).route_line[2, 1] == pytest.approx(aside, abs=0.2)


def test_what_the_lane_told_across_is_known_along_after_a_turn():
    state = started()
    for k in range(200):
        state = update(state, CarState(0.0, 8.0, 0.0, 0.0, 0.0), None, None, lane_at(1.5), True, k * 0.05, 0.05, CONFIG)
    fix = GpsFix(10.0, 50.0, 0.0, 2.0, 0.0, 0.02)  # the receiver says the same as before: its error lasts
    state = update(state, CarState(0.0, 8.0, 0.0, 0.0, 0.0), fix, None, None, True, 10.0, 0.05, CONFIG)
    assert state.mean[1] == pytest.approx(-1.5, abs=0.2)


@pytest.mark.parametrize("error", [2.5, -2.5])
def test_a_stop_line_seen_tells_where_we_are_along(error):
    """The line is `error` m farther than the route has it."""
    state = started()
    for _ in range(200):
        distance = ahead(state, CONFIG).next_turn_distance
        state = lined(state, distance, 50.0 + error, 2.0, 0.4, CONFIG)
    told = ahead(state, CONFIG)
    assert told.next_turn_distance == pytest.approx(50.0 + error, abs=0.4) and 0.1 < told.along_std < 0.8
    assert state.mean[0] == pytest.approx(50.0 - error, abs=0.4) and state.mean[1] == pytest.approx(0.0, abs=1e-6)


def test_a_stop_line_is_not_believed_standing_round_a_bend_or_at_another_junctions_distance():
    state = started()
    for refused in (
        lined(state, 50.0, 52.0, 2.0, 0.0, CONFIG),  # we stand: the same error again
        lined(state, 50.0, 57.0, 2.0, 0.4, CONFIG),  # 2.5 standard deviations
        lined(state, 50.0, np.inf, np.inf, 0.4, CONFIG),  # at the horizon
        lined(LocaliseState(), 50.0, 52.0, 2.0, 0.4, CONFIG),  # no fix yet
    ):
        assert refused.mean is None or np.array_equal(refused.mean, state.mean)
    corner = np.concatenate([straight_route(80.0).points, np.stack([np.full(20, 80.0), np.arange(5.0, 105, 5)], -1)])
    state = started(route=Route(corner, (), 10.0))
    assert np.array_equal(lined(state, 50.0, 52.0, 2.0, 0.4, CONFIG).mean, state.mean)
    assert not np.array_equal(lined(state, 20.0, 22.0, 2.0, 0.4, CONFIG).mean, state.mean)  # before it


def test_a_turn_stands_where_the_road_has_it_though_the_line_through_coarse_points_is_shorter():
    """Two corners of 7 m radius; navigation counts along the road."""
    arc = np.arange(0.0, np.pi / 2, 0.01)
    exact = [np.stack([np.arange(0.0, 80.0, 0.1), np.zeros(800)], -1), np.stack([80 + 7 * np.sin(arc), 7 - 7 * np.cos(arc)], -1)]
    exact += [np.stack([np.full(600, 87.0), 7.0 + np.arange(0.1, 60.05, 0.1)], -1)]
    exact += [
        np.stack([94 - 7 * np.cos(arc), 67.1 + 7 * np.sin(arc)], -1),
        np.stack([94 + np.arange(0.1, 80.0, 0.1), np.full(799, 74.1)], -1),
    ]
    road = np.concatenate(exact)
    total = float(np.hypot(*np.diff(road, axis=0).T).sum())
    coarse = resample(road, np.linspace(0.0, total, round(total / 10) + 1))
    last = float(np.hypot(*np.diff(road[: len(road) - 500], axis=0).T).sum())  # 50 m before the end
    route = Route(coarse, (Manoeuvre(Turn.STRAIGHT, last), Manoeuvre(Turn.ARRIVE, total)), 10.0)
    state = started(*(road[-600]), route=route)  # 10 m before it
    told = ahead(update(state, CarState(0.1, 8.0, 0.0, 0.0, 0.0), None, None, None, False, 0.1, 0.1, CONFIG), CONFIG)
    assert told.next_turn_distance == pytest.approx(10.0, abs=0.25) and told.goal_distance == pytest.approx(60.0, abs=0.1)
    chords = np.hypot(*np.diff(coarse, axis=0).T).sum()
    assert total - chords > 1.5  # what it would be off by, counted along the chords
    plain = started(route=Route(coarse, (), 10.0)).line
    assert plain.manoeuvres == ()
