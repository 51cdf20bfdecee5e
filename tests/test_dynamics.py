"""The vehicle model against closed forms: circles, constant acceleration, exponential lags."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanopilot import dynamics
from nanopilot.dynamics import Lag, Motion
from nanopilot.messages import CarState, VehicleModel

CAR = VehicleModel(2.6, 4.6, 1.85, 0.9, 0.7, 4.0, 9.0, 0.1)


@given(st.floats(-0.3, 0.3), st.floats(0, 30), st.floats(0, 5))
def test_constant_curvature_drives_a_circle(curvature, speed, t):
    end = dynamics.advance(Motion(speed=speed, curvature=curvature), t)
    angle = curvature * speed * t
    if abs(curvature) > 1e-3:
        assert (end.x, end.y) == pytest.approx((np.sin(angle) / curvature, (1 - np.cos(angle)) / curvature), abs=1e-6)
    assert np.cos(end.yaw - angle) == pytest.approx(1.0)


def test_many_small_steps_of_a_circle_end_where_one_large_one_does():
    start = Motion(speed=5.0, acceleration=1.0, curvature=0.1)
    many = start
    for _ in range(100):
        many = dynamics.step(many, 1.0, 0.1, 0.02)
    assert many == pytest.approx(dynamics.advance(start, 2.0), abs=1e-9)


@given(st.floats(0, 30), st.floats(0.5, 9))
def test_braking_ends_at_v_squared_over_two_a_and_never_rolls_back(speed, deceleration):
    end = dynamics.advance(Motion(speed=speed, acceleration=-deceleration), 100.0)
    assert end.x == pytest.approx(speed**2 / (2 * deceleration)) and end.speed == pytest.approx(0.0, abs=1e-9)


def test_an_actuator_reaches_63_percent_after_its_time_constant():
    motion = Motion(speed=10.0)
    for _ in range(20):
        motion = dynamics.step(motion, 2.0, 0.05, 0.01, Lag(acceleration=0.2, curvature=0.1))
    assert motion.acceleration == pytest.approx(2.0 * (1 - np.exp(-1)))
    assert motion.curvature == pytest.approx(0.05 * (1 - np.exp(-2)))


@given(st.floats(-0.25, 0.25))
def test_wheel_angle_and_curvature_are_inverse(curvature):
    angle = dynamics.wheel_angle_from_curvature(curvature, 2.6)
    assert dynamics.curvature_from_wheel_angle(angle, 2.6) == pytest.approx(curvature)


def test_full_lock_is_the_textbook_turning_radius():
    assert 1 / dynamics.max_curvature(CAR) == pytest.approx(2.6 / np.tan(0.7))


def test_own_motion_comes_from_the_yaw_rate_when_moving_and_from_the_wheels_when_not():
    assert dynamics.motion_from_car(CarState(0.0, 10.0, 0.0, 0.5, 0.0), CAR).curvature == pytest.approx(0.05)
    assert dynamics.motion_from_car(CarState(0.0, 0.0, 0.0, 0.5, 0.1), CAR).curvature == pytest.approx(np.tan(0.1) / 2.6)


def test_after_the_delay_the_car_has_gone_speed_times_delay():
    assert dynamics.after_delay(Motion(speed=10.0), CAR).x == pytest.approx(1.0)


@pytest.mark.parametrize("friction", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("speed", [0.0, 0.5, 8.0, 30.0])
def test_tyres_give_no_more_than_kamms_circle(friction, speed):
    most = friction * 9.81
    for acceleration in (-20.0, -most, -2.0, 0.0, 3.0, 20.0):
        for curvature in (-0.3, -0.01, 0.0, 0.001, 0.2):
            a, k = dynamics.within_friction(acceleration, curvature, speed, friction)
            assert np.hypot(a, speed**2 * k) <= most + 1e-9 and abs(a) <= abs(acceleration) and abs(k) <= abs(curvature)
            if np.hypot(acceleration, speed**2 * curvature) <= most:
                assert (a, k) == (acceleration, curvature)
    assert dynamics.within_friction(-9.0, 0.0, speed, friction)[0] == pytest.approx(-min(9.0, most))
