"""The simulated car's own control units: sensors that err as a real car's, and pedals and wheel for a commanded motion.

In: the world's exact motion, and SafeCommands. Out: CarState and GpsFix with noise of a seed; steering and throttle. The car
is MetaDrive's DefaultVehicle on Bullet's raycast suspension (1100 kg). Measured on flat ground, and asserted in the tests: engine and
brake force act within the step, without drag, so acceleration is exactly 4 F / m; Bullet's brake is an impulse per physics
step, and one that would more than stop the car makes it rock; the wheels jump to their angle and the curvature
follows in 0.1 s, understeering a little with speed. A feed-forward is therefore enough; nothing integrates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanopilot.messages import CarState, GpsFix, SafeCommand, VehicleModel

Array = np.ndarray

WHEELBASE = 1.05234 + 1.4166  # m, MetaDrive's DefaultVehicle
LENGTH, WIDTH, REAR_OVERHANG = 4.515, 1.852, 4.515 / 2 - 1.4166
MAX_WHEEL_ANGLE = math.radians(40.0)
MASS = 1100.0  # kg
WEAKEST_ENGINE = 4 * 750.0 / MASS  # m/s²: MetaDrive draws the engine's force from 750 to 850 N a wheel
MAX_BRAKING = 8.0  # m/s², a good dry road; Bullet's tyres would hold more than 10
LOOK_FAR = 4.0  # m/s from which longer lenses ahead are looked through; at 5.6 the front camera alone misses who crosses (tuning seed 2000)
YAW_LAG = 0.09  # s from a step of the wheels to 63 % of its curvature; large steps take up to 0.15 (measured, 4 to 25 m/s)
UNDERSTEER_SPEED = 0.002  # s/m: share of the geometric curvature lost per m/s of speed (measured 3 to 22 m/s)
STANDING = 0.05  # m/s


def vehicle_model(step: float) -> VehicleModel:
    """The data sheet. The delay is one step of the lock-step pipeline plus the yaw lag."""
    return VehicleModel(WHEELBASE, LENGTH, WIDTH, REAR_OVERHANG, MAX_WHEEL_ANGLE, WEAKEST_ENGINE, MAX_BRAKING, step + YAW_LAG)


@dataclass(frozen=True)
class Actuator:
    """What this one car's engine and brakes can do, each wheel: force in N, impulse in N s a physics step of `substep` s."""

    engine_force: float
    brake_impulse: float
    substep: float
    step: float  # s between commands

    @classmethod
    def of(cls, env: Any) -> Actuator:
        """Read from MetaDrive's car: a maker knows his engine."""
        config = env.agent.config
        substep = float(env.config["physics_world_step_size"])
        return cls(float(config["max_engine_force"]), float(config["max_brake_force"]), substep, substep * env.config["decision_repeat"])

    def pedals(self, acceleration: float, speed: float) -> float:
        """MetaDrive's throttle in [-1, 1] for an acceleration, m/s²."""
        if acceleration > 0.0 or (acceleration == 0.0 and speed > STANDING):
            return min(1.0, max(acceleration * MASS / (4 * self.engine_force), 1e-6))  # at exactly 0 Bullet rolls to a stop
        braking = min(-acceleration, MAX_BRAKING, max(speed, 0.0) / self.step)
        if speed < STANDING:
            return 0.0  # MetaDrive's rolling resistance holds the car
        return -min(1.0, braking * MASS * self.substep / (4 * self.brake_impulse))

    @staticmethod
    def wheel_angle(curvature: float, speed: float) -> float:
        """Road-wheel angle, rad, for a curvature of the rear axle's path."""
        angle = math.atan(WHEELBASE * curvature / (1.0 - UNDERSTEER_SPEED * speed))
        return min(MAX_WHEEL_ANGLE, max(-MAX_WHEEL_ANGLE, angle))

    def drive(self, command: SafeCommand, speed: float) -> tuple[float, float]:
        """(steer, throttle), both in [-1, 1]."""
        return self.wheel_angle(command.curvature, speed) / MAX_WHEEL_ANGLE, self.pedals(command.acceleration, speed)


@dataclass(frozen=True)
class SensorConfig:
    """Standard deviations and rates of the car's own sensors."""

    speed_std: float = 0.03  # m/s, wheel speed (guess)
    yaw_rate_std: float = 0.003  # rad/s (guess: a chassis gyroscope's)
    acceleration_std: float = 0.05  # m/s² (guess)
    wheel_angle_std: float = 0.001  # rad (guess)
    gps_std: float = 2.0  # m each axis, slow: a first-order Gauss-Markov process
    gps_time: float = 60.0  # s, its time constant
    gps_noise: float = 0.3  # m each axis, white
    gps_heading_std: float = math.radians(3.0)
    gps_period: float = 0.1  # s
    gps_moving: float = 0.5  # m/s: slower, a receiver holds its last course


class Sensors:
    """Draws one drive's sensor errors; the same seed gives the same errors."""

    def __init__(self, config: SensorConfig, step: float, seed: int) -> None:
        self.config = config
        self._rng = np.random.default_rng([seed, 0x5E45])
        self._every = max(1, round(config.gps_period / step))
        self._keep = math.exp(-self._every * step / config.gps_time)
        self._drift = config.gps_std * self._rng.standard_normal(2)
        self._course: float | None = None
        self._count = 0

    def car(self, t: float, speed: float, acceleration: float, yaw_rate: float, wheel_angle: float) -> CarState:
        """The bus's message; a standing wheel says exactly zero."""
        c = self.config
        e = self._rng.standard_normal(4)
        measured = max(0.0, speed + c.speed_std * e[0]) if speed > STANDING else 0.0
        return CarState(
            t=t,
            speed=float(measured),
            acceleration=float(acceleration + c.acceleration_std * e[1]),
            yaw_rate=float(yaw_rate + c.yaw_rate_std * e[2]),
            wheel_angle=float(wheel_angle + c.wheel_angle_std * e[3]),
            speed_std=c.speed_std,
            yaw_rate_std=c.yaw_rate_std,
        )

    def gps(self, t: float, pose: tuple[float, float, float], speed: float) -> GpsFix | None:
        """The receiver's fix of the rear axle, None between its times."""
        c = self.config
        self._count += 1
        if (self._count - 1) % self._every:
            return None
        if self._count > 1:
            self._drift = self._keep * self._drift + c.gps_std * math.sqrt(1 - self._keep**2) * self._rng.standard_normal(2)
        x, y = np.array(pose[:2]) + self._drift + c.gps_noise * self._rng.standard_normal(2)
        course = pose[2] + c.gps_heading_std * float(self._rng.standard_normal())
        if self._course is None or speed > c.gps_moving:
            self._course = course
        return GpsFix(t, float(x), float(y), math.hypot(c.gps_std, c.gps_noise), self._course, c.gps_heading_std)
