"""Draws training frames: MetaDrive maps, our own camera at random poses, labels from the truth.

In: a split's map seeds. Out: shards of nanopilot.perception.labels, one per map, the same bytes for the same seed; existing ones are
kept, so a stopped run goes on. Each map has its own lane count and width, its own Appearance (domain randomisation, Tobin et al. 2017);
each view its own pose, traffic, people, route and small camera error. Traffic is placed, not driven: every frame is a new one.
The route line is that of a navigation device: middles of roads about every 10 m, displaced by GPS_STD and HEADING_STD.
Seeds 1000-1099 belong to driving tests and never appear here.
Run: python -m nanopilot.train.frames --split train --maps 250 --workers 2
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from jaxtyping import Float

from nanopilot.geometry import MODEL_FOCAL, child_from_parent, image_from_vehicle, model_camera, narrow_camera, project, resample
from nanopilot.messages import PATH_ARC, ROUTE_ARC, CameraModel, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import HEADS, MAX_OBJECTS, OBJECT_FIELDS, Label, ShardWriter, lane_row_columns, scene_label
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.lanemap import Lane, LaneMap, LanePath, Road, at_random
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
from nanopilot.sim.routes import road_line
from nanopilot.sim.scene import Actor, Render, Scene

Array = np.ndarray

SPLITS = {"train": range(2000, 2500), "tune": range(3000, 3030), "test": range(4000, 4030)}  # map seeds
CACHE = Path("~/.cache/nanopilot/frames").expanduser()

CENTRE_AHEAD = 1.3  # m from the rear axle to the car's middle, which says in which lane we are
REACH = 90.0  # m of path drawn ahead, and radius of traffic
LABEL_REACH = 65.0  # m: lines farther away are below a pixel
OBJECT_REACH = 80.0  # m
MIN_PIXELS, MIN_SHARE = 12, 0.25  # an actor less visible than this is neither taught nor denied
BOX_FILL = 0.7  # share of its projected 3-D box that a vehicle's own outline fills (guess)

GPS_STD, HEADING_STD = 2.0, np.radians(3.0)  # m each axis, rad
UNKNOWN_ROUTE = 0.1  # share of views without a route
CURVED = 0.5  # share of views that ask for a bend of at least BEND within BEND_REACH
BEND, BEND_REACH = 0.17, 25.0  # rad, m
CHANGING = 0.15  # share of views in the middle of a lane change
OFFSET_STD, YAW_STD = 0.4, np.radians(3.5)
STRAYED, STRAY_SHARE, STRAY_YAW_STD = 0.3, 0.65, np.radians(12.0)  # of views in bends: off by so much of the lane's width, and turned
ASTRAY, ASTRAY_OFF = 0.2, (0.5, 1.3)  # of views on an outer lane: so many lane widths off it, in the oncoming lane or beside the road
JITTERED = 0.5  # share of views whose camera is not quite where calibration says
ANGLE_JITTER, HEIGHT_JITTER = np.radians(0.5), 0.05  # standard deviations
MAX_GRAIN = 0.12  # more makes grass darker than black, which the camera's tone table does not hold
CROWDED = 0.6  # share of views with people about
CHILDREN, GROWN = 0.35, (0.6, 0.9)  # share of people who are smaller, and how much of the others' size they have
IN_WAY, IN_WAY_REACH, IN_WAY_STD = 0.4, (4.0, 40.0), 2.5  # share of those people who are in our way: so far along it, and off it, m
NEARER = 1.6  # exponent: people near us must be told best
LOOKS_ASIDE, ASIDE_YAW = 0.12, np.radians((65.0, 95.0))  # share of views as cameras to the sides have them, and how far off straight on
LOOKS_FAR, FAR_REACH = 0.3, 1.6  # share of views through the narrow camera; people in our way stand so much farther away there
STEPS_OUT, STEPS_OUT_REACH = 0.4, (5.0, 36.0)  # share of views with somebody between two parked cars, hidden or just seen, so far ahead
CLOSE, CLOSE_REACH = 0.4, 25.0  # share of views with up to three vehicles more, this near, m

#        kind: length, width, height (m), share of traffic; sizes are MetaDrive's and common cars', drawn ± 10 %
SHAPES = {
    "car": (4.5, 1.85, 1.4, 0.5), "suv": (4.7, 1.95, 1.8, 0.2), "van": (5.4, 2.0, 2.3, 0.1),
    "truck": (6.2, 2.3, 2.8, 0.15), "bus": (10.5, 2.5, 3.1, 0.05),
    "person": (0.6, 0.6, 1.75, 0.0), "cyclist": (1.8, 0.6, 1.75, 0.0),
}  # fmt: skip
VEHICLES = tuple(kind for kind, (*_, share) in SHAPES.items() if share)


@dataclass(frozen=True)
class FramesConfig:
    """What to draw. `maps` counts from the split's first seed."""

    split: str = "train"
    maps: int = 250
    views: int = 80
    workers: int = 2
    out: Path = CACHE

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}: one of {', '.join(SPLITS)}")
        if not 1 <= self.maps <= len(SPLITS[self.split]):
            raise ValueError(f"split {self.split} has 1 to {len(SPLITS[self.split])} maps, not {self.maps}")


@dataclass(frozen=True)
class View:
    """Where the camera stands: the rear axle's pose in the map frame, and the own lane's way on from there."""

    pose: tuple[float, float, float]
    path: LanePath


def make_world(seed: int, rng: np.random.Generator) -> MetaDriveWorld:
    """3 to 5 random blocks; half of the maps have MetaDrive's own three lanes of 3.5 m, half have other counts and widths."""
    blocks, lane_num, lane_width = int(rng.integers(3, 6)), 3, 3.5
    if rng.random() < 0.5:
        lane_num, lane_width = int(rng.integers(1, 5)), float(rng.uniform(3.0, 4.0))
    # MetaDrive takes `map` or `map_config`, not both: where lanes differ from its defaults the blocks must stand in the latter
    shape = {"type": "block_num", "config": blocks, "lane_num": lane_num, "lane_width": lane_width, "exit_length": 50}
    return MetaDriveWorld(WorldConfig(seed=seed, traffic=0.0), {"map": 3, "map_config": shape})


def heading_change(path: LanePath) -> float:
    """Largest turn away from its beginning over the path's first BEND_REACH metres, rad."""
    step = np.diff(path.centre[: int(BEND_REACH) + 1], axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    return float(np.abs(heading - heading[0]).max())


def draw_view(lanes: LaneMap, rng: np.random.Generator) -> View:
    """A random place in a random lane with a random way on."""
    curved = rng.random() < CURVED
    for _ in range(8):  # tries to find a bend where one is wanted
        lane = lanes.lanes[int(rng.integers(len(lanes.lanes)))]
        k = int(rng.integers(len(lane.centre) - 1))
        offset = float(rng.normal(0, OFFSET_STD))
        if rng.random() < CHANGING:
            offset = float(rng.uniform(-lane.width / 2, lane.width / 2))
        centre, heading = lane.centre[k], lane.heading[k]
        path = lanes.path(lane, float(lane.arc[k]), REACH, at_random(rng))
        if heading_change(path) > BEND or not curved:
            break
    offset = float(np.clip(offset, -lane.width / 2, lane.width / 2))
    yaw = float(heading + rng.normal(0, YAW_STD) + (rng.normal(0, 2 * YAW_STD) if rng.random() < 0.1 else 0.0))
    if heading_change(path) > BEND and rng.random() < STRAYED:  # as when it turned too late or too early
        offset = float(rng.uniform(-1, 1) * STRAY_SHARE * lane.width)
        yaw = float(heading + rng.normal(0, STRAY_YAW_STD))
    beyond = [side for side, neighbour in ((1, lane.left), (-1, lane.right)) if neighbour is None]
    if beyond and rng.random() < ASTRAY:  # where it must not be, and has to come back from
        offset = float(rng.choice(beyond) * rng.uniform(*ASTRAY_OFF) * lane.width)
        yaw = float(heading + rng.normal(0, STRAY_YAW_STD))
    x, y = centre + offset * np.array([-np.sin(heading), np.cos(heading)])
    x, y = x - CENTRE_AHEAD * np.cos(yaw), y - CENTRE_AHEAD * np.sin(yaw)
    before = path.centre[:1] - 2 * CENTRE_AHEAD * np.array([np.cos(heading), np.sin(heading)])  # the axle may be behind the lane's start
    return View((float(x), float(y), yaw), replace(path, centre=np.concatenate([before, path.centre])))


def draw_traffic(lanes: LaneMap, view: View, rng: np.random.Generator, reach: float = 1.0) -> tuple[Actor, ...]:
    """Vehicles on random lanes around, often one ahead in our own lane, sometimes people near the road; nobody inside another.

    People in our way stand `reach` times as far away as IN_WAY_REACH.
    """
    x, y, yaw = view.pose
    actors: list[Actor] = []

    def place(kind: str, px: float, py: float, heading: float, moving: bool, children: float = CHILDREN) -> None:
        length, width, height, _ = SHAPES[kind]
        scale = rng.uniform(0.9, 1.1, 3)
        if kind == "person" and rng.random() < children:
            scale *= rng.uniform(*GROWN)
        size = tuple(float(s) for s in np.array([length, width, height]) * scale)
        ahead, aside = child_from_parent(np.array([px, py]), x, y, yaw)
        if -4.0 - size[0] / 2 < ahead - CENTRE_AHEAD < 3.2 + size[0] / 2 and abs(aside) < 1.2 + size[1]:
            return  # it would stand in us
        if any(np.hypot(px - a.x, py - a.y) < (size[0] + a.size[0]) / 2 + 0.3 for a in actors):
            return
        speed = float(rng.uniform(1, 14)) if moving else 0.0
        signal = str(rng.choice(["off", "left", "right"], p=[0.8, 0.1, 0.1]))
        actors.append(Actor(len(actors), kind, float(px), float(py), float(heading), size, speed, bool(rng.random() < 0.25), signal))

    def vehicle() -> str:
        return str(rng.choice(VEHICLES, p=[SHAPES[v][3] for v in VEHICLES]))

    if rng.random() < STEPS_OUT:
        low, high = STEPS_OUT_REACH
        k, gap, side = int(reach * rng.uniform(low, high)), rng.uniform(1.8, 7.0), float(rng.choice((-1, 1), p=(0.75, 0.25)))
        step = view.path.centre[k + 1] - view.path.centre[k]
        along, normal = step / np.hypot(*step), np.array([-step[1], step[0]]) / np.hypot(*step)
        heading, flank = float(np.arctan2(step[1], step[0])), rng.uniform(1.7, 3.5)  # m from our path to the cars' near side
        for place_along in (-1, 1):
            middle = view.path.centre[k] + place_along * (gap / 2 + 2.4) * along + side * (flank + 0.95) * normal
            place(str(rng.choice(("car", "suv"))), *middle, heading, False)
        aside = rng.uniform(-1.0, flank + 0.6)  # from across our middle to half hidden
        across = heading - side * np.pi / 2 + rng.normal(0, 0.3)
        px, py = view.path.centre[k] + rng.uniform(-0.3, 0.3) * gap * along + side * aside * normal
        place("person" if rng.random() < 0.8 else "cyclist", px, py, across, True, children=0.5)
    if rng.random() < 0.45:  # a car ahead of us
        k = int(5 + 72 * rng.random() ** 1.4)
        step = view.path.centre[k + 1] - view.path.centre[k]
        heading = np.arctan2(step[1], step[0]) + rng.normal(0, 0.03)
        place(vehicle(), *(view.path.centre[k] + rng.normal(0, 0.2, 2)), heading, rng.random() < 0.8)
    near = [(lane, k) for lane in lanes.lanes for k in np.flatnonzero(np.hypot(*(lane.centre - (x, y)).T) < REACH)]
    close = [(lane, k) for lane, k in near if np.hypot(*(lane.centre[k] - (x, y))) < CLOSE_REACH]
    crowd = int(rng.integers(1, 4)) if close and rng.random() < CLOSE else 0
    for i in range(crowd + int(rng.integers(0, 22))):
        places = close if i < crowd else near
        lane, k = places[int(rng.integers(len(places)))]
        normal = np.array([-np.sin(lane.heading[k]), np.cos(lane.heading[k])])
        place(vehicle(), *(lane.centre[k] + rng.normal(0, 0.3) * normal), lane.heading[k] + rng.normal(0, 0.05), rng.random() < 0.8)
    if rng.random() < CROWDED:
        for _ in range(int(rng.integers(1, 7))):
            kind = "person" if rng.random() < 0.6 else "cyclist"
            if rng.random() < IN_WAY:
                low, high = IN_WAY_REACH
                k = int(reach * (low + (high - low) * rng.random() ** NEARER))
                centre, step = view.path.centre[k], view.path.centre[k + 1] - view.path.centre[k]
                along, aside = float(np.arctan2(step[1], step[0])), float(rng.normal(0, IN_WAY_STD))
                turn = float(rng.choice((0.0, np.pi / 2, -np.pi / 2), p=(0.5, 0.25, 0.25)))  # with us, or across
            else:
                lane, k = near[int(rng.integers(len(near)))]
                centre, along, turn = lane.centre[k], float(lane.heading[k]), 0.0
                aside = -rng.uniform(lane.width / 2 - 0.8, lane.width / 2 + 4.0) if rng.random() < 0.7 else rng.normal(0, 1.5)
            normal = np.array([-np.sin(along), np.cos(along)])
            heading = rng.uniform(-np.pi, np.pi) if kind == "person" else along + turn + rng.normal(0, 0.2)
            place(kind, *(centre + aside * normal), heading, rng.random() < 0.7)
    return tuple(actors)


def turned_aside(view: View, rng: np.random.Generator) -> View:
    """The same place with the head turned: what a camera to the side shows, for whoever is there."""
    x, y, yaw = view.pose
    return replace(view, pose=(x, y, yaw + float(rng.choice((-1, 1)) * rng.uniform(*ASIDE_YAW))))


def as_seen(render: Render, camera: CameraModel) -> Render:
    """A picture of `far_camera` without what the real one doesn't reach: black, as `perception.around.horizon_as_learnt` leaves it."""
    end = camera.height - round(narrow_camera().cy - camera.cy)
    rgb, semantic, instance = render.rgb.copy(), render.semantic.copy(), render.instance.copy()
    rgb[end:], semantic[end:], instance[end:] = 0, SceneClass.IGNORE, -1
    return replace(render, rgb=rgb, semantic=semantic, instance=instance)


def far_camera() -> CameraModel:
    """The narrow camera with its horizon where the network learns distances, the model camera's row."""
    return replace(narrow_camera(), cy=model_camera().cy)


def of_no_lane(label: Label) -> Label:
    """Of a view to the side or far ahead: it teaches neither lines nor path."""
    return replace(label, known=np.array([name not in ("lanes", "path") for name in HEADS]))


def route_line(roads: dict[Road, list[Lane]], lanes: LaneMap, view: View, rng: np.random.Generator) -> Float[Array, "16 2"] | None:
    """What the navigation device tells of our path: road middles at ROUTE_ARC in the vehicle frame, as wrong as it is; or nothing."""
    if rng.random() < UNKNOWN_ROUTE:
        return None
    keys = [lanes.lanes[i].road for i in view.path.lanes]
    keys = [key for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    line = np.concatenate([road_line(roads[key]) for key in keys])
    step = np.concatenate([[True], np.hypot(*np.diff(line, axis=0).T) > 0.3])
    line = line[step]
    total = float(np.hypot(*np.diff(line, axis=0).T).sum())
    start = float(rng.uniform(-10.0, 0.0))
    line = resample(line, np.arange(start, total + 10.0, 10.0))
    x, y, yaw = view.pose
    x, y = np.array([x, y]) + rng.normal(0, GPS_STD, 2)
    line = child_from_parent(line, x, y, yaw + rng.normal(0, HEADING_STD))
    s, _ = project(line, 0.0, 0.0)
    return resample(line, s + ROUTE_ARC)


def object_rows(actors: Sequence[Actor], render: Render, view: View, camera: CameraModel) -> Float[Array, "40 13"]:
    """labels.OBJECT_FIELDS of every actor that shows at least one pixel, nearest first."""
    kinds = {"person": 1, "cyclist": 2}
    x, y, yaw = view.pose
    zoom = camera.fx / MODEL_FOCAL
    rows = []
    for actor in actors:
        v, u = np.nonzero(render.instance == actor.id)
        if not len(u):
            continue
        px, py = child_from_parent(np.array([actor.x, actor.y]), x, y, yaw)
        heading = actor.yaw - yaw
        foot, foot_depth = image_from_vehicle(camera, np.array([[px, py, 0.0]]))
        distance = np.hypot(px - camera.x, py - camera.y)
        c, s = np.cos(heading), np.sin(heading)
        along, across = np.array([c, s]) * actor.size[0] / 2, np.array([-s, c]) * actor.size[1] / 2
        corners = np.array([(*((px, py) + a * along + b * across), z) for a in (-1, 1) for b in (-1, 1) for z in (0.0, actor.size[2])])
        outline, depth = image_from_vehicle(camera, corners)
        ignore = len(u) < MIN_PIXELS or distance > zoom * OBJECT_REACH or foot_depth[0] < 0.5
        if depth.min() > 0.5 and not ignore:
            whole = cv2.contourArea(cv2.convexHull(np.clip(outline, (0, 0), (camera.width, camera.height)).astype(np.float32)))
            ignore = len(u) < MIN_SHARE * BOX_FILL * whole
        box = (u.min() - 0.5, v.min() - 0.5, u.max() + 0.5, v.max() + 0.5)
        bearing = np.arctan2(py - camera.y, px - camera.x)
        if zoom != 1.0:  # where it would stand to look so in the model camera: its near end is `zoom` times as near (`decode.objects`)
            aside, turned = np.arctan2(zoom * np.tan(bearing), 1.0), heading - bearing
            half = (abs(np.cos(turned)) * actor.size[0] + abs(np.sin(turned)) * actor.size[1]) / 2
            distance = (distance * np.cos(bearing) / np.cos(aside) + (zoom - 1) * half) / zoom
            px, py = camera.x + distance * np.cos(aside), camera.y + distance * np.sin(aside)
            heading, bearing = turned + aside, aside
        kind = kinds.get(actor.kind, 0)
        rows.append((kind, *box, np.clip(foot[0, 0], -256, 768), px, py, heading, bearing, *actor.size[:2], ignore, distance))
    rows.sort(key=lambda row: row[-1])
    out = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    for k, row in enumerate(rows[:MAX_OBJECTS]):
        out[k] = row[:-1]
    return out


def make_label(view: View, render: Render, actors: Sequence[Actor], route: Array | None, camera: CameraModel) -> Label:
    """Everything the truth tells of one view."""
    x, y, yaw = view.pose
    centre = child_from_parent(view.path.centre, x, y, yaw)
    s, _ = project(centre, 0.0, 0.0)
    lane_u = []
    for side in heads.SIDES:
        lines = [child_from_parent(part, x, y, yaw) for part in view.path.borders[side].stretches()]
        lines = [part[np.hypot(*part.T) < LABEL_REACH + CENTRE_AHEAD] for part in lines]
        lane_u.append(lane_row_columns([part for part in lines if len(part) > 1], camera))
    own = np.concatenate([view.path.borders[side].paint[:15] for side in (-1, 1)])
    return Label(
        scene=scene_label(render.semantic),
        lane_u=np.stack(lane_u),
        path=resample(centre, s + PATH_ARC).astype(np.float32),
        route=heads.route_vector(route),
        objects=object_rows(actors, render, view, camera),
        usable=1.0,
        known=np.ones(len(HEADS), bool),
        junction=bool(((own == 0) | (own == 3)).mean() > 0.5),
        turn=heading_change(view.path),
    )


def draw_map(seed: int, views: int, path: Path) -> None:
    """One map, one appearance, `views` frames, one shard."""
    rng = np.random.default_rng([seed, 0xF4A])
    world = make_world(seed, rng)
    try:
        world.reset()
        lanes, static = world.lane_map, world.static_scene()
    finally:
        world.close()
    roads: dict[Road, list[Lane]] = {}
    for lane in lanes.lanes:
        roads.setdefault(lane.road, []).append(lane)
    look = Appearance.from_seed(seed)
    eye = CpuCamera(static, replace(look, grain=min(look.grain, MAX_GRAIN)))
    shard = ShardWriter(path)
    for k in range(views):
        view = draw_view(lanes, rng)
        far = seed in SPLITS["train"] and rng.random() < LOOKS_FAR
        camera = far_camera() if far else model_camera()
        if rng.random() < JITTERED:
            pitch, roll = np.clip(rng.normal(0, ANGLE_JITTER, 2), -2 * ANGLE_JITTER, 2 * ANGLE_JITTER)
            height = camera.z + np.clip(rng.normal(0, HEIGHT_JITTER), -2 * HEIGHT_JITTER, 2 * HEIGHT_JITTER)
            camera = replace(camera, pitch=float(pitch), roll=float(roll), z=float(height))
        actors = draw_traffic(lanes, view, rng, FAR_REACH if far else 1.0)
        aside = seed in SPLITS["train"] and not far and rng.random() < LOOKS_ASIDE
        view = turned_aside(view, rng) if aside else view
        render = eye.render(Scene(static, actors, t=float(k)), camera, view.pose, speed=float(rng.uniform(0, 15)))
        render = as_seen(render, camera) if far else render
        label = make_label(view, render, actors, None if aside or far else route_line(roads, lanes, view, rng), camera)
        shard.add(render.rgb, of_no_lane(label) if aside or far else label)
    shard.close()


def draw_missing(draw: Callable[[int, int, Path], None], seeds: Sequence[int], views: int, folder: Path, name: str, workers: int) -> None:
    """Have `draw` make each seed's shard, NAME-SEED in `folder`, that is not there yet, in `workers` processes."""
    jobs = [(seed, folder / f"{name}-{seed}") for seed in seeds]
    todo = [(seed, path) for seed, path in jobs if not path.with_suffix(".npz").exists()]
    print(f"{folder.name}: {len(jobs)} {name}s, {len(jobs) - len(todo)} already in {folder}", flush=True)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(_timed, draw, seed, views, path) for seed, path in todo]), 1):
            seed, seconds = future.result()
            print(f"{name} {seed}: {views} frames in {seconds:.0f} s ({done}/{len(todo)})", flush=True)


def _timed(draw: Callable[[int, int, Path], None], seed: int, views: int, path: Path) -> tuple[int, float]:
    start = perf_counter()
    cv2.setNumThreads(1)
    draw(seed, views, path)
    return seed, perf_counter() - start


def main(config: FramesConfig) -> None:
    """Draw what is missing of a split."""
    draw_missing(draw_map, SPLITS[config.split][: config.maps], config.views, config.out / config.split, "map", config.workers)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(FramesConfig))
