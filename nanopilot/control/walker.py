"""A humanoid's control: Plan + what the body tells -> Command with a Walk, and with a Reach where the plan has one.

In: the plan, in the vehicle frame of its time. Out: the velocity over the floor that follows it from now on: the plan's first stretch.
The gait is the body's; so is undoing that it walks slower than asked. It keeps no integral: the planner plans anew each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

from nanopilot.messages import CarState, Command, Plan, VehicleModel, Walk


@dataclass(frozen=True)
class Config:
    pass


@dataclass(frozen=True)
class State:
    pass


def initial(config: Config = Config()) -> State:
    return State()


def step(state: State, plan: Plan, car: CarState, vehicle: VehicleModel, config: Config) -> tuple[State, Command]:
    """The command at plan.t."""
    dt = float(plan.times[1] - plan.times[0])
    bend = float(plan.yaw[1] - plan.yaw[0])
    turn, (x, y) = bend / dt, (plan.xy[1] - plan.xy[0]) / dt
    c, s = cos(bend / 2), sin(bend / 2)  # a stretch of constant velocity in the body's axes is an arc whose chord looks half its turn aside
    chord = sin(bend / 2) / (bend / 2) if abs(bend) > 1e-6 else 1.0
    vx, vy = float(c * x + s * y) / chord, float(c * y - s * x) / chord
    return state, Command(plan.t, 0.0, turn / vx if vx > 0.05 else 0.0, walk=Walk(vx, vy, turn), reach=plan.reach)
