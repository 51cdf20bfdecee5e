"""Every input that can't be trusted takes permission away."""

from dataclasses import replace
from math import log
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanopilot import safety
from nanopilot.messages import CarState, Command, Mode
from nanopilot.safety import inputs
from nanopilot.safety.inputs import InputConfig, Seen
from nanopilot.safety.limits import LimitConfig

CAR = CarState(1.0, 10.0, 0.0, 0.0, 0.0)
COMMAND = Command(1.0, 0.0, 0.0)
SEEN = Seen(t=0.95, command_t=0.95, car_t=0.95, speed=10.0, expected_speed=10.0)
CONFIG = InputConfig()


def judge(command=COMMAND, car=CAR, t=1.0, seen=SEEN, driving=True, asked=0.0):
    return inputs.judge(seen, command, car, t, driving, asked, CONFIG)


def odd(message, **changes):
    """A message that did not check itself."""
    return SimpleNamespace(**{**vars(message), **changes})


def at(car, speed=10.0, **changes):
    """A car state whose speed is expected."""
    return {"car": replace(car, speed=speed, **changes), "seen": replace(SEEN, expected_speed=speed)}


BAD = [
    ("no command", {"command": None}),
    ("no car state", {"car": None}),
    ("clock not finite", {"t": float("nan")}),
    ("clock not finite", {"t": "now"}),
    ("clock ran backwards", {"t": 0.94}),
    ("clock stands", {"t": 0.95}),
    ("step late", {"t": 1.21, "command": Command(1.21, 0.0, 0.0), "car": replace(CAR, t=1.21)}),
    ("command not finite", {"command": odd(COMMAND, acceleration=float("inf"))}),
    ("command not finite", {"command": odd(COMMAND, curvature=float("nan"))}),
    ("command not finite", {"command": odd(COMMAND, arc=(0.0, float("nan")))}),
    ("command not finite", {"command": odd(COMMAND, t=float("nan"))}),
    ("command not finite", {"command": odd(COMMAND, acceleration=10**400)}),
    ("car state not finite", {"car": odd(CAR, speed=float("nan"))}),
    ("car state not finite", {"car": odd(CAR, acceleration=float("nan"))}),
    ("car state not finite", {"car": odd(CAR, yaw_rate=float("nan"))}),
    ("car state not finite", {"car": odd(CAR, t=None)}),
    ("command late", {"command": Command(0.74, 0.0, 0.0)}),
    ("car state late", {"car": replace(CAR, t=0.74)}),
    ("command out of order", {"command": Command(0.94, 0.0, 0.0)}),
    ("car state out of order", {"car": replace(CAR, t=0.94)}),
    ("command out of order", {"command": Command(1.02, 0.0, 0.0)}),
    ("car state out of order", {"car": replace(CAR, t=1.02)}),
    ("wheel speed out of range", at(CAR, 70.1)),
    ("wheel speed out of range", at(CAR, -3.1)),
    ("yaw rate out of range", {"car": replace(CAR, yaw_rate=3.1)}),
    ("yaw rate out of range", {"car": replace(CAR, yaw_rate=-3.1)}),
    ("acceleration out of range", {"car": replace(CAR, acceleration=30.1)}),
    ("acceleration out of range", {"car": replace(CAR, acceleration=-30.1)}),
    ("wheel speed against acceleration", {"car": replace(CAR, speed=11.6)}),
    ("wheel speed against acceleration", {"car": replace(CAR, speed=8.4)}),
    ("command rate low", {"seen": replace(SEEN, command_rate=7.3)}),
    ("car state rate low", {"seen": replace(SEEN, car_rate=7.3)}),
    ("command rate high", {"seen": replace(SEEN, command_rate=232.0)}),
    ("car state rate high", {"seen": replace(SEEN, car_rate=232.0)}),
]


@pytest.mark.parametrize(("reason", "change"), BAD)
def test_a_bad_input_is_refused_and_by_the_door_too(reason, change):
    assert judge(**change)[1].refusal == reason
    x = {"command": COMMAND, "car": CAR, "t": 1.0, "seen": SEEN} | change
    state = safety.State(Mode.ENGAGED, x["seen"], acceleration=1.0, curvature=0.01)
    after, safe = safety.step(state, x["command"], x["car"], x["t"])
    assert after.mode == Mode.TAKEOVER and reason in safe.reasons
    assert safe.acceleration < 1.0 and after.denied > 0.0 and safe.t in (x["t"], 0.95)


GOOD = [
    {},
    {"t": 1.2, "command": Command(0.96, 0.0, 0.0), "car": replace(CAR, t=0.96)},
    {"command": Command(0.95, 0.0, 0.0), "car": replace(CAR, t=0.95)},
    {"command": Command(1.009, 0.0, 0.0), "car": replace(CAR, t=1.009)},
    at(CAR, 70.0),
    at(CAR, -3.0),
    {"car": replace(CAR, yaw_rate=3.0)},
    {"car": replace(CAR, yaw_rate=-3.0)},
    {"car": replace(CAR, acceleration=30.0, speed=11.5)},
    {"car": replace(CAR, acceleration=-30.0, speed=8.5)},
    {"car": replace(CAR, speed=11.5)},
    {"car": replace(CAR, speed=8.5)},
    {"seen": replace(SEEN, command_rate=7.4, car_rate=7.4)},
    {"seen": replace(SEEN, command_rate=230.0, car_rate=230.0)},
]


@pytest.mark.parametrize("change", GOOD)
def test_at_the_edge_all_is_good(change):
    assert judge(**change)[1].refusal == ""


def test_what_was_accepted_is_remembered_and_what_was_refused_is_not():
    seen, judged = judge(car=replace(CAR, speed=-1.0), seen=replace(SEEN, expected_speed=-1.0))
    assert (seen.t, seen.command_t, seen.car_t, seen.speed, judged.dt) == (1.0, 1.0, 1.0, 1.0, pytest.approx(0.05))
    seen, _ = judge(command=None, car=None)
    assert (seen.t, seen.command_t, seen.car_t, seen.speed) == (1.0, 0.95, 0.95, 10.0)
    assert judge(t=0.5)[0] == SEEN and judge(t=0.5)[1].dt == 0.05
    assert (judge(t=0.5)[1].command, judge(t=0.5)[1].car) == ("clock ran backwards",) * 2


def test_the_first_step_has_no_time_before_it_and_a_late_one_lasts_no_longer_than_the_window():
    assert judge(seen=Seen())[1] == inputs.Judged(0.05, "", "", "", 0.0)
    late = judge(t=9.0, command=Command(9.0, 0.0, 0.0), car=replace(CAR, t=9.0, speed=20.0))
    assert late[1] == inputs.Judged(0.25, "step late", "", "", 0.0) and late[0].expected_speed == 20.0


def test_rates_are_averages_over_a_second_of_new_messages():
    """A leaky sum: each message adds one, what was there falls by dt a step."""
    seen, _ = judge()
    assert seen.command_rate == pytest.approx(20 * 0.95 + 1) and seen.car_rate == pytest.approx(20 * 0.95 + 1)
    seen, _ = judge(command=None, car=None)
    assert seen.command_rate == pytest.approx(19) and seen.car_rate == pytest.approx(19)
    seen, _ = judge(command=Command(0.95, 0.0, 0.0), car=replace(CAR, t=0.95))
    assert seen.command_rate == pytest.approx(19) and seen.car_rate == pytest.approx(19)


RATES = [(20, 1, True), (100, 1, True), (10, 1, True), (20, 4, False), (100, 16, False), (250, 1, False)]


@pytest.mark.parametrize(("hz", "every", "good"), RATES)
def test_too_few_or_too_many_messages_a_second_are_noticed_within_three(hz, every, good):
    seen, whys = Seen(), set()
    for k in range(3 * hz):
        t, sent = k / hz, k // every * every / hz
        car = CarState(sent, 5.0 + 1e-6 * (k % 2), 0.0, 0.0, 0.0)
        seen, judged = inputs.judge(seen, Command(sent, 0.0, 0.0), car, t, True, 0.0, CONFIG)
        whys.add(judged.refusal)
    assert (whys == {""}) == good


@pytest.mark.parametrize("braking", [2.0, 4.0])
def test_a_stuck_wheel_speed_is_found_while_braking_and_a_slope_is_not_taken_for_one(braking):
    """A stuck speed parts from the integral: with leak 1/s the gap tends to the deceleration, 1.5 m/s is passed in -ln(1 - 1.5/a)."""
    found, seen = None, SEEN
    for k in range(1, 100):
        t = 0.95 + k * 0.05
        car = CarState(t, 10.0 + 1e-6 * (k % 2), -braking, 0.0, 0.0)
        seen, judged = inputs.judge(seen, Command(t, 0.0, 0.0), car, t, True, 0.0, CONFIG)
        if judged.car:
            found = k * 0.05
            break
    assert found == pytest.approx(-log(1 - 1.5 / braking), abs=0.1)
    seen = SEEN
    for k in range(1, 200):  # 14 % up at a steady speed: the accelerometer says 1.4 m/s²
        t = 0.95 + k * 0.05
        seen, judged = inputs.judge(seen, Command(t, 0.0, 0.0), CarState(t, 10.0 + 1e-6 * (k % 2), 1.4, 0.0, 0.0), t, True, 0.0, CONFIG)
        assert judged.refusal == ""


def test_wheel_speed_is_compared_only_while_we_drive():
    assert judge(car=replace(CAR, speed=20.0), driving=False)[1].refusal == ""
    assert judge(car=replace(CAR, speed=20.0), driving=False)[0].expected_speed == 20.0
    after, _ = safety.step(safety.State(Mode.READY, SEEN), COMMAND, replace(CAR, speed=20.0), 1.0)
    assert after.mode == Mode.READY
    seen, _ = judge(car=replace(CAR, acceleration=2.0, speed=10.5))
    assert seen.expected_speed == pytest.approx(10.1 + 0.4 * 0.05)
    assert judge(car=replace(CAR, speed=12.0))[0].expected_speed == 10.0


@given(st.floats(0, 40), st.floats(-1, 1), st.floats(-30, 30))
@settings(max_examples=60, deadline=None)
def test_excessive_is_twice_a_limit(v, yaw_rate, a):
    """Twice 3 m/s² across (UN R79), twice 4 falling to 2 m/s² along (ISO 15622)."""
    share = min(max((v - 5) / 15, 0), 1)
    expected = abs(v * yaw_rate) > 6.0 or a > 2 * (4.0 * (1 - share) + 2.0 * share)
    assert inputs.excessive(CarState(0.0, v, a, yaw_rate, 0.0), LimitConfig(), CONFIG) == expected


EDGES = [(-10, 4.1, 0.0, False), (-10, 6.7, 0.0, True), (10, 0, -0.61, True), (10, 0, 0.6, False), (20, 4.0, 0, False)]


@pytest.mark.parametrize(("v", "a", "yaw_rate", "yes"), EDGES)
def test_excessive_at_the_edges(v, a, yaw_rate, yes):
    assert inputs.excessive(CarState(0.0, v, a, yaw_rate, 0.0), LimitConfig(), CONFIG) == yes


def test_exactly_at_the_limit_is_inside():
    seen = replace(SEEN, t=0.875, command_t=0.5, car_t=0.5)  # times without rounding
    assert judge(command=Command(0.75, 0.0, 0.0), car=replace(CAR, t=0.75), seen=seen)[1].refusal == ""
    seen = replace(SEEN, t=0.75, command_t=0.75, car_t=0.75)
    assert judge(seen=seen)[1] == inputs.Judged(0.25, "", "", "", 0.0)
    assert inputs._rate_reason("x", 8.0, CONFIG) == inputs._rate_reason("x", 220.0, CONFIG) == ""
    assert judge(car=replace(CAR, speed=11.5), seen=replace(SEEN, expected_speed=10.0))[1].car == ""
    assert judge(command=Command(1.0 + 0.01, 0.0, 0.0), car=replace(CAR, t=1.0 + 0.01))[1].refusal == ""
    assert not inputs.excessive(CarState(0.0, 20.0, 4.0, 0.0, 0.0), LimitConfig(), CONFIG)


def test_averages_forget_with_their_own_times():
    config = replace(CONFIG, rate_time=2.0, speed_time=2.0)
    seen, _ = inputs.judge(SEEN, COMMAND, replace(CAR, speed=10.4), 1.0, True, 0.0, config)
    assert seen.command_rate == pytest.approx(20 * (1 - 0.05 / 2) + 1 / 2)
    assert seen.expected_speed == pytest.approx(10.0 + 0.4 * 0.05 / 2)


def test_finite():
    assert inputs.finite(1, 2.0) and inputs.finite()
    assert inputs.finite(1.0, None) is inputs.finite(float("inf")) is inputs.finite(10**400) is False


# --------------------------------------------------------------------------- a wheel speed that is stuck


@pytest.mark.parametrize(("speed", "driving", "jitter", "found"), [
    (10.0, True, 0.0, 2.05), (-1.1, True, 0.0, 2.05), (10.0, True, 1e-9, None), (1.0, True, 0.0, None), (0.0, True, 0.0, None),
    (10.0, False, 0.0, None),
])  # fmt: skip
def test_a_moving_wheels_speed_that_is_the_very_same_number_for_two_seconds_is_stuck(speed, driving, jitter, found):
    seen, when = Seen(t=1.0, command_t=1.0, car_t=1.0, speed=abs(speed), wheel=speed), None
    for k in range(1, 80):
        t = 1.0 + 0.05 * k
        car = CarState(t, speed + jitter * (k % 2), 0.0, 0.0, 0.0)
        seen, judged = inputs.judge(seen, Command(t, 0.0, 0.0), car, t, driving, 0.0, CONFIG)
        assert judged.car in ("", "wheel speed stuck")
        when = when or (0.05 * k if judged.car else None)
    assert when == (None if found is None else pytest.approx(found, abs=0.051))
    if found:
        t += 0.05
        assert inputs.judge(seen, Command(t, 0.0, 0.0), CarState(t, speed - 0.1, 0.0, 0.0, 0.0), t, True, 0.0, CONFIG)[0].still == 0.0
        assert inputs.judge(seen, Command(t, 0.0, 0.0), None, t, True, 0.0, CONFIG)[0].still == 0.0


# --------------------------------------------------------------------------- motion while the wheel speed can't be trusted


def test_the_speed_goes_on_by_the_accelerometer_or_by_what_was_asked():
    absurd = replace(CAR, speed=60.0, acceleration=-4.0, yaw_rate=0.1)
    seen, judged = judge(car=absurd, asked=-2.0)
    assert judged.car == "wheel speed against acceleration" and judged.yaw_rate == 0.1
    assert seen.speed == pytest.approx(10.0 - 4.0 * 0.05)
    assert judge(car=None, asked=-2.0)[0].speed == pytest.approx(9.9)
    assert judge(car=None, asked=-2.0, driving=False)[0].speed == 10.0
    assert judge(t=0.95, asked=-2.0)[0].speed == pytest.approx(9.9)  # the clock stands; a step is 0.05 s
    assert judge(t=0.95, asked=-2.0, seen=replace(SEEN, speed=0.05))[0].speed == 0.0
    assert judge(car=replace(absurd, acceleration=-20.0), seen=replace(SEEN, speed=0.5))[0].speed == 0.0


def test_what_else_of_a_bad_car_state_is_known():
    """(acceleration known, yaw rate known)"""
    for car, known in (
        (None, (False, False)),
        (replace(CAR, t=0.74), (False, False)),
        (replace(CAR, t=0.94), (False, False)),
        (replace(CAR, speed=99.0), (True, True)),
        (replace(CAR, acceleration=30.1), (False, True)),
        (replace(CAR, acceleration=30.0, yaw_rate=3.0), (True, True)),
        (replace(CAR, yaw_rate=-3.1), (True, False)),
        (odd(CAR, yaw_rate=float("nan")), (False, False)),
        (odd(CAR, acceleration=None), (False, False)),
    ):
        assert tuple(x is not None for x in inputs._inertial(car, 0.95, 1.0, CONFIG)) == known, car
