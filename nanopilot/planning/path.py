"""A line to follow on the road, smooth enough to have a curvature, and what is done to it.

In: a polyline (the world's own-lane path). Out: a Path: the same at every metre with heading and curvature, moved,
shifted sideways, measured. Source of the smoothing: Whittaker-Henderson least squares on third differences
(Eilers, Anal. Chem. 2003), which leaves straights and circles as they are and damps what is shorter than about 6 m.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from nanopilot.geometry import child_from_parent

Array = np.ndarray

SPACING = 1.0  # m between points of a Path
LENGTH = 64.0  # m of Path kept: what perception gives, and 4 m behind
BEHIND = 4.0  # m kept behind the rear axle, so that it can be projected
SMOOTHING = 1.0  # weight of squared third differences at 1 m: half-power at a wavelength of about 6 m
STRAIGHTENING = 1e-4  # weight of squared second differences: only to continue a short line straight
LEAST = 12.0  # m: a shorter line is continued to this


@dataclass(frozen=True)
class Path:
    """Points every metre or so: arc length, position, heading (unwrapped), its unit vector, and curvature at each."""

    s: Float[Array, " n"]
    xy: Float[Array, "n 2"]
    yaw: Float[Array, " n"]
    tangent: Float[Array, "n 2"]
    curvature: Float[Array, " n"]

    def at(self, s: Float[Array, " m"]) -> tuple[Float[Array, "m 2"], Float[Array, " m"], Float[Array, " m"]]:
        """Position, heading and curvature at arc lengths; beyond the ends straight on."""
        yaw = np.interp(s, self.s, self.yaw)
        xy = np.stack([np.interp(s, self.s, self.xy[:, 0]), np.interp(s, self.s, self.xy[:, 1])], -1)  # (m, 2)
        over = s - np.clip(s, self.s[0], self.s[-1])
        xy = xy + over[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], -1)
        return xy, yaw, np.where(over == 0, np.interp(s, self.s, self.curvature), 0.0)

    def locate(self, points: Float[Array, "... 2"]) -> tuple[Float[Array, "..."], Float[Array, "..."], Int[Array, "..."]]:
        """(s, d, k): arc length, distance to the left, and the nearest point's index, of each point."""
        k = np.argmin((self.xy**2).sum(-1) - 2 * points @ self.xy.T, axis=-1)
        nearest, tangent = self.xy[k], self.tangent[k]
        dx, dy = points[..., 0] - nearest[..., 0], points[..., 1] - nearest[..., 1]
        tx, ty = tangent[..., 0], tangent[..., 1]
        along = tx * dx + ty * dy
        return self.s[k] + along, tx * dy - ty * dx - 0.5 * self.curvature[k] * np.minimum(along**2, SPACING**2), k  # the path bends away

    def find(self, x: float, y: float) -> tuple[float, float, int]:
        """`locate` for one point."""
        (s,), (d,), (k,) = self.locate(np.array([[x, y]]))
        return float(s), float(d), int(k)


def from_points(xy: Float[Array, "n 2"]) -> Path:
    """A Path through points, evenly spaced and already smooth; s = 0 is abeam of the origin."""
    step = np.diff(xy, axis=0)
    s = np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])
    chord = np.concatenate([step[:1], xy[2:] - xy[:-2], step[-1:]])  # (n, 2), central differences
    tangent = chord / np.hypot(chord[:, 0], chord[:, 1])[:, None]
    (c0, s0), (c1, s1) = tangent[:-1].T, tangent[1:].T
    turn = np.arctan2(c0 * s1 - s0 * c1, c0 * c1 + s0 * s1)
    yaw = np.arctan2(tangent[0, 1], tangent[0, 0]) + np.concatenate([[0.0], np.cumsum(turn)])
    inner = (yaw[2:] - yaw[:-2]) / (s[2:] - s[:-2])
    inner[0], inner[-1] = inner[1], inner[-2]  # their differences reach to the one-sided ends
    return _from_origin(Path(s, xy, yaw, tangent, np.concatenate([inner[:1], inner, inner[-1:]])))


def _from_origin(path: Path) -> Path:
    return replace(path, s=path.s - path.find(0.0, 0.0)[0])


@lru_cache(maxsize=128)
def _roughness(n: int) -> Float[Array, "n n"]:
    second, third = (np.diff(np.eye(n), k, axis=0) for k in (2, 3))
    return SMOOTHING * third.T @ third + STRAIGHTENING * second.T @ second


def smooth(points: Float[Array, "n 2"]) -> Path:
    """A Path that passes close by the points of a polyline starting abeam of us: from 4 m behind to where it ends."""
    step = np.diff(points, axis=0)
    s = np.concatenate([[0.0], np.cumsum(np.hypot(step[:, 0], step[:, 1]))])
    n = int(np.clip(s[-1] + BEHIND, LEAST, LENGTH) / SPACING) + 1
    position = np.clip((s + BEHIND) / SPACING, 0, n - 1.001)
    left = position.astype(int)
    share = position - left
    weight = np.zeros((len(points), n))
    rows = np.arange(len(points))
    weight[rows, left] = 1 - share
    weight[rows, left + 1] += share
    fitted = np.linalg.solve(weight.T @ weight + _roughness(n), weight.T @ points)  # (n, 2)
    return from_points(fitted)


def shift(path: Path, offset: float | Float[Array, " n"]) -> Path:
    """The path moved to its left by `offset` metres, the same all along or one for each point."""
    normal = path.tangent[:, ::-1] * (-1.0, 1.0)
    return from_points(path.xy + normal * np.broadcast_to(offset, len(path.s))[:, None])


def moved(path: Path, x: float, y: float, yaw: float) -> Path:
    """The same path in the frame of a car that has gone to (x, y, yaw); no point is lost, so nothing wears off."""
    turned = replace(
        path, xy=child_from_parent(path.xy, x, y, yaw), yaw=path.yaw - yaw, tangent=child_from_parent(path.tangent, 0.0, 0.0, yaw)
    )
    return _from_origin(turned)
