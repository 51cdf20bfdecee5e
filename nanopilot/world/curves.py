"""One line on the road over time: points at PATH_ARC in the vehicle frame, each with its own standard deviation.

In: the own motion and measured polylines. Out: the same line now. Points are moved with the car, read again at
PATH_ARC from abeam of the rear axle, made less certain by drift, and corrected (judged along their normals, so
90 degree turns are no special case) by a fading-memory Kalman filter per point: frames closer together than the memory share
their errors, so they may not make the estimate ever surer. At hand, what is known fades only as far as a frame knows better: a road seen
well from the junction's edge is not forgotten for the guesses made inside. Farther on it is the frame's own doubt that counts: what was
told as sure from 40 m and as a guess from 20 was never known. A point that is contradicted for longer than `patience` is taken anew.
It does not know what the line is. Source: Sorenson & Sacks 1971 (fading memory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import Akima1DInterpolator, CubicHermiteSpline

from nanopilot.geometry import child_from_parent, project, resample
from nanopilot.messages import PATH_ARC, PathProposal
from nanopilot.world.motion import Motion

Array = np.ndarray

DENSE_STEP = 0.5  # m; a chord of it leaves an arc of 10 m radius by 3 mm
_DENSE_ARC = np.arange(0, PATH_ARC[-1] + DENSE_STEP / 2, DENSE_STEP)
_EYE = np.eye(len(PATH_ARC))
_DENSE_FROM_KNOTS = CubicHermiteSpline(PATH_ARC, _EYE, np.gradient(_EYE, PATH_ARC, axis=0, edge_order=2))(_DENSE_ARC)
NEAR = int(15 / DENSE_STEP)  # dense points among which the one abeam of us is sought: no step is longer than 15 m
SHORTEST = 3.0  # m; a shorter polyline has no direction worth the name


@dataclass(frozen=True)
class CurveConfig:
    """Numbers are guesses to be replaced by measured ones, except `memory`, set by the jitter and lag test."""

    memory: float = 0.14  # s over which equally good frames are averaged: rms of white noise at 20 Hz comes out 0.4-fold, lag 0.14 s
    gate: float = 3.5  # standard deviations
    overlooked: float = 15.0  # m: nearer than this a frame may show less of the road than one from farther back did (logs of roundabouts)
    patience: float = 0.15  # s of contradiction until a point is taken anew
    drift_time: float = 0.03  # m / sqrt(s), at the car
    drift_metre: float = 0.01  # m / sqrt(m driven), at the car
    drift_arc: float = 40.0  # m ahead at which drift is twice that at the car (own yaw error)
    slope: float = 0.15  # std gained per metre of straight continuation beyond what a frame shows
    end_slope: float = 0.005  # same per metre driven, at the curve's own end
    min_std: float = 0.03  # m; no measured point is better


@dataclass(frozen=True)
class RoadCurve:
    """points at PATH_ARC, vehicle frame; `std` across; `doubt` s for which each point was contradicted."""

    points: Float[Array, "n 2"]
    std: Float[Array, " n"]
    doubt: Float[Array, " n"]
    probability: float


@dataclass(frozen=True)
class Measured:
    """One frame's line at PATH_ARC; where not `seen` it is only continued straight."""

    points: Float[Array, "n 2"]
    std: Float[Array, " n"]
    seen: Bool[Array, " n"]


C = TypeVar("C", RoadCurve, Measured)


def tangents(points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Unit vectors along a polyline at its points."""
    step = np.empty_like(points)
    step[1:-1], step[0], step[-1] = points[2:] - points[:-2], points[1] - points[0], points[-1] - points[-2]
    return step / np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-9)[:, None]


def normals(points: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """Unit vectors to the left of a polyline at its points."""
    return tangents(points) @ np.array([[0.0, 1.0], [-1.0, 0.0]])


def measured(points: Float[Array, "n 2"], std: Float[Array, " n"], config: CurveConfig) -> Measured | None:
    """A seen polyline (vehicle frame, going forward, any spacing) at PATH_ARC; None when it is too short to use."""
    points, std = np.asarray(points, float), np.asarray(std, float)
    keep = np.concatenate([[True], np.hypot(*np.diff(points, axis=0).T) > 1e-6]) if len(points) > 1 else np.zeros(len(points), bool)
    points, std = points[keep], std[keep]
    if len(points) < 2:
        return None
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if arc[-1] < SHORTEST:
        return None
    direction = points[np.searchsorted(arc, SHORTEST)] - points[0]
    ahead = float(points[0] @ direction / np.hypot(*direction))  # how far ahead of abeam it begins
    at = PATH_ARC - ahead if ahead > 0 else PATH_ARC + project(points, 0.0, 0.0)[0]
    beyond = np.maximum(np.maximum(-at, at - arc[-1]), 0)
    return Measured(resample(points, at), np.maximum(np.interp(at, arc, std), config.min_std) + config.slope * beyond, beyond <= DENSE_STEP)


def proposed(path: PathProposal, config: CurveConfig) -> Measured | None:
    """A path that is at PATH_ARC already; None when its points are too close together to be a path."""
    points = np.asarray(path.points, float)
    if len(points) != len(PATH_ARC) or np.hypot(*(points[1:] - points[:-1]).T).sum() < SHORTEST:
        return None
    return Measured(points, np.maximum(path.std, config.min_std), np.ones(len(points), bool))


def displaced(curve: C, offset: float, offset_std: float) -> C:
    """The parallel line `offset` m to the left."""
    dense = _DENSE_FROM_KNOTS @ curve.points
    dense = dense + offset * normals(dense)
    points = resample(dense, PATH_ARC)
    return replace(curve, points=points, std=np.hypot(curve.std, offset_std))


def moved(curve: RoadCurve, motion: Motion, config: CurveConfig) -> RoadCurve:
    """The curve in the vehicle frame after `motion`, with its drift."""
    dense = child_from_parent(_DENSE_FROM_KNOTS @ curve.points, motion.x, motion.y, motion.yaw)
    at = PATH_ARC + project(dense[:NEAR], 0.0, 0.0)[0]
    beyond = np.maximum(at - PATH_ARC[-1], 0)
    points = np.stack([np.interp(at, _DENSE_ARC, dense[:, k]) for k in (0, 1)], -1)  # by knots, not by length: no motion, no change
    points += beyond[:, None] * (dense[-1] - dense[-2]) / DENSE_STEP
    std = np.interp(at, PATH_ARC, curve.std) + config.end_slope * beyond
    drift = (config.drift_time**2 * motion.dt + config.drift_metre**2 * motion.travelled) * (1 + PATH_ARC / config.drift_arc) ** 2
    return replace(curve, points=points, std=np.sqrt(std**2 + drift))


def offset(curve: RoadCurve, seen: Measured) -> Float[Array, " n"]:
    """How far left of the curve's points the measurement lies."""
    return ((seen.points - curve.points) * normals(curve.points)).sum(-1)


def fused(curve: RoadCurve | None, seen: Measured, dt: float, config: CurveConfig, stubborn: bool = False) -> RoadCurve:
    """The curve corrected by one measurement `dt` s after the last; a stubborn one is never taken anew."""
    if curve is None:
        return RoadCurve(seen.points, seen.std, np.zeros(len(seen.std)), 0.0)
    d = offset(curve, seen)
    known, told = curve.std**-2.0, seen.std**-2.0  # information
    share = dt / (dt + config.memory)
    accepted = ~seen.seen | (d**2 <= config.gate**2 * (1 / known + 1 / told))
    poorer = np.minimum(known, told)  # at hand, and of a second opinion, a frame replaces no more than it brings; farther on it is believed
    total = known + share * (told - np.where(stubborn | (config.overlooked > PATH_ARC), poorer, known))
    gain = np.where(accepted, share * told / total, 0.0)
    points = _between(curve.points, seen.points, gain, total)
    std = np.where(accepted, total**-0.5, curve.std)
    if stubborn:
        return replace(curve, points=points, std=std)
    doubt = np.where(accepted & seen.seen, 0.0, curve.doubt + np.where(seen.seen, dt, 0.0))
    anew = seen.seen & (doubt > config.patience)
    return replace(
        curve,
        points=_between(points, seen.points, anew.astype(float), np.where(anew, told, known)) if anew.any() else points,
        std=np.where(anew, seen.std, std),
        doubt=np.where(anew, 0.0, doubt),
    )


def _between(a: Float[Array, "n 2"], b: Float[Array, "n 2"], share: Float[Array, " n"], weight: Float[Array, " n"]) -> Float[Array, "n 2"]:
    """From line `a` (0) to line `b` (1), each point its own share. Headings and lengths are mixed, not places: two lines that bend
    at different places, mixed unequally, would fold. The whole then lies where the places would have been, by `weight`."""
    step_a, step_b = np.diff(a, axis=0), np.diff(b, axis=0)
    heading, other = np.arctan2(step_a[:, 1], step_a[:, 0]), np.arctan2(step_b[:, 1], step_b[:, 0])
    length, other_length = np.hypot(step_a[:, 0], step_a[:, 1]), np.hypot(step_b[:, 0], step_b[:, 1])
    heading = heading + share[1:] * ((other - heading + np.pi) % (2 * np.pi) - np.pi)
    length = length + share[1:] * (other_length - length)
    step = length[:, None] * np.stack([np.cos(heading), np.sin(heading)], -1)
    line = np.concatenate([a[:1], a[:1] + np.cumsum(step, axis=0)])
    places = a + share[:, None] * (b - a)
    return line + weight @ (places - line) / weight.sum()


def smoothed(points: Float[Array, "n 2"], spacing: float) -> Float[Array, "m 2"]:
    """A curve through a polyline's points (Akima 1970), one every `spacing` m: chords of 10 m cut 1 to 2 m off a road's corner."""
    step = np.hypot(*np.diff(points, axis=0).T)
    points = points[np.concatenate([[True], step > 1e-9])]
    if len(points) < 3:
        return points
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    return Akima1DInterpolator(s, points)(np.linspace(0.0, s[-1], max(round(s[-1] / spacing), 1) + 1))
