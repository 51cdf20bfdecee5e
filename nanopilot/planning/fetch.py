"""Fetching a box: World with things, a Room and palms -> Plan, by a state machine that reads like the errand.

    look -> visit -> go -> align -> near -> reach -> squeeze -> lift -> back -> visit -> align -> near -> lower -> release -> leave -> done

In: boxes and tables as the world knows them, and the names of the wanted ones. Out: walking, and where the palms should be. Ways to tables
are `planning.walker`'s; which box and table, and where they are, `planning.targets`'; the last metre, and palms, `planning.reaching`'s.
The box is taken over the front edge of its table, squeezed between two palms, and put down at the height at which it was taken.
It looks again when it grasped nothing, three times. It knows no box on the floor, and no table with somebody before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nanopilot.geometry import child_from_parent, wrap
from nanopilot.messages import Behaviour, Plan, Reach, Room, VehicleModel, World
from nanopilot.planning import walker
from nanopilot.planning.reaching import (
    Config,
    State,
    after,
    before_foot,
    before_us,
    go_on,
    hands,
    holding,
    loops,
    moving,
    plan_of,
    still,
    way,
)  # fmt: skip
from nanopilot.planning.targets import at, choice, doubted, dropped, kept, refuse, spot_of


def initial(config: Config = Config()) -> State:
    return State(walk=walker.initial(config.walk))


def step(state: State, world: World, vehicle: VehicleModel, config: Config) -> tuple[State, Plan]:
    """The plan at world.t. Raises ValueError for a world without a room or without palms."""
    room = world.room
    if room is None or world.reach is None:
        raise ValueError("fetching needs a room and palms")
    dt = min(max(world.t - state.t, 0.0), 0.5)
    state = replace(state, t=world.t, turned=state.turned + abs(wrap(room.yaw - state.yaw)), yaw=room.yaw)
    state = kept(state, world, room, config)
    state, plan = PHASES[state.phase](state, world, room, vehicle, config, dt)
    reach = None
    if state.palms is not None:
        x, y, z, half = state.palms
        reach = Reach((x, y + half, z), (x, y - half, z))
    return state, replace(plan, reach=reach)


# --------------------------------------------------------------------------- phases


def _look(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Turn once around, then go near all of the floor, until both things are known."""
    box, table = choice(state, world, room, c)
    if state.failed >= c.tries:
        return state, still(world, "grasped nothing, gave up")
    if world.t < c.settle:
        return replace(state, since=world.t), still(world, "stands, to know its gyro")
    if box is not None and table is not None and world.t - state.since > 1.0:
        state = replace(state, box=at(box, room), table=at(table, room))
        return go_on(state, "go" if state.visited else "visit"), still(world, f"found the {box.colour} box and the {table.colour} table")
    missing = "box" if box is None else "table"
    if state.turned < 2 * np.pi + 0.3:
        return state, moving(world, np.array([0.0, 0.0, 0.6]), f"looks around for the {missing}")
    walk, plan = walker.step(state.walk, world, vehicle, replace(c.walk, task="explore", closely=c.closely))
    if plan.behaviour == Behaviour.ARRIVED:
        return state, still(world, f"there is no such {missing} to be seen")
    return replace(state, walk=walk), replace(plan, reason=f"looks for the {missing}")


def _visit(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Squarely before the table that it is for: first with free hands, to know it; then with the box, as the way there was reckoned."""
    spot = spot_of(replace(state, carrying=True), world, room, c) or state.spot
    if state.carrying and not holding(world, c):
        return dropped(state, c), still(world, "dropped it")
    if spot is None or world.t - state.since > c.visit:
        return replace(go_on(state, "go"), visited=True), still(world, "leaves the table")
    state = replace(state, spot=spot)
    away, looks, gait = (c.survey_held, c.looks_held, c.carry) if state.carrying else (c.survey, c.looks, c.walk)
    if state.carrying:
        state = hands(state, world, (c.held, 0.0, c.low, c.tight), c, dt, c.gently)
    off, velocity = loops(spot, away, room, c)
    if np.hypot(*off[:2]) > c.aligned:
        walk, plan = _walked(state, world, room, vehicle, gait, away)
        return replace(state, walk=walk, steady=0), replace(plan, reason="goes to see the table", behaviour=Behaviour.KEEP_LANE)
    if abs(off[2]) > 0.5:
        velocity[:2] = 0.0
    good = abs(off[0]) < 0.2 and abs(off[1]) < 0.15 and abs(off[2]) < 0.15
    state = replace(state, steady=state.steady + 1 if good else 0)
    if state.steady < looks:
        return state, moving(world, velocity, "looks at the table")
    if state.carrying:
        return go_on(state, "align"), still(world, "sees where the table is")
    if (table := choice(state, world, room, c)[1]) is not None and table.width < c.least_table:
        return go_on(refuse(state, state.table or at(table, room)), "look"), still(world, "that is no table")
    return replace(go_on(state, "go"), visited=True), still(world, "has seen the table")


def _walked(state: State, world: World, room: Room, vehicle: VehicleModel, c: walker.Config, away: float) -> tuple[walker.State, Plan]:
    """The way to `away` before the spot."""
    goal = child_from_parent(np.array(state.spot[:2]) + away * way(state.spot[2]), room.x, room.y, room.yaw)
    there = replace(world, route_line=np.array([[0.0, 0.0], goal]), goal_distance=float(np.hypot(*goal)))
    return walker.step(replace(state.walk, arrived=False), there, vehicle, c)


def _go(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """To before the box's table, or before the table that it is for."""
    spot = spot_of(state, world, room, c)
    if spot is None:
        return go_on(state, "look"), still(world, "lost it")
    if state.carrying and not holding(world, c):
        return dropped(state, c), still(world, "dropped it")
    state = replace(state, spot=spot)
    away = c.before + (0.15 if state.carrying else 0.0)
    walk, plan = _walked(state, world, room, vehicle, c.carry if state.carrying else c.walk, away)
    state = replace(state, walk=walk)
    if state.carrying:
        state = hands(state, world, (c.held, 0.0, c.low, c.tight), c, dt, c.gently)
    stuck = plan.behaviour == Behaviour.STOP and np.hypot(*loops(spot, away, room, c)[0][:2]) < c.stuck
    if plan.behaviour == Behaviour.ARRIVED or stuck:
        return go_on(state, "align"), plan
    return state, replace(plan, reason=f"{'carries it' if state.carrying else 'goes to it'}, {plan.reason}", behaviour=Behaviour.KEEP_LANE)


def _align(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Face it squarely from a little away, hands up."""
    spot = spot_of(state, world, room, c) or state.spot
    state = replace(state, spot=spot)
    half, x = (c.tight, c.held) if state.carrying else (c.wide, c.ready)
    state = hands(state, world, (x, 0.0, c.grip + (c.over if state.carrying else 0.06), half), c, dt, c.gently if state.carrying else None)
    off, velocity = loops(spot, c.aligned + (0.1 if state.carrying else 0.0), room, c)
    if state.carrying and world.t - state.since < c.lowered:
        return state, still(world, "raises it")
    if abs(off[2]) > 0.5:
        velocity[:2] = 0.0  # turn first
    good = abs(off[0]) < 0.15 and abs(off[1]) < (c.square_held if state.carrying else 0.05) and abs(off[2]) < 0.1
    state = replace(state, steady=state.steady + 1 if good else 0)
    if state.steady >= 3 and world.t - state.since > 2.0:
        return go_on(state, "near"), still(world, "before it")
    if world.t - state.since > c.patience:
        return go_on(state, "go"), still(world, "comes anew")
    return state, moving(world, velocity, "faces the table" if state.carrying else "faces the box")


def _near(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Up to the table, slowly; the last steps without looking: the foot of the box leaves the picture, and hands hide it."""
    off, _ = loops(state.spot, c.arm, room, c)
    spot = (spot_of(state, world, room, c) if off[0] > c.looking else None) or state.spot
    state = replace(state, spot=spot)
    state = hands(state, world, state.palms, c, dt)
    off, velocity = loops(spot, c.arm, room, c)
    if abs(off[1]) > (c.square_held if state.carrying else c.square) or before_foot(world, c):
        velocity[0] = min(velocity[0], 0.0)
    good = abs(off[0]) < 0.03 and abs(off[1]) < (c.square_held if state.carrying else 0.04) and abs(off[2]) < 0.12
    state = replace(state, steady=state.steady + 1 if good else 0)
    late = world.t - state.since > c.patience
    if state.steady >= 3 or (late and abs(off[0]) < 0.06 and abs(off[1]) < 0.07):
        return go_on(state, "lower" if state.carrying else "reach"), still(world, "at the table")
    if late and not state.carrying:
        return go_on(doubted(state, world, room, c), "back"), still(world, "comes anew")
    if late:
        return go_on(state, "back"), still(world, "comes anew")
    return state, moving(world, velocity, "steps up to it")


def _reach(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """A last look, then open palms to both sides of the box. From there on it is where it was last seen: hands hide it."""
    if world.t - state.since < c.still:
        return replace(state, spot=spot_of(state, world, room, c) or state.spot), still(world, "looks once more")
    x, y = before_us(state.spot, room)
    state = hands(state, world, (min(x, c.longest), y, c.grip, c.wide), c, dt)
    return after(state, c.still + 2.5, "squeeze"), still(world, "reaches")


def _squeeze(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    x, y = before_us(state.spot, room)
    state = hands(state, world, (min(x, c.longest), y, c.grip, c.tight), c, dt)
    if world.t - state.since > 2.8 and not holding(world, c):
        state = doubted(replace(state, failed=state.failed + 1), world, room, c)
        return go_on(state, "release"), still(world, "nothing between the palms")
    return after(replace(state, carrying=holding(world, c)), 3.0, "lift"), still(world, "squeezes")


def _lift(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    x, y, _, half = state.palms
    state = hands(state, world, (x, y, c.grip + c.over, half), c, dt, c.gently)
    return after(state, 2.5, "back"), still(world, "lifts")


def _back(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Away from the table, as it came; what it has is then lowered, so that it sees where it goes."""
    _, _, z, half = state.palms
    away = world.t - state.since > 3.0
    state = hands(
        state, world, (c.held if state.carrying else c.ready, 0.0, c.low if away and state.carrying else z, half), c, dt, c.gently
    )
    if away:
        return after(state, 3.0 + (c.lowered if state.carrying else 0.0), "visit" if state.carrying else "go"), still(world, "lowers it")
    turn = float(np.clip(wrap(state.spot[2] + np.pi - room.yaw), -0.3, 0.3))
    return state, moving(world, np.array([-0.25, 0.0, turn]), "backs off")


def _lower(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Over the spot, then down to the height at which it was taken."""
    x, y = before_us(state.spot, room)
    over = world.t - state.since < 1.5
    state = hands(state, world, (min(x, c.longest), y, c.grip + c.over if over else c.grip - 0.005, c.tight), c, dt, c.gently)
    return after(state, 4.5, "release"), still(world, "puts it down")


def _release(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Open the palms, then raise them over the box."""
    x, y, z, _ = state.palms
    state = hands(state, world, (x, y, z if world.t - state.since < c.open else c.above, c.wide), c, dt)
    return after(state, c.open + 1.5, "leave"), still(world, "lets go")


def _leave(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Back; done where it was put down, looking anew where it was never had."""
    following = "done" if state.carrying else "look"
    plan = moving(world, np.array([-0.25, 0.0, 0.0]), "leaves")
    return replace(after(state, 2.5, following), turned=0.0, walk=walker.initial(c.walk)), plan


def _done(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    return state, plan_of(world, np.zeros(3), "done", Behaviour.ARRIVED)


PHASES = {
    "look": _look, "visit": _visit, "go": _go, "align": _align, "near": _near, "reach": _reach, "squeeze": _squeeze, "lift": _lift,
    "back": _back, "lower": _lower, "release": _release, "leave": _leave, "done": _done,
}  # fmt: skip
