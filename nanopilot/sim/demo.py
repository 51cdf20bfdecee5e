"""A small made-up place to look at a camera's work: a curved two-way road, a junction with lights, traffic, people.

In: a seed. Out: a StaticScene and a Scene; no simulator. Only pictures, benches and tests use it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nanopilot.sim.ground import ribbon
from nanopilot.sim.scene import Actor, Marking, Prop, Scene, StaticScene, Surface
from nanopilot.sim.scenery import scatter_props

Array = np.ndarray
LANE = 3.5  # m
ROAD = 2 * LANE  # m, half the width of a two-way road of two lanes each
JUNCTION = 120.0  # m along the road
WALK = 1.2  # m/s
CURVE_START, CURVE_RADIUS = 160.0, 90.0  # m


def centre(s: Array | float) -> tuple[Array, Array]:
    """((n, 2) points, (n,) headings) of the road's middle line at arc lengths `s`: straight, then a left-hand curve."""
    s = np.atleast_1d(np.asarray(s, float))
    angle = np.maximum(s - CURVE_START, 0) / CURVE_RADIUS
    straight = np.minimum(s, CURVE_START)
    return np.stack([straight + CURVE_RADIUS * np.sin(angle), CURVE_RADIUS * (1 - np.cos(angle))], -1), angle


def beside(s: Array | float, offset: float) -> Array:
    """Points (n, 2) at `offset` to the left of the middle line."""
    points, heading = centre(s)
    return points + offset * np.stack([-np.sin(heading), np.cos(heading)], -1)


def static_scene(seed: int = 0) -> StaticScene:
    """The place itself, its greenery scattered by `seed`."""
    s = np.arange(-60.0, 330.0, 2.0)
    before, after = s[s <= JUNCTION - 12], s[s >= JUNCTION + 12]
    cross = np.array([(JUNCTION, -150.0), (JUNCTION, 150.0)])
    surfaces = [
        Surface("pavement", ribbon(centre(s)[0], 2 * ROAD + 4)),
        Surface("pavement", ribbon(cross, 2 * ROAD + 4)),
        Surface("road", ribbon(centre(s)[0], 2 * ROAD)),
        Surface("road", ribbon(cross, 2 * ROAD)),
        Surface("crossing", ribbon(np.array([(JUNCTION - 11, -ROAD), (JUNCTION - 11, ROAD)]), 3.0)),
    ]
    markings = []
    for part in (before[:-2], after):
        markings += [Marking(beside(part, d), 0.15, "white") for d in (-ROAD + 0.2, ROAD - 0.2)]
        markings += [Marking(beside(part, d), 0.12, "yellow") for d in (-0.12, 0.12)]
        markings += [Marking(beside(part, d), 0.15, "white", (3.0, 5.0)) for d in (-LANE, LANE)]
    for y0, y1 in ((-150.0, -12.0), (12.0, 150.0)):
        markings += [
            Marking(np.array([(JUNCTION + d, y0), (JUNCTION + d, y1)]), 0.15, c)
            for d, c in ((-ROAD + 0.2, "white"), (ROAD - 0.2, "white"), (0, "yellow"))
        ]
    markings.append(Marking(np.array([(JUNCTION - 14, -ROAD), (JUNCTION - 14, -0.3)]), 0.4, "white"))
    props = [
        Prop("light", JUNCTION - 13, -ROAD - 1, np.pi, (0.4, 0.4, 3.6), id=1),
        Prop("light", JUNCTION + 13, -ROAD - 1, np.pi, (0.4, 0.4, 3.6), id=1),
        Prop("light", JUNCTION + 13, ROAD + 1, 0.0, (0.4, 0.4, 3.6), id=2),
        Prop("sign", 30, -ROAD - 1, np.pi, (0.8, 0.8, 2.6), "speed"),
        Prop("sign", 62, -ROAD - 1, np.pi, (0.8, 0.8, 2.6), "warning"),
    ]
    props += [
        Prop("barrier", *beside(a, -ROAD - 2.3)[0], float(centre(a)[1][0]), (4.0, 0.12, 0.8), "rail") for a in np.arange(190, 300, 4.0)
    ]
    props += [Prop("cone", 20.0 + 3 * k, -ROAD + 0.6, 0, (0.4, 0.4, 0.7)) for k in range(4)]
    static = StaticScene(tuple(surfaces), tuple(markings))
    return replace(static, props=tuple(props) + scatter_props(static, seed))


SIZES = {
    "car": (4.4, 1.8, 1.45),
    "suv": (4.6, 1.9, 1.75),
    "van": (5.2, 2.0, 2.2),
    "truck": (8.0, 2.5, 3.5),
    "bus": (12.0, 2.5, 3.2),
    "person": (0.6, 0.55, 1.76),
    "cyclist": (1.72, 0.55, 1.85),
}


def scene(static: StaticScene, t: float = 0.0) -> Scene:
    """Traffic in the place at time t."""
    actors = []
    plan = (
        ("car", 22, -1.5, 9, False),
        ("suv", 38, -0.5, 8, True),
        ("van", 52, -1.5, 8, False),
        ("truck", 34, 1.5, 8, False),
        ("car", 14, 0.5, 10, False),
        ("car", 70, -1.5, 7, True),
        ("bus", 86, 0.5, 8, False),
        ("car", 90, -0.5, 7, True),
        ("car", 64, 1.5, 9, False),
        ("suv", 180, -0.5, 9, False),
        ("car", 200, -1.5, 9, False),
        ("car", 210, 0.5, 9, False),
        ("van", 230, 1.5, 9, False),
        ("car", 240, -0.5, 9, False),
        ("car", 150, 0.5, 9, False),
        ("cyclist", 30, -1.93, 5, False),
    )
    for n, (kind, s, lane, speed, braking) in enumerate(plan):
        direction = 1 if lane < 0 else -1
        at = s + direction * speed * t
        x, y = beside(at, lane * LANE)[0]
        heading = float(centre(at)[1][0]) + (0 if direction > 0 else np.pi)
        actors.append(Actor(n, kind, float(x), float(y), heading, SIZES[kind], float(speed), braking, "right" if n == 2 else "off"))
    people = ((16, -8.2, 0.3), (28, 8.0, 3.0), (45, -8.4, 0.1), (JUNCTION - 11, -3.0, 1.57), (JUNCTION - 11.5, 4.0, -1.57))
    actors += [
        Actor(100 + n, "person", x + 1.2 * t * np.cos(yaw), y + 1.2 * t * np.sin(yaw), yaw, SIZES["person"], 1.2)
        for n, (x, y, yaw) in enumerate(people)
    ]
    actors += [
        Actor(110, "car", JUNCTION + 1.75, 24, -np.pi / 2, SIZES["car"], 0.0, True),
        Actor(111, "suv", JUNCTION - 1.75, -30, np.pi / 2, SIZES["suv"], 5.0),
    ]
    return Scene(static, tuple(actors), {1: "red", 2: "green"}, t)
