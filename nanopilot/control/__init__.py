"""Plan + CarState -> Command: the plan at the time the car will answer, plus a little feedback.

In: the newest plan (it may be some steps old), the car's bus, the vehicle model. Out: acceleration and curvature to
ask for now. The car's way since the plan's own time is dead-reckoned, carried on by the actuator delay, and compared
with where the plan is then (delay compensation by prediction; Rajamani, Vehicle Dynamics and Control, ch. 3).
Without a fresh plan it brakes gently on its arc. It limits nothing but the steering's reach: `safety` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from nanopilot import dynamics
from nanopilot.messages import CarState, Command, Plan, Signal, VehicleModel

ARC = 30  # m of curvature sent ahead: 50 km/h to a stand at 4 m/s² takes 24


@dataclass(frozen=True)
class Config:
    stale: float = 0.5  # s: an older plan is not followed
    stale_deceleration: float = 2.0  # m/s², UN R157 (second-hand) allows 4
    speed_gain: float = 0.8  # 1/s: m/s² per m/s of speed error
    offset_gain: float = 0.02  # 1/m per m at `gain_speed`, tuned in closed loop
    heading_gain: float = 0.15  # 1/m per rad at `gain_speed`
    gain_speed: float = 8.0  # m/s: lateral gains fall with the square of speed above it
    standstill_speed: float = 0.15  # m/s: below, with a plan to stand, hold the brake
    hold_deceleration: float = 1.0  # m/s², guess
    emergency_deceleration: float = 5.0  # m/s²: what ISO 15622 (second-hand) allows at most; a plan beyond it is an emergency
    emergency_time: float = 0.6  # s: and its hardest braking within this time is asked for at once, guess


@dataclass(frozen=True)
class State:
    """The plan followed, and how the car has moved in its frame since."""

    plan_t: float | None = None
    motion: dynamics.Motion = dynamics.Motion()
    t: float = 0.0


def initial(config: Config = Config()) -> State:
    """No plan yet."""
    return State()


def step(state: State, plan: Plan, car: CarState, vehicle: VehicleModel, config: Config = Config()) -> tuple[State, Command]:
    """The command for the car state `car`; raises nothing on an old plan, but brakes."""
    now = dynamics.motion_from_car(car, vehicle)
    since = plan.t if state.plan_t != plan.t else state.t
    origin = dynamics.Motion() if state.plan_t != plan.t else state.motion
    moved = dynamics.advance(now._replace(x=origin.x, y=origin.y, yaw=origin.yaw, acceleration=0.0), max(car.t - since, 0.0))
    motion = now._replace(x=moved.x, y=moved.y, yaw=moved.yaw)
    state = State(plan.t, motion, car.t)
    if car.t - plan.t > config.stale:
        return state, Command(car.t, -config.stale_deceleration, now.curvature, Signal.HAZARD)

    then = dynamics.after_delay(motion, vehicle)
    when = car.t - plan.t + vehicle.actuator_delay
    x, y, yaw, speed, acceleration, curvature = (
        float(np.interp(when, plan.times, values))
        for values in (plan.xy[:, 0], plan.xy[:, 1], plan.yaw, plan.speed, plan.acceleration, plan.curvature)
    )
    offset = cos(yaw) * (then.y - y) - sin(yaw) * (then.x - x)
    heading = float(np.remainder(then.yaw - yaw + np.pi, 2 * np.pi) - np.pi)
    fade = min(1.0, (config.gain_speed / max(then.speed, 1.0)) ** 2)
    curvature -= fade * (config.offset_gain * offset + config.heading_gain * heading)
    reach = dynamics.max_curvature(vehicle)
    acceleration += config.speed_gain * (speed - then.speed)
    hardest = float(plan.acceleration[plan.times <= config.emergency_time].min())
    if hardest < -config.emergency_deceleration:
        acceleration = hardest
    if now.speed < config.standstill_speed and plan.speed[-1] < config.standstill_speed:
        acceleration = -config.hold_deceleration
    acceleration = float(np.clip(acceleration, -vehicle.max_deceleration, vehicle.max_acceleration))
    along = np.concatenate([[0.0], np.cumsum(np.diff(plan.times) * (plan.speed[1:] + plan.speed[:-1]) / 2)])
    metres = np.interp(car.t - plan.t, plan.times, along) + np.arange(ARC)
    arc = tuple(np.clip(np.interp(metres, along, plan.curvature), -reach, reach).tolist())
    return state, Command(car.t, acceleration, float(np.clip(curvature, -reach, reach)), plan.signal, arc)
