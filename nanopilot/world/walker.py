"""A humanoid's world: the floor around it as an occupancy grid, people as tracks, boxes and tables as it last saw them well, and its place.

In: Observations with a WalkerState, and the Percept of each picture. Out: a World with a Room. The grid is in the frame of the start;
place and yaw are the body's dead reckoning, corrected by the floor's pattern (`world.floor`). Occupancy is a log-odds grid (Moravec and
Elfes 1985); people are kept out of it and followed in `world.people`, boxes and tables remembered in `world.things`. What moved away is
forgotten when its floor is seen free again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from jaxtyping import Float, Float32

from nanopilot.geometry import child_from_parent, image_from_vehicle, parent_from_child, rotation_2d, wrap
from nanopilot.messages import CameraModel, Kind, Observation, Percept, Room, RoomClass, Thing, Track, Turn, WalkerState, World
from nanopilot.world import floor
from nanopilot.world.people import Config as PeopleConfig
from nanopilot.world.people import Person, follow, kept
from nanopilot.world.things import Config as ThingsConfig
from nanopilot.world.things import Known, hidden, remembered

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
    doubted: float = 0.3  # of one where it ends, but floor is seen again not far beyond: a rug, or something low
    beyond_it: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8)  # m
    trusted: float = 2.5  # m up to which it counts in full; further it counts less by the square
    limit: float = 4.0  # log-odds
    thickness: float = 0.1  # m of a thing that an edge stands for
    person_margin: float = 0.12  # rad on either side of a person that is no thing
    seen_for: float = 0.3  # s after a picture until the robot counts as blind
    beyond: float = 0.4  # m of free floor behind somebody's place that say he is gone
    people: PeopleConfig = field(default_factory=PeopleConfig)
    things: ThingsConfig = field(default_factory=ThingsConfig)
    floor: floor.Config = field(default_factory=floor.Config)
    by_floor: bool = True  # False: dead reckoning as it comes


@dataclass(frozen=True)
class State:
    grid: Float32[Array, "h w"]
    place: floor.State
    people: tuple[Person, ...] = ()
    next_id: int = 0
    goal: tuple[float, float] | None = None
    speed_limit: float = 0.6
    percept_t: float = -inf
    things: tuple[Known, ...] = ()


def initial(config: Config = Config()) -> State:
    return State(np.zeros(config.size, np.float32), floor.initial(config.floor))


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
    fresh = percept is not None and percept.valid and percept.t > state.percept_t
    image = observation.frames[0].image if fresh and observation.frames and config.by_floor else None
    place = floor.step(state.place, walker, image, percept.scene == RoomClass.FLOOR if fresh else None, config.floor)
    state, pose = replace(state, place=place), place.pose
    if fresh:
        start, edges, ends = _rays(percept, walker.camera, config)
        standing = ends & ~_persons_bearings(percept, walker.camera, config)
        grid = _drawn(state.grid, pose, start, edges, standing, ends, percept, walker.camera, config)
        known = remembered(state.things, percept.things, pose, t, config.things, hidden(walker, config.things))
        state = replace(state, grid=grid, percept_t=percept.t, things=known)
        people, next_id = follow(state.people, state.next_id, pose, percept.objects, t, config.people)
        here = [p.seen == t or not _seen_free(p.place(t, config.people.coast), percept, walker.camera, pose, config) for p in people]
        stayed = tuple(p for p, still in zip(people, here, strict=True) if still)
        state = replace(state, people=stayed, next_id=next_id)
    state = replace(state, people=tuple(p for p in state.people if t - p.seen < kept(p, pose, config.people)))
    return state, _told(state, pose, observation, config)


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
        again = [_shown(edges[standing] + d * out, percept.scene, camera) == RoomClass.FLOOR for d in config.beyond_it]
        hit = np.where(np.any(again, axis=0), config.doubted, config.hit)
        for depth in (0.0, config.thickness):
            rows, columns, inside = _cells(edges[standing] + depth * out, pose, config)
            sure = np.minimum(1.0, (config.trusted / reach[standing]) ** 2)
            change[rows[inside], columns[inside]] = (hit * sure)[inside]
    return np.clip(grid + change, -config.limit, config.limit)


def _behind_ourselves(points: Float[Array, "n 2"], scene: Array, camera: CameraModel) -> Array:
    """Which points of the floor are hidden by our arms or by what they hold."""
    return _shown(points, scene, camera) == RoomClass.ROBOT


def _shown(points: Float[Array, "n 2"], scene: Array, camera: CameraModel) -> Array:
    """The class that is seen where each point of the floor is; -1 where the picture doesn't show it."""
    pixels, depth = image_from_vehicle(camera, np.concatenate([points, np.zeros((len(points), 1))], 1))
    at = np.round((pixels + 0.5) * (scene.shape[1] / camera.width) - 0.5).astype(int)
    shown = (depth > 0.05) & (at >= 0).all(1) & (at[:, 0] < scene.shape[1]) & (at[:, 1] < scene.shape[0])
    at = np.where(shown[:, None], at, 0)
    return np.where(shown, scene[at[:, 1], at[:, 0]].astype(int), -1)


def _cells(points: Float[Array, "n 2"], pose: tuple[float, float, float], config: Config) -> tuple[Array, Array, Array]:
    """Row, column and whether inside, of points in the vehicle frame."""
    at = (parent_from_child(points, *pose) - config.origin) / config.cell
    columns, rows = np.floor(at[:, 0]).astype(int), np.floor(at[:, 1]).astype(int)
    inside = (rows >= 0) & (rows < config.size[0]) & (columns >= 0) & (columns < config.size[1])
    return rows, columns, inside


def _told(state: State, pose: tuple[float, float, float], observation: Observation, config: Config) -> World:
    walker, t = observation.walker, observation.t
    tracks = []
    for p in state.people:
        at = child_from_parent(p.place(t, config.people.coast), *pose)
        v = rotation_2d(-pose[2]) @ p.velocity * (t - p.seen < config.people.coast)
        tracks.append(
            Track(
                id=p.id, kind=Kind.PERSON, x=float(at[0]), y=float(at[1]), yaw=float(np.arctan2(v[1], v[0])), vx=float(v[0]),
                vy=float(v[1]), acceleration=0.0, yaw_rate=0.0, position_std=0.15, velocity_std=0.3, length=0.5, width=0.5, age=t - p.born,
                unseen=t - p.seen, probability=min(1.0 if p.moved else config.people.doubt, 0.4 + 0.2 * p.count),
            )
        )  # fmt: skip
    told = []
    for k in state.things:
        at, front = child_from_parent(k.at, *pose), rotation_2d(-pose[2]) @ k.front
        name, yaw = max(k.colours, key=lambda vote: vote[1])[0], float(np.arctan2(front[1], front[0]))
        told.append(Thing(k.kind, name, float(at[0]), float(at[1]), k.z, yaw, k.width, k.weight, t - k.seen))
    line, distance = np.zeros((0, 2)), 0.0
    if state.goal is not None:
        goal = child_from_parent(np.array(state.goal), *pose)
        line, distance = np.array([[0.0, 0.0], goal]), float(np.hypot(*goal))
    age = t - state.percept_t
    blind = 0.0 if age <= config.seen_for else min(age, t + 1.0)
    percent = np.round(100 / (1 + np.exp(-state.grid))).astype(np.uint8)
    percent[state.grid == 0] = Room.UNKNOWN
    return World(
        t=t, speed=walker.vx, yaw_rate=walker.yaw_rate, acceleration=0.0, path=None, left=None, right=None, lane_width=0.0, lane_left=0.0,
        lane_right=0.0, tracks=tuple(tracks), route_line=line, route_std=0.1, next_turn=Turn.ARRIVE, next_turn_distance=distance,
        goal_distance=distance, speed_limit=state.speed_limit, localisation_std=0.1,
        blind=blind, concern="blind" if blind > 0 else "", room=Room(*pose, np.array(config.origin), config.cell, percent),
        things=tuple(told), reach=walker.reach,
    )  # fmt: skip
