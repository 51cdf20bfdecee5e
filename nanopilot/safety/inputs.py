"""Are the inputs to be trusted: the clock, the command and the car's bus. Deny by default.

In: what was known so far (Seen), and this step's inputs, any of which may be missing. Out: the new Seen, and why the command
or the car state can't be used, '' where it can. Checks: presence, finite numbers, age and order, rate of messages, range,
wheel speed against the accelerometer, and whether the car does far more than any limit allows (openpilot's rule: twice a
limit for 0.25 s). A wheel speed that is the very same number for 2 s of driving is stuck: real ones never are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

from nanopilot.messages import CarState, Command
from nanopilot.safety.limits import LimitConfig, iso_15622


@dataclass(frozen=True)
class InputConfig:
    nominal_step: float = 0.05  # s a step lasts where the clock doesn't tell: the usual 20 Hz
    max_age: float = 0.25  # s: older inputs are late, and so is a step (250 ms window, openpilot's)
    future: float = 0.01  # s an input may be ahead of the clock: rounding only, guess
    min_rate: float = 8.0  # 1/s, of new messages: bodies run at 10 to 100 Hz
    max_rate: float = 220.0  # 1/s: a flood
    rate_time: float = 1.0  # s over which the rate is averaged
    max_speed: float = 70.0  # m/s, 250 km/h
    max_reverse: float = 3.0  # m/s, guess
    max_yaw_rate: float = 3.0  # rad/s, guess: half a turn a second
    max_acceleration: float = 30.0  # m/s²: three times what tyres give
    speed_gap: float = 1.5  # m/s between wheel speed and integrated acceleration: 1.5 m/s² of slope and sensor error
    speed_time: float = 1.0  # s with which that integral forgets
    stuck_time: float = 2.0  # s for which a moving wheel's speed may be the same number: sensors and roads are never so still, guess
    stuck_speed: float = 1.0  # m/s from which it is moving
    excess: float = 2.0  # times a limit
    excess_time: float = 0.25  # s


@dataclass(frozen=True)
class Seen:
    """What was last accepted, and how often."""

    t: float = -inf
    command_t: float = -inf
    car_t: float = -inf
    command_rate: float = 20.0
    car_rate: float = 20.0
    speed: float = 0.0
    expected_speed: float = inf  # by integration; inf: not begun
    wheel: float = 0.0  # m/s, as last told, and
    still: float = 0.0  # s for which it has been that very number while we drive


@dataclass(frozen=True)
class Judged:
    """This step's verdict. `dt` is to be trusted whatever the clock says."""

    dt: float
    clock: str
    command: str
    car: str
    yaw_rate: float | None = None  # rad/s; known also where the wheel speed is not

    @property
    def refusal(self) -> str:
        """Why nothing may be let through; '' when all is good."""
        return self.clock or self.command or self.car


def judge(
    seen: Seen, command: Command | None, car: CarState | None, t_now: float, driving: bool, asked: float, config: InputConfig
) -> tuple[Seen, Judged]:
    """`driving`: the car obeys us, so that a wheel speed that parts from the accelerometer matters. Raises nothing on any value.

    While the wheel speed can't be trusted the speed goes on by the accelerometer, or by `asked`, the acceleration last let through.
    """
    clock = _clock(seen.t, t_now, config)
    dt = config.nominal_step if clock or seen.t == -inf else t_now - seen.t
    late = "" if dt <= config.max_age else "step late"
    dt = min(dt, config.max_age)
    asked = asked if driving else 0.0
    if clock:
        return replace(seen, speed=max(seen.speed + asked * dt, 0.0)), Judged(dt, clock, clock, clock)
    command_rate = _rate(seen.command_rate, command is not None and command.t != seen.command_t, dt, config)
    car_rate = _rate(seen.car_rate, car is not None and car.t != seen.car_t, dt, config)
    why_command = _command(command, seen.command_t, t_now, config) or _rate_reason("command", command_rate, config)
    why_car = _car(car, seen.car_t, t_now, config) or _rate_reason("car state", car_rate, config)
    expected = seen.expected_speed if driving and not late else inf
    same = driving and car is not None and car.speed == seen.wheel
    still = seen.still + dt if same else 0.0
    if not why_car and still > config.stuck_time and abs(car.speed) > config.stuck_speed:
        why_car = "wheel speed stuck"
    if not why_car:
        expected = car.speed if expected == inf else expected + car.acceleration * dt
        if abs(car.speed - expected) > config.speed_gap:
            why_car = "wheel speed against acceleration"
        else:
            expected += (car.speed - expected) * dt / config.speed_time
    acceleration, yaw_rate = _inertial(car, seen.car_t, t_now, config)
    reckoned = max(seen.speed + (asked if acceleration is None else acceleration) * dt, 0.0)
    judged = Judged(dt, late, why_command, why_car, yaw_rate)
    return (
        Seen(
            t=t_now,
            command_t=seen.command_t if why_command else command.t,
            car_t=seen.car_t if why_car else car.t,
            command_rate=command_rate,
            car_rate=car_rate,
            speed=reckoned if why_car else abs(car.speed),
            expected_speed=expected,
            wheel=0.0 if car is None else car.speed,
            still=still,
        ),
        judged,
    )


def excessive(car: CarState, limits: LimitConfig, config: InputConfig) -> bool:
    """Whether the car accelerates, or turns, far beyond what may be asked of it."""
    across = abs(car.speed * car.yaw_rate) > config.excess * limits.max_lateral_acceleration
    return across or car.acceleration > config.excess * iso_15622(abs(car.speed))[1]


def finite(*values: float) -> bool:
    """Whether all are numbers that can be computed with."""
    try:
        return all(isfinite(v) for v in values)
    except (TypeError, OverflowError):
        return False


def _clock(last: float, t_now: float, config: InputConfig) -> str:
    if not finite(t_now):
        return "clock not finite"
    if t_now <= last:
        return "clock ran backwards" if t_now < last else "clock stands"
    return ""


def _command(command: Command | None, last: float, t_now: float, config: InputConfig) -> str:
    if command is None:
        return "no command"
    if not finite(command.t, command.acceleration, command.curvature, *command.arc):
        return "command not finite"
    return _time("command", command.t, last, t_now, config)


def _car(car: CarState | None, last: float, t_now: float, config: InputConfig) -> str:
    if car is None:
        return "no car state"
    if not finite(car.t, car.speed, car.acceleration, car.yaw_rate):
        return "car state not finite"
    if not -config.max_reverse <= car.speed <= config.max_speed:
        return "wheel speed out of range"
    if abs(car.yaw_rate) > config.max_yaw_rate:
        return "yaw rate out of range"
    if abs(car.acceleration) > config.max_acceleration:
        return "acceleration out of range"
    return _time("car state", car.t, last, t_now, config)


def _inertial(car: CarState | None, last: float, t_now: float, config: InputConfig) -> tuple[float | None, float | None]:
    """(acceleration, yaw rate) of a car state whatever its wheel speed; None where they can't be trusted either."""
    if car is None or not finite(car.t, car.acceleration, car.yaw_rate) or _time("", car.t, last, t_now, config):
        return None, None
    acceleration = car.acceleration if abs(car.acceleration) <= config.max_acceleration else None
    return acceleration, car.yaw_rate if abs(car.yaw_rate) <= config.max_yaw_rate else None


def _time(name: str, t: float, last: float, t_now: float, config: InputConfig) -> str:
    if t_now - t > config.max_age:
        return f"{name} late"
    if t < last or t > t_now + config.future:
        return f"{name} out of order"
    return ""


def _rate(rate: float, new: bool, dt: float, config: InputConfig) -> float:
    """New messages a second, averaged with `rate_time`."""
    return rate * (1.0 - dt / config.rate_time) + new / config.rate_time


def _rate_reason(name: str, rate: float, config: InputConfig) -> str:
    if rate < config.min_rate:
        return f"{name} rate low"
    return f"{name} rate high" if rate > config.max_rate else ""
