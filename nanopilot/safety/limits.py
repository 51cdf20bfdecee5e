"""How far a command may go: acceleration, jerk, curvature, and their distance to what the car does.

In: the wanted value, the last one let through, the car's own. Out: the value allowed, with a reason appended for every change.
Each limit has its standard beside it; all are second-hand (read in other projects' code and catalogues). Lateral jerk is
limited in each step, which is stricter than its mean over 0.5 s; what a change of speed does to lateral acceleration on a
given arc is not counted as steering. Nothing here knows obstacles or roads.
"""

from __future__ import annotations

from dataclasses import dataclass

from nanopilot.messages import CarState


@dataclass(frozen=True)
class LimitConfig:
    max_curvature: float = 0.4  # 1/m: a passenger car's full lock is about 0.2-0.35, guess
    max_curvature_rate: float = 1.25  # 1/(m s) at any speed: what a steering motor can turn, guess
    max_lateral_acceleration: float = 3.0  # m/s², UN R79, ISO 11270
    max_lateral_jerk: float = 5.0  # m/s³, UN R79: the mean over 0.5 s
    max_lateral_gap: float = 2.0  # m/s² between what is asked and what the car does; steering that follows in 0.3 s needs 1.5
    max_release_jerk: float = 10.0  # m/s³ upwards; ISO 15622 names only the negative one, guess
    stop_jerk: float = 10.0  # m/s³ of a stop without eyes or commands, guess; ISO 15622's is for following
    max_acceleration_gap: float = 4.0  # m/s² above what the car does: more is winding up, guess
    emergency_deceleration: float = 8.0  # m/s²: about what a dry road gives
    measured_speed: float = 3.0  # m/s: slower, yaw rate over speed is no measure of curvature


def iso_15622(speed: float) -> tuple[float, float, float]:
    """Deceleration 5 falling to 3.5, acceleration 4 to 2, negative jerk 5 to 2.5, from 5 to 20 m/s; all positive."""
    share = min(max((speed - 5.0) / 15.0, 0.0), 1.0)
    return 5.0 - 1.5 * share, 4.0 - 2.0 * share, 5.0 - 2.5 * share


def longitudinal(
    wanted: float, last: float, car: CarState | None, speed: float, dt: float, stop: bool, reasons: list[str], config: LimitConfig
) -> float:
    """The acceleration allowed; `stop` is of a car that has lost its eyes or its commands.

    Harder than ISO 15622's braking is an emergency: let through at once, never weakened below it.
    """
    deceleration, acceleration, jerk = iso_15622(speed)
    if wanted < -deceleration:
        reasons.append("emergency braking")
        if wanted < -config.emergency_deceleration:
            reasons.append("deceleration limited")
        return max(wanted, -config.emergency_deceleration)
    value = wanted
    if value > acceleration:
        reasons.append("acceleration limited")
        value = acceleration
    if stop:
        jerk = config.stop_jerk
    low, high = last - jerk * dt, last + config.max_release_jerk * dt
    if not low <= value <= high:
        reasons.append("jerk limited")
        value = min(max(value, low), high, acceleration)  # a limit that falls with speed beats a jerk
    if car is not None and value > (most := max(car.acceleration + config.max_acceleration_gap, min(low, acceleration))):
        reasons.append("acceleration far above the car's")
        value = most
    return value


def lateral(wanted: float, last: float, car: CarState | None, speed: float, dt: float, reasons: list[str], config: LimitConfig) -> float:
    """The curvature allowed: near the last one, near the car's own, and never sharper than a / v²."""
    squared = max(speed, 1e-3) ** 2  # avoids dividing by zero; other limits are tighter below about 2 m/s
    step = min(config.max_lateral_jerk / squared, config.max_curvature_rate) * dt
    value = min(max(wanted, last - step), last + step)
    if value != wanted:
        reasons.append("lateral jerk limited")
    if car is not None and speed > config.measured_speed:
        own, gap = measured_curvature(car), config.max_lateral_gap / squared
        if abs(value - own) > gap:
            reasons.append("curvature far from the car's")
            value = min(max(value, own - gap), own + gap)
    bound = max_curvature(speed, config)
    if abs(value) > bound:
        reasons.append("curvature limited" if bound == config.max_curvature else "lateral acceleration limited")
        value = min(max(value, -bound), bound)
    return value


def max_curvature(speed: float, config: LimitConfig) -> float:
    """a / v², and no more than any car can, 1/m."""
    return min(config.max_lateral_acceleration / max(speed, 1e-3) ** 2, config.max_curvature)


def measured_curvature(car: CarState) -> float:
    """Of the rear axle's path, 1/m; of a car that moves."""
    return car.yaw_rate / car.speed
