"""The envelope against the standards' numbers, written down again here and not taken from the code."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from nanopilot import safety
from nanopilot.messages import CarState, Command, Mode, RssVerdict
from nanopilot.safety import limits
from nanopilot.safety.inputs import Seen
from nanopilot.safety.limits import LimitConfig

DT = 0.05
CONFIG = LimitConfig()


def iso_15622(v):
    """(deceleration, acceleration, negative jerk) by table: 5 m/s and below, 20 m/s and above."""
    return np.interp(v, [5, 20], [5.0, 3.5]), np.interp(v, [5, 20], [4.0, 2.0]), np.interp(v, [5, 20], [5.0, 2.5])


@given(st.floats(-5, 60))
@settings(max_examples=30, deadline=None)
def test_iso_15622_by_table(v):
    assert limits.iso_15622(v) == pytest.approx(iso_15622(v))


def along(wanted, last, speed=10.0, measured=None, stop=False):
    reasons = []
    car = None if measured is None else CarState(0.0, speed, measured, 0.0, 0.0)
    return limits.longitudinal(wanted, last, car, speed, DT, stop, reasons, CONFIG), tuple(reasons)


def across(wanted, last, speed=10.0, measured=None):
    reasons = []
    car = None if measured is None else CarState(0.0, speed, 0.0, measured * speed, 0.0)
    return limits.lateral(wanted, last, car, speed, DT, reasons, CONFIG), tuple(reasons)


# at 5 m/s: deceleration 5, acceleration 4, jerk 5 (0.25 a step), release 10 (0.5 a step); at 20: 3.5, 2, 2.5
@pytest.mark.parametrize(
    ("wanted", "last", "speed", "measured", "value", "reasons"),
    [
        (1.0, 1.0, 5.0, None, 1.0, ()),
        (1.4, 1.0, 5.0, None, 1.4, ()),
        (1.5, 1.0, 5.0, None, 1.5, ()),
        (0.75, 1.0, 5.0, None, 0.75, ()),
        (1.6, 1.0, 5.0, None, 1.5, ("jerk limited",)),
        (0.8, 1.0, 5.0, None, 0.8, ()),
        (0.7, 1.0, 5.0, None, 0.75, ("jerk limited",)),
        (0.7, 1.0, 20.0, None, 0.875, ("jerk limited",)),
        (4.0, 4.0, 5.0, None, 4.0, ()),
        (9.0, 4.0, 5.0, None, 4.0, ("acceleration limited",)),
        (9.0, 1.0, 5.0, None, 1.5, ("acceleration limited", "jerk limited")),
        (9.0, 4.0, 20.0, None, 2.0, ("acceleration limited", "jerk limited")),  # the falling limit beats the jerk
        (-5.0, -4.9, 5.0, None, -5.0, ()),
        (-5.0, 0.0, 5.0, None, -0.25, ("jerk limited",)),
        (-5.01, 0.0, 5.0, None, -5.01, ("emergency braking",)),
        (-8.0, 1.0, 5.0, 9.0, -8.0, ("emergency braking",)),
        (-8.1, 1.0, 5.0, None, -8.0, ("emergency braking", "deceleration limited")),
        (-3.6, 0.0, 20.0, None, -3.6, ("emergency braking",)),
        (3.0, 3.0, 5.0, -1.0, 3.0, ()),
        (3.0, 3.0, 5.0, -1.1, 2.9, ("acceleration far above the car's",)),
        (3.0, 3.0, 5.0, -9.0, 2.75, ("acceleration far above the car's",)),  # but no more jerk than is allowed
        (2.0, 2.6, 20.0, -9.0, 2.0, ("jerk limited",)),  # and never above the limit
    ],
)
def test_acceleration(wanted, last, speed, measured, value, reasons):
    assert along(wanted, last, speed, measured) == (pytest.approx(value), reasons)


def test_a_stop_without_eyes_may_begin_with_ten_metres_per_second_cubed():
    for speed in (5.0, 20.0):
        assert along(-3.0, 0.0, speed, stop=True) == (pytest.approx(-0.5), ("jerk limited",))
    assert along(-3.0, -3.0, 5.0, stop=True) == (-3.0, ())


# at 10 m/s: 3 m/s² is 0.03 1/m, 5 m/s³ is 0.05 1/(m s) or 0.0025 a step, 2 m/s² is 0.02 1/m; below 2 m/s 0.0625 a step
@pytest.mark.parametrize(
    ("wanted", "last", "speed", "measured", "value", "reasons"),
    [
        (0.002, 0.0, 10.0, None, 0.002, ()),
        (0.003, 0.0, 10.0, None, 0.0025, ("lateral jerk limited",)),
        (-0.003, 0.0, 10.0, None, -0.0025, ("lateral jerk limited",)),
        (0.03, 0.03, 10.0, None, 0.03, ()),
        (0.031, 0.03, 10.0, None, 0.03, ("lateral acceleration limited",)),
        (-0.031, -0.03, 10.0, None, -0.03, ("lateral acceleration limited",)),
        (-0.9, -0.03, 10.0, None, -0.03, ("lateral jerk limited", "lateral acceleration limited")),
        (0.03, 0.03, 10.0, 0.011, 0.03, ()),
        (0.03, 0.03, 10.0, 0.009, 0.029, ("curvature far from the car's",)),
        (-0.03, -0.03, 10.0, -0.009, -0.029, ("curvature far from the car's",)),
        (0.125, 0.125, 4.0, 0.0, 0.125, ()),
        (0.3, 0.3, 3.0, 0.0, 0.3, ()),  # too slow for yaw rate to tell
        (0.29, 0.29, 3.1, 0.0, 2 / 3.1**2, ("curvature far from the car's",)),
        (0.1, 0.0, 1.0, None, 0.0625, ("lateral jerk limited",)),
        (0.4, 0.4, 1.0, None, 0.4, ()),
        (0.41, 0.4, 1.0, None, 0.4, ("curvature limited",)),
        (0.4, 0.4, 0.0, None, 0.4, ()),
        (0.41, 0.4, 0.0, None, 0.4, ("curvature limited",)),
    ],
)
def test_curvature(wanted, last, speed, measured, value, reasons):
    assert across(wanted, last, speed, measured) == (pytest.approx(value), reasons)


number = st.floats(-50, 50)


class Envelope(RuleBasedStateMachine):
    """A car with a first-order lag obeys; whatever is asked of it, every command stays inside the standards' numbers."""

    @initialize(speed=st.floats(0, 35))
    def begin(self, speed):
        self.state, self.t, self.speed, self.a, self.k, self.last = safety.initial(engaged=True), 0.0, speed, 0.0, 0.0, None
        self.steering = []

    @rule(a=number, k=st.floats(-2, 2), steps=st.integers(1, 12))
    def drive(self, a, k, steps):
        for _ in range(steps):
            car = CarState(self.t, self.speed, self.a, self.speed * self.k, 0.0)
            self.state, safe = safety.step(self.state, Command(self.t, a, k), car, self.t)
            assert safe.mode == Mode.ENGAGED
            self.check(a, k, safe)
            self.a += (safe.acceleration - self.a) * 0.4
            self.k += (safe.curvature - self.k) * 0.5
            if self.speed + self.a * DT <= 0:
                self.a = -self.speed / DT
            self.speed += self.a * DT
            self.t += DT
            self.last = safe

    def check(self, a, k, safe):
        v, before = self.speed, self.last
        deceleration, acceleration, jerk = iso_15622(v)
        assert -8.0 <= safe.acceleration <= acceleration + 1e-9
        assert abs(safe.curvature) * v**2 <= 3.0 + 1e-9 and abs(safe.curvature) <= 0.4
        changed = (safe.acceleration, safe.curvature) != (a, k)
        assert not changed or safe.reasons
        if a < -deceleration:
            assert safe.acceleration == max(a, -8.0) and "emergency braking" in safe.reasons
        elif before is not None:
            assert safe.acceleration >= min(before.acceleration - jerk * DT, acceleration) - 1e-9
            assert safe.acceleration <= before.acceleration + 10.0 * DT + 1e-9
        if before is not None:
            self.steering.append((safe.curvature - before.curvature) * v**2)
            window = self.steering[-10:]  # 0.5 s: UN R79's mean lateral jerk, of what steering does
            inside = abs(before.curvature) * v**2 <= 3.0 and "curvature far from the car's" not in safe.reasons
            assert not inside or abs(self.steering[-1]) <= 5.0 * DT + 1e-9
            if "curvature far from the car's" not in safe.reasons and v > 5.0 and abs(self.a) < 0.1:
                assert abs(sum(window)) <= 5.0 * 0.5 + 0.5


def test_no_command_whatever_leaves_the_envelope():
    run_state_machine_as_test(Envelope, settings=settings(max_examples=12, stateful_step_count=6, deadline=None))


@given(st.lists(st.floats(-1, 1), min_size=12, max_size=40), st.floats(5, 40))
@settings(max_examples=30, deadline=None)
def test_mean_lateral_jerk_over_half_a_second_is_within_r79(curvatures, v):
    last, out = 0.0, []
    for k in curvatures:
        last = across(k, last, v, last)[0]
        out.append(last * v**2)
    assert np.abs(np.array(out[10:]) - out[:-10]).max() / 0.5 <= 5.0 + 1e-9


@given(st.floats(-3.5, 2.0), st.floats(0.5, 30))
@settings(max_examples=30, deadline=None)
def test_a_command_inside_the_envelope_arrives_unchanged(a, v):
    seen = Seen(t=0.0, speed=v, expected_speed=v)
    state = safety.State(Mode.ENGAGED, seen, acceleration=a, curvature=0.5 / max(v, 2.0) ** 2)
    command = Command(DT, a, state.curvature)
    _, safe = safety.step(state, command, CarState(DT, v, a, v * command.curvature, 0.0), DT)
    assert (safe.acceleration, safe.curvature, safe.reasons) == (a, command.curvature, ())


def test_the_second_opinion_brakes_only_where_it_may_and_after_patience():
    seen = Seen(t=0.95, speed=10.0, expected_speed=10.0)
    state = safety.State(Mode.ENGAGED, seen, acceleration=-3.9)
    near = RssVerdict(1.0, 7, 3.0, 20.0, 0.0, 0.5, 1.5, -4.0)

    def brake(verdict, on=True, wanted=-3.9):
        config = safety.Config(rss_brake=on)
        return safety.step(state, Command(1.0, wanted, 0.0), CarState(1.0, 10.0, -3.9, 0.0, 0.0), 1.0, config, rss=verdict)[1]

    assert brake(near).acceleration == -4.0 and brake(near).reasons == ("too near track 7",)
    assert brake(near, on=False).acceleration == -3.9 and brake(None).acceleration == -3.9
    assert brake(replace(near, danger=1.0)).acceleration == -3.9 and brake(replace(near, danger=1.01)).acceleration == -4.0
    assert brake(near, wanted=-4.1).acceleration == -4.1 and brake(near, wanted=-4.1).reasons == ()
    assert brake(near, wanted=-4.0).reasons == ()
