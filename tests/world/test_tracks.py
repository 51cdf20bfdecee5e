"""Tracks against exact targets: a reference Kalman filter, chi-square consistency, and a world that stands still."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from nanopilot.geometry import child_from_parent, wrap
from nanopilot.messages import Detection, Kind
from nanopilot.perception.around import REACH
from nanopilot.world.motion import Motion
from nanopilot.world.tracks import TrackConfig, forget, joined, move, none, told, update

DT = 0.05
CONFIG = TrackConfig()


def still(dt: float = DT) -> Motion:
    return Motion(dt, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def drive(speed: float, yaw_rate: float, dt: float = DT) -> Motion:
    ds, dyaw = speed * dt, yaw_rate * dt
    chord = ds * np.sinc(dyaw / 2 / np.pi)
    return Motion(dt, chord * np.cos(dyaw / 2), chord * np.sin(dyaw / 2), dyaw, ds, 0.0, 0.0)


def detection(
    x: float,
    y: float,
    yaw: float = 0.0,
    kind: Kind = Kind.VEHICLE,
    distance_std: float = 0.5,
    bearing_std: float = 0.005,
    score: float = 0.9,
):
    return Detection(
        kind, score, np.zeros(4, np.float32), np.array([x, y], np.float32), wrap(yaw), 4.5, 1.9, np.hypot(x, y), distance_std, bearing_std
    )


def noisy(rng: np.random.Generator, x: float, y: float, yaw: float, distance_std: float = 0.5, bearing_std: float = 0.005) -> Detection:
    """With the share of the noise it is told that the filter takes for changing, floor included."""
    ray = np.array([x - CONFIG.camera_x, y])
    distance = np.hypot(*ray)
    ray /= distance
    floor = CONFIG.position_floor
    along, across = CONFIG.changing * rng.normal(0, (np.hypot(distance_std, floor), np.hypot(bearing_std * distance, floor)))
    p = np.array([x, y]) + along * ray + across * np.array([-ray[1], ray[0]])
    return detection(*p, yaw + rng.normal(0, CONFIG.yaw_std), distance_std=distance_std, bearing_std=bearing_std)


def run(detections, motions=None, config=CONFIG):
    tracks = none()
    for k, objects in enumerate(detections):
        tracks = move(tracks, motions[k] if motions else still(), config)
        tracks = forget(update(tracks, tuple(objects), DT, config), config)
    return tracks


def test_who_brakes_is_told_less_late_by_going_on_braking_and_never_as_driving_backwards():
    """Exact places of a car 15 m before us that drives with 12 m/s and then brakes with 4 m/s² until it stands; we drive with 10 m/s."""
    late = {}
    for lasting in (0.0, CONFIG.lasting):
        config, tracks, x, v, errors = replace(CONFIG, lasting=lasting), none(), 15.0, 12.0, []
        for k in range(160):
            slows = 4.0 if k >= 60 and v > 0 else 0.0
            x, v = x + (v - 10.0) * DT - slows * DT**2 / 2, max(v - slows * DT, 0.0)
            tracks = update(move(tracks, drive(10.0, 0.0), config), (detection(x + 20.0, 0.0),), DT, config)
            errors.append(tracks.mean[0, 2] - v)
        late[lasting] = np.mean(errors[70:118])
        assert min(errors[120:]) > -1.0 and abs(errors[-1]) < 0.1
    assert 0 < late[CONFIG.lasting] < 0.6 * late[0.0]


def test_one_axis_equals_a_textbook_kalman_filter():
    """A target dead ahead with yaw 0: along the ray everything decouples into the 2-state filter of any textbook."""
    rng = np.random.default_rng(0)
    zs = 30 + 5 * DT * np.arange(30) + rng.normal(0, 0.5, 30)
    tracks = run([[detection(z, 0.0)] for z in zs], config=replace(CONFIG, lasting=0.0))
    r, q = 0.5**2 + CONFIG.position_floor**2, CONFIG.acceleration_along[0] ** 2
    m, p = np.array([zs[0], 0.0]), np.diag([r, CONFIG.speed_prior[0] ** 2])
    f, big_q = np.array([[1, DT], [0, 1]]), q * np.array([[DT**3 / 3, DT**2 / 2], [DT**2 / 2, DT]])
    for z in zs[1:]:
        m, p = f @ m, f @ p @ f.T + big_q
        k = p[:, 0] / (p[0, 0] + CONFIG.changing**2 * r)
        m, p = m + k * (np.float32(z) - m[0]), p - np.outer(k, p[0])
    np.testing.assert_allclose(tracks.mean[0, [0, 2]], m, rtol=1e-6)
    np.testing.assert_allclose(tracks.cov[0][np.ix_([0, 2], [0, 2])], p, rtol=1e-6, atol=1e-12)


def test_errors_are_as_large_as_the_filter_says_over_many_seeds():
    """NEES of position and velocity at the end, targets moving as the model says: mean of n chi-square(4) in its 99.9 % bounds."""
    nees = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        yaw = rng.uniform(-np.pi, np.pi)
        nose = np.array([np.cos(yaw), np.sin(yaw)])
        side = np.array([-nose[1], nose[0]])
        p = np.array([25.0, rng.uniform(-5, 5)])
        v = rng.normal(0, CONFIG.speed_prior[0]) * nose + rng.normal(0, CONFIG.speed_prior_across[0]) * side
        yaw_seen = yaw if v @ nose > 0 else yaw + np.pi
        frames = []
        for _ in range(20):
            frames.append([noisy(rng, *p, yaw_seen)])
            dv = np.sqrt(DT) * (rng.normal(0, CONFIG.acceleration_along[0]) * nose + rng.normal(0, CONFIG.acceleration_across[0]) * side)
            last, v = v, v + dv
            p = p + (last + v) / 2 * DT
        frames = frames[:-1] + [[noisy(rng, *(p - (last + v) / 2 * DT), yaw_seen)]]
        truth = np.array([*(p - (last + v) / 2 * DT), *last])
        tracks = run(frames)
        assert len(tracks) == 1
        error = tracks.mean[0] - truth
        nees.append(error @ np.linalg.solve(tracks.cov[0], error))
    n = len(nees)
    assert chi2.ppf(0.0005, 4 * n) < sum(nees) < chi2.ppf(0.9995, 4 * n), np.mean(nees)


def test_a_constant_velocity_target_shows_its_speed_within_its_std():
    rng = np.random.default_rng(1)
    frames = [[noisy(rng, 20 + 7 * DT * k, -3 + 0.5 * DT * k, 0.07)] for k in range(60)]
    (track,) = told(run(frames), CONFIG)
    assert np.hypot(track.vx - 7, track.vy - 0.5) < 3 * track.velocity_std < 3.6
    assert abs(track.yaw - 0.07) < 0.2 and abs(track.yaw_rate) < 0.4 and abs(track.acceleration) < 2.5
    assert track.length == pytest.approx(4.5, abs=0.01) and track.probability > 0.8
    assert track.age == pytest.approx(59 * DT) and track.unseen == 0


@pytest.mark.parametrize(("speed", "yaw_rate", "braking"), [(8.0, 0.0, 0.0), (8.0, 0.4, 0.0), (12.0, 0.0, 4.0), (6.0, -0.6, 2.0)])
def test_a_parked_car_stands_still_over_ground_while_we_turn_and_brake(speed, yaw_rate, braking):
    parked, pose = np.array([30.0, 2.0]), np.zeros(3)
    tracks, said = none(), []
    for k in range(40):
        v = max(speed - braking * DT * k, 0.0)
        step = drive(v, yaw_rate)
        if k:
            c, s = np.cos(pose[2]), np.sin(pose[2])
            pose = pose + [c * step.x - s * step.y, s * step.x + c * step.y, step.yaw]
            tracks = move(tracks, step, CONFIG)
        seen = child_from_parent(parked[None], *pose)[0]
        tracks = forget(update(tracks, (detection(*seen, 0.3 - pose[2]),), DT, CONFIG), CONFIG)
        said += told(tracks, CONFIG)
    assert len({t.id for t in said}) == 1
    assert max(np.hypot(t.vx, t.vy) for t in said) < 0.01
    assert max(abs(t.acceleration) for t in said) < 0.05 and max(abs(t.yaw_rate) for t in said) < 0.01
    assert abs(wrap(said[-1].yaw - (0.3 - pose[2]))) < 0.01


def test_who_stands_is_told_steadier_and_yet_heard_when_he_sets_off():
    rng, rough = np.random.default_rng(3), replace(CONFIG, standing=1.0)
    stands = [[noisy(rng, 20.0, -3.0, 0.0, 1.5)] for _ in range(200)]
    speeds = {c: [run(stands[: k + 1], config=c).mean[0, 2] for k in range(40, 200, 8)] for c in (CONFIG, rough)}
    assert np.std(speeds[CONFIG]) < 0.7 * np.std(speeds[rough])
    t = DT * np.arange(60)
    starts = [[noisy(rng, 20.0 + x, -3.0, 0.0, 0.5)] for x in 0.5 * 2.0 * t**2]  # 2 m/s² for 3 s
    assert run(stands + starts).mean[0, 2] == pytest.approx(6.0, abs=1.5)


def test_a_braking_car_shows_its_deceleration_and_a_turning_one_its_yaw_rate():
    frames = [[detection(40 + 10 * t - t * t, 0.0)] for t in DT * np.arange(50)]
    (braking,) = told(run(frames), CONFIG)
    assert braking.acceleration == pytest.approx(-2.0, abs=0.5)
    turning = [[detection(30 + 10 * np.sin(0.5 * t), 10 - 10 * np.cos(0.5 * t), 0.5 * t)] for t in DT * np.arange(50)]
    (track,) = told(run(turning), CONFIG)
    assert track.yaw_rate == pytest.approx(0.5, abs=0.1)


def test_velocity_tells_the_nose_from_the_tail():
    frames = [[detection(40 - 8 * DT * k, 3.0, 0.0 if k % 3 else np.pi)] for k in range(40)]  # oncoming; the yaw seen is mostly wrong
    (track,) = told(run(frames), CONFIG)
    assert abs(abs(track.yaw) - np.pi) < 0.1 and track.vx == pytest.approx(-8, abs=0.3)


def test_two_crossing_cars_keep_their_ids_and_other_kinds_are_never_mixed():
    frames = [[detection(20, -5 + 10 * DT * k, np.pi / 2), detection(24, 5 - 10 * DT * k, -np.pi / 2)] for k in range(20)]
    frames = [f if k % 2 else f[::-1] for k, f in enumerate(frames)]
    a, b = sorted(told(run(frames), CONFIG), key=lambda t: t.x)
    assert a.vy > 5 and b.vy < -5 and {a.id, b.id} == {0, 1}
    both = run([[detection(20, 0), detection(20, 0.3, kind=Kind.PERSON)]] * 5)
    assert [t.kind for t in told(both, CONFIG)] == [Kind.VEHICLE, Kind.PERSON]


def test_one_hit_is_not_told_and_a_ghost_soon_forgotten():
    once = run([[detection(20, 0)]])
    assert len(once) == 1 and told(once, CONFIG) == ()
    assert len(run([[detection(20, 0)]] + [[]] * 6)) == 0
    assert len(run([[detection(20, 0, score=0.2)]] * 5)) == 0


def test_unseen_in_view_lives_a_second_beside_us_three():
    in_view = [[detection(20, 0)]] * 20
    assert len(run(in_view + [[]] * 19)) == 1
    faded = run(in_view + [[]] * 19)
    assert faded.probability[0] < run(in_view).probability[0] / 2
    assert len(run(in_view + [[]] * 22)) == 0
    beside = [[detection(8, -5.5)]] * 20 + [[]] * 100
    motions = [still()] * 20 + [drive(8.0, 0.0)] * 100  # we pass it
    passed = run(beside[:60], motions)
    assert len(passed) == 1 and passed.mean[0, 0] == pytest.approx(8 - 16, abs=0.1)
    assert passed.probability[0] == pytest.approx(run(beside[:20]).probability[0], rel=0.1)
    assert len(run(beside, motions)) == 0


def test_who_is_unseen_far_ahead_lives_a_second_too():
    seen = [[detection(90, 0, distance_std=8)]] * 5
    assert len(run(seen + [[]] * round(0.9 / DT))) == 1 and len(run(seen + [[]] * round(1.2 / DT))) == 0


@pytest.mark.parametrize("aside, left", [(1.2, 1), (2.2, 2)])
def test_who_is_unseen_where_another_of_its_kind_is_seen_is_that_one(aside, left):
    """A track that runs away from its body (a box cut by the picture's side) leaves it to a new one; cars beside each other stay two."""
    tracks = run([[detection(2.5, 4.0)]] * 10)  # out of sight, so that it would be kept for three seconds
    there = [detection(3.0, 4.0 - aside)]
    both = joined(replace(tracks, unseen=np.full(1, 0.6)), run([there] * 3))
    assert len(forget(both, CONFIG)) == left
    assert len(forget(replace(both, unseen=np.zeros(2)), CONFIG)) == 2  # both seen
    assert len(forget(replace(both, kind=np.array([0, 1])), CONFIG)) == 2  # a person before a car


def test_without_detections_nothing_gets_surer():
    tracks = run([[detection(20, 0), detection(30, 3)]] * 20)
    for _ in range(10):
        after = forget(move(tracks, still(), CONFIG), CONFIG)
        assert (np.linalg.eigvalsh(after.cov - tracks.cov)[:, -1] > 0).all()
        assert (np.trace(after.cov, axis1=1, axis2=2) > np.trace(tracks.cov, axis1=1, axis2=2)).all()
        tracks = after


LEFT = np.deg2rad(80.0)


def test_who_leaves_the_front_camera_for_the_side_one_stays_the_same():
    """A car crosses from right ahead to the left; front and left camera in turns, each where it sees."""
    tracks, ids = none(), set()
    for k in range(60):
        y = -6.0 + 8.0 * DT * k
        seen = (detection(9.0, y, np.pi / 2),)
        ahead = abs(np.arctan2(y, 9.0 - CONFIG.camera_x)) < np.pi / 4 - 0.1
        tracks = move(tracks, still(), CONFIG)
        tracks = update(tracks, seen if ahead else (), DT, CONFIG)
        if k % 2:
            tracks = update(tracks, () if ahead else seen, 2 * DT, CONFIG, LEFT)
        tracks = forget(tracks, CONFIG)
        ids |= {t.id for t in told(tracks, CONFIG)}
    assert len(ids) == 1
    (car,) = told(tracks, CONFIG)
    assert (car.x, car.y) == pytest.approx((9.0, y), abs=0.3) and car.vy == pytest.approx(8.0, abs=0.5)


def test_who_is_gone_from_a_side_view_is_believed_less_and_a_camera_that_looks_elsewhere_says_nothing():
    beside = run([[detection(3.0, 12.0, np.pi / 2)]] * 10)
    assert update(beside, (), 0.1, CONFIG, LEFT).probability[0] < beside.probability[0]
    assert update(beside, (), 0.1, CONFIG, -LEFT).probability[0] == beside.probability[0]


def test_two_cameras_may_see_one_car_at_the_same_moment():
    seen = detection(9.0, 8.0, np.pi / 2)
    tracks = move(run([[seen]] * 40), still(), CONFIG)
    twice = update(update(tracks, (seen,), DT, CONFIG), (seen,), DT, CONFIG, LEFT)
    assert len(twice) == 1 and all(np.isfinite(getattr(twice, name)).all() for name in ("mean", "cov", "acceleration"))


def test_what_is_told_too_far_away_to_be_known_begins_no_track():
    """A standing car that we approach is told as 65 m away until it is: it must not seem to drive."""
    speed, tracks, said = 20.0, none(), []
    for k in range(50):
        true = 90.0 - speed * DT * k
        tracks = move(tracks, drive(speed, 0.0), CONFIG)
        told_at = (detection(min(true, 65.0) + CONFIG.camera_x, 0.0, distance_std=6.0),)
        believed = tuple(o for o in told_at if o.distance <= REACH)
        tracks = forget(update(tracks, believed, DT, CONFIG), CONFIG)
        said += told(tracks, CONFIG)
    assert said and max(abs(t.vx) for t in said) < 1.0


def test_the_doubtful_keep_whom_we_know_and_begin_nobody():
    sure, low = detection(12.0, 0.0, kind=Kind.PERSON), detection(12.0, 0.0, kind=Kind.PERSON, score=0.25)

    def follow(steps: list[tuple]):
        tracks = none()
        for objects, doubtful in steps:
            tracks = forget(update(move(tracks, still(), CONFIG), objects, DT, CONFIG, doubtful=doubtful), CONFIG)
        return told(tracks, CONFIG)

    assert follow([((), (low,))] * 20) == ()
    (kept,) = follow([((sure,), ())] * 5 + [((), (low,))] * 20)
    (known,) = follow([((sure,), ())] * 5)
    assert kept.id == known.id and kept.unseen == 0 and 0.25 < kept.probability < known.probability
    assert follow([((sure,), ())] * 5 + [((), ())] * 25) == ()
    aside = replace(low, position=np.array([12.0, 0.6], np.float32))
    (both,) = follow([((sure,), (aside,))] * 10)  # who is surely seen is not moved by a doubt beside him
    assert abs(both.y) < 1e-6
