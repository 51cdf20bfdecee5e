"""People around a humanoid: detections -> tracks in the frame of the start.

In: detections of persons in one picture, the robot's pose, the time. Out: everybody it knows of, each by an alpha-beta filter (Kalata
1984). Who has moved is a person; who has not may be a thing. Who is out of sight walks on for a moment and is then taken to stand, as
people do who wait for the robot; he is forgotten after some seconds, or when the floor where he was is seen free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, parent_from_child
from nanopilot.messages import Detection, Kind

Array = np.ndarray
Pose = tuple[float, float, float]  # x, y, yaw in the frame of the start


@dataclass(frozen=True)
class Config:
    gate: float = 0.7  # m between a track and what may belong to it
    alpha: float = 0.5  # share of a person's surprise that moves its place
    beta: float = 0.15  # and its velocity
    fastest: float = 1.5  # m/s of a person
    usual: float = 0.06  # of the distance: doubt of it that the filter is made for; within a larger one, a picture moves nobody
    calms: float = 0.7  # of his velocity is left after such a picture: who is so near stops, as a rule
    moved: float = 0.4  # m from where somebody was first seen, and a share of the distance more, from which it is no thing
    jumps: float = 0.1  # of the distance that places err by
    doubt: float = 0.7  # probability at most of who has not moved
    forget: float = 4.0  # s unseen: beside us they are out of the picture
    near: float = 1.2  # m from us within which he is taken to wait, as people do, until we have gone
    waits: float = 20.0  # s unseen, of such a one
    doubted: float = 0.5  # s unseen of who was seen once
    shown: tuple[float, float, float] = (0.55, 0.9, 4.0)  # rad to either side, m nearest and farthest within which a picture shows feet
    missed: int = 6  # such pictures in a row without him after which he is no longer there
    close: float = 1.2  # m nearer than which nobody is doubted: the picture's rim cuts who stands there, now and then seen
    doubted_close: float = 5.0  # s
    coast: float = (
        0.3  # s that who is out of sight is taken to walk on; then to stand, as people do who wait for us: with 1 s he was 0.6 m off
    )


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
    missed: int = 0  # pictures in a row that should have shown him

    def place(self, t: float, coast: float) -> Float[Array, "2"]:
        return self.at + self.velocity * min(t - self.seen, coast)


def follow(
    known: tuple[Person, ...], next_id: int, pose: Pose, objects: tuple[Detection, ...], t: float, config: Config
) -> tuple[tuple[Person, ...], int]:
    """Give each seen person to the nearest track, or begin one; the number that the next one will have comes with them."""
    people = list(known)
    taken: set[int] = set()
    for one in objects:
        if one.kind != Kind.PERSON:
            continue
        at = parent_from_child(one.position.astype(float), *pose)
        where = [p.place(t, config.coast) for p in people]
        away = [np.hypot(*(w - at)) if k not in taken else inf for k, w in enumerate(where)]
        k = int(np.argmin(away)) if away else -1
        if k >= 0 and away[k] < config.gate:
            old, surprise = people[k], _beyond_doubt(at - where[k], at - pose[:2], one, config)
            dt = max(t - old.seen, 1e-3)
            doubtful = one.distance_std > config.usual * one.distance
            velocity = old.velocity * (config.calms if doubtful else 1.0) + config.beta / dt * surprise
            velocity *= min(1.0, config.fastest / max(float(np.hypot(*velocity)), 1e-9))
            now = where[k] + config.alpha * surprise
            moved = old.moved or np.hypot(*(now - old.began)) > config.moved + config.jumps * one.distance
            people[k] = replace(old, at=now, velocity=velocity, seen=t, count=old.count + 1, moved=bool(moved), missed=0)
            taken.add(k)
        else:
            people.append(Person(next_id, at, np.zeros(2), t, t, (float(at[0]), float(at[1]))))
            taken.add(len(people) - 1)
            next_id += 1
    people = [p if p.seen == t else replace(p, missed=p.missed + 1 if _shown(p, pose, t, config) else 0) for p in people]
    return tuple(p for p in people if p.missed < config.missed), next_id


def _beyond_doubt(surprise: Float[Array, "2"], ray: Float[Array, "2"], one: Detection, config: Config) -> Float[Array, "2"]:
    """A surprise without what the doubt of the distance explains: whose feet are out of the picture is where he was, or so near."""
    way, doubt = ray / max(float(np.hypot(*ray)), 1e-6), max(0.0, one.distance_std - config.usual * one.distance)
    return surprise - way * np.clip(way @ surprise, -doubt, doubt)


def _shown(p: Person, pose: Pose, t: float, config: Config) -> bool:
    """Whether a picture from here shows where he is taken to be."""
    x, y = child_from_parent(p.place(t, config.coast), *pose)
    bearing, near, far = config.shown
    return bool(near < np.hypot(x, y) < far and abs(np.arctan2(y, x)) < bearing)


def kept(p: Person, pose: Pose, config: Config) -> float:
    """Seconds that somebody unseen is kept."""
    away = float(np.hypot(*(p.at - pose[:2])))
    if p.count > 1:
        return config.waits if away < config.near else config.forget
    return config.doubted_close if away < config.close else config.doubted
