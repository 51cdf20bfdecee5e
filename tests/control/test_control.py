"""Control against what a plan says in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot import control
from nanopilot.messages import Behaviour, CarState, Plan, Signal, VehicleModel

CAR = VehicleModel(2.6, 4.6, 1.85, 0.9, 0.7, 4.0, 9.0, 0.1)
TIMES = np.arange(21) * 0.2


def plan(t=0.0, speed=10.0, acceleration=0.0, curvature_rate=0.0, behaviour=Behaviour.KEEP_LANE):
    s = speed * TIMES + 0.5 * acceleration * TIMES**2
    straight = np.stack([s, 0 * s], -1)
    v = np.maximum(speed + acceleration * TIMES, 0)
    return Plan(t, behaviour, "test", TIMES, straight, 0 * s, v, np.full(21, acceleration), curvature_rate * TIMES)


def car(t=0.0, speed=10.0, acceleration=0.0, yaw_rate=0.0):
    return CarState(t, speed, acceleration, yaw_rate, 0.0)


def test_the_plan_is_taken_at_the_time_the_car_will_answer():
    _, command = control.step(control.initial(), plan(curvature_rate=0.01), car(), CAR)
    assert command.curvature == pytest.approx(0.01 * CAR.actuator_delay)
    assert command.acceleration == pytest.approx(0.0)


def test_an_older_plan_is_followed_from_where_it_has_got_to():
    state = control.initial()
    for k in range(5):
        state, command = control.step(state, plan(curvature_rate=0.01), car(0.05 * k), CAR)
    assert command.curvature == pytest.approx(0.01 * (0.2 + CAR.actuator_delay))
    assert state.motion.x == pytest.approx(2.0)


def test_feedback_steers_back_towards_the_plan_and_closes_a_speed_error():
    _state, command = control.step(control.initial(), plan(), car(yaw_rate=0.3), CAR)
    assert command.curvature < 0
    _, command = control.step(control.initial(), plan(), car(speed=9.0), CAR)
    assert 0 < command.acceleration < 2


def test_a_stale_plan_brakes_gently_on_the_present_arc():
    _, command = control.step(control.initial(), plan(acceleration=1.0), car(0.6, yaw_rate=0.5), CAR)
    assert command.acceleration == -2.0 and command.curvature == pytest.approx(0.05) and command.signal == Signal.HAZARD


def test_standing_with_a_plan_to_stand_holds_the_brake():
    _, command = control.step(control.initial(), plan(speed=0.0), car(speed=0.0), CAR)
    assert command.acceleration < -0.5


def test_an_emergency_plan_brakes_at_once():
    hard = plan(acceleration=0.0)
    ramp = Plan(0.0, Behaviour.FOLLOW, "emergency", TIMES, hard.xy, hard.yaw, hard.speed, np.maximum(-30 * TIMES, -8.0), hard.curvature)
    assert control.step(control.initial(), ramp, car(), CAR)[1].acceleration == -8.0


@pytest.mark.parametrize("signal", [Signal.OFF, Signal.LEFT, Signal.RIGHT])
def test_the_turn_signal_is_the_plans(signal):
    assert control.step(control.initial(), replace(plan(), signal=signal), car(), CAR)[1].signal == signal


def test_no_command_asks_more_than_the_car_can():
    wild = plan(acceleration=30.0, curvature_rate=20.0)
    _, command = control.step(control.initial(), wild, car(), CAR)
    assert command.acceleration == CAR.max_acceleration and command.curvature == pytest.approx(np.tan(0.7) / 2.6)
