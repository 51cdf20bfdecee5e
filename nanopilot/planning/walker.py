"""Where a humanoid walks next: World with a Room -> Plan, for the tasks walk, explore and follow.

In: the occupancy grid, people's tracks, the goal. Out: two seconds of walking, in the vehicle frame. A potential (metres still to walk,
more where it is tight or unknown) is spread from the goal over the grid; then arcs of constant speed and turn are tried, and the one
that ends lowest without coming near things or people is taken: global dynamic window (Fox et al. 1997; Brock and Khatib 1999).
A task only chooses the goal: `walk` goes where navigation says, `explore` to the nearest edge of what is known, `follow` to a place
behind the first person that it saw move. People are predicted at constant velocity. It knows nothing of stairs or doors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32

from nanopilot.geometry import child_from_parent, parent_from_child
from nanopilot.messages import Behaviour, Plan, Room, Track, VehicleModel, World
from nanopilot.planning.aside import gives_way, nearest, roomier_side, steps_off
from nanopilot.planning.potential import BIG, WEAKLY, cells, descent, frontier, read, smooth, spread

Array = np.ndarray

LOOKS_AROUND = "looks around"
Task = Literal["walk", "explore", "follow"]


@dataclass(frozen=True)
class Config:
    task: Task = "walk"
    speeds: tuple[float, ...] = (0.0, 0.15, 0.3, 0.45, 0.6)  # m/s tried
    turns: tuple[float, ...] = tuple(np.linspace(-0.8, 0.8, 17))  # rad/s tried
    horizon: float = 2.0  # s
    step: float = 0.2  # s
    occupied: int = 60  # percent from which a cell is a thing
    body: float = (
        0.42  # m from the middle: nothing may come nearer (arms are 0.27 m out, it sways by 0.07, mapped things lack a rim of 0.1)
    )
    touching: float = 0.36  # m within which it steps to where there is more room: arms would touch
    narrow: float = 0.55  # m within which things are walked away from
    narrowness: float = 2.0  # m that a metre less than that costs, on average over an arc; less than the way costs there, or it would stand
    roomy: float = 0.7  # m from which more room is worth nothing
    tight: float = 4.0  # times the way costs more at `body` than at `roomy`
    unknown: float = 1.6  # times it costs where nothing was seen
    ahead: float = 0.45  # m beyond an arc's end where the potential is read, so that turning on the spot pays
    facing: float = 0.2  # share of the potential ahead that counts, besides our own, where we stand before a near goal
    near: float = 0.8  # weight of (roomy - clearance), m per m
    person: float = 1.0  # m that people are kept away from, middle to middle
    elbow_room: float = 0.65  # m from somebody within which it steps away where it would stand: arms touch at 0.57
    elbow_seen: float = 1.5  # s unseen after which it doesn't
    patience: float = 2.0  # s of waiting for people after which it doesn't wait for them to go first: they may wait for us
    goes: float = 3.0  # s that it doesn't then
    retreat: float = 2.5  # s that it goes where nobody is after twice that, so that they walk on
    lonely: float = 1.15  # m from everybody that such a place is
    wary: float = 1.5  # m from which they cost
    restless: float = 0.05  # m for a rad/s of change to the last turn
    arrived: float = 0.3  # m
    as_near: float = 0.38  # m that is near enough where a thing stands too near to the goal, or no step brings it nearer
    stuck: float = 5.0  # s without a step after which that is so
    replan: float = 0.4  # s between potentials
    distance: float = 1.6  # m that follow stays behind
    slack: float = 0.25  # m of that without walking
    near_lost: float = 1.2  # m from where somebody was last seen that it turns on the spot and looks
    look_around: float = 0.8  # rad/s
    given_up: float = 8.3  # s of that, once around, after which it searches elsewhere
    roam: float = 5.0  # s of searching until it turns once around again
    lost: tuple[float, float] = (1.5, 2.2)  # s unseen from which, and m within which, no step aside goes to where somebody was
    sure: float = 0.7  # probability above which somebody is followed: who has been seen to move
    watched: float = 8.0  # s that somebody else of that probability is followed, too: perhaps he waits for us to give way
    apart: float = 1.2  # m from the followed within which it steps back
    search: float = 2.5  # m that it comes near to all free floor while it searches for somebody
    settles: float = 6.0  # s that a walk begins with standing, in which the body learns its gyro's bias
    squeezes: float = 4.0  # s that it passes where it is tight, when it has been stuck with nobody near
    slim: float = 0.34  # m from the middle that things may come then
    afresh: float = 5.0  # s that it then walks elsewhere, if that didn't help: from there things may look otherwise
    elsewhere: tuple[float, float] = (1.0, 2.0)  # m away
    coast: float = 0.37  # s of the speed lost that it goes on: 0.22 m from 0.6 m/s to standing
    lean: float = 0.01  # m/s to where there is more room: a gait that starts sways aside by 0.15 m, and this says to which
    steep: float = 0.3  # rad off the way from which it turns to it where it would else stand
    looked: float = 0.9  # m within which an edge of what is known has been looked at
    closely: float = 0.0  # m that `explore` comes near to all free floor, not only to edges of what is known; 0: it does not
    enough: float = 4.0  # s of looking at an edge that stays: nothing more is to be seen there


@dataclass(frozen=True)
class State:
    potential: Float32[Array, "h w"] | None = None
    planned: float = -1.0  # s
    turn: float = 0.0  # rad/s, the last chosen
    followed: int = -1  # track
    last_seen: tuple[float, float] | None = None  # of the followed person, room frame
    lost: float = 0.0  # s since which it looks around where it was lost
    stood: float = 0.0  # s since its last step
    waited: float = 0.0  # s that it has stood near people, less those that it has walked since
    goes: float = -1.0  # s, until when it doesn't wait for people
    retreats: float = -1.0  # s, until when it goes where nobody is
    squeezes: float = -1.0  # s, until when it passes where it is tight
    afresh: float = -1.0  # s, until when it walks elsewhere
    arrived: bool = False
    t: float = 0.0  # s
    looked: Float32[Array, "h w"] | None = None  # s that each cell was near, of `explore`


def initial(config: Config = Config()) -> State:
    return State()


def step(state: State, world: World, vehicle: VehicleModel, config: Config) -> tuple[State, Plan]:
    """The plan at world.t. Raises ValueError for a world without a room."""
    room = world.room
    if room is None:
        raise ValueError("a walker's planner needs a room")
    thing = (room.occupancy >= config.occupied) & (room.occupancy != Room.UNKNOWN)
    clearance = cv2.distanceTransform((~thing).astype(np.uint8), cv2.DIST_L2, 5) * room.cell  # (H, W) m
    dt = min(max(world.t - state.t, 0.0), 0.5)
    if config.task == "walk" and world.t < config.settles:
        return replace(state, t=world.t), _plan(world, np.zeros(3), "stands for its gyro", Behaviour.STOP, config)
    alone = nearest(world) > config.wary
    if alone and state.stood > config.stuck:
        state = replace(state, squeezes=world.t + config.squeezes)
    if alone and state.stood > config.stuck + config.squeezes:
        state = replace(state, afresh=world.t + config.afresh, squeezes=world.t, stood=0.0)
    if world.t < state.squeezes:
        config = replace(config, body=config.slim, touching=config.slim - 0.04)
    state, goals, reason, still = _task(state, world, room, clearance, config)
    elsewhere = _elsewhere(room, clearance, config) if world.t < state.afresh and not still else np.zeros((0, 2), int)
    if len(elsewhere):
        goals, reason = elsewhere, "looks from elsewhere"
    if state.potential is None or world.t - state.planned >= config.replan:
        cost = _cost(room, clearance, world.tracks, config)
        state = replace(state, potential=spread(cost, goals, room.cell), planned=world.t)
    if still:
        return replace(state, turn=0.0), _plan(world, np.zeros(3), reason, Behaviour.ARRIVED if state.arrived else Behaviour.STOP, config)
    if reason == LOOKS_AROUND:
        side = np.copysign(config.look_around, state.turn)
        return replace(state, turn=side, t=world.t), _plan(world, np.array([0.0, 0.0, side]), reason, Behaviour.KEEP_LANE, config)
    off = steps_off(world, room, clearance, config.touching, config.elbow_room)
    if off is not None:
        return replace(state, turn=0.0, t=world.t), _plan(world, np.array([*off, 0.0]), "steps off", Behaviour.KEEP_LANE, config)
    speed, turn, why = _choose(state, world, room, clearance, config)
    follows = config.task == "follow"
    near = config.apart if follows else config.elbow_room
    away = gives_way(world, room, clearance, near, config.elbow_seen, config.body, config.lost, follows) if speed == 0.0 else None
    waited = state.waited + (dt if speed == 0.0 and not alone else -dt)
    stood = state.stood + dt if speed == 0.0 else 0.0
    goes = world.t + config.goes if waited > config.patience else state.goes
    state = replace(state, t=world.t, stood=stood, waited=max(0.0, waited), goes=goes)
    if away is not None:
        turn = turn if follows else 0.0
        return replace(state, turn=turn), _plan(world, np.array([*away, turn]), "gives way", Behaviour.KEEP_LANE, config)
    if speed == 0.0 and turn == 0.0:
        return replace(state, turn=0.0), _plan(world, np.zeros(3), why or reason, Behaviour.STOP, config)
    lean = config.lean * roomier_side(world, room, clearance)
    return replace(state, turn=turn), _plan(world, np.array([speed, lean, turn]), why or reason, Behaviour.KEEP_LANE, config)


# --------------------------------------------------------------------------- tasks: each says where to go, and whether to stand


def _task(state: State, world: World, room: Room, clearance: Array, config: Config) -> tuple[State, Array, str, bool]:
    """New state, goal cells (n, 2) as row and column, a few words, and whether to stand still."""
    if config.task == "explore":
        state, edge = _edges(state, world, room, clearance, config)
        done = len(edge) == 0 and world.t > 3.0
        return replace(state, arrived=state.arrived or done), edge, "explore" if not done else "all seen", done or len(edge) == 0
    if config.task == "follow":
        return _follow(state, world, room, clearance, config)
    if not len(world.route_line):
        return state, np.zeros((0, 2), int), "no goal", True
    goal = cells(parent_from_child(world.route_line[-1:], room.x, room.y, room.yaw), room)
    blocked = clearance[goal[0, 0], goal[0, 1]] < config.body
    if state.waited > 2 * config.patience:
        state = replace(state, retreats=world.t + config.retreat, waited=0.0)
    lonely = _lonely(world, room, clearance, config) if world.t < state.retreats else np.zeros((0, 2), int)
    if len(lonely):
        return state, lonely, "makes room", False
    there = state.arrived or world.goal_distance < (config.as_near if blocked or state.stood > config.stuck else config.arrived)
    if blocked and (clearance >= config.body).any():  # as near to it as may be stood
        v, u = np.indices(clearance.shape)
        away = np.where(clearance >= config.body, np.hypot(v - goal[0, 0], u - goal[0, 1]) * room.cell, np.inf)
        goal = np.argwhere(away < max(config.as_near, away.min() + room.cell) - room.cell / 2)
    return replace(state, arrived=there), goal, f"{world.goal_distance:.1f} m to the goal", there


def _lonely(world: World, room: Room, clearance: Array, config: Config) -> Array:
    """Known free cells (n, 2) that are `lonely` m from everybody, as row and column."""
    free = (clearance >= config.body) & (room.occupancy < WEAKLY)
    return np.argwhere(np.logical_and.reduce([free, *(_away(track, room) > config.lonely for track in world.tracks)]))


def _elsewhere(room: Room, clearance: Array, config: Config) -> Array:
    """Known free cells (n, 2) not far from here, as row and column."""
    row, column = cells(np.array([[room.x, room.y]]), room)[0]
    v, u = np.ogrid[: clearance.shape[0], : clearance.shape[1]]
    away, (near, far) = np.hypot(v - row, u - column) * room.cell, config.elsewhere
    return np.argwhere((clearance >= config.body) & (room.occupancy < WEAKLY) & (away > near) & (away < far))


def _away(track: Track, room: Room) -> Float[Array, "h w"]:
    """Metres from somebody to each cell."""
    row, column = cells(parent_from_child(np.array([[track.x, track.y]]), room.x, room.y, room.yaw), room)[0]
    v, u = np.ogrid[: room.occupancy.shape[0], : room.occupancy.shape[1]]
    return np.hypot(v - row, u - column) * room.cell


def _edges(state: State, world: World, room: Room, clearance: Array, config: Config) -> tuple[State, Array]:
    """Edges of what is known (or floor not yet come `closely` to) that can be come near to and were not looked at for long: row, column."""
    looked = np.zeros(room.occupancy.shape, np.float32) if state.looked is None else state.looked
    v, u = np.indices(looked.shape)
    away = np.hypot(room.origin[0] + (u + 0.5) * room.cell - room.x, room.origin[1] + (v + 0.5) * room.cell - room.y)
    looked = looked + np.float32(min(max(world.t - state.t, 0.0), 0.5)) * (away < (config.closely or config.looked))
    _, label = cv2.connectedComponents(((clearance >= config.body) | (away < config.body)).astype(np.uint8), connectivity=4)
    row, column = cells(np.array([[room.x, room.y]]), room)[0]
    beyond = cv2.distanceTransform((label != label[row, column]).astype(np.uint8), cv2.DIST_L2, 5) * room.cell
    edge = np.argwhere((room.occupancy < WEAKLY) & (looked == 0)) if config.closely else frontier(room)
    near = (beyond[edge[:, 0], edge[:, 1]] < config.body + room.cell) & (looked[edge[:, 0], edge[:, 1]] < config.enough)
    return replace(state, looked=looked, t=world.t), edge[near]


def _follow(state: State, world: World, room: Room, clearance: Array, config: Config) -> tuple[State, Array, str, bool]:
    sure = [t for t in world.tracks if t.probability > config.sure]
    sure = sure or [t for t in world.tracks if t.probability == config.sure and t.age < config.watched]
    track = next((t for t in sure if t.id == state.followed), None)
    if track is None and sure:  # the nearest to where the last one was, or to straight ahead
        where = np.array([1.5, 0.0]) if state.last_seen is None else child_from_parent(np.array(state.last_seen), room.x, room.y, room.yaw)
        track = min(sure, key=lambda t: np.hypot(t.x - where[0], t.y - where[1]))
    if track is None and state.last_seen is not None:
        near = np.hypot(state.last_seen[0] - room.x, state.last_seen[1] - room.y) < config.near_lost
        state = replace(state, lost=state.lost if near else world.t)
        if world.t - state.lost < config.given_up:
            return state, cells(np.array([state.last_seen]), room), LOOKS_AROUND if near else "lost sight", False
        state = replace(state, last_seen=None, looked=None, lost=world.t)
    if track is None and (world.t - state.lost) % (config.roam + config.given_up) > config.roam:
        return state, np.zeros((0, 2), int), LOOKS_AROUND, False
    if track is None:
        state, edge = _edges(state, world, room, clearance, replace(config, closely=config.search))
        return state if len(edge) else replace(state, looked=None), edge, "nobody to follow yet", len(edge) == 0  # or from anew
    at = parent_from_child(np.array([track.x, track.y]), room.x, room.y, room.yaw)
    seen = (float(at[0]), float(at[1])) if track.probability > config.sure else state.last_seen
    state = replace(state, followed=track.id, last_seen=seen, lost=world.t if track.probability > config.sure else state.lost)
    distance = float(np.hypot(track.x, track.y))
    close = config.apart < distance < config.distance + config.slack and abs(np.arctan2(track.y, track.x)) < 0.3
    return state, cells(at[None], room), f"{distance:.1f} m behind", close


# --------------------------------------------------------------------------- arcs


def _cost(room: Room, clearance: Array, tracks: tuple[Track, ...], config: Config) -> Float32[Array, "h w"]:
    """Metres that a metre counts for in each cell."""
    tightness = np.clip((config.roomy - clearance) / (config.roomy - config.body), 0.0, 1.0)
    cost = 1.0 + config.tight * tightness
    cost = np.where(room.occupancy == Room.UNKNOWN, cost * config.unknown, cost)
    for track in tracks:  # who stands in the way is walked around, who walks is waited for
        if config.task != "follow" and np.hypot(track.vx, track.vy) < 0.2:
            away = _away(track, room)
            cost = np.where(away < config.person, cost + 8.0, cost)
            cost[away < min(config.person, float(np.hypot(track.x, track.y))) - room.cell] = 60.0
    cost[clearance < config.body] = 60.0  # passed only to get out
    return cost.astype(np.float32)


def _choose(state: State, world: World, room: Room, clearance: Array, config: Config) -> tuple[float, float, str]:
    """The best (speed, turn), and why where it is none."""
    speeds = np.array([v for v in config.speeds if v <= world.speed_limit + 1e-9])
    speed, turn = (a.ravel() for a in np.meshgrid(speeds, np.array(config.turns), indexing="ij"))
    poses = arcs(speed, turn, config.horizon, config.step)  # (n, k, 3)
    poses[..., 0] += config.coast * np.maximum(0.0, world.speed - speed)[:, None]  # legs slow down no faster
    xy = parent_from_child(poses[..., :2], room.x, room.y, room.yaw)
    room_left = read(clearance, xy, room)  # (n, k)
    start = float(read(clearance, np.array([[[room.x, room.y]]]), room)[0, 0])
    least = min(config.body, start - 0.02)
    first = poses[:, 0]
    coasted = first[:, :2] + config.coast * speed[:, None] * np.stack([np.cos(first[:, 2]), np.sin(first[:, 2])], -1)
    stops = read(clearance, parent_from_child(coasted, room.x, room.y, room.yaw)[None], room)[0]
    allowed = (room_left.min(1) >= least) & (stops >= least)  # it may have to stop at any moment
    now, patient, moving = nearest(world), _patient(state, config), speed > 0
    away = np.full(room_left.shape, np.inf)
    times = config.step * np.arange(1, poses.shape[1] + 1)
    for track in world.tracks:
        now_at, v = np.array([track.x, track.y]), np.array([track.vx, track.vy])
        to = np.hypot(*np.moveaxis(poses[..., :2] - (now_at + times[:, None] * v), -1, 0))
        away = np.minimum(away, to)
        nearest_to = np.minimum(to.min(1), np.hypot(*(coasted - now_at - config.coast * v).T))
        allowed &= ~moving | (nearest_to >= min(config.person, np.hypot(*now_at) + (0.05 if patient else 0.0)))  # no nearer to any
    end = poses[:, -1]
    look = end[:, :2] + config.ahead * np.stack([np.cos(end[:, 2]), np.sin(end[:, 2])], -1)
    score = smooth(state.potential, parent_from_child(look, room.x, room.y, room.yaw), room)
    passed = smooth(state.potential, xy.reshape(-1, 2), room).reshape(room_left.shape).min(1)
    # a goal nearer than `ahead` is not walked past; one that is beside us is turned to
    near = np.where(moving, np.minimum(score, passed), passed + config.facing * score)
    score = np.where(passed < np.where(moving, 1.0, 2.0) * config.ahead, near, score)
    score = score + config.narrowness * np.maximum(0.0, config.narrow - room_left).mean(1)
    score = score + config.near * np.maximum(0.0, config.roomy - room_left.min(1)) + config.restless * np.abs(turn - state.turn)
    score = score + np.where(moving & patient, 1.5 * np.maximum(0.0, config.wary - away.min(1)), 0.0)
    score = np.where(allowed, score, np.inf)
    best = int(np.argmin(score))
    if not np.isfinite(score[best]) or score[best] >= BIG / 2:
        return 0.0, 0.0, "no way"
    if not moving[best] and (now > config.wary or not patient):  # nobody is waited for: turn to where the way goes
        way, limit = descent(state.potential, room), min(config.look_around, max(config.turns))
        return 0.0, float(np.clip(way, -limit, limit)) if abs(way) > config.steep else float(turn[best]), ""
    return float(speed[best]), float(turn[best]), "wait" if not moving[best] and now < config.wary + 0.5 else ""


def _patient(state: State, config: Config) -> bool:
    """Whether it waits for people to go first; who is followed always goes first."""
    return config.task == "follow" or state.t >= state.goes


def arcs(speed: Float[Array, " n"], turn: Float[Array, " n"], horizon: float, step: float) -> Float[Array, "n k 3"]:
    """x, y, yaw along each arc of constant speed and turn, after 1, 2, ... steps."""
    t = step * np.arange(1, round(horizon / step) + 1)
    yaw = turn[:, None] * t
    bend = np.sinc(yaw / (2 * np.pi))  # sin(yaw / 2) / (yaw / 2)
    length = speed[:, None] * t * bend
    return np.stack([length * np.cos(yaw / 2), length * np.sin(yaw / 2), yaw], -1)


def _plan(world: World, velocity: Float[Array, "3"], reason: str, behaviour: Behaviour, config: Config) -> Plan:
    """Constant speed and turn, or a step aside or back without turning."""
    speed, turn = velocity[0], velocity[2]
    poses = arcs(np.array([speed]), np.array([turn]), config.horizon, config.step)[0]
    poses = np.concatenate([np.zeros((1, 3)), poses])
    poses[:, 1] += velocity[1] * config.step * np.arange(len(poses))
    n = len(poses)
    return Plan(
        t=world.t,
        behaviour=behaviour,
        reason=reason,
        times=config.step * np.arange(n),
        xy=poses[:, :2],
        yaw=poses[:, 2],
        speed=np.full(n, speed),
        acceleration=np.zeros(n),
        curvature=np.full(n, turn / speed if speed > 0.05 else 0.0),
    )
