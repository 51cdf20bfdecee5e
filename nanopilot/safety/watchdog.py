"""What a body does when commands stop coming: along the last plan, and to a stand.

In: each of the body's own steps the command that came since the last one (or None), the body's own bus, its clock. Out: what it does now.
A command is obeyed as it is. Without one the car is steered along the last plan after `missed` seconds, by dead reckoning with its
own wheel speed and yaw rate (`follow`), and after `max_age` it is braked to a stand too. It runs in the body and asks nothing of the
pilot's process, so that nothing there can hang or kill it. It sees nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from nanopilot.messages import Alert, CarState, Mode, SafeCommand, Signal
from nanopilot.safety import Config, follow, inputs, limits
from nanopilot.safety.follow import Followed

MISSED = 0.1  # s: two steps at 20 Hz, which a command may be on its way
ROUNDING = 1e-6  # s


@dataclass(frozen=True)
class State:
    """The last command, how the body has moved along its plan since, and what it was told last."""

    last: SafeCommand | None = None
    t: float = -inf
    speed: float = 0.0
    followed: Followed = Followed()
    acceleration: float = 0.0
    curvature: float = 0.0


def initial() -> State:
    """No command yet."""
    return State()


def step(
    state: State, command: SafeCommand | None, car: CarState | None, t_now: float, config: Config = Config()
) -> tuple[State, SafeCommand]:
    """What the body does at `t_now`."""
    dt = min(t_now - state.t, config.inputs.max_age) if t_now > state.t else config.inputs.nominal_step
    speed, yaw_rate = _own_motion(state, car, dt, config)
    if command is None:
        state = replace(state, t=t_now, speed=speed, followed=follow.moved(state.followed, speed, yaw_rate, dt))
    else:
        state = State(command, t_now, speed, Followed(command.arc), command.acceleration, command.curvature)
    last = state.last
    if last is None:
        return state, SafeCommand(t_now, 0.0, 0.0, Signal.OFF, False, ("no command",))
    age = t_now - last.t if t_now >= last.t else inf
    stop = age > config.inputs.max_age
    if not last.engaged:  # an intervention nobody confirms any more ends: the car is the driver's
        ends = stop and (last.brakes or last.steers or last.precharge)
        ended = SafeCommand(t_now, 0.0, 0.0, Signal.OFF, False, ("no command",), last.mode, last.alert, last.speed)
        return state, ended if ends else last
    if age <= MISSED + ROUNDING:
        return state, last
    turn = follow.curvature(state.followed, speed, state.curvature, config.follow)
    curvature = limits.lateral(turn, state.curvature, None, speed, dt, [], config.limits)
    if not stop:
        return replace(state, curvature=curvature), replace(last, curvature=curvature)
    wanted = min(-config.stop_deceleration, last.acceleration)
    acceleration = limits.longitudinal(wanted, state.acceleration, None, speed, dt, True, [], config.limits)
    done = SafeCommand(t_now, acceleration, curvature, Signal.HAZARD, True, ("no command",), Mode.MINIMUM_RISK, Alert.URGENT, speed)
    return replace(state, acceleration=acceleration, curvature=curvature), done


def _own_motion(state: State, car: CarState | None, dt: float, config: Config) -> tuple[float, float | None]:
    """The body's speed, and its yaw rate where it is known."""
    if car is None or not inputs.finite(car.speed, car.yaw_rate):
        return max(state.speed + state.acceleration * dt, 0.0), None
    return min(abs(car.speed), config.inputs.max_speed), car.yaw_rate
