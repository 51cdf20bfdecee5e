"""Warnings against closed forms: when they come, when they are silent, and that they let go."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot import assist
from nanopilot.assist.latch import Latch, latched, rung
from nanopilot.geometry import model_camera
from nanopilot.messages import (
    PATH_ARC,
    UNKNOWN_SPEED_STD,
    Calibration,
    CarState,
    Curve,
    Detection,
    Kind,
    Light,
    Percept,
    SideView,
    Track,
    TrafficLight,
    TrafficSign,
    Turn,
    VehicleModel,
    WarningKind,
    WarningLevel,
    World,
)

CAR = VehicleModel(2.7, 4.5, 1.8, 0.9, 0.6, 4.0, 8.0, 0.1)
FRONT = CAR.length - CAR.rear_overhang
CAMERA = model_camera()
DT = 0.05


def curve(y: float) -> Curve:
    return Curve(np.stack([PATH_ARC, np.full_like(PATH_ARC, y)], -1), np.full(len(PATH_ARC), 0.05), 0.95)


def track(x: float, y: float = 0.0, vx: float = 0.0, vy: float = 0.0, kind: Kind = Kind.VEHICLE, **more) -> Track:
    size = {Kind.VEHICLE: (4.5, 1.8), Kind.PERSON: (0.5, 0.5), Kind.CYCLIST: (1.8, 0.6)}[kind]
    plain = Track(1, kind, x, y, 0.0, vx, vy, 0.0, 0.0, 0.3, 0.4, *size, age=2.0, unseen=0.0, probability=0.9)
    return replace(plain, **more)


def world(t: float, speed: float, *tracks: Track, shift: float = 0.0, blind: float = 0.0) -> World:
    """A lane 3.5 m wide whose centre lies `shift` to our left."""
    return World(t, speed, 0.0, 0.0, curve(shift), curve(shift + 1.75), curve(shift - 1.75), 3.5, 0.0, 0.0, tracks, np.zeros((0, 2)), 1.0,
                 Turn.STRAIGHT, 0.0, 0.0, 30.0, 1.0, blind)  # fmt: skip


def seen(t: float, valid: bool = True, **more) -> Percept:
    return Percept(t, "front", (), None, more.pop("objects", ()), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 0.9, valid, **more)


def car(t: float, speed: float, std: float = 0.1) -> CarState:
    return CarState(t, speed, 0.0, 0.0, 0.0, speed_std=std)


def play(seconds: float, speed: float, scene, percept=seen, std: float = 0.1, calibration: Calibration | None = None):
    """(t, Warning) of every step of `scene(t) -> World`."""
    state, out = assist.initial(), []
    for t in np.arange(0, seconds, DT):
        t = float(t)
        state, now = assist.step(state, scene(t), percept(t), car(t, speed, std), CAMERA, CAR, assist.Config(), calibration)
        out += [(t, w) for w in now.active]
    return out


def first(events, kind: WarningKind, level: WarningLevel | None = None):
    return next(((t, w) for t, w in events if w.kind == kind and level in (None, w.level)), (None, None))


def test_a_stopped_lead_is_warned_of_at_each_time_to_collision():
    speed, start = 20.0, 80.0
    events = play(3.8, speed, lambda t: world(t, speed, track(start + FRONT + 2.25 - speed * t)))
    for level, ttc in ((WarningLevel.EARLY, 2.7), (WarningLevel.MEDIUM, 2.1), (WarningLevel.LATE, 1.2)):
        t, w = first(events, WarningKind.FORWARD_COLLISION, level)
        assert start / speed - t == pytest.approx(ttc, abs=0.2), level
        assert w.value == pytest.approx(start / speed - t, abs=0.01) and w.limit == ttc and w.track_id == 1


def test_the_lead_of_another_lane_and_one_as_fast_as_we_are_none():
    assert not play(3, 20.0, lambda t: world(t, 20.0, track(60 - 20 * t + 5, y=3.5)))
    kinds = {w.kind for _, w in play(3, 20.0, lambda t: world(t, 20.0, track(50.0, vx=20.0)))}
    assert kinds == {WarningKind.HEADWAY}


def test_a_new_vehicle_that_the_tracker_assumes_to_stand_is_not_warned_of_until_its_speed_was_measured():
    """The tracker begins at rest, ± 6 m/s: the information of a speed ± s is 1/s² less what was assumed."""
    new, measured = (track(30 + FRONT, vx=v, velocity_std=s) for v, s in ((1.0, 5.9), (4.8, 3.0)))
    growth, config = None, assist.ClosingConfig()
    how = assist.closing_.closing(new, growth, world(0.0, 20.0), CAR, config)
    assert how.rate < 2 * how.rate_std
    how = assist.closing_.closing(measured, growth, world(0.0, 20.0), CAR, config)
    assert how.speed == pytest.approx(20 - (4.8 / 9) / (1 / 9 - 1 / 36)) and how.rate > 2 * how.rate_std


def test_below_thirty_kilometres_an_hour_it_is_an_urban_collision():
    events = play(3, 6.0, lambda t: world(t, 6.0, track(20 + FRONT - 6 * t)))
    assert {w.kind for _, w in events} == {WarningKind.URBAN_COLLISION}


def test_a_braking_lead_is_warned_of_before_constant_speed_would_say():
    def scene(t: float, told: float) -> World:
        return world(t, 20.0, track(FRONT + 2.25 + 30 - 1.5 * t * t, vx=20 - 3 * t, acceleration=told))

    with_it, without = (first(play(4, 20.0, lambda t, a=a: scene(t, a)), WarningKind.FORWARD_COLLISION)[0] for a in (-3.0, 0.0))
    assert with_it < without - 0.2


def test_the_size_of_the_box_alone_gives_the_time_to_collision_when_own_speed_is_unknown():
    """Tracks of an unknown own speed are given as doubtful as they are; the box grows as 1 / distance."""
    closing, start = 10.0, 50.0

    def scene(t: float) -> World:
        return world(t, 0.0, track(start + FRONT + 2.25 - closing * t, vx=0.0, velocity_std=30.0))

    def percept(t: float) -> Percept:
        x = start + FRONT + 2.25 - closing * t
        height = 256 * 1.5 / (x - 2.25)
        box = np.array([200, 150 - height, 250, 150], np.float32)
        return seen(t, objects=(Detection(Kind.VEHICLE, 0.9, box, np.array([x, 0], np.float32), 0.0, 4.5, 1.8, x, 0.5, 0.01),))

    events = play(4.6, 0.0, scene, percept, std=UNKNOWN_SPEED_STD)
    t, w = first(events, WarningKind.FORWARD_COLLISION)
    assert start / closing - t == pytest.approx(2.7, abs=0.7)
    assert w.value == pytest.approx(start / closing - t, rel=0.15)


def test_what_needs_own_speed_says_that_it_is_off():
    assert set(assist.off(car(0, 0, UNKNOWN_SPEED_STD))) >= {WarningKind.HEADWAY, WarningKind.LANE_DEPARTURE, WarningKind.OVER_SPEED}
    assert not assist.off(car(0, 20))
    assert not play(3, 0.0, lambda t: world(t, 0.0, track(15.0), shift=0.6 * t), std=UNKNOWN_SPEED_STD)


@pytest.mark.parametrize("gap, level", [(50.0, None), (30.0, WarningLevel.INFO), (10.0, WarningLevel.MEDIUM)])
def test_headway_is_told_in_seconds_and_red_below_its_limit(gap, level):
    _, w = first(play(2, 18.0, lambda t: world(t, 18.0, track(gap + FRONT + 2.25, vx=18.0))), WarningKind.HEADWAY)
    assert (w.level if w else None) == level
    if w:
        assert w.value == pytest.approx(gap / 18.0, abs=0.01) and w.value_std > 0


def test_headway_is_armed_above_forty_and_off_below_thirty_kilometres_an_hour():
    for speed, armed in ((10.5, False), (11.5, True)):
        events = play(2, speed, lambda t, v=speed: world(t, v, track(5 + FRONT + 2.25, vx=v)))
        assert bool(first(events, WarningKind.HEADWAY)[1]) == armed


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8, 1.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_lane_departure_is_warned_of_inside_the_zone_of_iso_17361(rate, side):
    inside = 1.75 - CAR.width / 2 - 0.075  # at the lane's centre
    start = 1.0
    events = play(start + 1.1 / rate, 20.0, lambda t: world(t, 20.0, shift=side * max(0.0, t - start) * rate))
    t, w = first(events, WarningKind.LANE_DEPARTURE)
    distance = inside - (t - start) * rate
    assert -0.2 <= distance <= min(max(1.5 * rate, 0.75), 1.5)
    assert distance == pytest.approx(0.5 * rate, abs=0.3)
    assert w.side == side and {x.side for _, x in events} == {side}


def test_lane_departure_is_silent_when_slow_and_when_parallel_to_the_line():
    assert not play(3, 14.0, lambda t: world(t, 14.0, shift=0.5 * t))
    assert not play(3, 20.0, lambda t: world(t, 20.0, shift=0.7))


def test_a_departure_is_warned_of_once_until_the_car_is_back_inside():
    def weave(t: float) -> World:
        return world(t, 20.0, shift=0.9 * np.sin(2 * np.pi * t / 6))

    events = play(18, 20.0, weave)
    last, onsets = (), 0
    for t in np.arange(0, 18, DT):
        now = tuple(w for x, w in events if x == t)
        onsets += len(assist.begun(last, now))
        last = now
    assert onsets == 6  # three to each side


def test_a_crossing_pedestrian_is_warned_of_when_he_will_be_in_the_way_only():
    speed = 12.0

    def crossing(y0: float, vy: float):
        return lambda t: world(t, speed, track(40 + FRONT - speed * t, y0 + vy * t, vy=vy, kind=Kind.PERSON))

    meets = first(play(3.2, speed, crossing(-5.0, 1.5)), WarningKind.PEDESTRIAN_COLLISION)
    assert meets[1] is not None and 40 / speed - meets[0] == pytest.approx(speed / 10 + 1.2, abs=0.25)
    for y0, vy in ((-5.0, 0.0), (3.0, 1.5), (-9.0, 1.4)):  # stands aside, walks away, comes too late
        assert not play(3.2, speed, crossing(y0, vy))


@pytest.mark.parametrize("pace, warned", [(2.2, True), (4.5, False)])
def test_nobody_on_foot_comes_faster_than_a_runner(pace, warned):
    v = pace / 2**0.5  # towards us and into our way, where he is after 1.9 s
    events = play(1.9, 8.0, lambda t: world(t, 8.0, track(6 + (8 + v) * (1.9 - t), v * (1.9 - t), vx=-v, vy=-v, kind=Kind.PERSON)))
    assert (first(events, WarningKind.PEDESTRIAN_COLLISION)[1] is not None) == warned


def test_a_cyclist_along_is_warned_of_as_a_cyclist():
    events = play(4, 14.0, lambda t: world(t, 14.0, track(50 - 10 * t, vx=4.0, kind=Kind.CYCLIST)))
    assert first(events, WarningKind.CYCLIST_COLLISION)[1] is not None


def test_over_speed_needs_a_limit_read_more_than_once_and_ends_with_it():
    def percept(reads: int):
        box = np.zeros(4, np.float32)
        sign = TrafficSign(box, "speed limit 50", 0.95, 50 / 3.6)
        end = TrafficSign(box, "end of all restrictions", 0.95, 0.0)
        return lambda t: seen(t, signs=(sign,) if 0.5 <= t < 0.5 + reads * DT - 0.01 else (end,) if t > 5 else ())

    assert not play(4, 17.0, lambda t: world(t, 17.0), percept(2))
    events = play(8, 17.0, lambda t: world(t, 17.0), percept(3))
    times = [t for t, w in events if w.kind == WarningKind.OVER_SPEED]
    assert min(times) == pytest.approx(1.6, abs=0.1) and max(times) < 5.1
    events = play(8, 0.0, lambda t: world(t, 0.0), percept(40), std=UNKNOWN_SPEED_STD)
    assert {w.kind for _, w in events} == {WarningKind.SPEED_LIMIT}  # needs no own speed, and
    assert max(t for t, _ in events) < 4.0  # is told once though it is read on


def test_a_red_light_is_warned_of_when_it_needs_hard_braking():
    def percept(t: float, state: Light = Light.RED) -> Percept:
        height = 256 * 0.9 / max(60 - 14 * t, 2)
        return seen(t, lights=(TrafficLight(np.array([250, 60, 250 + height / 3, 60 + height], np.float32), state, 0.9),))

    t, w = first(play(4, 14.0, lambda t: world(t, 14.0), percept), WarningKind.RED_LIGHT)
    assert 14**2 / (2 * (60 - 14 * t)) == pytest.approx(2.5 + 0.4, abs=0.5) and w.unit == "m/s²"
    assert not play(4, 14.0, lambda t: world(t, 14.0), lambda t: percept(t, Light.GREEN))


def test_the_lead_that_left_and_the_light_that_turned_green_are_told_once_while_we_stand():
    def scene(t: float) -> World:
        return world(t, 0.0, track(8 + max(0.0, t - 4) * 3, vx=3.0 if t > 4 else 0.0))

    def percept(t: float) -> Percept:
        return seen(t, lights=(TrafficLight(np.array([250, 60, 260, 90], np.float32), Light.RED if t < 3 else Light.GREEN, 0.9),))

    events = play(9, 0.0, scene, percept)
    assert first(events, WarningKind.LEAD_LEFT)[0] == pytest.approx(4 + 4 / 3, abs=0.2)
    assert first(events, WarningKind.GREEN_LIGHT)[0] == pytest.approx(4.0, abs=0.2)
    assert not play(9, 5.0, scene, percept, std=UNKNOWN_SPEED_STD)


def test_a_covered_camera_is_told_after_a_second_and_lets_go():
    events = play(6, 10.0, lambda t: world(t, 10.0, blind=max(0.0, t - 1)), lambda t: seen(t, valid=not 1 <= t < 3))
    times = [t for t, w in events if w.kind == WarningKind.CAMERA_BLOCKED]
    assert min(times) == pytest.approx(2.0, abs=0.1) and max(times) == pytest.approx(4.0, abs=0.1)


def test_an_uncalibrated_camera_is_told_until_it_is_valid():
    c = Calibration(0.0, 0.0, 0.0, 0.02, 0.02, 0.4, False)
    assert {w.kind for _, w in play(0.5, 10.0, lambda t: world(t, 10.0), calibration=c)} == {WarningKind.NOT_CALIBRATED}
    assert not play(0.5, 10.0, lambda t: world(t, 10.0), calibration=replace(c, valid=True))


def test_a_camera_that_was_moved_is_an_event_until_it_is_found_again():
    c = Calibration(0.0, 0.0, 0.0, 0.02, 0.02, 0.4, False, moved=1)
    moved = [w for _, w in play(0.5, 10.0, lambda t: world(t, 10.0), calibration=c)]
    assert {w.kind for w in moved} == {WarningKind.CAMERA_MOVED} and all(assist.is_event(w) for w in moved)
    assert not play(0.5, 10.0, lambda t: world(t, 10.0), calibration=replace(c, valid=True))


@pytest.mark.parametrize("side", [-1, 1])
def test_who_is_in_the_blind_spot_is_told_and_warned_of_once_we_drift_there(side):
    def scene(t: float, x: float = -1.0) -> World:
        drift = max(0.0, t - 4) * 0.5  # m towards him
        return world(t, 20.0, track(x, -side * 3.3, vx=20.0), shift=side * drift)

    def looks(t: float, yaw: float = -side * 1.4) -> Percept:
        return seen(t, sides=(SideView("side", yaw, DT, ()),))

    def told(events) -> list[tuple[float, WarningLevel]]:
        return [(t, w.level) for t, w in events if w.kind == WarningKind.BLIND_SPOT and w.side == side]

    events = told(play(5.5, 20.0, scene, looks))
    assert events[0] == (pytest.approx(0.2, abs=0.1), WarningLevel.INFO)
    inside = 1.75 - 0.9 - 0.075  # m from the wheel to the line, which is 1.5 s away when we drift so far
    urgent = next(t for t, level in events if level == WarningLevel.MEDIUM)
    assert urgent == pytest.approx(4 + (inside - 0.75) / 0.5 + 0.3, abs=0.35)
    assert not told(play(3, 20.0, scene))  # no camera looks there
    assert not told(play(3, 20.0, scene, lambda t: looks(t, side * 1.4)))  # it looks to the other side
    for x in (-0.9 - 3 - 2.4, 1.6 + 2.4):  # behind and before the zone
        assert not told(play(3, 20.0, lambda t, x=x: scene(t, x), looks))


def test_a_latch_rises_after_confirmation_and_falls_after_hold():
    latch, levels = Latch(), []
    for k in range(40):
        latch = latched(latch, k * 0.1, 2 if 5 <= k < 6 or 10 <= k < 20 else 0, 0.25, 0.55)
        levels.append(latch.level)
    assert levels.index(2) == 13 and 2 not in levels[:13] and levels[24] == 2 and levels[25] == 0
    assert rung(1.0, (2.0, 1.5, 0.9), 0, 1.2) == 2 and rung(1.0, (2.0, 1.5, 0.9), 3, 1.2) == 3


@pytest.mark.parametrize("bad", [None, seen(0.0, valid=False)])
def test_a_blind_step_raises_nothing_and_warns_of_nothing_new(bad):
    state = assist.initial()
    state, now = assist.step(state, world(0.0, 10.0), bad, car(0.0, 10.0), CAMERA, CAR, assist.Config())
    assert now.active == now.new == ()


def test_who_is_beside_the_arc_we_drive_is_not_in_our_way_though_the_seen_path_bends_to_him():
    bent = Curve(np.stack([PATH_ARC, -(PATH_ARC**2) / 150], -1), np.full(len(PATH_ARC), 0.05), 0.95)

    def scene(t: float, y: float) -> World:
        return replace(world(t, 12.0, track(45 - 12 * t, y=y)), path=bent)

    assert not play(3, 12.0, lambda t: scene(t, -3.2))
    bent = curve(0.0)
    assert first(play(3, 12.0, lambda t: scene(t, 0.0)), WarningKind.FORWARD_COLLISION)[1] is not None


def test_a_person_who_walks_ahead_of_us_is_warned_of_though_his_velocity_across_is_uncertain():
    def scene(t: float, vy: float) -> World:
        return world(t, 11.0, track(45 - 9.7 * t, vx=1.3, vy=vy, kind=Kind.PERSON, velocity_std=1.0))

    assert first(play(4, 11.0, lambda t: scene(t, 0.9)), WarningKind.PEDESTRIAN_COLLISION)[1] is not None
    assert not play(3, 11.0, lambda t: scene(t, 2.5))  # he runs off


def coming_in(t: float, rate: float, own_rate: float = 0.0, until: float = 0.0, ahead: float = 20.0, **more) -> World:
    """A car 20 m ahead in the right lane moves left at `rate` from 1 s on, until it is at `until`, and `ahead` along it; we move right
    at `own_rate`."""
    ours = -own_rate * max(t - 1.0, 0.0)
    y = min(-3.5 + rate * max(t - 1.0, 0.0), until)
    moving = rate if t > 1.0 and y < until else 0.0
    seen_path = curve(-ours) if own_rate == 0 else None
    there = track(20.0, y - ours, vx=ahead, vy=moving, age=1.0 + t, **more)
    return replace(world(t, 20.0, there), path=seen_path)


def test_who_comes_into_our_way_is_told_once_and_from_which_side():
    told = [(t, w) for t, w in play(6.0, 20.0, lambda t: coming_in(t, 1.2)) if w.kind == WarningKind.CUT_IN]
    begins = told[0][0]
    overlap = 1.0 + (3.5 - 1.8 + 0.3) / 1.2  # both are 1.8 m wide; in path from 0.3 m of overlap on
    assert overlap - DT < begins < overlap + 2 * DT and all(w.side == 1 and w.level == WarningLevel.INFO for _, w in told)
    assert told[-1][0] - begins == pytest.approx(2.0, abs=2 * DT) and len({w.t for _, w in told}) == 1
    assert assist.is_event(told[0][1])


@pytest.mark.parametrize(
    "what, scene",
    [
        ("a car that was always ahead of us", lambda t: coming_in(t + 9.0, 1.2)),
        ("a car beside us", lambda t: coming_in(t, 0.0)),
        ("one behind which we change lanes", lambda t: coming_in(t, 0.0, own_rate=1.2)),
        ("one that crosses", lambda t: coming_in(t, 1.2, ahead=0.3, yaw=1.3)),
        ("one that comes towards us", lambda t: coming_in(t, 1.2, ahead=-12.0, yaw=np.pi)),
        ("one that isn't seen any more", lambda t: coming_in(t, 1.2, unseen=max(t - 1.0, 0.0))),
        ("one that drifts within its lane", lambda t: coming_in(t, 1.2, until=-2.5)),
    ],
)
def test_nobody_comes_in(what, scene):
    assert not [w for _, w in play(6.0, 20.0, scene) if w.kind == WarningKind.CUT_IN]


def test_a_body_taken_for_a_cyclist_and_a_person_is_told_as_the_likelier():
    both = (track(20.0, vx=0.0, kind=Kind.PERSON, id=1, probability=0.8), track(20.4, vx=0.0, kind=Kind.CYCLIST, id=2, probability=0.5))

    def scene(t: float) -> World:
        return world(t, 11.0, *(replace(o, x=o.x + 6.0 - 11.0 * t) for o in both))

    kinds = {w.kind for _, w in play(1.2, 11.0, scene) if w.kind in (WarningKind.PEDESTRIAN_COLLISION, WarningKind.CYCLIST_COLLISION)}
    assert kinds == {WarningKind.PEDESTRIAN_COLLISION}


def test_somebody_on_foot_is_warned_of_only_while_seen():
    def told(unseen: float) -> list[Warning]:
        person = track(26.0, kind=Kind.PERSON, unseen=unseen)
        return [w for _, w in play(1.2, 11.0, lambda t: world(t, 11.0, replace(person, x=26.0 - 11.0 * t)))
                if w.kind == WarningKind.PEDESTRIAN_COLLISION]  # fmt: skip

    assert told(0.05) and not told(0.15)


@pytest.mark.parametrize("vx, told", [(3.0, True), (20.3, False)])
def test_nobody_on_foot_keeps_up_with_a_car(vx, told):
    person = track(20.0, vx=vx, kind=Kind.PERSON)
    warned = play(1.2, 20.0, lambda t: world(t, 20.0, replace(person, x=20.0 - 2.0 * t)))
    assert any(w.kind == WarningKind.PEDESTRIAN_COLLISION for _, w in warned) == told


def test_how_a_lead_comes_closer_is_told_while_it_is_seen():
    state = assist.initial()
    for k, unseen in enumerate((0.0, 0.2, 0.8)):
        now = world(k * DT, 20.0, track(30.0, vx=15.0, unseen=unseen))
        state, _ = assist.step(state, now, seen(k * DT), car(k * DT, 20.0), CAMERA, CAR, assist.Config())
        assert (state.how is not None) == (unseen < 0.5)
