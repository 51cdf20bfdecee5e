"""Draws training frames of towns: SUMO's streets with lights, signs, crossings, houses, parked cars and people, labelled from the truth.

In: a split's town seeds. Out: shards as `train.frames` makes them (same labels, same pictures' size), and in each npz one array more,
`signals`: every light and sign in view with its box, kind, state, limit and distance. Half of the pictures stand before a junction, where
signals are. Lights of one approach show one state, drawn at random. Town seeds 1000-1099 belong to driving tests and never appear here.
Run: python -m nanopilot.train.town_frames --split train --maps 100 --workers 2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from nanopilot.geometry import child_from_parent, image_from_vehicle, model_camera
from nanopilot.messages import CameraModel, Light, SceneClass
from nanopilot.perception.labels import ShardWriter
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.lanemap import Lane, Road, at_random
from nanopilot.sim.scene import Prop, Render, Scene
from nanopilot.sim.sumo_map import TownMap, town_map
from nanopilot.sim.sumo_net import TOWNS, town_net
from nanopilot.train.frames import (
    CACHE,
    CENTRE_AHEAD,
    LOOKS_ASIDE,
    MAX_GRAIN,
    OFFSET_STD,
    REACH,
    SPLITS,
    YAW_STD,
    View,
    draw_missing,
    draw_traffic,
    draw_view,
    make_label,
    of_no_lane,
    route_line,
    turned_aside,
)

Array = np.ndarray

APPROACHING, APPROACH = 0.5, (4.0, 60.0)  # share of views before a junction, and how far from its line, m
SIGNAL_FIELDS = (
    "kind",
    "state",
    "limit",
    "u0",
    "v0",
    "u1",
    "v1",
    "distance",
)  # kind 0 light, 1 stop, 2 yield, 3 limit; state in Light's order; m/s; px; m
MAX_SIGNALS = 12
SIGNAL_REACH = 70.0  # m
FACING = np.radians(60.0)  # a face turned farther away shows nothing
SHOWN = 0.3  # share of a box that must be drawn as sign or light, else it is hidden
FACES = {"light": (2.55, 3.6, 0.18), "sign": (1.8, 2.6, 0.4)}  # m: from, to, half width (sim.shapes)
KPH = 1 / 3.6


@dataclass(frozen=True)
class TownFramesConfig:
    """What to draw. `maps` counts from the split's first seed."""

    split: str = "train"
    maps: int = 100
    views: int = 80
    workers: int = 2
    out: Path = CACHE

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}: one of {', '.join(SPLITS)}")
        if not 1 <= self.maps <= len(SPLITS[self.split]):
            raise ValueError(f"split {self.split} has 1 to {len(SPLITS[self.split])} towns, not {self.maps}")


def approach_view(town: TownMap, rng: np.random.Generator) -> View:
    """A place before a random junction's line, a little off the lane's middle, with a random way on."""
    approaches = list(town.approaches.values())
    lane = town.lane_map.lanes[approaches[int(rng.integers(len(approaches)))].lane]
    s = max(lane.length - rng.uniform(*APPROACH), 0.0)
    k = int(np.argmin(np.abs(lane.arc - s)))
    path = town.lane_map.path(lane, float(lane.arc[k]), REACH, at_random(rng))
    heading = float(lane.heading[k])
    x, y = lane.centre[k] + rng.normal(0, OFFSET_STD) * np.array([-np.sin(heading), np.cos(heading)])
    yaw = heading + float(rng.normal(0, YAW_STD))
    before = path.centre[:1] - 2 * CENTRE_AHEAD * np.array([np.cos(heading), np.sin(heading)])
    pose = float(x - CENTRE_AHEAD * np.cos(yaw)), float(y - CENTRE_AHEAD * np.sin(yaw)), yaw
    return View(pose, replace(path, centre=np.concatenate([before, path.centre])))


def signal_rows(props: tuple[Prop, ...], states: dict[int, str], view: View, render: Render, camera: CameraModel) -> Float32[Array, "12 8"]:
    """SIGNAL_FIELDS of every light and sign that faces us and is seen, nearest first; NaN beyond them."""
    x, y, yaw = view.pose
    rows = []
    for p in props:
        if p.kind not in FACES or np.hypot(p.x - x, p.y - y) > SIGNAL_REACH:
            continue
        ahead, left = child_from_parent(np.array([p.x, p.y]), x, y, yaw)
        low, high, half = FACES[p.kind]
        turned = np.abs((p.yaw - yaw - np.pi - np.arctan2(left, ahead) + np.pi) % (2 * np.pi) - np.pi)
        if ahead < camera.x + 1.0 or turned > FACING:
            continue
        corners = np.array([(ahead, left + side * half, z) for side in (-1, 1) for z in (low, high)])
        pixels, _ = image_from_vehicle(camera, corners)
        (u0, v0), (u1, v1) = pixels.min(0), pixels.max(0)
        if u0 < 0 or v0 < 0 or u1 > camera.width - 1 or v1 > camera.height - 1:
            continue
        drawn = render.semantic[int(v0) : int(v1) + 1, int(u0) : int(u1) + 1] == SceneClass.SIGN
        if drawn.mean() < SHOWN:
            continue
        kind = 0 if p.kind == "light" else {"stop_word": 1, "yield": 2}.get(p.variant, 3)
        state = list(Light).index(Light(states[p.id])) if kind == 0 else -1
        limit = int(p.variant[6:]) * KPH if kind == 3 else 0.0
        rows.append((kind, state, limit, u0, v0, u1, v1, float(np.hypot(ahead - camera.x, left))))
    out = np.full((MAX_SIGNALS, len(SIGNAL_FIELDS)), np.nan, np.float32)
    rows.sort(key=lambda row: row[-1])
    for k, row in enumerate(rows[:MAX_SIGNALS]):
        out[k] = row
    return out


def draw_town(seed: int, views: int, path: Path) -> None:
    """One town, one appearance, `views` frames, one shard."""
    rng = np.random.default_rng([seed, 0x70F])
    net, _, folder = town_net(tuple(TOWNS)[seed % len(TOWNS)], seed)
    folder.cleanup()
    town = town_map(net, seed)
    roads: dict[Road, list[Lane]] = {}
    for lane in town.lane_map.lanes:
        roads.setdefault(lane.road, []).append(lane)
    look = Appearance.from_seed(seed)
    eye = CpuCamera(town.static, replace(look, grain=min(look.grain, MAX_GRAIN)))
    shard, signals, camera = ShardWriter(path), [], model_camera()
    for k in range(views):
        view = approach_view(town, rng) if rng.random() < APPROACHING else draw_view(town.lane_map, rng)
        states = {a.light_id: str(rng.choice(("red", "yellow", "green"))) for a in town.approaches.values()}
        x, y, _ = view.pose
        actors = draw_traffic(town.lane_map, view, rng)
        parked = tuple(replace(a, id=len(actors) + j) for j, a in enumerate(town.parked) if np.hypot(a.x - x, a.y - y) < REACH)
        actors = actors + parked
        aside = seed in SPLITS["train"] and rng.random() < LOOKS_ASIDE
        view = turned_aside(view, rng) if aside else view
        render = eye.render(Scene(town.static, actors, states, float(k)), camera, view.pose, speed=float(rng.uniform(0, 15)))
        label = make_label(view, render, actors, None if aside else route_line(roads, town.lane_map, view, rng), camera)
        shard.add(render.rgb, of_no_lane(label) if aside else label)
        signals.append(signal_rows(town.static.props, states, view, render, camera))
    shard.close(signals=np.stack(signals))


def main(config: TownFramesConfig) -> None:
    """Draw what is missing of a split."""
    draw_missing(draw_town, SPLITS[config.split][: config.maps], config.views, config.out / config.split, "town", config.workers)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(TownFramesConfig))
