"""How fast each object comes closer: the closing rate, closing speed / gap, whose inverse is the time to collision.

In: tracks, own speed and one frame's boxes. Out: a `Closing` per track. The rate is told twice: by the track's
velocity and distance, and by how the box grows in the picture, which needs neither own speed nor the camera's height;
both are weighed by their variance. Source: Lee 1976 (tau); Dagan et al. 2004 (time to collision from scale change).
An acceleration of the other that is surely a braking shortens the time to collision (Euro NCAP's enhanced one).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, inf, log, sqrt
from types import MappingProxyType

import numpy as np

from nanopilot.assist.rate import Rate, begun, corrected
from nanopilot.messages import CameraModel, Kind, Percept, Track, VehicleModel, World

LEAST_SHARE = 0.02  # so that nothing is divided by zero: a speed's std is then seven times the prior's


@dataclass(frozen=True)
class ClosingConfig:
    """Numbers are guesses unless said otherwise."""

    match: float = 3.0  # m between a detection and its track
    box_std: float = 0.015  # of the height, and
    box_angle: float = 0.003  # rad (0.8 px of the model camera), std of one frame's box height
    memory: float = 0.1  # s, error correlation of neighbouring frames' boxes
    growth: float = 0.25  # 1/s per root second: how the rate wanders
    near: float = 5.0  # m: nearer boxes are cut off by the picture's lower side and grow no more
    bias: float = 0.05  # 1/s, std of the rate that slowly changing errors of distance feign
    settled: float = 0.4  # s of boxes until the rate is believed
    least_gap: float = 0.5  # m
    braking: float = 1.5  # m/s², a milder deceleration of the other is taken for noise
    forget: float = 1.0  # s
    on_foot: float = inf  # m/s along our way that is believed of a person (`assist.Config` says why it is less)
    far: float = 15.0  # m: from there on; nearer, who keeps so far ahead of us does
    prior: float = 6.0  # m/s, velocity_std with which the tracker begins a vehicle, at rest: taken out again, for it is no measurement


@dataclass(frozen=True)
class Closing:
    gap: float  # m from our front bumper to its near end
    speed: float  # m/s, closing positive
    rate: float  # 1/s
    rate_std: float
    ttc: float  # s, inf when not closing
    ttc_std: float


Growths = MappingProxyType[int, Rate]  # of a box's log height, by track


def nobody() -> Growths:
    """No boxes seen yet."""
    return MappingProxyType({})


def grown(growths: Growths, world: World, percept: Percept | None, camera: CameraModel, config: ClosingConfig) -> Growths:
    """The filters after one frame; a box nearer than `near` says nothing."""
    kept = {i: g for i, g in growths.items() if world.t - g.t < config.forget}
    if percept is None or not percept.valid:
        return MappingProxyType(kept)
    for track in world.tracks:
        box = _box_of(track, percept, config)
        if box is not None:
            height = float(box[3] - box[1])
            r = config.box_std**2 + (config.box_angle * camera.fy / height) ** 2
            last = kept.get(track.id)
            kept[track.id] = (
                begun(log(height), r, 1.0, world.t)
                if last is None
                else corrected(last, log(height), r, world.t, config.growth, config.memory, closing=True)
            )
    return MappingProxyType(kept)


def closing(track: Track, growth: Rate | None, world: World, vehicle: VehicleModel, config: ClosingConfig) -> Closing:
    """How the track comes closer along vehicle x. Turned-aside objects count with their extent along x."""
    c, s = abs(float(np.cos(track.yaw))), abs(float(np.sin(track.yaw)))
    half = (c * track.length + s * track.width) / 2
    front = vehicle.length - vehicle.rear_overhang
    gap = max(track.x - half - front, config.least_gap)
    vx, velocity_var = _measured(track, config)
    speed = world.speed - vx
    rate, var = speed / gap, velocity_var / gap**2 + (speed * track.position_std / gap**2) ** 2 + config.bias**2
    if growth is not None and growth.t - growth.first >= config.settled and track.unseen < config.settled:
        seen = growth.rate * (track.x - half) / gap  # the box grows with the distance to the lens, we hit with the bumper
        seen_var = growth.p11 * ((track.x - half) / gap) ** 2
        rate, var = (rate * seen_var + seen * var) / (var + seen_var), var * seen_var / (var + seen_var)
    std = sqrt(var)
    if rate <= 0:
        return Closing(gap, rate * gap, rate, std, inf, inf)
    ttc = 1 / rate
    braking = max(0.0, -track.acceleration - config.braking) if hypot(track.vx, track.vy) > 1.0 and track.vx > 0 else 0.0
    if braking > 0:  # gap = v t + a t² / 2
        v = rate * gap
        ttc = min(ttc, (-v + sqrt(v * v + 2 * braking * gap)) / braking)
    return Closing(gap, rate * gap, rate, std, ttc, ttc * ttc * std)


def _measured(track: Track, config: ClosingConfig) -> tuple[float, float]:
    """(vx, variance) without the tracker's prior, which would take a new vehicle for a standing one and warn of each."""
    if track.kind != Kind.VEHICLE:
        limit = config.on_foot if track.kind == Kind.PERSON and track.x > config.far else inf
        return min(max(track.vx, -limit), limit), track.velocity_std**2  # people and cyclists are slow indeed
    share = max(1 - (track.velocity_std / config.prior) ** 2, LEAST_SHARE)  # of the information that was measured
    return track.vx / share, track.velocity_std**2 / share


def _box_of(track: Track, percept: Percept, config: ClosingConfig) -> np.ndarray | None:
    near = [(hypot(track.x - d.position[0], track.y - d.position[1]), d) for d in percept.objects if d.kind == track.kind]
    distance, best = min(near, key=lambda pair: pair[0], default=(inf, None))
    if best is None or distance > config.match or best.distance < config.near:
        return None
    return best.box if best.box[3] - best.box[1] > 1.0 else None
