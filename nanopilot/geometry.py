"""Camera and frame transforms, named a_from_b: `p_a = a_from_b(...) applied to p_b`.

In: a CameraModel and points. Out: points in the other frame. The world is a plane near the car (z = 0 in the
vehicle frame); lifting to it is exact for the plane only. Source: Hartley & Zisserman, Multiple View
Geometry, ch. 6 (pinhole), ISO 8855 (axes).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from nanopilot.messages import CameraModel

Array = np.ndarray

MODEL_WIDTH, MODEL_HEIGHT = 512, 256  # the network's picture
MODEL_FOCAL = 256.0  # px: 90 degrees across
MODEL_HORIZON = 96.0  # row of the horizon: more road than sky
ASIDE = 0.5  # rad: a camera that is turned farther looks aside on purpose; less is a mounting error


def model_camera(name: str = "front", x: float = 1.3, z: float = 1.4) -> CameraModel:
    """The canonical front camera: level, straight ahead, what every other camera is warped into for the network."""
    return CameraModel(name, MODEL_WIDTH, MODEL_HEIGHT, MODEL_FOCAL, MODEL_FOCAL, (MODEL_WIDTH - 1) / 2, MODEL_HORIZON, x=x, z=z)


def narrow_camera(name: str = "narrow") -> CameraModel:
    """A second front camera beside the model camera: 37 degrees across, three times as fine; from 11 m on it sees the road."""
    front = model_camera(name)
    focal = 3 * MODEL_FOCAL
    return CameraModel(name, MODEL_WIDTH, MODEL_HEIGHT, focal, focal, front.cx, 0.6 * MODEL_HEIGHT, x=front.x, z=front.z)


def rotation_2d(angle: float) -> Float[Array, "2 2"]:
    """Rotate by `angle` (rad, left positive)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def parent_from_child(points: Float[Array, "... 2"], x: float, y: float, yaw: float) -> Float[Array, "... 2"]:
    """Points in a child frame that stands at (x, y, yaw) in its parent, in the parent frame."""
    return points @ rotation_2d(yaw).T + (x, y)


def child_from_parent(points: Float[Array, "... 2"], x: float, y: float, yaw: float) -> Float[Array, "... 2"]:
    """Inverse of `parent_from_child`."""
    return (points - (x, y)) @ rotation_2d(yaw)


def side_camera(name: str) -> CameraModel:
    """A model camera in a door pillar that looks to its side, 'left' or 'right': from 35 to 125 degrees off straight ahead."""
    side = {"left": 1, "right": -1}[name]
    return replace(model_camera(name), y=0.8 * side, yaw=np.deg2rad(80.0) * side)


def rear_camera() -> CameraModel:
    """A model camera under the rear window that looks back."""
    return replace(model_camera("rear"), x=-0.8, yaw=np.pi)


def looks_aside(camera: CameraModel) -> bool:
    """Whether it is no front camera."""
    return abs(wrap(camera.yaw)) > ASIDE


@lru_cache(maxsize=64)
def _camera_from_vehicle_rotation(yaw: float, pitch: float, roll: float) -> Float[Array, "3 3"]:
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rz = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])  # nose down positive: about +y (left)
    rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    optical_from_body = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])  # camera: x right, y down, z ahead
    return optical_from_body @ (rz @ ry @ rx).T


def camera_from_vehicle(camera: CameraModel) -> tuple[Float[Array, "3 3"], Float[Array, "3"]]:
    """(R, t) with p_camera = R @ p_vehicle + t; camera axes are x right, y down, z ahead."""
    r = _camera_from_vehicle_rotation(camera.yaw, camera.pitch, camera.roll)
    return r, -r @ np.array([camera.x, camera.y, camera.z])


def intrinsics(camera: CameraModel) -> Float[Array, "3 3"]:
    """The pinhole matrix K."""
    return np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])


def image_from_vehicle(camera: CameraModel, points: Float[Array, "n 3"]) -> tuple[Float[Array, "n 2"], Float[Array, " n"]]:
    """Pixels and depth along the optical axis (m) of points; where depth <= 0 the pixel is meaningless."""
    r, t = camera_from_vehicle(camera)
    p = points @ r.T + t
    depth = p[:, 2]
    z = np.where(depth > 1e-6, depth, 1e-6)
    return np.stack([camera.fx * p[:, 0] / z + camera.cx, camera.fy * p[:, 1] / z + camera.cy], -1), depth  # (n, 2)


def road_from_image(camera: CameraModel, pixels: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
    """(x, y) on the road plane, vehicle frame, of each pixel; NaN at and above the horizon."""
    r, _ = camera_from_vehicle(camera)
    rays = np.stack([(pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy, np.ones(len(pixels))], -1)
    rays = rays @ r  # camera -> vehicle, R transposed
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(rays[:, 2] < -1e-6, -camera.z / rays[:, 2], np.nan)
    return np.array([camera.x, camera.y]) + rays[:, :2] * scale[:, None]


def image_from_image(destination: CameraModel, source: CameraModel) -> Float[Array, "3 3"]:
    """Homography that takes a source pixel to the destination camera, both at one place (rotation and focal only)."""
    r_dst, _ = camera_from_vehicle(destination)
    r_src, _ = camera_from_vehicle(source)
    return intrinsics(destination) @ r_dst @ r_src.T @ np.linalg.inv(intrinsics(source))


def resample(points: Float[Array, "n 2"], arc: Float[Array, " m"]) -> Float[Array, "m 2"]:
    """A polyline's points at the given arc lengths; beyond its ends it is continued straight."""
    step = np.hypot(*np.diff(points, axis=0).T)
    keep = np.concatenate([[True], step > 1e-9])
    points = points[keep]
    if len(points) < 2:
        raise ValueError("a polyline needs two different points")
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    out = np.stack([np.interp(arc, s, points[:, k]) for k in (0, 1)], -1)  # (m, 2)
    before, after = arc < 0, arc > s[-1]
    first, last = (points[1] - points[0]) / (s[1] - s[0]), (points[-1] - points[-2]) / (s[-1] - s[-2])
    out[before] = points[0] + arc[before, None] * first
    out[after] = points[-1] + (arc[after] - s[-1])[:, None] * last
    return out


def project(points: Float[Array, "n 2"], x: float, y: float) -> tuple[float, float]:
    """(s, d): arc length of the polyline's point nearest to (x, y), and the signed distance, left positive."""
    a, b = points[:-1], points[1:]
    ab = b - a
    length2 = np.maximum((ab**2).sum(-1), 1e-12)
    u = np.clip((((x, y) - a) * ab).sum(-1) / length2, 0, 1)
    foot = a + u[:, None] * ab
    k = int(np.argmin(((foot - (x, y)) ** 2).sum(-1)))
    s = float(np.hypot(*ab[:k].T).sum() + u[k] * np.sqrt(length2[k]))
    cross = ab[k, 0] * (y - a[k, 1]) - ab[k, 1] * (x - a[k, 0])
    return s, float(np.copysign(np.hypot(*(foot[k] - (x, y))), cross))


def wrap(angle: float) -> float:
    """An angle to [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
