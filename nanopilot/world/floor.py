"""Where the humanoid is, by the floor's pattern: pictures are laid out as one map of the floor, and each new one is moved until it fits.

In: dead reckoning, each picture, and what of it is floor. Out: place and yaw in the frame of the start, with their covariance: a Kalman
filter that dead reckoning moves and the pattern corrects. A mosaic as robots have found their place by before (Kelly 2000). Corners of
what was seen before are followed into the new picture (Shi and Tomasi 1994, Lucas and Kanade 1981); shift, turn and the camera's error
of tilt that explain them best are the measurement. A spot stays as it was first seen, unless seen from clearly nearer. Where the
pattern contradicts dead reckoning three times on end, a push has slid the feet, and the pattern is right. A floor without a pattern
tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from nanopilot.geometry import camera_from_vehicle, child_from_parent, intrinsics, parent_from_child, rotation_2d, wrap
from nanopilot.messages import CameraModel, WalkerState

Array = np.ndarray
Pose = tuple[float, float, float]


@dataclass(frozen=True)
class Config:
    """Guesses unless said otherwise; those with a star were chosen on logs of tuning rooms."""

    cell: float = 0.02  # m
    origin: tuple[float, float] = (-6.0, -8.0)  # m, of the map's corner in the frame of the start
    size: tuple[int, int] = (800, 900)  # cells along y and x: 16 m by 18 m
    near: float = 0.45  # m before the camera: nearer are our own feet
    far: float = 3.0  # m *
    wide: float = 1.0  # rad to either side
    nearer: float = 0.5  # m by which a spot must be seen from nearer to be drawn anew *
    corners: int = 80
    quality: float = 0.02  # of the best corner
    spacing: int = 6  # cells between corners
    window: int = 15  # cells that are compared, across
    contrast: float = 1.5  # grey levels, one std: less is no pattern
    returns: float = 0.5  # cells: a corner followed there and back ends that near
    fewest: int = 8  # corners
    agree: float = 0.5  # share of them that must
    corner_std: float = 0.004  # m, of one followed, and twice as much
    corner_far: float = 1.2  # m away
    tilt_std: float = 0.006  # rad, what the IMU may be off
    alike: float = 4.0  # corners that err as one
    misfit: float = 1.3  # rms of the corners' errors, in std: more, and what was seen is no floor *
    place_std: float = 0.004  # m, of a perfect fit
    yaw_std: float = 0.001  # rad
    way_std: float = 0.012  # m per square root of a metre walked *
    turn_share: float = 0.01  # of a turn
    yaw_drift: float = 0.002  # rad per square root of a second *
    gate: float = 5.0  # std
    patience: int = 3  # pictures that contradict, after which they are believed
    slid: tuple[float, float] = (0.1, 0.05)  # m and rad that dead reckoning may be off then


@dataclass(frozen=True)
class State:
    image: UInt8[Array, "h w 3"]  # the floor as seen
    distance: Float32[Array, "h w"]  # m from which; inf: not seen
    covariance: Float[Array, "3 3"]  # of the pose
    pose: Pose | None = None  # m, m, rad; None before the first observation
    reckoned: Pose = (0.0, 0.0, 0.0)  # dead reckoning's, when that was
    t: float = 0.0
    contradicted: int = 0  # pictures on end


@dataclass(frozen=True)
class Look:
    """One picture on the map's cells, and where it was taken."""

    image: UInt8[Array, "h w 3"]
    floor: Bool[Array, "h w"]
    distance: Float32[Array, "h w"]
    corner: tuple[int, int]  # column and row of its first cell on the map
    eye: Float[Array, "2"]  # m, below the camera
    heading: float  # rad, the camera's
    height: float  # m

    @property
    def place(self) -> tuple[slice, slice]:
        (column, row), (h, w) = self.corner, self.floor.shape
        return slice(row, row + h), slice(column, column + w)


def initial(config: Config = Config()) -> State:
    return State(np.zeros((*config.size, 3), np.uint8), np.full(config.size, np.inf, np.float32), np.zeros((3, 3)))


def step(state: State, walker: WalkerState, image: UInt8[Array, "H W 3"] | None, floor: Bool[Array, "h w"] | None, config: Config) -> State:
    """The state at `walker.t`; `floor` says which cells of the picture show floor, None that there is no picture to be trusted."""
    state = _walked(state, walker, config)
    if image is None or floor is None:
        return state
    floor = cv2.erode(floor.astype(np.uint8), np.ones((3, 3)))
    look = _look(image, floor, walker.camera, state.pose, config)
    if look is None:
        return state
    found = _shift(state, look, config)
    if found is not None:
        state, fits = _corrected(state, look, *found, config)
        look = _look(image, floor, walker.camera, state.pose, config) if fits else None
    return state if look is None else _drawn(state, look, config)


def _walked(state: State, walker: WalkerState, config: Config) -> State:
    """Moved on by dead reckoning, and less sure."""
    now = (walker.x, walker.y, walker.yaw)
    if state.pose is None:
        return replace(state, pose=now, reckoned=now, t=walker.t)
    step = child_from_parent(np.array(now[:2]), *state.reckoned)
    turn, dt = now[2] - state.reckoned[2], max(walker.t - state.t, 0.0)
    x, y = parent_from_child(step, *state.pose)
    moved = np.array([[1.0, 0.0, state.pose[1] - y], [0.0, 1.0, x - state.pose[0]], [0.0, 0.0, 1.0]])
    way, yaw = config.way_std**2 * float(np.hypot(*step)), (config.turn_share * turn) ** 2 + config.yaw_drift**2 * dt
    covariance = moved @ state.covariance @ moved.T + np.diag([way, way, yaw])
    return replace(state, pose=(float(x), float(y), wrap(state.pose[2] + turn)), reckoned=now, t=walker.t, covariance=covariance)


def _look(image: UInt8[Array, "H W 3"], floor: UInt8[Array, "h w"], camera: CameraModel, pose: Pose, c: Config) -> Look | None:
    """The picture on the map's cells, seen from `pose`; None where it shows next to nothing of the map."""
    eye, heading = parent_from_child(np.array([camera.x, camera.y]), *pose), pose[2] + camera.yaw
    rim = heading + np.linspace(-c.wide, c.wide, 9)
    ends = np.vstack([eye, eye + c.far * np.stack([np.cos(rim), np.sin(rim)], -1)])
    first = np.maximum(np.floor((ends.min(0) - c.origin) / c.cell).astype(int), 0)
    last = np.minimum(np.ceil((ends.max(0) - c.origin) / c.cell).astype(int), c.size[::-1])
    if (last - first).min() < c.window:
        return None
    w, h = (last - first).tolist()
    r, t = camera_from_vehicle(camera)
    vehicle_from_map = np.eye(3)
    vehicle_from_map[:2, :2], vehicle_from_map[:2, 2] = rotation_2d(-pose[2]), child_from_parent(np.zeros(2), *pose)
    map_from_cell = np.diag([c.cell, c.cell, 1.0])
    map_from_cell[:2, 2] = np.array(c.origin) + c.cell * (first + 0.5)
    pixel_from_cell = intrinsics(camera) @ np.column_stack([r[:, 0], r[:, 1], t]) @ vehicle_from_map @ map_from_cell
    scale = floor.shape[1] / camera.width
    shrunk = np.array([[scale, 0.0, (scale - 1) / 2], [0.0, scale, (scale - 1) / 2], [0.0, 0.0, 1.0]])
    seen = cv2.warpPerspective(image, pixel_from_cell, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    mask = cv2.warpPerspective(floor, shrunk @ pixel_from_cell, (w, h), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    x = (map_from_cell[0, 2] - eye[0] + c.cell * np.arange(w, dtype=np.float32))[None]
    y = (map_from_cell[1, 2] - eye[1] + c.cell * np.arange(h, dtype=np.float32))[:, None]
    distance = np.hypot(x, y).astype(np.float32)
    ahead = x * np.cos(heading) + y * np.sin(heading) > 0
    shown = (mask > 0) & ahead & (distance > c.near) & (distance < c.far)
    return Look(seen, shown, distance, (int(first[0]), int(first[1])), eye, float(heading), camera.z)


def _shift(state: State, look: Look, c: Config) -> tuple[Float[Array, "3"], Float[Array, "3 3"]] | None:
    """How far the eye is from where the look was laid: shift and turn that make the corners fit, and their covariance."""
    before = state.image[look.place]
    known = look.floor & np.isfinite(state.distance[look.place])
    inner = cv2.erode(known.astype(np.uint8), np.ones((7, 7)))
    if inner.sum() < c.window**2:
        return None
    old, new = _contrasted(before, look.image, known, c)
    corners = cv2.goodFeaturesToTrack(old, c.corners, c.quality, c.spacing, mask=inner, blockSize=5)
    if corners is None or len(corners) < c.fewest:
        return None
    window = (c.window, c.window)
    there, ok, _ = cv2.calcOpticalFlowPyrLK(old, new, corners, None, winSize=window, maxLevel=1)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(new, old, there, None, winSize=window, maxLevel=1)
    good = (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.abs(back - corners).max((1, 2)) < c.returns)
    if good.sum() < c.fewest:
        return None
    apart = c.cell * (there - corners)[good, 0].astype(float)  # m by which each seems to have moved, so the eye has by the opposite
    at = c.cell * (corners[good, 0] + look.corner + 0.5) + c.origin - look.eye
    return _fit(at, -apart, look, c)


def _contrasted(old: Array, new: Array, known: Bool[Array, "h w"], c: Config) -> tuple[UInt8[Array, "h w"], UInt8[Array, "h w"]]:
    """Both in grey along the colour in which the floor varies most, with the same mean and contrast."""
    colours = old[known].astype(np.float32)
    along = np.linalg.eigh(np.cov(colours.T))[1][:, -1].astype(np.float32)

    def grey(image: Array) -> Array:
        value = image.astype(np.float32) @ along
        mean, std = float(value[known].mean()), max(float(value[known].std()), c.contrast)
        return np.clip(128 + 40 * (value - mean) / std, 0, 255).astype(np.uint8)

    return grey(old), grey(new)


def _fit(
    at: Float[Array, "n 2"], shift: Float[Array, "n 2"], look: Look, c: Config
) -> tuple[Float[Array, "3"], Float[Array, "3 3"]] | None:
    """Shift, turn, and errors of pitch and roll that explain the shifts of points `at` (m from the eye): iteratively reweighted."""
    ahead = np.array([np.cos(look.heading), np.sin(look.heading)])
    left = np.array([-ahead[1], ahead[0]])
    x, y, h = (at @ ahead)[:, None], (at @ left)[:, None], look.height
    turned = np.stack([-at[:, 1], at[:, 0]], -1)
    pitched, rolled = ((x * x + h * h) * ahead + x * y * left) / h, (x * y * ahead + (y * y + h * h) * left) / h
    ways = np.broadcast_to(np.eye(2), (len(at), 2, 2))
    slope = np.concatenate([ways, np.stack([turned, pitched, rolled], -1)], -1).reshape(-1, 5)
    std = c.corner_std * (1 + (np.hypot(*at.T) / c.corner_far) ** 2)
    weight, prior = np.ones(len(at)), np.diag([0.0, 0.0, 0.0, c.tilt_std**-2, c.tilt_std**-2])
    for _ in range(8):
        weighed = slope * np.repeat(weight / std**2, 2)[:, None]
        information = weighed.T @ slope + prior
        best = np.linalg.solve(information, weighed.T @ shift.ravel())
        error = np.hypot(*(shift.ravel() - slope @ best).reshape(-1, 2).T) / std
        weight = 1 / (1 + (error / 2) ** 2) ** 2
    fits = error < 4
    if fits.sum() < c.fewest or fits.mean() < c.agree or np.sqrt((error[fits] ** 2).mean()) > c.misfit:
        return None
    return best[:3], np.linalg.inv(information)[:3, :3] * c.alike


def _corrected(state: State, look: Look, shift: Float[Array, "3"], covariance: Array, c: Config) -> tuple[State, bool]:
    """A Kalman step with the eye's shift; whether the look is believed."""
    arm = look.eye - state.pose[:2]
    eye_from_pose = np.array([[1.0, 0.0, -arm[1]], [0.0, 1.0, arm[0]], [0.0, 0.0, 1.0]])
    noise, before = covariance + np.diag([c.place_std**2, c.place_std**2, c.yaw_std**2]), state.covariance
    expected = eye_from_pose @ before @ eye_from_pose.T + noise
    if shift @ np.linalg.solve(expected, shift) > c.gate**2:
        if state.contradicted + 1 < c.patience:
            return replace(state, contradicted=state.contradicted + 1), False
        before = before + np.diag([c.slid[0] ** 2, c.slid[0] ** 2, c.slid[1] ** 2])
        expected = eye_from_pose @ before @ eye_from_pose.T + noise
        if shift @ np.linalg.solve(expected, shift) > c.gate**2:
            return replace(state, contradicted=0), False
    gain = before @ eye_from_pose.T @ np.linalg.inv(expected)
    x, y, yaw = (float(v) for v in state.pose + gain @ shift)
    return replace(state, pose=(x, y, wrap(yaw)), covariance=(np.eye(3) - gain @ eye_from_pose) @ before, contradicted=0), True


def _drawn(state: State, look: Look, c: Config) -> State:
    """The map with what the look shows for the first time, or from clearly nearer."""
    image, distance = state.image.copy(), state.distance.copy()
    fresh = look.floor & (look.distance < distance[look.place] - c.nearer)
    image[look.place][fresh], distance[look.place][fresh] = look.image[fresh], look.distance[fresh]
    return replace(state, image=image, distance=distance)
