"""A humanoid's world: the floor around it as an occupancy grid, people as tracks, boxes and tables as it last saw them well, and its place.

In: Observations with a WalkerState, and the Percept of each picture. Out: a World with a Room. The grid is in the frame of the start;
place and yaw are the body's dead reckoning as it comes (matching each picture's edges with the map was tried: standing still for 6 s,
it moved 0.15 m). Occupancy is a log-odds grid (Moravec and Elfes 1985); people are kept out of it and followed by an alpha-beta
filter each (Kalata 1984). Boxes and tables are means of what was seen, weighted by how good the look was, with old looks fading.
What moved away is forgotten when its floor is seen free again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from jaxtyping import Float, Float32

from nanopilot.geometry import child_from_parent, image_from_vehicle, parent_from_child, rotation_2d, wrap
from nanopilot.messages import (
    CameraModel,
    Detection,
    Kind,
    Observation,
    Percept,
    Room,
    RoomClass,
    Thing,
    Track,
    Turn,
    WalkerState,
    World,
)  # fmt: skip

Array = np.ndarray


@dataclass(frozen=True)
class Config:
    cell: float = 0.1  # m
    origin: tuple[float, float] = (-6.0, -8.0)  # m, of the grid's corner in the frame of the start
    size: tuple[int, int] = (160, 180)  # cells along y and x: 16 m by 18 m
    bearings: tuple[float, ...] = tuple(np.linspace(-0.9, 0.9, 91))  # rad, of Percept.free_distance
    far: float = 4.999  # m: free that far, nothing was met
    free: float = -0.35  # log-odds of a cell that a ray passes, guess
    hit: float = 0.9  # of one where it ends, guess
    trusted: float = 2.5  # m up to which it counts in full; further it counts less by the square
    limit: float = 4.0  # log-odds
    thickness: float = 0.1  # m of a thing that an edge stands for
    person_margin: float = 0.12  # rad on either side of a person that is no thing
    seen_for: float = 0.3  # s after a picture until the robot counts as blind
    gate: float = 0.7  # m between a track and what may belong to it
    alpha: float = 0.5  # share of a person's surprise that moves its place
    beta: float = 0.15  # and its velocity
    fastest: float = 1.5  # m/s of a person
    moved: float = 0.4  # m from where somebody was first seen, and a share of the distance more, from which it is no thing
    jumps: float = 0.1  # of the distance that places err by
    doubt: float = 0.7  # probability at most of who has not moved
    forget: float = 4.0  # s unseen: beside us they are out of the picture
    doubted: float = 0.5  # s unseen of who was seen once
    close: float = 1.2  # m nearer than which nobody is doubted: the picture's rim cuts who stands there, now and then seen
    doubted_close: float = 2.0  # s
    coast: float = 1.0  # s that who is out of sight is taken to walk on; then to stand, as people do who wait for us
    beyond: float = 0.4  # m of free floor behind somebody's place that say he is gone
    same: tuple[float, float] = (0.4, 0.8)  # m within which a box, a table is the one known before
    other_face: float = 0.8  # rad between the fronts of two looks at a table from which they saw two of its sides
    longer: float = 1.2  # times as long as the side known before is another side that is its front
    whole: float = 0.75  # of the known width that a look must show, else something hides the rest
    held: float = 0.32  # m between palms from which nothing is held between them
    before_us: float = 0.22  # m of palms from the pelvis: arms that hang are behind it
    doubtful: float = 0.15  # of the weight of a look at a part, or at another side than the front
    shrink: float = 0.99  # of the known width, each look: one that was too long is forgotten
    fade: tuple[float, float] = (0.8, 0.95)  # of the weight of earlier looks at a box, a table, each look


@dataclass(frozen=True)
class Person:
    id: int
    at: Float[Array, "2"]
    velocity: Float[Array, "2"]
    born: float
    seen: float
    began: tuple[float, float]  # where it was seen first, m
    count: int = 1
    moved: bool = False

    def place(self, t: float, coast: float) -> Float[Array, "2"]:
        return self.at + self.velocity * min(t - self.seen, coast)


@dataclass(frozen=True)
class Known:
    """A box or table in the frame of the start."""

    kind: str
    at: Float[Array, "2"]
    front: Float[Array, "2"]  # where its front looks, of length `weight`
    z: float
    width: float
    weight: float
    seen: float
    colours: tuple[tuple[str, float], ...]  # and how much weight spoke for each


@dataclass(frozen=True)
class State:
    grid: Float32[Array, "h w"]
    people: tuple[Person, ...] = ()
    next_id: int = 0
    goal: tuple[float, float] | None = None
    speed_limit: float = 0.6
    percept_t: float = -inf
    things: tuple[Known, ...] = ()


def initial(config: Config = Config()) -> State:
    return State(np.zeros(config.size, np.float32))


def expected(state: State, observation: Observation, config: Config) -> WalkerState:
    """How head and hands stand now, which perception needs for metres. Raises ValueError for a body without legs."""
    if observation.walker is None:
        raise ValueError("this world is a walker's, and the body says nothing of its legs")
    return observation.walker


def step(state: State, observation: Observation, percept: Percept | None, config: Config) -> tuple[State, World]:
    """The world at `observation.t`; the percept must be of the observation's frame."""
    walker, t = observation.walker, observation.t
    if walker is None:
        raise ValueError("this world is a walker's, and the body says nothing of its legs")
    if observation.route is not None:
        goal = observation.route.points[-1]
        state = replace(state, goal=(float(goal[0]), float(goal[1])), speed_limit=observation.route.speed_limit)
    pose = (walker.x, walker.y, wrap(walker.yaw))
    if percept is not None and percept.valid and percept.t > state.percept_t:
        here, edges, ends = _rays(percept, walker.camera, config)
        standing = ends & ~_persons_bearings(percept, walker.camera, config)
        grid = _drawn(state.grid, pose, here, edges, standing, ends, percept, walker.camera, config)
        state = replace(
            state, grid=grid, percept_t=percept.t, things=_remembered(state.things, percept.things, pose, t, config, _holds(walker, config))
        )
        state = _follow(state, pose, percept.objects, t, config)
        stayed = tuple(
            p for p in state.people if p.seen == t or not _seen_free(p.place(t, config.coast), percept, walker.camera, pose, config)
        )
        state = replace(state, people=stayed)
    state = replace(state, people=tuple(p for p in state.people if t - p.seen < _kept(p, pose, config)))
    return state, _told(state, pose, observation, config)


def _holds(walker: WalkerState, config: Config) -> bool:
    """Whether something may be between the palms."""
    return (
        walker.reach is not None and walker.reach.left[1] - walker.reach.right[1] < config.held and walker.reach.left[0] > config.before_us
    )


def _kept(p: Person, pose: tuple[float, float, float], config: Config) -> float:
    """Seconds that somebody unseen is kept."""
    if p.count > 1:
        return config.forget
    return config.doubted_close if np.hypot(*(p.at - pose[:2])) < config.close else config.doubted


def _rays(percept: Percept, camera: CameraModel, config: Config) -> tuple[Float[Array, "2"], Float[Array, "n 2"], Array]:
    """Where the rays begin, where each ends (vehicle frame), and whether something stands there."""
    heading = camera.yaw + np.array(config.bearings)
    free = percept.free_distance.astype(float)
    here = np.array([camera.x, camera.y])
    edges = here + free[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    return here, edges, (free > 0) & (free < config.far)


def _seen_free(at: Float[Array, "2"], percept: Percept, camera: CameraModel, pose: tuple[float, float, float], config: Config) -> bool:
    """Whether the picture shows free floor where `at` is and behind it."""
    x, y = child_from_parent(at, *pose) - (camera.x, camera.y)
    off = np.abs(np.array(config.bearings) - wrap(float(np.arctan2(y, x)) - camera.yaw))
    return bool(off.min() < 0.02 and percept.free_distance[off < 0.05].min() > np.hypot(x, y) + config.beyond)


def _persons_bearings(percept: Percept, camera: CameraModel, config: Config) -> Array:
    """Bearings at which a person may stand: what ends there is no thing."""
    out = np.zeros(len(config.bearings), bool)
    for one in percept.objects:
        if one.kind == Kind.PERSON:
            bearing = np.arctan2(one.position[1] - camera.y, one.position[0] - camera.x) - camera.yaw
            half = np.arctan2(one.width / 2, one.distance) + config.person_margin
            near = np.abs(np.array(config.bearings) - bearing) < half
            out |= near & (np.abs(percept.free_distance - one.distance) < 2 * one.width)
    return out


def _drawn(
    grid: Float32[Array, "h w"], pose: tuple[float, float, float], here: Array, edges: Array, standing: Array, ends: Array,
    percept: Percept, camera: CameraModel, config: Config,
) -> Float32[Array, "h w"]:  # fmt: skip
    """The grid with one picture's rays in it; each cell counts once a picture, and where a ray ends counts more than passing."""
    reach = np.hypot(*(edges - here).T)
    seen = reach > 0
    share = np.linspace(0.0, 1.0, 60)
    passing = np.maximum(reach - np.where(ends, config.cell, 0.0), 0.0)[seen, None] * share  # (n, 60)
    way = (edges - here)[seen] / reach[seen, None]
    points = here + passing[..., None] * way[:, None]  # (n, 60, 2)
    change = np.zeros_like(grid)
    weight = np.minimum(1.0, (config.trusted / np.maximum(passing, 0.1)) ** 2)
    rows, columns, inside = _cells(points.reshape(-1, 2), pose, config)
    inside &= ~_behind_ourselves(points.reshape(-1, 2), percept.scene, camera)
    order = np.argsort(weight.ravel()[inside])  # the nearest pass is written last
    change[rows[inside][order], columns[inside][order]] = config.free * weight.ravel()[inside][order]
    if standing.any():
        out = (edges[standing] - here) / reach[standing, None]
        for depth in (0.0, config.thickness):
            rows, columns, inside = _cells(edges[standing] + depth * out, pose, config)
            sure = np.minimum(1.0, (config.trusted / reach[standing]) ** 2)
            change[rows[inside], columns[inside]] = config.hit * sure[inside]
    return np.clip(grid + change, -config.limit, config.limit)


def _behind_ourselves(points: Float[Array, "n 2"], scene: Array, camera: CameraModel) -> Array:
    """Which points of the floor are hidden by our arms or by what they hold."""
    pixels, depth = image_from_vehicle(camera, np.concatenate([points, np.zeros((len(points), 1))], 1))
    at = np.round((pixels + 0.5) * (scene.shape[1] / camera.width) - 0.5).astype(int)
    shown = (depth > 0.05) & (at >= 0).all(1) & (at[:, 0] < scene.shape[1]) & (at[:, 1] < scene.shape[0])
    at = np.where(shown[:, None], at, 0)
    return shown & (scene[at[:, 1], at[:, 0]] == RoomClass.ROBOT)


def _remembered(
    known: tuple[Known, ...], seen: tuple[Thing, ...], pose: tuple[float, float, float], t: float, config: Config, holds: bool = False
) -> tuple[Known, ...]:
    """What is known of boxes and tables after a look: each goes to the nearest of its kind, or is new; what it holds hides tables."""
    out = list(known)
    for one in seen:
        at = parent_from_child(np.array([one.x, one.y]), *pose)
        yaw, weight = one.yaw + pose[2], one.weight
        front = weight * np.array([np.cos(yaw), np.sin(yaw)])
        gate = config.same[one.kind == "table"]
        near = [(float(np.hypot(*(k.at - at))), i) for i, k in enumerate(out) if k.kind == one.kind]
        away, i = min(near, default=(inf, -1))
        if away > gate:
            out.append(Known(one.kind, at, front, one.z, one.width, weight, t, ((one.colour, weight),)))
            continue
        if holds and one.kind == "table":  # what is held hides its foot
            continue
        old = out[i]
        aside = one.kind == "table" and abs(wrap(yaw - float(np.arctan2(old.front[1], old.front[0])))) > config.other_face
        if aside and one.width > config.longer * old.width:  # its front at last: a table's front is its longest side
            out[i] = Known(one.kind, at, front, one.z, one.width, weight, t, ((one.colour, weight),))
            continue
        if aside and one.width < config.whole * old.width:  # a side of it, which is shorter
            continue
        trust = config.doubtful if aside or one.width < config.whole * old.width else 1.0  # another side of it, or a part
        weight, fade = trust * weight, config.fade[one.kind == "table"] ** trust
        votes = dict(old.colours)
        votes[one.colour] = votes.get(one.colour, 0.0) + weight
        kept = fade * old.weight
        place = old.at + weight / (weight + kept) * (at - old.at)
        width = max(config.shrink * old.width, one.width)
        out[i] = Known(one.kind, place, fade * old.front + trust * front, one.z, width, weight + kept, t, tuple(votes.items()))
    return tuple(out)


def _cells(points: Float[Array, "n 2"], pose: tuple[float, float, float], config: Config) -> tuple[Array, Array, Array]:
    """Row, column and whether inside, of points in the vehicle frame."""
    at = (parent_from_child(points, *pose) - config.origin) / config.cell
    columns, rows = np.floor(at[:, 0]).astype(int), np.floor(at[:, 1]).astype(int)
    inside = (rows >= 0) & (rows < config.size[0]) & (columns >= 0) & (columns < config.size[1])
    return rows, columns, inside


def _follow(state: State, pose: tuple[float, float, float], objects: tuple[Detection, ...], t: float, config: Config) -> State:
    """Give each seen person to the nearest track, or begin one."""
    people, next_id = list(state.people), state.next_id
    taken: set[int] = set()
    for one in objects:
        if one.kind != Kind.PERSON:
            continue
        at = parent_from_child(one.position.astype(float), *pose)
        where = [p.place(t, config.coast) for p in people]
        away = [np.hypot(*(w - at)) if k not in taken else inf for k, w in enumerate(where)]
        k = int(np.argmin(away)) if away else -1
        if k >= 0 and away[k] < config.gate:
            old, surprise = people[k], at - where[k]
            dt = max(t - old.seen, 1e-3)
            velocity = old.velocity + config.beta / dt * surprise
            velocity *= min(1.0, config.fastest / max(float(np.hypot(*velocity)), 1e-9))
            now = where[k] + config.alpha * surprise
            moved = old.moved or np.hypot(*(now - old.began)) > config.moved + config.jumps * one.distance
            people[k] = replace(old, at=now, velocity=velocity, seen=t, count=old.count + 1, moved=bool(moved))
            taken.add(k)
        else:
            people.append(Person(next_id, at, np.zeros(2), t, t, (float(at[0]), float(at[1]))))
            taken.add(len(people) - 1)
            next_id += 1
    return replace(state, people=tuple(people), next_id=next_id)


def _told(state: State, pose: tuple[float, float, float], observation: Observation, config: Config) -> World:
    walker, t = observation.walker, observation.t
    tracks = []
    for p in state.people:
        at = child_from_parent(p.place(t, config.coast), *pose)
        v = rotation_2d(-pose[2]) @ p.velocity * (t - p.seen < config.coast)
        tracks.append(
            Track(
                id=p.id, kind=Kind.PERSON, x=float(at[0]), y=float(at[1]), yaw=float(np.arctan2(v[1], v[0])), vx=float(v[0]),
                vy=float(v[1]), acceleration=0.0, yaw_rate=0.0, position_std=0.15, velocity_std=0.3, length=0.5, width=0.5, age=t - p.born,
                unseen=t - p.seen, probability=min(1.0 if p.moved else config.doubt, 0.4 + 0.2 * p.count),
            )
        )  # fmt: skip
    things = []
    for k in state.things:
        at, front = child_from_parent(k.at, *pose), rotation_2d(-pose[2]) @ k.front
        name, yaw = max(k.colours, key=lambda vote: vote[1])[0], float(np.arctan2(front[1], front[0]))
        things.append(Thing(k.kind, name, float(at[0]), float(at[1]), k.z, yaw, k.width, k.weight, t - k.seen))
    line, distance = np.zeros((0, 2)), 0.0
    if state.goal is not None:
        goal = child_from_parent(np.array(state.goal), *pose)
        line, distance = np.array([[0.0, 0.0], goal]), float(np.hypot(*goal))
    age = t - state.percept_t
    percent = np.round(100 / (1 + np.exp(-state.grid))).astype(np.uint8)
    percent[state.grid == 0] = Room.UNKNOWN
    return World(
        t=t, speed=walker.vx, yaw_rate=walker.yaw_rate, acceleration=0.0, path=None, left=None, right=None, lane_width=0.0, lane_left=0.0,
        lane_right=0.0, tracks=tuple(tracks), route_line=line, route_std=0.1, next_turn=Turn.ARRIVE, next_turn_distance=distance,
        goal_distance=distance, speed_limit=state.speed_limit, localisation_std=0.1,
        blind=0.0 if age <= config.seen_for else min(age, t + 1.0), room=Room(*pose, np.array(config.origin), config.cell, percent),
        things=tuple(things), reach=walker.reach,
    )  # fmt: skip
