"""The guardian against closed forms: a car that brakes with 8 m/s², 0.2 s after it is told, on paper. Tracks are perfect here."""

from dataclasses import replace
from itertools import pairwise
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanopilot import assist
from nanopilot.assist import guardian, keeping
from nanopilot.assist.closing import Closing
from nanopilot.assist.keeping import KeepingConfig, KeepingState
from nanopilot.assist.lane import LaneState
from nanopilot.assist.rate import Rate
from nanopilot.messages import CarState, GuardStage, Kind, RoadEdge
from tests.assist.test_assist import CAR, DT, FRONT, car, curve, seen, track, world

CONFIG = guardian.Config()
DEAD, GRIP = 0.2, 8.0  # s, m/s² of the car on paper
STAGES = list(GuardStage)
PARTIAL, FULL = STAGES.index(GuardStage.PARTIAL), STAGES.index(GuardStage.FULL)


def drive(speed, gap, lead=0.0, slows=0.0, y=0.0, vy=0.0, kind=Kind.VEHICLE, seconds=12.0, steer=None, **more):
    """[(t, gap, own speed, guard)] of a car that holds `speed` until the guardian brakes; the other slows down from the start."""
    state, out, asked, own, other, t, age = guardian.State(), [], [0.0] * round(DEAD / DT), speed, lead, 0.0, 2.0
    y0 = y
    while t < seconds and gap > 0 and (own > 0 or not out or t < 3.0):
        middle = FRONT + gap + (2.25 if kind == Kind.VEHICLE else 0.25)
        one = track(middle, y0, other, vy, kind, age=age, position_std=0.1, velocity_std=0.15,
                    acceleration=-slows if other > 0 else 0.0, **more)  # fmt: skip
        now = world(t, own, one)
        state, guard = guardian.step(state, assist.State(), now, None, car(t, own), CAR, CONFIG)
        out.append((t, gap, own, guard))
        asked.append(guard.acceleration)
        brake = max(asked.pop(0), -GRIP)
        after, other_after = max(own + brake * DT, 0.0), max(other - slows * DT, 0.0)
        gap += ((other + other_after) - (own + after)) / 2 * DT
        y0, own, other, t, age = y0 + vy * DT, after, other_after, t + DT, age + DT
    return out


def stages(run):
    return [STAGES.index(g.stage) for *_, g in run]


@given(st.floats(4, 30), st.floats(0, 1), st.floats(0, 6))
@settings(max_examples=60, deadline=None)
def test_it_stops_before_whoever_is_farther_than_the_stopping_distance(speed, share, extra):
    lead = share * (speed - 3)
    closing = speed - lead
    gap = closing * (DEAD + 0.3) + closing**2 / (2 * 7.0) + 1.5 + extra  # 7 m/s², 0.3 s for frames and filters, 1.5 m
    run = drive(speed, gap, lead)
    assert min(g for _, g, *_ in run) > 0


@given(st.floats(4, 30), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_it_leaves_alone_who_could_stop_gently(speed, share):
    """While 3 m/s² still suffice, begun a second from now, nothing may brake; a warning may come."""
    lead = share * (speed - 3)
    closing = speed - lead
    run = drive(speed, closing * 6 + 40, lead)
    for _, gap, own, guard in run:
        v = own - lead
        if own < speed:
            break  # braking has begun: it is carried through
        if v > 0 and gap > v * 1.0 + v * v / (2 * 3.0) + 2.0:
            assert guard.acceleration == 0.0 and STAGES.index(guard.stage) < STAGES.index(GuardStage.PARTIAL)


def test_stages_come_in_order_and_a_warning_0_8_s_before_braking():
    run = drive(50 / 3.6, 80.0)
    levels = stages(run)
    full = levels.index(4)
    assert all(b >= a for a, b in pairwise(levels[: full + 1])), "stages only rise until full braking"
    warned = next(t for t, *_, g in run if g.stage == GuardStage.WARNING)
    braked = next(t for t, *_, g in run if g.acceleration < 0)
    assert braked - warned >= 0.8  # UN R152
    assert run[-1][1] > 0.3 and run[-1][1] < 4.0, "stands before it, and not far away"


def test_partial_braking_waits_until_the_driver_has_been_told_of_a_vehicle_and_full_braking_for_nothing():
    """Who is seen late: with 0.2 s left until full braking must begin, and a track just old enough."""
    speed = 50 / 3.6
    last = speed**2 / (2 * CONFIG.full) + CONFIG.margin + speed * CONFIG.response  # m at which nothing is left
    for kind, waits in ((Kind.VEHICLE, True), (Kind.PERSON, False)):
        run = drive(speed, last + 0.25 * speed, kind=kind)
        levels = stages(run)
        assert (PARTIAL in levels) != waits, kind
        full = levels.index(FULL)
        assert min(g for _, g, *_ in run) > 0
        if waits:  # at full speed until then: told with 0.1 s left, confirmed 0.05 s later
            assert run[full][1] == pytest.approx(last + (CONFIG.left[3] - CONFIG.confirm) * speed, abs=2 * DT * speed)
    gentle = drive(15 / 3.6, 15.0, lead=0.0)  # slow enough that partial braking does; it has been told for long
    warned, braked = (next(t for t, *_, g in gentle if STAGES.index(g.stage) >= k) for k in (1, PARTIAL))
    assert PARTIAL in stages(gentle) and braked - warned >= CONFIG.told


@pytest.mark.parametrize("slows", [3.0, 5.0])
def test_a_lead_that_brakes_is_not_hit(slows):
    run = drive(50 / 3.6, 12.0, 50 / 3.6, slows)
    assert min(g for _, g, *_ in run) > 0 and max(stages(run)) >= 3


def test_a_lead_that_seems_to_let_go_of_its_brake_for_a_moment_is_still_taken_to_brake():
    """The time left in the step after, with a deceleration of 5 m/s² that is 0 all at once: as if it were a little less."""
    state, left = guardian.State(), []
    for k, acceleration in enumerate((-5.0, -5.0, -5.0, 0.0)):
        t, lead = k * DT, track(FRONT + 2.25 + 15.0, 0.0, 12.0, acceleration=acceleration)
        one = replace(world(t, 20.0, lead), t=t)
        state, guard = guardian.step(state, assist.State(), one, None, car(t, 20.0), CAR, CONFIG)
        left.append((state.target, state.slows))
        assert STAGES.index(guard.stage) >= 1 or k == 0
    assert left[2] == (1, 5.0) and left[3] == (1, pytest.approx(5.0 * np.exp(-DT / CONFIG.goes_on)))


def test_who_follows_at_two_seconds_or_drives_away_is_left_alone():
    assert max(stages(drive(20.0, 40.0, 20.0))) == 0
    assert max(stages(drive(20.0, 10.0, 25.0))) == 0


def test_the_brake_is_held_at_standstill_and_then_given_back():
    state, t, near = guardian.State(), 0.0, world(0.0, 5.0, track(FRONT + 2.25 + 1.0))
    held = []
    for k in range(60):
        speed = max(5.0 - 0.5 * k, 0.0)
        one = replace(near, t=t, speed=speed, tracks=(track(FRONT + 2.25 + 1.0),))
        state, guard = guardian.step(state, assist.State(), one, None, car(t, speed), CAR, CONFIG)
        held.append((t, speed, guard.acceleration))
        t += DT
    stood = next(t for t, v, _ in held if v == 0.0)
    last = max(t for t, _, a in held if a < 0)
    assert last - stood == pytest.approx(CONFIG.stand, abs=0.11)


@given(st.floats(3.5, 25), st.sampled_from([-1, 1]))
@settings(max_examples=30, deadline=None)
def test_who_stands_beside_our_way_is_passed(speed, side):
    """FMVSS 127: two parked cars 4.5 m apart, so flanks 2.25 m from our middle."""
    run = drive(speed, speed * 3, y=side * (2.25 + 0.9), seconds=4.0)
    assert max(stages(run)) == 0


@given(st.floats(10, 60), st.floats(-0.4, 0.4))
@settings(max_examples=40, deadline=None)
def test_a_pedestrian_who_would_be_hit_is_not(kph, share):
    """He walks with 5 km/h and would be before us, `share` of our width beside our middle, when we get there."""
    speed, walk = kph / 3.6, 5 / 3.6
    hit = 4.0
    run = drive(speed, speed * hit, y=-walk * hit + share * 1.8, vy=walk, kind=Kind.PERSON, seconds=hit + 3)
    assert run[-1][1] > 0 or abs(-walk * hit + share * 1.8 + walk * run[-1][0]) > 0.9 + 0.25


@given(st.floats(20, 60))
@settings(max_examples=20, deadline=None)
def test_a_pedestrian_who_has_crossed_before_we_come_is_not_braked_for(kph):
    speed, walk = kph / 3.6, 5 / 3.6
    run = drive(speed, speed * 4.0, y=-walk * 4.0 + 4.0, vy=walk, kind=Kind.PERSON, seconds=4.0)
    assert max(g.acceleration for *_, g in run) == 0 and all(g.acceleration == 0 for *_, g in run)


def test_braking_ends_once_he_has_left_our_way():
    run = drive(20.0, 30.0, y=-1.0, vy=1.3, kind=Kind.PERSON, seconds=3.0)
    levels = stages(run)
    assert max(levels) >= 3 and levels[-1] == 0


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("young", {"age": 0.2}),
        ("improbable", {"probability": 0.4}),
        ("unseen", {"unseen": 0.5}),
    ],
)
def test_an_uncertain_track_begins_nothing(what, more):
    one = track(FRONT + 2.25 + 8.0, **more)
    state = guardian.State()
    for k in range(10):
        state, guard = guardian.step(state, assist.State(), world(k * DT, 15.0, one), None, car(k * DT, 15.0), CAR, CONFIG)
        assert guard.stage == GuardStage.NONE, what


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_the_one_nearer_in_time_is_braked_for(order):
    pair = (track(FRONT + 2.25 + 8.0, id=7), track(FRONT + 2.25 + 40.0, id=8))[::order]
    state = guardian.State()
    for k in range(10):
        state, guard = guardian.step(state, assist.State(), world(k * DT, 15.0, *pair), None, car(k * DT, 15.0), CAR, CONFIG)
    assert guard.stage == GuardStage.FULL and guard.track_id == 7


def test_a_track_lost_under_braking_is_braked_for_a_while():
    state, levels = guardian.State(), []
    for k in range(40):
        tracks = (track(FRONT + 2.25 + 8.0),) if k < 10 else ()
        state, guard = guardian.step(state, assist.State(), world(k * DT, 15.0, *tracks), None, car(k * DT, 15.0), CAR, CONFIG)
        levels.append(STAGES.index(guard.stage))
    assert max(levels[:10]) == 4 and levels[10 + round(0.5 / DT)] == 4 and levels[-1] == 0


def test_blind_slow_or_without_an_own_speed_it_begins_nothing():
    near = track(FRONT + 2.25 + 1.0)
    for speed, blind, std in ((15.0, 1.0, 0.1), (1.5, 0.0, 0.1), (15.0, 0.0, 100.0)):
        state = guardian.State()
        for k in range(10):
            one = world(k * DT, speed, near, blind=blind)
            state, guard = guardian.step(state, assist.State(), one, None, car(k * DT, speed, std), CAR, CONFIG)
            assert guard.stage == GuardStage.NONE and guard.acceleration == 0.0


@given(st.floats(5, 40), st.floats(0, 1), st.floats(0, 8), st.floats(5, 9))
@settings(max_examples=30, deadline=None)
def test_braking_distance_is_that_of_two_cars_stepped_in_time(own, share, slows, full):
    """By simulation in steps of 1 ms: the most that the gap shrinks."""
    other = share * own
    if slows > full - 1:
        slows = full - 1
    a, b, way, most = own, other, 0.0, 0.0
    while a > 0 and (a > b or slows > 0):
        way += (a - b) * 1e-3
        most = max(most, way)
        a, b = max(a - full * 1e-3, 0), max(b - slows * 1e-3, 0)
    assert guardian.braking_distance(own, other, slows, full) == pytest.approx(most, abs=0.06)


@given(st.floats(8, 40), st.floats(0.3, 0.98), st.floats(1.2, 7), st.floats(5, 60))
@example(8.0, 0.875, 1.203125, 51.0)  # nothing to do within the horizon, though they would meet in 9 s
@settings(max_examples=60, deadline=None)
def test_braking_in_time_left_ends_before_somebody_who_slows_down(own, share, slows, gap):
    """By simulation in steps of 1 ms: whoever brakes then stops with the margin, and what the response takes, to spare."""
    other, margin = share * own, CONFIG.margin + CONFIG.margin_slowing
    how = Closing(gap, own - other, (own - other) / gap, 0.01, gap / (own - other), 0.1)
    left = guardian.time_left(how, track(FRONT + gap + 2.25, 0.0, other), own, CONFIG, slows)
    a, b, room, t, told, least = own, other, gap, 0.0, 0.0, gap
    late = left < 0
    if late:
        left = 0.0
    end = guardian.HORIZON if left == np.inf else 30.0
    while a > 0 and t < end and (a > b or slows > 0):
        if t <= left:
            told = (a - b) * CONFIG.response
        else:
            a = max(a - CONFIG.full * 1e-3, 0.0)
        b = max(b - slows * 1e-3, 0.0)
        room -= (a - b) * 1e-3
        least, t = min(least, room), t + 1e-3
    if left == np.inf:
        assert least > 0
    elif late:
        assert least < margin + (own - other) * CONFIG.response + 0.1
    else:
        assert least == pytest.approx(margin + told, abs=0.5)


# ------------------------------------------------------------------------- lane keeping

KEEP = KeepingConfig()


def lanes(t, left, right, rates=(0.0, 0.0)):
    edges = [None if d is None else Rate(d, r, 0.01, 0.0, 0.01, t - 1.0, t) for d, r in zip((left, right), rates, strict=True)]
    return LaneState((edges[0], edges[1]))


def kept(rate, side=1, speed=20.0, seconds=8.0, **more):
    """Distances inside the line of a car that drifts over it at `rate` m/s and does as it is told, 0.15 s late."""
    state, inside, v, out, asked = KeepingState(), 0.8, -rate, [], [0.0] * 3
    for k in range(round(seconds / DT)):
        t = k * DT
        pair = (None, inside) if side > 0 else (inside, None)
        rates = (0.0, v) if side > 0 else (v, 0.0)
        state, curvature, _ = keeping.step(state, lanes(t, *pair, rates), world(t, speed), None, replace(car(t, speed), **more), CAR, KEEP)
        asked.append(0.0 if curvature is None else curvature)
        v += side * asked.pop(0) * speed**2 * DT
        inside += v * DT
        out.append((t, inside, v, curvature))
    return out


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("rate", [0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
@pytest.mark.parametrize("kph", [50, 100])
def test_a_drift_is_stopped_within_0_3_m_of_the_line_and_gently(rate, side, kph):
    run = kept(rate, side, kph / 3.6)
    assert min(inside for _, inside, *_ in run) > -0.3  # Euro NCAP
    assert max(abs(c or 0.0) for *_, c in run) * (kph / 3.6) ** 2 <= 3.0  # UN R79
    assert max(v for _, _, v, _ in run) <= rate + 0.25 and run[-1][3] is None, "it ends"
    begins = next(inside for _, inside, _, c in run if c is not None)
    assert begins < 0.9 * rate + 0.2, "no sooner than needed"


def test_a_driver_who_steers_drives_slowly_or_along_is_left_alone():
    assert all(c is None for *_, c in kept(0.5, driver_steer=True))
    assert all(c is None for *_, c in kept(0.5, speed=10.0))
    assert all(c is None for *_, c in kept(0.0))


def test_a_lane_left_long_ago_and_a_line_known_too_badly_are_no_reason():
    assert not keeping.departs(-0.7, -0.5, KEEP)
    far = lanes(0.0, None, 0.0, (0.0, -0.5))
    bad = LaneState((None, replace(far.edges[1], p00=0.2)))
    for lane in (bad, LaneState((None, replace(far.edges[1], t=-1.0))), LaneState((None, replace(far.edges[1], first=-0.1)))):
        assert keeping.step(KeepingState(), lane, world(0.0, 20.0), None, car(0.0, 20.0), CAR, KEEP)[1] is None
    assert keeping.step(KeepingState(), far, world(0.0, 20.0), None, car(0.0, 20.0), CAR, KEEP)[1] > 0


def test_it_gives_up_after_its_longest_and_pauses():
    state, told = KeepingState(), []
    for k in range(round(8 / DT)):
        t = k * DT
        state, curvature, _ = keeping.step(state, lanes(t, None, 0.0, (0.0, -0.5)), world(t, 20.0), None, car(t, 20.0), CAR, KEEP)
        told.append(curvature is not None)
    assert sum(told) * DT == pytest.approx(KEEP.longest + 8 - KEEP.longest - KEEP.pause, abs=0.3)


def test_a_line_that_is_lost_ends_it():
    state, *_ = keeping.step(KeepingState(), lanes(0.0, None, 0.0, (0.0, -0.5)), world(0.0, 20.0), None, car(0.0, 20.0), CAR, KEEP)
    assert state.side == 1
    state, curvature, _ = keeping.step(state, LaneState(), world(0.5, 20.0), None, car(0.5, 20.0), CAR, KEEP)
    assert state.side == 0 and curvature is None


@pytest.mark.parametrize("bend", [0.0, 1 / 300, -1 / 300])
def test_the_lanes_own_bend_is_steered_too(bend):
    base = world(0.0, 20.0)
    points = base.path.points.copy()
    points[:, 1] = bend * points[:, 0] ** 2 / 2
    bent = replace(base, path=replace(curve(0.0), points=points))
    assert keeping.lane_curvature(bent, KEEP) == pytest.approx(bend, rel=0.02, abs=1e-9)
    assert keeping.lane_curvature(replace(base, path=None), KEEP) == 0.0
    far = replace(bent, path=replace(bent.path, points=points + (KEEP.bend, 0.0)))
    assert keeping.lane_curvature(far, KEEP) == 0.0, "nothing of it is near"


def edge(y, slope=0.0, side=1, n=6, first=6.0):
    x = first + np.arange(n)
    points = np.stack([x, y + slope * x], -1).astype(np.float32)
    return RoadEdge(side, points, points, np.full(n, 0.1, np.float32))


def test_a_road_edge_alone_is_enough():
    state, told, t = KeepingState(), [], 0.0
    for k in range(60):
        t = k * DT
        percept = seen(t, edges=(edge(-(2.0 - 0.5 * t)),))
        state, curvature, _ = keeping.step(state, LaneState(), world(t, 20.0), percept, car(t, 20.0), CAR, KEEP)
        told.append((2.0 - 0.5 * t - CAR.width / 2, curvature))
    begins = next(d for d, c in told if c is not None)
    assert 0.1 < begins < 0.7 and all(c > 0 for _, c in told if c is not None)


def test_edges_too_short_too_far_or_that_jump_are_not_followed_on():
    def followed(last, *edges, t=0.1):
        return keeping._followed(last, 1, seen(t, edges=edges), t, CAR, KEEP)

    one = followed(None, edge(-2.0), t=0.0)
    assert one.value == pytest.approx(1.1, abs=0.01)
    assert followed(None, edge(-2.0, n=2)) is None and followed(None, edge(-2.0, first=20.0)) is None
    assert followed(one, edge(-2.0, side=-1)) is one and followed(one, edge(-2.0, side=-1), t=0.6) is None
    assert followed(one, edge(-3.5)).first == 0.1 and followed(one, edge(-2.05)).first == 0.0
    assert keeping._followed(one, 1, None, 0.1, CAR, KEEP) is one


def test_the_stop_on_paper_is_the_textbooks():
    """v² / 2a from 20 m/s with 8 m/s²: 25 m."""
    assert guardian.braking_distance(20.0, 0.0, 0.0, 8.0) == pytest.approx(25.0)
    assert sqrt(2 * 8.0 * 25.0) == pytest.approx(20.0)
    assert isinstance(car(0.0, 1.0), CarState)
