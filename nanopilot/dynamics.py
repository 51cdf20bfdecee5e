"""The vehicle model that planning and control share: a kinematic bicycle seen at its rear axle.

In: a Motion (pose, speed, acceleration, path curvature of the rear axle) and what is asked of the car. Out: the
Motion some time later. Actuators answer after a pure delay, then as a first-order lag; over one step curvature
and acceleration are held, so a constant curvature gives an exact circle. A car here never rolls backwards.
Source: Rajamani, Vehicle Dynamics and Control, section 2.2 (without side slip: right below about 3 m/s² across).
It knows no slope and no load, and of tyres only the circle of friction (`within_friction`), for who wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, cos, exp, pi, sin, sqrt, tan
from typing import NamedTuple

from nanopilot.messages import CarState, VehicleModel

GRAVITY = 9.81  # m/s²
MIN_SPEED_FOR_YAW_RATE = 1.0  # m/s: below, yaw rate over speed is mostly noise (std 0.005 rad/s), guess


class Motion(NamedTuple):
    """The rear axle's state in some flat frame; SI, left positive."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    speed: float = 0.0
    acceleration: float = 0.0
    curvature: float = 0.0


@dataclass(frozen=True)
class Lag:
    """Time constants of the actuators after the pure delay, s; 0 answers at once."""

    acceleration: float = 0.0
    curvature: float = 0.0


def curvature_from_wheel_angle(wheel_angle: float, wheelbase: float) -> float:
    """Curvature of the rear axle's path, 1/m, for a road-wheel angle in rad."""
    return tan(wheel_angle) / wheelbase


def wheel_angle_from_curvature(curvature: float, wheelbase: float) -> float:
    """Inverse of `curvature_from_wheel_angle`."""
    return atan(curvature * wheelbase)


def max_curvature(vehicle: VehicleModel) -> float:
    """The tightest curvature the steering reaches, 1/m."""
    return curvature_from_wheel_angle(vehicle.max_wheel_angle, vehicle.wheelbase)


def motion_from_car(car: CarState, vehicle: VehicleModel) -> Motion:
    """The car's own motion, at the origin of its own frame, from its bus."""
    speed = max(car.speed, 0.0)
    if speed > MIN_SPEED_FOR_YAW_RATE:
        curvature = car.yaw_rate / speed
    else:
        curvature = curvature_from_wheel_angle(car.wheel_angle, vehicle.wheelbase)
    return Motion(0.0, 0.0, 0.0, speed, car.acceleration, curvature)


def advance(motion: Motion, dt: float) -> Motion:
    """Go on for `dt` seconds with acceleration and curvature held: an exact arc, ending where the car stands still."""
    x, y, yaw, speed, acceleration, curvature = motion
    moving = dt
    if acceleration < 0 and speed + acceleration * dt < 0:
        moving = speed / -acceleration
    distance = speed * moving + 0.5 * acceleration * moving**2
    half = 0.5 * curvature * distance
    chord = distance * (sin(half) / half if abs(half) > 1e-6 else 1.0)  # sin(h)/h = 1 to double precision there
    new_yaw = (yaw + 2 * half + pi) % (2 * pi) - pi
    new_speed = max(speed + acceleration * moving, 0.0)
    return Motion(x + chord * cos(yaw + half), y + chord * sin(yaw + half), new_yaw, new_speed, acceleration, curvature)


def step(motion: Motion, acceleration: float, curvature: float, dt: float, lag: Lag = Lag()) -> Motion:
    """`advance` while the actuators go towards what was asked (m/s², 1/m) as first-order lags."""

    def towards(value: float, wanted: float, time_constant: float) -> float:
        return wanted if time_constant <= 0 else wanted + (value - wanted) * exp(-dt / time_constant)

    new_a = towards(motion.acceleration, acceleration, lag.acceleration)
    new_k = towards(motion.curvature, curvature, lag.curvature)
    # the mean over the step, so that the circle's arc is right to second order while actuators move
    held = motion._replace(acceleration=0.5 * (motion.acceleration + new_a), curvature=0.5 * (motion.curvature + new_k))
    if lag == Lag():
        held = motion._replace(acceleration=new_a, curvature=new_k)
    return advance(held, dt)._replace(acceleration=new_a, curvature=new_k)


def within_friction(acceleration: float, curvature: float, speed: float, friction: float) -> tuple[float, float]:
    """What the tyres give of both on a level road: together no more than friction times gravity (Kamm's circle), m/s² and 1/m.

    Steering comes first, as where brakes that don't lock leave the tyres their grip across; what is left brakes or drives.
    """
    most = friction * GRAVITY
    across = min(max(speed**2 * curvature, -most), most)
    rest = sqrt(most**2 - across**2)
    return min(max(acceleration, -rest), rest), across / speed**2 if speed**2 * abs(curvature) > most else curvature


def after_delay(motion: Motion, vehicle: VehicleModel) -> Motion:
    """Where the car will be when a command given now takes hold: until then it goes on as it does."""
    return advance(motion, vehicle.actuator_delay)
