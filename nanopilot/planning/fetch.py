"""Fetching a box: World with things, a Room and palms -> Plan, by a state machine that reads like the errand.

    look -> visit -> go -> align -> near -> reach -> squeeze -> lift -> back -> carry -> align -> near -> lower -> release -> leave -> done

In: boxes and tables as the world knows them, and the names of the wanted ones. Out: walking, and where the palms should be. Ways to tables
are `planning.walker`'s; the last metre is three proportional loops on where the box, later the table's edge, is thought to be.
The box is taken over the front edge of its table, squeezed between two palms, and put down at the height at which it was taken.
It looks again when it grasped nothing, three times. It knows no box on the floor, and no table with somebody before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, parent_from_child, wrap
from nanopilot.messages import Behaviour, Plan, Reach, Room, Thing, VehicleModel, World
from nanopilot.planning import walker

Array = np.ndarray


CALM = tuple(np.linspace(-0.5, 0.5, 11))  # rad/s of turning with a box in its hands: at 0.8 it slips


@dataclass(frozen=True)
class Config:
    box: str = ""  # its colour; "": any
    table: str = ""
    walk: walker.Config = field(default_factory=walker.Config)
    carry: walker.Config = field(default_factory=lambda: walker.Config(body=0.42, roomy=0.7, turns=CALM))  # what is held sticks out
    settle: float = 6.0  # s that it stands at first: its feet tell what its gyro is off
    sure: float = 0.02  # weight of looks from which a thing is believed
    closely: float = 1.8  # m from which things are surely seen
    survey: float = 1.2  # m before the table that it is for, where that is looked at first
    visit: float = 30.0  # s at most for that
    before: float = 0.95  # m from the box to the pelvis where `go` ends
    stuck: float = 1.0  # m from there within which it is enough, too, where no arc is better than standing
    aligned: float = 0.75  # m to it at which it is turned to and stepped aside
    looking: float = 0.15  # m before it stands there that it looks where the box is
    arm: float = 0.43  # m to it, and to where it is put, at which it stops: as far as arms reach, so that it is held in its middle
    half_depth: float = 0.10  # m of a box: parcels of 17 to 23 cm
    overhang: float = 0.10  # m that tables' tops stand out over their feet
    inside: float = 0.14  # m from a top's edge to where the box's middle is put
    grip: float = 0.84  # m above the floor: 10 cm above a table
    over: float = 0.12  # m higher, where nothing is touched
    ready: float = 0.27  # m before the pelvis
    held: float = 0.34
    longest: float = 0.43  # m that arms reach forward (the arms' solver is 1 cm short there)
    wide: float = 0.22  # m, half the open palms' distance
    tight: float = 0.06  # m: pressed as far as the body lets
    nothing: float = 0.18  # m between palms from which nothing is held: parcels are 22 to 28 cm wide
    hand: float = 0.2  # m/s of the palms
    close: float = 0.12  # m/s of a palm when squeezing
    gently: float = 0.08  # m/s of palms that hold something: at 0.2 it slipped
    still: float = 1.2  # s that it stands and looks before it reaches: it comes to rest up to 0.1 m aside
    gain: float = 1.2  # 1/s of the last metre's loops
    aside: float = 0.7  # 1/s of that to the side, where it sways
    creep: float = 0.2  # m/s at most there
    beside: float = 0.42  # m to the side or behind where a thing forbids stepping that way: elbows reach 0.3 m
    patience: float = 20.0  # s of aligning until it tries from anew
    tries: int = 3


@dataclass(frozen=True)
class State:
    phase: str = "look"
    since: float = 0.0  # s
    t: float = 0.0
    walk: walker.State = walker.State()
    turned: float = 0.0  # rad while looking around
    yaw: float = 0.0
    spot: tuple[float, float, float] | None = None  # of the box's middle or where it shall be, and where its front looks, room frame
    palms: tuple[float, float, float, float] | None = None  # x, y, z of their middle, half their distance; None: not up yet
    carrying: bool = False
    visited: bool = False  # the table that it is for was looked at from near
    steady: int = 0
    failed: int = 0


def initial(config: Config = Config()) -> State:
    return State(walk=walker.initial(config.walk))


def step(state: State, world: World, vehicle: VehicleModel, config: Config) -> tuple[State, Plan]:
    """The plan at world.t. Raises ValueError for a world without a room or without palms."""
    room = world.room
    if room is None or world.reach is None:
        raise ValueError("fetching needs a room and palms")
    dt = min(max(world.t - state.t, 0.0), 0.5)
    state = replace(state, t=world.t, turned=state.turned + abs(wrap(room.yaw - state.yaw)), yaw=room.yaw)
    state, plan = PHASES[state.phase](state, world, room, vehicle, config, dt)
    reach = None
    if state.palms is not None:
        x, y, z, half = state.palms
        reach = Reach((x, y + half, z), (x, y - half, z))
    return state, replace(plan, reach=reach)


# --------------------------------------------------------------------------- phases


def _look(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Turn once around, then go near all of the floor, until both things are known."""
    box, table = wanted(world.things, c)
    if state.failed >= c.tries:
        return state, _still(world, "grasped nothing, gave up")
    if world.t < c.settle:
        return replace(state, since=world.t), _still(world, "stands, to know its gyro")
    if box is not None and table is not None and world.t - state.since > 1.0:
        return _next(state, "go" if state.visited else "visit"), _still(world, f"found the {box.colour} box and the {table.colour} table")
    missing = "box" if box is None else "table"
    if state.turned < 2 * np.pi + 0.3:
        return state, _moving(world, np.array([0.0, 0.0, 0.6]), f"looks around for the {missing}")
    walk, plan = walker.step(state.walk, world, vehicle, replace(c.walk, task="explore", closely=c.closely))
    if plan.behaviour == Behaviour.ARRIVED:
        return state, _still(world, f"there is no such {missing} to be seen")
    return replace(state, walk=walk), replace(plan, reason=f"looks for the {missing}")


def _visit(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Squarely before the table that it is for, with hands down: what is carried will hide it later."""
    spot = _spot(replace(state, carrying=True), world, room, c) or state.spot
    if spot is None or world.t - state.since > c.visit:
        return replace(_next(state, "go"), visited=True), _still(world, "leaves the table")
    state = replace(state, spot=spot)
    off, velocity = _loops(spot, c.survey, room, c)
    if np.hypot(*off[:2]) > c.aligned:
        walk, plan = _walked(state, world, room, vehicle, c.walk, c.survey)
        return replace(state, walk=walk, steady=0), replace(plan, reason="goes to see the table", behaviour=Behaviour.KEEP_LANE)
    if abs(off[2]) > 0.5:
        velocity[:2] = 0.0
    good = abs(off[0]) < 0.2 and abs(off[1]) < 0.15 and abs(off[2]) < 0.15
    state = replace(state, steady=state.steady + 1 if good else 0)
    if state.steady >= 12:
        return replace(_next(state, "go"), visited=True), _still(world, "has seen the table")
    return state, _moving(world, velocity, "looks at the table")


def _walked(state: State, world: World, room: Room, vehicle: VehicleModel, c: walker.Config, away: float) -> tuple[walker.State, Plan]:
    """The way to `away` before the spot."""
    at = child_from_parent(np.array(state.spot[:2]) + away * _way(state.spot[2]), room.x, room.y, room.yaw)
    there = replace(world, route_line=np.array([[0.0, 0.0], at]), goal_distance=float(np.hypot(*at)))
    return walker.step(replace(state.walk, arrived=False), there, vehicle, c)


def _go(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """To before the box's table, or before the table that it is for."""
    spot = _spot(state, world, room, c)
    if spot is None:
        return _next(state, "look"), _still(world, "lost it")
    if state.carrying and not _holding(world, c):
        return replace(_next(state, "look"), carrying=False, failed=c.tries), _still(world, "dropped it")
    state = replace(state, spot=spot)
    away = c.before + (0.15 if state.carrying else 0.0)
    walk, plan = _walked(state, world, room, vehicle, c.carry if state.carrying else c.walk, away)
    state = replace(state, walk=walk)
    if state.carrying:
        state = _hands(state, world, (c.held, 0.0, c.grip + c.over, c.tight), c, dt, c.gently)  # raised while walking, it slips
    stuck = plan.behaviour == Behaviour.STOP and np.hypot(*_loops(spot, away, room, c)[0][:2]) < c.stuck
    if plan.behaviour == Behaviour.ARRIVED or stuck:
        return _next(state, "align"), plan
    return state, replace(plan, reason=f"{'carries it' if state.carrying else 'goes to it'}, {plan.reason}", behaviour=Behaviour.KEEP_LANE)


def _align(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Face it squarely from a little away, hands up."""
    spot = _spot(state, world, room, c) or state.spot
    state = replace(state, spot=spot)
    half, x = (c.tight, c.held) if state.carrying else (c.wide, c.ready)
    state = _hands(state, world, (x, 0.0, c.grip + (c.over if state.carrying else 0.06), half), c, dt, c.gently if state.carrying else None)
    off, velocity = _loops(spot, c.aligned + (0.1 if state.carrying else 0.0), room, c)
    if abs(off[2]) > 0.5:
        velocity[:2] = 0.0  # turn first
    good = abs(off[0]) < 0.15 and abs(off[1]) < 0.05 and abs(off[2]) < 0.1
    state = replace(state, steady=state.steady + 1 if good else 0)
    if state.steady >= 3 and world.t - state.since > 2.0:
        return _next(state, "near"), _still(world, "before it")
    if world.t - state.since > c.patience:
        return _next(state, "go"), _still(world, "comes anew")
    return state, _moving(world, velocity, "faces the table" if state.carrying else "faces the box")


def _near(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Up to the table, slowly; the last steps without looking: the foot of the box leaves the picture, and hands hide it."""
    off, _ = _loops(state.spot, c.arm, room, c)
    spot = (_spot(state, world, room, c) if off[0] > c.looking else None) or state.spot
    state = replace(state, spot=spot)
    state = _hands(state, world, state.palms, c, dt)
    off, velocity = _loops(spot, c.arm, room, c)
    good = abs(off[0]) < 0.03 and abs(off[1]) < 0.04 and abs(off[2]) < 0.12
    state = replace(state, steady=state.steady + 1 if good else 0)
    late = world.t - state.since > c.patience
    if state.steady >= 3 or (late and abs(off[0]) < 0.06 and abs(off[1]) < 0.07):
        return _next(state, "lower" if state.carrying else "reach"), _still(world, "at the table")
    if late:
        return _next(state, "back"), _still(world, "comes anew")
    return state, _moving(world, velocity, "steps up to it")


def _reach(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """A last look, then open palms to both sides of the box. From there on it is where it was last seen: hands hide it."""
    if world.t - state.since < c.still:
        return replace(state, spot=_spot(state, world, room, c) or state.spot), _still(world, "looks once more")
    x, y = _before_us(state.spot, room)
    state = _hands(state, world, (min(x, c.longest), y, c.grip, c.wide), c, dt)
    return _after(state, c.still + 2.5, "squeeze"), _still(world, "reaches")


def _squeeze(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    x, y = _before_us(state.spot, room)
    state = _hands(state, world, (min(x, c.longest), y, c.grip, c.tight), c, dt)
    if world.t - state.since > 2.8 and not _holding(world, c):
        return replace(_next(state, "release"), failed=state.failed + 1), _still(world, "nothing between the palms")
    return _after(replace(state, carrying=_holding(world, c)), 3.0, "lift"), _still(world, "squeezes")


def _lift(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    x, y, _, half = state.palms
    state = _hands(state, world, (x, y, c.grip + c.over, half), c, dt, c.gently)
    return _after(state, 2.5, "back"), _still(world, "lifts")


def _back(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Away from the table, as it came."""
    _, _, z, half = state.palms
    state = _hands(state, world, (c.held if state.carrying else c.ready, 0.0, z, half), c, dt, c.gently)
    turn = float(np.clip(wrap(state.spot[2] + np.pi - room.yaw), -0.3, 0.3))
    return _after(state, 3.0, "go"), _moving(world, np.array([-0.25, 0.0, turn]), "backs off")


def _lower(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Over the spot, then down to the height at which it was taken."""
    x, y = _before_us(state.spot, room)
    over = world.t - state.since < 1.5
    state = _hands(state, world, (min(x, c.longest), y, c.grip + c.over if over else c.grip - 0.005, c.tight), c, dt, c.gently)
    return _after(state, 4.5, "release"), _still(world, "puts it down")


def _release(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    x, y, z, _ = state.palms
    state = _hands(state, world, (x, y, z, c.wide), c, dt)
    return _after(state, 2.5, "leave"), _still(world, "lets go")


def _leave(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    """Back; done where it was put down, looking anew where it was never had."""
    following = "done" if state.carrying else "look"
    plan = _moving(world, np.array([-0.25, 0.0, 0.0]), "leaves")
    return replace(_after(state, 2.5, following), turned=0.0, walk=walker.initial(c.walk)), plan


def _done(state: State, world: World, room: Room, vehicle: VehicleModel, c: Config, dt: float) -> tuple[State, Plan]:
    return state, _plan(world, np.zeros(3), "done", Behaviour.ARRIVED)


PHASES = {
    "look": _look, "visit": _visit, "go": _go, "align": _align, "near": _near, "reach": _reach, "squeeze": _squeeze, "lift": _lift,
    "back": _back, "lower": _lower, "release": _release, "leave": _leave, "done": _done,
}  # fmt: skip


# --------------------------------------------------------------------------- what phases share


def wanted(things: tuple[Thing, ...], c: Config) -> tuple[Thing | None, Thing | None]:
    """The box to fetch and the table to bring it to: of the colours named, surely seen; the box is on a table, and that is not the one."""
    tables = [k for k in things if k.kind == "table" and k.weight > c.sure]
    boxes = [k for k in things if k.kind == "box" and k.weight > c.sure and c.box in ("", k.colour) and _under(k, tables)]
    box = max(boxes, key=lambda k: k.weight, default=None)
    under = box and _under(box, tables)
    others = [k for k in tables if k is not under and c.table in ("", k.colour)]
    return box, max(others, key=lambda k: k.weight, default=None)


def _under(box: Thing, tables: list[Thing]) -> Thing | None:
    """The table that a box stands on: the nearest one, where it is near."""
    near = min(tables, key=lambda k: np.hypot(k.x - box.x, k.y - box.y), default=None)
    return near if near is not None and np.hypot(near.x - box.x, near.y - box.y) < 0.8 else None


def _spot(state: State, world: World, room: Room, c: Config) -> tuple[float, float, float] | None:
    """Where the box's middle is, or shall be, and where the table's front looks; room frame."""
    if state.carrying:
        tables = [k for k in world.things if k.kind == "table" and k.weight > c.sure and c.table in ("", k.colour)]
        if state.spot is not None and not c.table:  # not the one it came from
            tables = [k for k in tables if np.hypot(*(_placed(k, room) - state.spot[:2])) > 0.8 or state.phase != "go"]
        thing = max(tables, key=lambda k: k.weight, default=None)
        front, depth = thing, c.inside - c.overhang
    else:
        thing, _ = wanted(world.things, c)
        tables = [k for k in world.things if k.kind == "table" and k.weight > c.sure]
        front, depth = (thing and _under(thing, tables)) or thing, c.half_depth
    if thing is None:
        return state.spot if state.phase not in ("look", "go") else None
    yaw = wrap(front.yaw + room.yaw)
    x, y = _placed(thing, room) - depth * _way(yaw)
    return float(x), float(y), float(yaw)


def _placed(thing: Thing, room: Room) -> Float[Array, "2"]:
    return parent_from_child(np.array([thing.x, thing.y]), room.x, room.y, room.yaw)


def _way(yaw: float) -> Float[Array, "2"]:
    return np.array([np.cos(yaw), np.sin(yaw)])


def _before_us(spot: tuple[float, float, float], room: Room) -> tuple[float, float]:
    x, y = child_from_parent(np.array(spot[:2]), room.x, room.y, room.yaw)
    return float(x), float(np.clip(y, -0.12, 0.12))


def _loops(spot: tuple[float, float, float], away: float, room: Room, c: Config) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """What is missing (ahead, left, turn) to stand `away` before the spot and look at it, and the velocity that mends it."""
    ahead, left = child_from_parent(np.array(spot[:2]) + away * _way(spot[2]), room.x, room.y, room.yaw)
    off = np.array([ahead, left, wrap(spot[2] + np.pi - room.yaw)])
    velocity = np.clip((c.gain, c.aside, c.gain) * off, (-c.creep, -c.creep, -0.5), (c.creep, c.creep, 0.5))
    side = np.copysign(1.0, velocity[1])
    if _occupied(room, (-0.2, 0.2), (0.2 * side, c.beside * side)):
        velocity[1] = 0.0
    if velocity[0] < 0.0 and _occupied(room, (-c.beside, -0.2), (-0.25, 0.25)):
        velocity[0] = 0.0
    return off, velocity


def _occupied(room: Room, x: tuple[float, float], y: tuple[float, float]) -> bool:
    """Whether the map has a thing in a rectangle of the vehicle frame."""
    xs, ys = np.meshgrid(np.linspace(*x, 7), np.linspace(*y, 7))
    at = walker.cells(parent_from_child(np.stack([xs.ravel(), ys.ravel()], -1), room.x, room.y, room.yaw), room)
    value = room.occupancy[at[:, 0], at[:, 1]]
    return bool(((value >= walker.Config.occupied) & (value != Room.UNKNOWN)).any())


def _hands(state: State, world: World, goal: tuple[float, float, float, float], c: Config, dt: float, speed: float | None = None) -> State:
    """Palms a step nearer to (x, y, z of their middle, half their distance), from where they are."""
    now = state.palms
    if now is None:
        left, right = np.array(world.reach.left), np.array(world.reach.right)
        now = (*((left + right) / 2), float(left[1] - right[1]) / 2)
    way = np.array(goal[:3]) - now[:3]
    share = min(1.0, (speed or c.hand) * dt / max(float(np.linalg.norm(way)), 1e-9))
    half = now[3] + float(np.clip(goal[3] - now[3], -c.close * dt, c.close * dt))
    x, y, z = np.array(now[:3]) + share * way
    return replace(state, palms=(float(x), float(y), float(z), half))


def _holding(world: World, c: Config) -> bool:
    """Something keeps the palms apart."""
    return world.reach.left[1] - world.reach.right[1] > c.nothing


def _next(state: State, phase: str) -> State:
    return replace(state, phase=phase, since=state.t, steady=0)


def _after(state: State, seconds: float, phase: str) -> State:
    return _next(state, phase) if state.t - state.since >= seconds else state


def _still(world: World, reason: str) -> Plan:
    return _plan(world, np.zeros(3), reason, Behaviour.STOP)


def _moving(world: World, velocity: Float[Array, "3"], reason: str) -> Plan:
    return _plan(world, velocity, reason, Behaviour.KEEP_LANE)


def _plan(world: World, velocity: Float[Array, "3"], reason: str, behaviour: Behaviour) -> Plan:
    """Constant velocity in the body's axes, for a second."""
    times = 0.2 * np.arange(6)
    vx, vy, turn = velocity
    yaw = turn * times
    bend = np.sinc(yaw / (2 * np.pi))
    c, s = np.cos(yaw / 2) * bend * times, np.sin(yaw / 2) * bend * times
    n = len(times)
    return Plan(
        t=world.t, behaviour=behaviour, reason=reason, times=times, xy=np.stack([c * vx - s * vy, s * vx + c * vy], -1), yaw=yaw,
        speed=np.full(n, vx), acceleration=np.zeros(n), curvature=np.full(n, turn / vx if vx > 0.05 else 0.0),
    )  # fmt: skip
