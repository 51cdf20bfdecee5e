"""A humanoid's control: Plan + what the body tells -> Command with a Walk.

In: the plan, in the vehicle frame of its time. Out: the velocity over the floor that follows it from now on: the plan's first stretch.
The gait is the body's; so is undoing that it walks slower than asked. It keeps no integral: the planner plans anew each step.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    turn = float(plan.yaw[1] - plan.yaw[0]) / dt
    speed = float(plan.speed[0])
    return state, Command(plan.t, 0.0, turn / speed if speed > 0.05 else 0.0, walk=Walk(speed, 0.0, turn))
