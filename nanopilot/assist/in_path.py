"""Who is in our way: where the own path runs, how far beside it each object is, and which is the closest in path.

In: a World. Out: lateral offsets and the closest vehicle in path. There are two paths: the own lane's centre where it is known,
moved to where we are in the lane now, and the arc we drive; who is beside either of them is not in our way, for on real roads each
is wrong now and then. The closest keeps its place until it has clearly left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import project
from nanopilot.messages import PATH_ARC, CarState, Kind, Track, VehicleModel, World, speed_known

Array = np.ndarray


@dataclass(frozen=True)
class PathConfig:
    """Guesses."""

    reach: float = 80.0  # m
    margin: float = -0.3  # m beside our own sides within which somebody is in path; negative: must overlap so much
    stay: float = 0.4  # m more for the closest in path of the last step
    least_probability: float = 0.35  # of a track
    least_age: float = 0.3  # s
    least_speed: float = 2.0  # m/s: slower, curvature is not known from the yaw rate; AEB is asked from 10 km/h on


def own_paths(world: World, car: CarState, config: PathConfig) -> tuple[Float[Array, "n 2"], ...]:
    """Points (x, y) of where our middle may go, from here on: at least one path."""
    paths = []
    if world.path is not None:
        here = float(project(world.path.points[:6], 0.0, 0.0)[1])  # we are so far left of the lane's centre, and may well stay there
        shift = here * np.exp(-PATH_ARC / config.reach)
        paths.append(world.path.points + np.stack([np.zeros_like(shift), shift], -1))
    known = speed_known(car) and car.speed > config.least_speed
    if known or not paths:
        curvature = car.yaw_rate / car.speed if known else 0.0
        paths.append(np.stack([PATH_ARC, curvature * PATH_ARC**2 / 2], -1))
    return tuple(paths)


def beside(track: Track, path: Float[Array, "n 2"]) -> tuple[float, float]:
    """(d, half): offset of the track's centre from the path, left positive, and half its extent across it."""
    x, y = track.x, track.y
    if x > path[-1, 0]:  # straight on beyond the path's end
        direction = path[-1] - path[-2]
        y0 = path[-1, 1] + (x - path[-1, 0]) * direction[1] / max(float(direction[0]), 1e-3)
        d = y - float(y0)
    else:
        d = project(path, x, y)[1]
    c, s = abs(float(np.cos(track.yaw))), abs(float(np.sin(track.yaw)))
    return d, (s * track.length + c * track.width) / 2


def usable(track: Track, config: PathConfig) -> bool:
    """Seen long and surely enough to warn of."""
    return track.probability >= config.least_probability and track.age >= config.least_age and 0 < track.x < config.reach


def closest_in_path(
    world: World, paths: tuple[Float[Array, "n 2"], ...], vehicle: VehicleModel, last: int, config: PathConfig
) -> Track | None:
    """The nearest vehicle or cyclist that we would run into if we kept to our path; `last` is the id of the last step's."""
    inside = []
    for track in world.tracks:
        if track.kind == Kind.PERSON or not usable(track, config):
            continue
        d, half = max((beside(track, path) for path in paths), key=lambda pair: abs(pair[0]))
        half = min(half, vehicle.width)  # a yaw in error must not make a car of the next lane reach into ours
        if abs(d) - half < vehicle.width / 2 + config.margin + (config.stay if track.id == last else 0.0):
            inside.append(track)
    return min(inside, key=lambda t: t.x, default=None)
