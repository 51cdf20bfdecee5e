"""What the phases of fetching share: numbers and state, how the last metre is walked, and where the palms go.

In: a spot from `planning.targets`, a World with a Room and palms. Out: velocities, palms, plans of a second.
The last metre is three proportional loops on where the box, later the table's edge, is thought to be. It knows no phase.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, parent_from_child, wrap
from nanopilot.messages import Behaviour, Plan, Room, World
from nanopilot.planning import walker
from nanopilot.planning.potential import cells

Array = np.ndarray

CALM = tuple(np.linspace(-0.5, 0.5, 11))  # rad/s of turning with a box in its hands: at 0.8 it slips


@dataclass(frozen=True)
class Config:
    box: str = ""  # its colour; "": any
    table: str = ""
    walk: walker.Config = field(default_factory=walker.Config)
    carry: walker.Config = field(default_factory=lambda: walker.Config(body=0.48, roomy=0.75, turns=CALM))  # what is held sticks out
    settle: float = 10.0  # s that it stands at first: its feet tell what its gyro is off
    sure: float = 0.02  # weight of looks from which a thing is believed
    same: float = 0.6  # m that where a thing is thought to be may move from one look to the next
    again: float = 0.45  # m around what turned out to be no box or no table, where none is looked for again
    least_table: float = 0.46  # m: a foot that is less wide, seen from near, is no table's
    behind: tuple[float, float] = (0.25, 0.1)  # m that a box's middle may be behind its table's front, and more by the root of its weight
    closely: float = 1.8  # m from which things are surely seen
    survey: float = 1.2  # m before the table that it is for, where that is looked at first
    survey_held: float = 1.6  # m, the same with the box in its hands, which hides the floor up to 1.3 m
    looks: int = 12  # steps that it stands there
    looks_held: int = 30
    visit: float = 30.0  # s at most for that
    before: float = 0.95  # m from the box to the pelvis where `go` ends
    stuck: float = 1.0  # m from there within which it is enough, too, where no arc is better than standing
    aligned: float = 0.75  # m to it at which it is turned to and stepped aside
    looking: float = 0.15  # m before it stands there that it looks where the box is
    arm: float = 0.40  # m to it, and to where it is put, at which it stops: within reach, so that it is held in its middle and does not tip
    half_depth: float = 0.10  # m of a box: parcels of 17 to 23 cm
    half_width: float = 0.125  # m across: of 22 to 28 cm
    other_side: float = 0.8  # rad between where the box's seen side looks and the table's front from which it is not the box's front
    overhang: float = 0.10  # m that tables' tops stand out over their feet
    edge: tuple[float, float] = (
        -0.15,
        0.08,
    )  # m that a box's middle is before its table's front: what looks say beyond that is their error
    clear: float = 0.3  # m before a table's foot where it steps no nearer
    inside: float = 0.17  # m from a top's edge to where the box's middle is put
    grip: float = 0.84  # m above the floor: 10 cm above a table
    over: float = 0.12  # m higher, where nothing is touched
    low: float = 0.72  # m above the floor where palms carry: over what is held the floor is seen from 1.3 m on
    lowered: float = 3.2  # s that it stands to lower it, and to raise it again: moved while walking, it slips
    ready: float = 0.27  # m before the pelvis
    held: float = 0.34
    longest: float = 0.43  # m that arms reach forward (the arms' solver is 1 cm short there)
    wide: float = 0.25  # m, half the open palms' distance
    tight: float = 0.06  # m: pressed as far as the body lets
    open: float = 1.7  # s that palms take to open
    above: float = 1.05  # m above the floor where open palms are over any box, which a turned one could catch on the way back
    nothing: float = 0.18  # m between palms from which nothing is held: parcels are 22 to 28 cm wide
    hand: float = 0.2  # m/s of the palms
    close: float = 0.12  # m/s of a palm when squeezing
    gently: float = 0.08  # m/s of palms that hold something: at 0.2 it slipped
    still: float = 1.2  # s that it stands and looks before it reaches: it comes to rest up to 0.1 m aside
    gain: float = 1.2  # 1/s of the last metre's loops
    aside: float = 0.7  # 1/s of that to the side, where it sways
    creep: float = 0.2  # m/s at most there
    square: float = 0.07  # m aside from which it does not step nearer: an open palm would push the box
    square_held: float = 0.12  # m aside that do not matter with a box in its hands: tables are long
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
    box: tuple[float, float] | None = None  # where the chosen ones are, room frame
    table: tuple[float, float] | None = None
    refused: tuple[tuple[float, float], ...] = ()  # where things turned out not to be what they seemed, room frame
    steady: int = 0
    failed: int = 0


def way(yaw: float) -> Float[Array, "2"]:
    return np.array([np.cos(yaw), np.sin(yaw)])


def before_us(spot: tuple[float, float, float], room: Room) -> tuple[float, float]:
    x, y = child_from_parent(np.array(spot[:2]), room.x, room.y, room.yaw)
    return float(x), float(np.clip(y, -0.12, 0.12))


def loops(spot: tuple[float, float, float], away: float, room: Room, c: Config) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """What is missing (ahead, left, turn) to stand `away` before the spot and look at it, and the velocity that mends it."""
    ahead, left = child_from_parent(np.array(spot[:2]) + away * way(spot[2]), room.x, room.y, room.yaw)
    off = np.array([ahead, left, wrap(spot[2] + np.pi - room.yaw)])
    velocity = np.clip((c.gain, c.aside, c.gain) * off, (-c.creep, -c.creep, -0.5), (c.creep, c.creep, 0.5))
    side = np.copysign(1.0, velocity[1])
    if _occupied(room, (-0.2, 0.2), (0.2 * side, c.beside * side)):
        velocity[1] = 0.0
    if velocity[0] < 0.0 and _occupied(room, (-c.beside, -0.2), (-0.25, 0.25)):
        velocity[0] = 0.0
    return off, velocity


def before_foot(world: World, c: Config) -> bool:
    """Whether a table's foot is too near ahead for another step."""
    for k in world.things:
        if k.kind == "table" and k.weight > c.sure:
            away, along = np.array([k.x, k.y]) @ -way(k.yaw), abs(float(np.array([-np.sin(k.yaw), np.cos(k.yaw)]) @ (k.x, k.y)))
            if 0.0 < away < c.clear and along < k.width / 2 and abs(wrap(k.yaw + np.pi)) < 0.8:
                return True
    return False


def _occupied(room: Room, x: tuple[float, float], y: tuple[float, float]) -> bool:
    """Whether the map has a thing in a rectangle of the vehicle frame."""
    xs, ys = np.meshgrid(np.linspace(*x, 7), np.linspace(*y, 7))
    at = cells(parent_from_child(np.stack([xs.ravel(), ys.ravel()], -1), room.x, room.y, room.yaw), room)
    value = room.occupancy[at[:, 0], at[:, 1]]
    return bool(((value >= walker.Config.occupied) & (value != Room.UNKNOWN)).any())


def hands(state: State, world: World, goal: tuple[float, float, float, float], c: Config, dt: float, speed: float | None = None) -> State:
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


def holding(world: World, c: Config) -> bool:
    """Something keeps the palms apart."""
    return world.reach.left[1] - world.reach.right[1] > c.nothing


def go_on(state: State, phase: str) -> State:
    return replace(state, phase=phase, since=state.t, steady=0)


def after(state: State, seconds: float, phase: str) -> State:
    return go_on(state, phase) if state.t - state.since >= seconds else state


def still(world: World, reason: str) -> Plan:
    return plan_of(world, np.zeros(3), reason, Behaviour.STOP)


def moving(world: World, velocity: Float[Array, "3"], reason: str) -> Plan:
    return plan_of(world, velocity, reason, Behaviour.KEEP_LANE)


def plan_of(world: World, velocity: Float[Array, "3"], reason: str, behaviour: Behaviour) -> Plan:
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
