"""The ST graph against situations whose answer plain geometry gives."""

from dataclasses import replace

import numpy as np
import pytest
from closed_loop import CAR

from nanopilot.geometry import resample
from nanopilot.messages import PATH_ARC, Kind, Track
from nanopilot.planning.conflicts import ConflictConfig, assess, occupancy, passing_speeds
from nanopilot.planning.longitudinal import LongitudinalConfig
from nanopilot.planning.path import smooth

TIMES = np.arange(31) * 0.2
STRAIGHT = smooth(np.stack([PATH_ARC, 0 * PATH_ARC], -1))
NOSE = CAR.length - CAR.rear_overhang
GAPS, CONFIG = LongitudinalConfig(), ConflictConfig()


def track(x, y, course, speed, id=1, acceleration=0.0, kind=Kind.VEHICLE, length=4.5, width=1.8, probability=1.0, yaw_rate=0.0):
    vx, vy = speed * np.cos(course), speed * np.sin(course)
    return Track(id, kind, x, y, course, vx, vy, acceleration, yaw_rate, 0.2, 0.2, length, width, 3.0, 0.0, probability)


def judge(*tracks, speed=8.0, waiting=0.0, yielding=(), path=STRAIGHT):
    return assess(path, tracks, TIMES, speed * TIMES, CAR, waiting, yielding, GAPS, CONFIG)


def free(verdict):
    return all(np.isinf(b).all() for b in (verdict.bounds.gap, verdict.bounds.stop, verdict.bounds.object))


def test_a_lead_bounds_us_by_its_rear_moving_with_it():
    verdict = judge(track(30.0, 0.0, 0.0, 5.0))
    assert verdict.lead_id == 1
    assert verdict.bounds.gap == pytest.approx(30 - 2.25 + 5 * TIMES - NOSE - 4.0)
    assert verdict.bounds.lead_speed == pytest.approx(5.0)


def test_a_braking_lead_is_expected_to_brake_on_for_a_while():
    now, braking = judge(track(30.0, 0.0, 0.0, 8.0)), judge(track(30.0, 0.0, 0.0, 8.0, acceleration=-4.0))
    assert braking.bounds.lead_speed[-1] == pytest.approx(8.0 - (4.0 - CONFIG.acceleration_doubt) * CONFIG.lead_braking_time)
    assert braking.bounds.gap[-1] < now.bounds.gap[-1]


def test_of_two_leads_the_nearer_counts():
    assert judge(track(30.0, 0.0, 0.0, 5.0, id=7), track(45.0, 0.0, 0.0, 2.0, id=8)).lead_id == 7


@pytest.mark.parametrize(
    "other",
    [
        track(40.0, 3.5, np.pi, 8.0),  # oncoming in its lane
        track(15.0, -3.5, 0.0, 5.0),  # beside us, our way
        track(-10.0, 0.0, 0.0, 12.0),  # behind
        track(30.0, 8.0, -np.pi / 2, 0.0),  # waits at the side
        track(30.0, 12.0, np.pi / 2, 6.0),  # drives away
        track(30.0, 0.0, 0.0, 0.0, probability=0.1),  # hardly exists
        track(10.0, 40.0, -np.pi / 2, 6.0),  # comes long after us
        track(4.0, -3.5, 0.0, 3.0),  # beside our nose
    ],
)
def test_who_is_not_in_the_way_does_not_bound_us(other):
    assert free(judge(other))


def test_who_crosses_before_us_is_yielded_to_until_it_has_cleared():
    verdict = judge(track(24.0, 14.0, -np.pi / 2, 7.0))
    assert verdict.yields == (1,)
    # it reaches our corridor (half 0.925 + 0.3 m, at most 0.7 m more) after (14 - 2.25 - 1.9) / 7 s and leaves by (14 + 2.25 + 1.9) / 7 s
    held = TIMES[np.isfinite(verdict.bounds.stop)]
    assert held[0] == 0.0 and 2.2 < held[-1] < 3.3
    assert verdict.bounds.stop[0] == pytest.approx(24 - 0.9 - NOSE - CONFIG.yield_gap, abs=0.6)


# at 5 m/s we have left a crossing 10 m ahead, with our tail, after (10 + 0.9 + 0.9) / 5 = 2.4 s; 1.5 s are wanted on top
def crossing_after(seconds):
    return track(10.0, -(7.0 * seconds + 2.25 + 0.925 + 0.3 + 0.7), np.pi / 2, 7.0)


def test_whom_we_surely_pass_before_is_not_yielded_to_unless_we_already_do():
    assert free(judge(crossing_after(4.2), speed=5.0))
    assert judge(crossing_after(4.2), speed=5.0, yielding=(1,)).yields == (1,)


def test_after_long_waiting_a_smaller_margin_is_enough():
    assert judge(crossing_after(3.4), speed=5.0).yields == (1,)
    assert free(judge(crossing_after(3.4), speed=5.0, waiting=10.0))


def test_when_it_is_too_late_to_stop_we_go_if_we_can_pass_before():
    assert free(judge(crossing_after(2.6), speed=8.0))


def test_a_person_standing_on_the_road_is_stopped_for():
    verdict = judge(track(30.0, 0.5, np.pi / 2, 0.0, kind=Kind.PERSON, length=0.5, width=0.5))
    assert verdict.bounds.object[0] == pytest.approx(30 - 0.25 - NOSE - CONFIG.touch_gap, abs=0.3)


def walker(across, yaw_rate=0.0):
    """On the pavement 2.7 m aside, 12 m ahead, coming along it, told to walk towards our lane a little; velocity to 0.7 m/s."""
    return replace(track(12.0, -2.7, np.arctan2(across, -1.2), np.hypot(1.2, across), kind=Kind.PERSON, length=0.6, width=0.6,
                         yaw_rate=yaw_rate), velocity_std=0.7)  # fmt: skip


def test_a_person_on_the_pavement_is_passed_however_it_seems_to_turn():
    assert free(judge(walker(0.25, yaw_rate=-0.6)))


def test_a_person_at_the_kerb_is_passed_slowly():
    table = passing(replace(walker(0.0), y=-2.2))
    assert table[np.abs(STRAIGHT.s - 12.0) < 0.6] == pytest.approx(CONFIG.pass_difference)
    assert passing(walker(0.0)) == pytest.approx(13.9)  # 2.7 m aside


def test_a_person_who_walks_towards_our_lane_is_yielded_to():
    assert judge(walker(1.2)).yields == (1,)


def test_turning_left_yields_to_the_oncoming_car_that_goes_straight_on():
    arc = np.linspace(0, np.pi / 2, 20)
    left = np.concatenate([[[0.0, 0.0]], np.stack([12 + 10 * np.sin(arc), 10 * (1 - np.cos(arc))], -1), [[22.0, 50.0]]])
    path = smooth(resample(left, PATH_ARC))
    assert judge(track(45.0, 3.5, np.pi, 8.0), path=path, speed=5.0).yields == (1,)
    assert free(judge(track(45.0, 3.5, np.pi, 0.0), path=path, speed=5.0))


def passing(*tracks):
    return passing_speeds(STRAIGHT, tracks, np.full(len(STRAIGHT.s), 13.9), GAPS, CONFIG)


@pytest.mark.parametrize(
    ("speed", "age", "allowed"),
    [(0.0, 3.0, CONFIG.pass_parked), (0.0, 0.5, CONFIG.pass_difference), (3.0, 3.0, 3.0 + CONFIG.pass_difference)],
)
def test_a_slow_neighbour_is_passed_at_a_limited_difference_reached_by_comfortable_braking(speed, age, allowed):
    table = passing(replace(track(40.0, 3.5, 0.0, speed), age=age))
    beside = np.abs(STRAIGHT.s - 40.0) < 2.2
    assert table[beside] == pytest.approx(allowed)
    before = STRAIGHT.s < 37.0
    room = 37.75 - STRAIGHT.s[before]
    assert table[before] == pytest.approx(np.minimum(13.9, np.sqrt(allowed**2 + 2 * GAPS.comfort_deceleration * room)), abs=0.4)
    assert table[STRAIGHT.s > 43.0] == pytest.approx(13.9)


@pytest.mark.parametrize(
    "other",
    [
        track(40.0, 3.5, np.pi, 8.0),  # oncoming
        track(40.0, 7.0, 0.0, 2.0),  # two lanes over
        track(40.0, 3.5, 0.0, 12.0),  # hardly slower
        track(40.0, -3.5, np.pi / 2, 0.0),  # stands across: it is no neighbour of our direction
    ],
)
def test_nobody_else_slows_our_passing(other):
    assert passing(other) == pytest.approx(13.9)


def oncoming(y, **known):
    """A car that comes towards us, `y` m left of our middle, 20 m ahead at 8 m/s: in our way if that is where it is."""
    return replace(track(20.0, y, np.pi, 8.0), **known)


@pytest.mark.parametrize(
    ("other", "emergency"),
    [
        (oncoming(0.0), True),
        (oncoming(1.2), True),
        (oncoming(0.0, velocity_std=2.1), False),
        (oncoming(0.0, position_std=1.6), False),
        (oncoming(0.0, velocity_std=1.9, position_std=1.4), True),
        (track(14.0, 8.0, -np.pi / 2, 8.0), True),  # across
        (replace(track(14.0, 8.0, -np.pi / 2, 8.0), velocity_std=2.1), False),
    ],
)
def test_an_emergency_is_only_who_is_well_known_and_in_our_way_by_more_than_he_may_be_elsewhere(other, emergency):
    verdict = judge(other)
    assert verdict.yields == (1,) and np.isfinite(verdict.bounds.stop).any()  # yielded to, in any case
    assert np.isfinite(verdict.bounds.object).any() == emergency


def test_who_may_stand_beside_our_way_is_not_in_it_until_he_is_known_well():
    def stands(y, std, yaw=0.0, kind=Kind.VEHICLE, width=1.8):
        return replace(track(40.0, y, yaw, 0.0, kind=kind, width=width), position_std=std)

    assert free(judge(stands(-1.8, 0.7))) and judge(stands(-1.8, 0.3)).lead_id == 1  # 0.33 m within the corridor
    assert judge(stands(0.0, 0.9)).lead_id == 1  # in the middle, doubt or not
    person = {"kind": Kind.PERSON, "width": 0.5}
    assert free(judge(stands(-1.2, 0.7, **person))) and judge(stands(-1.2, 0.3, **person)).lead_id == 1
    assert free(judge(stands(2.8, 0.2, 0.25)))  # askew by less than yaws are known to, far away


def test_what_hardly_goes_ahead_does_not_go_sideways():
    slow = replace(track(40.0, -3.1, 0.0, 0.7), vy=1.2)  # told so of a parked car
    assert free(judge(slow))
    assert judge(replace(track(40.0, -3.1, 0.0, 5.0), vy=1.2), speed=12.0).lead_id == 1  # who drives may come over


def test_an_emergency_needs_who_would_touch_us_without_the_margin_for_doubt():
    half_width = 0.5 * CAR.width + CONFIG.side_margin
    lean = 0.8  # rad, leaving our side; its nearest corner is 0.1 m outside the corridor, within position_std
    reach = 0.5 * (4.5 * np.sin(lean) + 1.8 * np.cos(lean))
    for outside, surely in ((0.1, False), (-0.3, True)):
        leaving = track(20.0, half_width + outside + reach, lean, 5.0)
        place = tuple(a.tolist()[0] for a in STRAIGHT.locate(np.array([(leaving.x, leaving.y)])))
        stay = occupancy(STRAIGHT, leaving, place, TIMES, half_width, CONFIG)
        assert stay.there[0] and bool(stay.surely.any()) == surely


def test_who_seems_to_turn_away_may_as_well_go_straight_on():
    """7 m/s at -0.4 rad/s is a curve of 18 m, which ends 8 m beside us: the tracks' rates err by as much."""
    away = track(24.0, -26.0, np.pi / 2, 7.0, yaw_rate=-0.4)
    assert occupancy(STRAIGHT, away, STRAIGHT.find(away.x, away.y), TIMES, 0.5 * CAR.width + CONFIG.side_margin, CONFIG) is None
    assert judge(away, speed=7.0).yields == (1,)


def test_room_is_left_for_a_left_turn_of_who_comes_from_the_right():
    straight, sweep = track(24.0, -14.0, np.pi / 2, 7.0), track(24.0, -14.0, np.pi / 2, 7.0, yaw_rate=7.0 / CONFIG.left_turn_radius)
    nearest = occupancy(STRAIGHT, sweep, STRAIGHT.find(24.0, -14.0), TIMES, 0.5 * CAR.width + CONFIG.side_margin, CONFIG)
    wide = nearest.rear[nearest.there].min()
    assert wide < 24 - 0.9 - 4.0
    assert judge(straight).bounds.stop[0] == pytest.approx(wide - NOSE - CONFIG.yield_gap)
    fast = judge(straight, speed=11.0).bounds.stop[0]  # no harder than 5 m/s² for what may not be
    assert fast == pytest.approx(11.0**2 / (2 * 5.0), abs=0.01)
    from_the_left = track(24.0, 14.0, -np.pi / 2, 7.0)  # its left turn leads away
    assert judge(from_the_left).bounds.stop[0] == pytest.approx(24 - 0.9 - NOSE - CONFIG.yield_gap, abs=0.6)


@pytest.mark.parametrize("mouth", [11.0, 15.0])
def test_who_crosses_inside_a_junction_is_waited_for_before_it(mouth):
    """Its lane is 24 m ahead: without a junction we would stand 2 m before that lane, where others of the junction drive."""
    crossing = track(24.0, 14.0, -np.pi / 2, 7.0)
    before = assess(STRAIGHT, (crossing,), TIMES, 8.0 * TIMES, CAR, 0.0, (), GAPS, CONFIG, mouth)
    assert before.bounds.stop[0] == pytest.approx(max(mouth - NOSE - CONFIG.mouth_gap, 8.0**2 / (2 * 5.0)), abs=0.01)
    far = assess(STRAIGHT, (crossing,), TIMES, 8.0 * TIMES, CAR, 0.0, (), GAPS, CONFIG, 40.0)
    assert far.bounds.stop[0] == judge(crossing).bounds.stop[0]


def test_once_inside_a_junction_we_leave_it_before_who_comes_by_half_a_second():
    comes = crossing_after(3.4)  # we are gone after 2.4 s: too little to drive in, enough to drive out
    assert judge(comes, speed=5.0).yields == (1,)
    assert free(assess(STRAIGHT, (comes,), TIMES, 5.0 * TIMES, CAR, 0.0, (1,), GAPS, CONFIG, np.inf, True))
    assert assess(STRAIGHT, (crossing_after(2.6),), TIMES, 5.0 * TIMES, CAR, 0.0, (), GAPS, CONFIG, np.inf, True).yields == (1,)


def test_in_a_town_a_parked_car_abreast_of_us_does_not_stop_us_though_its_track_has_drifted_into_our_lane():
    town = replace(CONFIG, edge_bearing=0.6)
    drifted = replace(track(4.6, -2.0, 0.4, 2.0), velocity_std=1.5)

    def stopped(other, config):
        bounds = assess(STRAIGHT, (other,), TIMES, 5.0 * TIMES, CAR, 0.0, (), GAPS, config).bounds
        return any(np.isfinite(b).any() for b in (bounds.gap, bounds.stop, bounds.object))

    assert stopped(drifted, CONFIG) and not stopped(drifted, town)
    assert not stopped(replace(drifted, x=0.9, y=-0.8), town)  # under our own body
    assert stopped(replace(drifted, x=NOSE + 3.0), town)  # its rear is ahead of our nose
    assert stopped(track(5.0, -4.5, np.pi / 2, 6.0), town)  # drives across


@pytest.mark.parametrize("yaw_rate", [0.0, -0.6])  # told to drift into our lane, or to turn into it
def test_where_a_car_cut_off_by_the_pictures_side_is_told_to_be_is_no_emergency(yaw_rate):
    beside = replace(track(6.0, 3.3, -0.1, 7.0, yaw_rate=yaw_rate), vy=-2.8)

    def bounds(x):
        return judge(replace(beside, x=x)).bounds

    assert not free(judge(beside)) and np.isinf(bounds(6.0).object).all()
    assert np.isfinite(bounds(11.0).object).any()  # its rear is in the picture


def at_green(*tracks, green=0.0):
    return assess(STRAIGHT, tracks, TIMES, 5.0 * TIMES, CAR, 0.0, (), GAPS, CONFIG, green=green)


@pytest.mark.parametrize("course", [np.pi / 2, -np.pi / 2])
def test_at_green_who_comes_across_and_can_still_stop_has_red_and_is_not_yielded_to(course):
    comes = track(16.0, -25.0 * np.sign(course), course, 9.0)
    assert judge(comes, speed=5.0).yields and free(at_green(comes))


@pytest.mark.parametrize(
    "other",
    [
        track(9.0, -16.0, np.pi / 2, 13.0),  # too fast to stop
        track(16.0, -6.0, np.pi / 2, 3.0),  # beyond his line already
        track(16.0, -4.0, np.pi / 2, 1.5, kind=Kind.PERSON),
    ],
)
def test_at_green_who_cannot_stop_or_is_in_the_junction_or_walks_is_yielded_to(other):
    assert at_green(other).yields


def test_at_green_who_came_towards_us_has_green_too_and_is_yielded_to_when_we_have_turned_left():
    oncoming = track(16.0, 25.0, -np.pi / 2, 9.0)  # we have turned by a quarter
    assert at_green(oncoming, green=-np.pi / 2).yields


TOWN = replace(CONFIG, edge_bearing=0.6)


def in_town(other, speed=4.0):
    return assess(STRAIGHT, (other,), TIMES, speed * TIMES, CAR, 0.0, (), GAPS, TOWN)


def test_in_a_town_a_parked_car_that_left_the_picture_does_not_drive_into_us_unseen():
    drifting = track(2.6, -1.1, 0.9, 2.3)  # tuning town spider 3001: parked at -3.1 m, 0.4 s unseen
    assert in_town(drifting).yields and free(in_town(replace(drifting, unseen=0.4)))


def test_in_a_town_who_seems_to_cross_abreast_of_us_must_be_surely_moving():
    crossing = track(3.6, 5.5, -1.2, 3.2)  # the same town: a bus that stands in the oncoming queue, told as two bodies
    assert in_town(crossing).yields and free(in_town(replace(crossing, velocity_std=1.5)))


def test_in_a_town_who_stands_askew_at_the_pictures_side_is_in_our_lane_only_with_his_middle():
    """Before a right turn: the queue in the road we turn into stands left of our lane, and is told askew (tuning town grid 3003)."""
    bend = np.clip((PATH_ARC - 5.0) / 8.0, 0.0, np.pi / 2)
    steps = np.diff(PATH_ARC, prepend=0.0)[:, None] * np.stack([np.cos(bend), -np.sin(bend)], -1)
    turning, askew = smooth(np.cumsum(steps, 0)), track(0.0, -12.4, -2.4, 0.0, length=5.0)
    lane = turning.xy[np.argmin(np.abs(turning.xy[:, 1] + 12.4)), 0]

    def leads(aside, config):
        other = replace(askew, x=float(lane + aside))
        return assess(turning, (other,), TIMES, 4.0 * TIMES, CAR, 0.0, (), GAPS, config).lead_id == 1

    assert leads(2.2, CONFIG) and not leads(2.2, TOWN) and leads(0.5, TOWN)
