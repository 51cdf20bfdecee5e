"""When commands stop: the last plan is followed by dead reckoning, against closed forms and a car that answers late."""

from dataclasses import replace
from itertools import pairwise
from math import cos, exp, hypot, pi, sin
from types import SimpleNamespace

import pytest

from nanopilot import safety
from nanopilot.messages import Alert, CarState, Command, Mode, SafeCommand, Signal
from nanopilot.safety import follow, watchdog
from nanopilot.safety.follow import FollowConfig, Followed
from nanopilot.safety.inputs import Seen

DT, CONFIG = 0.05, FollowConfig()
ARC = tuple(0.001 * k for k in range(20))
LAST = SafeCommand(1.0, 1.0, 0.02, Signal.LEFT, True, (), Mode.ENGAGED, speed=10.0)


# --------------------------------------------------------------------------- where on the plan


@pytest.mark.parametrize(
    ("metres", "value"), [(-1.0, 0.0), (0.0, 0.0), (3.0, 0.003), (3.25, 0.00325), (18.9, 0.0189), (19.0, 0.019), (99.0, 0.019)]
)
def test_a_plan_is_read_between_its_metres_and_held_at_its_ends(metres, value):
    assert follow.at(ARC, metres) == pytest.approx(value)
    assert follow.at((0.3,), metres) == 0.3 and follow.at((), metres) == 0.0


def test_a_car_on_the_plans_circle_stays_on_it_and_one_that_goes_straight_leaves_it_as_geometry_says():
    k, v = 0.02, 10.0
    on, off = Followed((k,) * 40), Followed((k,) * 40)
    for _ in range(20):
        on, off = follow.moved(on, v, v * k, DT), follow.moved(off, v, 0.0, DT)
    assert (on.driven, on.offset, on.heading) == (pytest.approx(10.0), pytest.approx(0.0), pytest.approx(0.0))
    radius = 1 / k  # 10 m along the tangent of a circle to the left: outside it, that is to its right
    assert off.offset == pytest.approx(radius - hypot(radius, 10.0), abs=0.01) and off.heading == pytest.approx(-0.2)
    assert follow.moved(off, v, None, DT).heading == off.heading
    assert follow.moved(Followed((), 3.0), 2.0, 0.5, 0.1) == Followed((), 3.0 + 0.2 * cos(0.025), 0.2 * sin(0.025), 0.05)
    assert follow.moved(Followed(heading=pi / 2), 2.0, 0.0, 0.1).driven == pytest.approx(0.0)


def test_steering_is_the_plans_where_the_wheels_answer_and_goes_back_to_it():
    here = Followed(ARC, 5.0)
    assert follow.curvature(here, 10.0, 0.3, CONFIG) == pytest.approx(0.0064)  # 0.14 s on
    assert follow.curvature(Followed(()), 10.0, 0.3, CONFIG) == 0.3
    for speed, fade in ((8.0, 1.0), (0.0, 1.0), (16.0, 0.25)):
        plain = follow.curvature(here, speed, 0.0, CONFIG)
        assert follow.curvature(replace(here, offset=0.5), speed, 0.0, CONFIG) == pytest.approx(plain - fade * 0.01)
        assert follow.curvature(replace(here, heading=-0.1), speed, 0.0, CONFIG) == pytest.approx(plain + fade * 0.015)


# --------------------------------------------------------------------------- the watchdog


def silence(command, seconds, speed=10.0, yaw_rate=0.0, bus=True):
    """(time, what the body does) for a body that gets one command and then none; its bus tells a constant motion."""
    state, _ = watchdog.step(watchdog.initial(), command, CarState(1.0, speed, 0.0, yaw_rate, 0.0), 1.0)
    out = []
    for k in range(1, round(seconds / DT) + 1):
        t = 1.0 + DT * k
        state, done = watchdog.step(state, None, CarState(t, speed, 0.0, yaw_rate, 0.0) if bus else None, t)
        out.append((t, done))
    return out


def test_a_command_is_obeyed_as_it_is_and_forgiven_for_two_steps():
    state, done = watchdog.step(watchdog.initial(), LAST, None, 1.0)
    assert done is LAST
    for t in (1.05, 1.1):
        state, done = watchdog.step(state, None, None, t)
        assert done is LAST
    _, done = watchdog.step(state, None, None, 1.11)
    assert done is not LAST and replace(done, curvature=0.02) == LAST


def test_what_a_watchdog_starts_with():
    assert watchdog.initial() == watchdog.State(None, float("-inf"), 0.0, Followed((), 0.0, 0.0, 0.0), 0.0, 0.0)
    assert follow.FollowConfig() == FollowConfig(0.14, 0.02, 0.15, 8.0) and watchdog.MISSED == 0.1


def test_without_any_command_it_asks_for_nothing():
    state, done = watchdog.step(watchdog.initial(), None, None, 1.0)
    assert (done.engaged, done.acceleration, done.curvature, done.t, done.reasons) == (False, 0.0, 0.0, 1.0, ("no command",))
    assert watchdog.step(state, LAST, None, 1.05)[1] is LAST


def test_after_a_quarter_second_it_brakes_with_ten_metres_per_second_cubed():
    out = silence(LAST, 3.0)
    assert [round(done.acceleration, 9) for _, done in out[:10]] == [1.0] * 5 + [0.5, 0.0, -0.5, -1.0, -1.5]
    assert out[-1][1].acceleration == -4.0
    for t, done in out[5:]:
        told = (done.mode, done.signal, done.alert, done.reasons, done.engaged, done.t, done.speed)
        assert told == (Mode.MINIMUM_RISK, Signal.HAZARD, Alert.URGENT, ("no command",), True, t, 10.0)
    assert {done.acceleration for _, done in silence(replace(LAST, acceleration=-6.0), 2.0)} == {-6.0}  # never releases the brake


def test_a_command_too_old_or_from_the_future_is_no_command():
    for t in (1.26, 0.9):
        _, done = watchdog.step(watchdog.initial(), LAST, None, t)
        assert done.mode == Mode.MINIMUM_RISK and done.acceleration < 1.0
    assert watchdog.step(watchdog.initial(), LAST, None, 1.25)[1].acceleration == 1.0


@pytest.mark.parametrize("back", [0.1, 0.0])
def test_a_clock_that_runs_backwards_or_stands_still_brakes(back):
    state, _ = watchdog.step(watchdog.initial(), LAST, None, 1.0)
    for k in range(4):
        state, done = watchdog.step(state, None, None, 0.5 - back * k)
    assert done.acceleration == pytest.approx(1.0 - 4 * 0.5)


def test_a_driver_is_left_alone():
    off = replace(LAST, engaged=False)
    assert silence(off, 9.0)[-1][1] is off


def test_steering_stays_within_the_envelope():
    out = silence(replace(LAST, curvature=0.0, arc=(0.4,) * 30), 2.0)
    steps = [b.curvature - a.curvature for (_, a), (_, b) in pairwise(out[2:])]
    assert max(steps) == pytest.approx(5.0 / 100 * DT) and max(done.curvature for _, done in out) == pytest.approx(0.03)  # 3 m/s²


def test_without_a_bus_it_goes_by_what_it_asked_for():
    out = silence(LAST, 6.0, bus=False)
    assert [done.speed for _, done in out[5:8]] == pytest.approx([10.3, 10.325, 10.325])  # 0.3 s of 1 m/s², then 0.5, then 0
    assert out[-1][1].speed == 0.0
    state = watchdog.State(LAST, 1.0, 5.0, acceleration=-2.0)
    for odd in (float("nan"), None):
        broken = SimpleNamespace(speed=odd, yaw_rate=0.0)
        assert watchdog.step(state, None, broken, 1.05)[0].speed == pytest.approx(4.9)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("first", [3.0, 10.0])
def test_a_killed_pilots_car_stops_beside_its_plan_in_a_bend(side, first):
    """A car whose curvature answers as bodies.simcar_ecu measured: a step late, then with a lag of 0.09 s.

    The bend begins `first` m ahead and tightens over 8 m, which 5 m/s³ can follow. Held curvature would end 1 m beside it.
    """
    v, tightest = 10.0, 0.028
    arc = tuple(side * tightest * min(max((k - first) / 8.0, 0.0), 1.0) for k in range(30))
    plan, px, py, pyaw = [(0.0, 0.0)], 0.0, 0.0, 0.0
    for k in range(3000):
        pyaw += follow.at(arc, k / 100) / 100
        px, py = px + cos(pyaw) / 100, py + sin(pyaw) / 100
        plan.append((px, py))
    state, done = watchdog.step(watchdog.initial(), replace(LAST, acceleration=0.0, curvature=0.0, arc=arc), None, 1.0)
    x = y = yaw = bend = 0.0
    asked, t, n = done, 1.0, 10
    while v > 0.0:
        for _ in range(n):
            bend += (asked.curvature - bend) * (1 - exp(-DT / n / 0.09))
            yaw += v * bend * DT / n
            x, y = x + v * cos(yaw) * DT / n, y + v * sin(yaw) * DT / n
            v = max(v + asked.acceleration * DT / n, 0.0)
        t, asked = t + DT, done
        state, done = watchdog.step(state, None, CarState(t, v, asked.acceleration, v * bend, 0.0), t)
    assert hypot(x, y) > 15.0 and min(hypot(x - a, y - b) for a, b in plan) < 0.1 and abs(yaw) > 0.08


# --------------------------------------------------------------------------- the door


def test_the_door_follows_the_last_good_plan_where_the_car_is():
    state = safety.State(Mode.ENGAGED, Seen(t=0.95, command_t=0.95, car_t=0.95, speed=10.0, expected_speed=10.0))
    arc = tuple(0.0003 * k for k in range(9))
    state, safe = safety.step(state, Command(1.0, 0.0, 0.0, Signal.OFF, arc), CarState(1.0, 10.0, 0.0, 0.0, 0.0), 1.0)
    assert safe.arc == arc and state.followed == Followed(arc)
    for k in range(1, 20):
        t = 1.0 + k * DT
        place = 0.5 * k - 0.25
        state, safe = safety.step(state, None, CarState(t, 10.0, 0.0, 10.0 * follow.at(arc, place), 0.0), t)
        assert state.followed.driven == pytest.approx(0.5 * k) and state.followed.heading == pytest.approx(0.0)
        assert safe.curvature == pytest.approx(follow.at(arc, 0.5 * k + 1.4))
        assert safe.arc == arc[int(state.followed.driven) :]


def test_a_plan_made_from_a_bad_bus_is_no_plan():
    arc, wrong = (0.01,) * 30, (-0.2,) * 30
    state = safety.State(Mode.ENGAGED, Seen(t=0.95, command_t=0.95, car_t=0.95, speed=10.0, expected_speed=10.0), curvature=0.01)
    state, _ = safety.step(state, Command(1.0, 0.0, 0.01, Signal.OFF, arc), CarState(1.0, 10.0, 0.0, 0.1, 0.0), 1.0)
    speed = 10.0
    for k in range(1, 40):
        t = 1.0 + k * DT
        absurd = CarState(t, 60.0, state.acceleration, speed * 0.01, 0.0)
        state, safe = safety.step(state, Command(t, 1.0, -0.2, Signal.OFF, wrong), absurd, t)
        speed = max(speed + absurd.acceleration * DT, 0.0)
        assert state.followed.arc == arc and safe.curvature == pytest.approx(0.01, abs=1e-3)
        assert state.seen.speed == pytest.approx(speed)
    assert safe.mode == Mode.MINIMUM_RISK and safe.acceleration == -4.0
