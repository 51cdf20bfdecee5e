"""The last good plan, when no other comes: where on it is the car, and how is it steered along it?

In: the plan's curvature each metre from where it was given, and since then the car's speed and yaw rate. Out: how far along the plan the
car is, how far beside it and how much turned from it (dead reckoning in the path's own coordinates), and the curvature to steer by:
the plan's where the car will be when the wheels answer, and some feedback. `control` follows its plans in the same way, in
code of its own. It sees nothing: a plan that was wrong stays wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin


@dataclass(frozen=True)
class FollowConfig:
    delay: float = 0.14  # s from command to the car's answer: a step of 0.05 and the simulated car's yaw lag of 0.09 (bodies.simcar_ecu)
    offset_gain: float = 0.02  # 1/m per m at `gain_speed`, as control's
    heading_gain: float = 0.15  # 1/m per rad at `gain_speed`, as control's
    gain_speed: float = 8.0  # m/s: gains fall with the square of speed above it


@dataclass(frozen=True)
class Followed:
    """Where the car is on a plan: metres along it, metres to the left of it, and rad turned to its left."""

    arc: tuple[float, ...] = ()  # 1/m, each metre
    driven: float = 0.0
    offset: float = 0.0
    heading: float = 0.0


def moved(followed: Followed, speed: float, yaw_rate: float | None, dt: float) -> Followed:
    """After `dt` seconds at `speed`. With a yaw rate that is unknown (None) the car is taken to turn as the plan does."""
    way = speed * dt
    bend = at(followed.arc, followed.driven + way / 2) * way
    turned = 0.0 if yaw_rate is None else yaw_rate * dt - bend
    middle = followed.heading + turned / 2
    return Followed(followed.arc, followed.driven + way * cos(middle), followed.offset + way * sin(middle), followed.heading + turned)


def curvature(followed: Followed, speed: float, otherwise: float, config: FollowConfig) -> float:
    """To steer by, 1/m; `otherwise` where there is no plan."""
    if not followed.arc:
        return otherwise
    fade = min(1.0, (config.gain_speed / max(speed, 1.0)) ** 2)
    back = fade * (config.offset_gain * followed.offset + config.heading_gain * followed.heading)
    return at(followed.arc, followed.driven + speed * config.delay) - back


def at(arc: tuple[float, ...], metres: float) -> float:
    """The plan's curvature, between its metres by proportion; its last where it ends, 0 where there is none."""
    if not arc:
        return 0.0
    place = min(max(metres, 0.0), len(arc) - 1.0)
    k = min(int(place), max(len(arc) - 2, 0))
    share = place - k
    return arc[k] + share * (arc[k + 1] - arc[k]) if share > 0.0 else arc[k]
