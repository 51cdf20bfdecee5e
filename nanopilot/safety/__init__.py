"""The one door: Command + CarState -> SafeCommand with reasons. Nothing else may make a SafeCommand.

In: what control wants (or None), the car's bus (or None), the time. Out: what the body may do. Denied by default:
a missing, late, non-finite or out-of-order input takes permission away, and the car is braked gently to a stand on
its last safe curvature. The driver always wins. It imports only `messages` and the standard library, so that it
shares no fault with what it checks. Limits are second-hand (read in other projects' code and catalogues, not in the
standards themselves). It knows no obstacles and no road: a first envelope, not a full one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite

from nanopilot.messages import CarState, Command, SafeCommand, Signal


@dataclass(frozen=True)
class Config:
    max_age: float = 0.25  # s: older inputs are late (250 ms window, openpilot's)
    first_step: float = 0.05  # s the first step is taken to last: the usual 20 Hz
    future: float = 0.01  # s an input may be ahead of the clock: rounding only, guess
    forgiven: float = 0.25  # s of denial after which only a fresh engagement gives permission back, guess
    max_curvature: float = 0.4  # 1/m: a passenger car's full lock is about 0.2-0.35, guess
    max_curvature_rate: float = 1.25  # 1/(m s) at any speed: what a steering motor can turn, guess
    max_lateral_acceleration: float = 3.0  # m/s², UN R79, ISO 11270
    max_lateral_jerk: float = 5.0  # m/s³, UN R79: the mean over 0.5 s
    max_release_jerk: float = 10.0  # m/s³ upwards; ISO 15622 names only the negative one, guess
    emergency_deceleration: float = 8.0  # m/s²: about what a dry road gives
    stop_deceleration: float = 2.0  # m/s²; UN R157 allows a minimum risk manoeuvre 4


class Mode(StrEnum):
    ENGAGED = "engaged"
    STOPPING = "stopping"  # permission is gone: brake to a stand
    DISENGAGED = "disengaged"  # the driver drives


@dataclass(frozen=True)
class State:
    """What was last let through, and when."""

    mode: Mode
    t: float = -inf
    command_t: float = -inf
    car_t: float = -inf
    speed: float = 0.0
    acceleration: float = 0.0
    curvature: float = 0.0
    denied: float = 0.0  # s of denial so far


def initial(config: Config = Config(), engaged: bool = False) -> State:
    """Disengaged, unless the caller says that somebody has engaged it."""
    return State(Mode.ENGAGED if engaged else Mode.DISENGAGED)


def step(
    state: State, command: Command | None, car: CarState | None, t_now: float, config: Config = Config(), engage: bool = False
) -> tuple[State, SafeCommand]:
    """Judge one command. `engage` is a request made now; it is heard only if all inputs are good and no driver acts. Never raises."""
    refusal = _refusal(state, command, car, t_now, config)
    dt = t_now - state.t if _finite(t_now, state.t) else config.first_step
    dt = min(max(dt, 0.0), config.max_age)
    driver = _driver(car)
    denied = state.denied + dt if refusal else 0.0

    mode = state.mode
    if driver:
        mode = Mode.DISENGAGED
    elif not refusal and (engage or (mode == Mode.STOPPING and state.denied <= config.forgiven)):
        mode = Mode.ENGAGED
    elif refusal and mode == Mode.ENGAGED:
        mode = Mode.STOPPING
    if mode == Mode.STOPPING and not refusal:  # a latched stop outlives its cause
        denied = state.denied + dt

    t = t_now if _finite(t_now) else max(state.t, 0.0)
    command_t, car_t, speed = (state.command_t, state.car_t, state.speed) if refusal else (command.t, car.t, abs(car.speed))
    reasons, acceleration, curvature, signal = [], 0.0, 0.0, Signal.OFF
    if mode == Mode.DISENGAGED:
        reasons = [r for r in (driver, refusal) if r]
    else:
        wanted, turn = -config.stop_deceleration, state.curvature
        if mode == Mode.STOPPING:
            reasons, signal = [refusal or "stopped: engage again"], Signal.HAZARD
        else:
            wanted, turn, signal = command.acceleration, command.curvature, command.signal
        acceleration = _longitudinal(wanted, state.acceleration, speed, dt, reasons, config)
        curvature = _lateral(turn, state.curvature, speed, dt, reasons, config)
    state = State(mode, max(t, state.t), command_t, car_t, speed, acceleration, curvature, denied)
    return state, SafeCommand(t, acceleration, curvature, signal, mode != Mode.DISENGAGED, tuple(reasons))


def longitudinal_limits(speed: float) -> tuple[float, float, float]:
    """ISO 15622 at a speed: (deceleration 5 falling to 3.5, acceleration 4 to 2, negative jerk 5 to 2.5), from 5 to 20 m/s."""
    share = min(max((speed - 5.0) / 15.0, 0.0), 1.0)
    return 5.0 - 1.5 * share, 4.0 - 2.0 * share, 5.0 - 2.5 * share


def _refusal(state: State, command: Command | None, car: CarState | None, t_now: float, config: Config) -> str:
    """Why the inputs can't be used; empty when they can."""
    if not _finite(t_now):
        return "clock not finite"
    if t_now < state.t:
        return "clock ran backwards"
    if command is None:
        return "no command"
    if car is None:
        return "no car state"
    if not _finite(command.t, command.acceleration, command.curvature):
        return "command not finite"
    if not _finite(car.t, car.speed):
        return "car state not finite"
    for name, t, last in (("command", command.t, state.command_t), ("car state", car.t, state.car_t)):
        if t_now - t > config.max_age:
            return f"{name} late"
        if t < last or t > t_now + config.future:
            return f"{name} out of order"
    return ""


def _driver(car: CarState | None) -> str:
    """What the driver does that takes the car from us; a car state of any age counts."""
    if car is None:
        return ""
    acts = {"brake": car.driver_brake, "gas": car.driver_gas, "steering": car.driver_steer, "cancel": car.driver_cancel}
    return "driver: " + ", ".join(name for name, active in acts.items() if active) if any(acts.values()) else ""


def _longitudinal(wanted: float, last: float, speed: float, dt: float, reasons: list[str], config: Config) -> float:
    """The acceleration allowed. Harder than ISO 15622's braking is an emergency: let through at once, never weakened below it."""
    deceleration, acceleration, jerk = longitudinal_limits(speed)
    if wanted < -deceleration:
        reasons.append("emergency braking")
        if wanted < -config.emergency_deceleration:
            reasons.append("deceleration limited")
        return max(wanted, -config.emergency_deceleration)
    value = wanted
    if value > acceleration:
        reasons.append("acceleration limited")
        value = acceleration
    low, high = last - jerk * dt, last + config.max_release_jerk * dt
    if not low <= value <= high:
        reasons.append("jerk limited")
        value = min(max(value, low), high, acceleration)  # a limit that falls with speed beats a jerk
    return value


def _lateral(wanted: float, last: float, speed: float, dt: float, reasons: list[str], config: Config) -> float:
    """The curvature allowed."""
    squared = max(speed, 1e-3) ** 2  # avoids dividing by zero; other limits are tighter below about 2 m/s
    step = min(config.max_lateral_jerk / squared, config.max_curvature_rate) * dt
    value = min(max(wanted, last - step), last + step)
    if value != wanted:
        reasons.append("lateral jerk limited")
    bound = min(config.max_lateral_acceleration / squared, config.max_curvature)
    if abs(value) > bound:
        reasons.append("curvature limited" if bound == config.max_curvature else "lateral acceleration limited")
        value = min(max(value, -bound), bound)
    return value


def _finite(*values: float) -> bool:
    try:
        return all(isfinite(v) for v in values)
    except (TypeError, OverflowError):
        return False
