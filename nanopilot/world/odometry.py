"""Own speed and yaw rate from one camera's pictures alone, on a flat road.

In: a frame and its camera (height and rotation matter). Out: OwnMotion with std, and the direction of travel in the camera, which
tells how the camera is mounted. Turning comes from corners followed over the whole picture (Lucas & Kanade 1981; essential
matrix, Nistér 2004). Speed comes from the road just ahead: both pictures are laid onto the road plane, turned alike, and shifted until
they match (normalised cross-correlation in strips, weighed by their texture); the camera's height gives the scale. A car so close ahead
that it covers the patch, a wet or blurred road, and darkness make it uncertain, and after `memory` unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.geometry import camera_from_vehicle, image_from_vehicle, intrinsics
from nanopilot.messages import UNKNOWN_SPEED_STD, CameraModel, Frame, OwnMotion

Array = np.ndarray

BEHIND = 0.5  # m that we may seem to have rolled back


@dataclass(frozen=True)
class OdometryConfig:
    """Numbers are guesses unless said otherwise."""

    width: int = 640  # px, of the picture corners are followed in
    corners: int = 200
    quality: float = 0.01  # of the best corner
    spacing: int = 10  # px between corners
    least_corners: int = 25
    flow_std: float = 0.3  # px, of a corner followed
    still: float = 0.25  # px of median flow, below which, for
    still_for: float = 0.15  # s on end, we stand: at night the lit windows of a far town hold still for a picture or two
    cell: float = 0.05  # m, of the road patch
    patch: float = 4.0  # m, the template's length
    wide: float = 2.4  # m to each side
    strips: int = 6  # across the patch
    aside: int = 2  # cells the patch may slide across
    fastest: float = 60.0  # m/s
    longest: float = 8.0  # m between two frames
    texture: tuple[float, float] = (2.0, 10.0)  # grey levels of a strip: less says nothing, more counts no more
    moving: float = 1.0  # px of median flow, above which we surely move, so that
    frozen: float = 0.12  # m, a shorter way is a pattern that sticks to the picture
    backward: float = 3.0  # m/s, nobody reverses faster
    match: float = 0.35  # least correlation, all strips together
    margin: float = 0.05  # by which it is better than any other way, more than
    apart: float = 0.4  # m away
    support: float = 0.5  # share of the texture that must agree
    way_std: float = 0.04  # m, of one frame's way
    height_std: float = 0.03  # share of the camera's height, hence of the speed
    acceleration: float = 3.0  # m/s² by which speed wanders
    turning: float = 0.5  # rad/s² by which the yaw rate wanders
    yaw_std: float = 0.0006  # rad (KITTI: median error 0.0003), of one frame's rotation
    gate: float = 4.0  # standard deviations
    memory: float = 1.5  # s without a match until speed is unknown
    direction_step: float = 0.4  # m between frames from which the direction of travel is worth telling
    direction_std: float = 0.02  # rad, of one frame's


@dataclass(frozen=True)
class OdometryState:
    small: UInt8[Array, "h w"] | None = None  # the last picture for corners
    road: Float[Array, "h w"] | None = None  # and as it was, grey
    t: float = 0.0
    speed: float = 0.0
    var: float = UNKNOWN_SPEED_STD**2
    yaw_rate: float = 0.0
    yaw_var: float = 0.1**2
    matched: float = float("-inf")  # when speed was last measured
    outliers: int = 0
    first: float | None = None  # m/s, measured once since speed was last known
    still: float = float("inf")  # since when nothing has moved


@dataclass(frozen=True)
class Direction:
    """Where we go as the camera sees it: yaw left, pitch down of the direction of travel, against the optical axis."""

    yaw: float
    pitch: float
    std: float


def initial() -> OdometryState:
    """Nothing seen."""
    return OdometryState()


def step(
    state: OdometryState, frame: Frame, camera: CameraModel, pitch_std: float, config: OdometryConfig
) -> tuple[OdometryState, OwnMotion, Direction | None]:
    """Own motion at the frame's time; `pitch_std` is how well the camera's pitch is known, which scales the speed."""
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, config.width / camera.width)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    dt = frame.t - state.t
    if state.small is None or state.small.shape != small.shape or not 0 < dt <= 1.0:
        fresh = OdometryState(small, grey, frame.t)
        return fresh, _told(fresh, camera, pitch_std, config), None
    state = replace(
        state,
        var=state.var + (config.acceleration * dt) ** 2,
        yaw_var=state.yaw_var + (config.turning * dt) ** 2,
    )
    turned, flow, way = _turned(state, small, _scaled(camera, scale), dt, config)
    travelled = None
    still = min(state.still, state.t) if flow is not None and flow < config.still else float("inf")
    state = replace(state, still=still)
    if frame.t - still >= config.still_for:
        state = _corrected(state, frame.t, 0.0, 0.1, config)
    elif still == float("inf") and turned is not None:
        travelled = _travelled(state, grey, camera, turned, flow, dt, config)
        if travelled is not None:
            state = _corrected(state, frame.t, travelled[0] / dt, travelled[1] / dt, config)
    if turned is not None:
        r, _ = camera_from_vehicle(camera)
        in_vehicle = r.T @ turned @ r  # new frame from old one, vehicle axes
        yaw_rate, var = -np.arctan2(in_vehicle[1, 0], in_vehicle[0, 0]) / dt, (config.yaw_std / dt) ** 2
        gain = state.yaw_var / (state.yaw_var + var)
        state = replace(state, yaw_rate=state.yaw_rate + gain * (float(yaw_rate) - state.yaw_rate), yaw_var=(1 - gain) * state.yaw_var)
    direction = None
    if travelled is not None and way is not None and travelled[0] > config.direction_step and way[2] > 0.8:
        direction = Direction(-float(np.arctan2(way[0], way[2])), float(np.arctan2(way[1], way[2])), config.direction_std)
    if frame.t - state.matched > config.memory:
        state = replace(state, speed=0.0, var=UNKNOWN_SPEED_STD**2)
    state = replace(state, small=small, road=grey, t=frame.t)
    return state, _told(state, camera, pitch_std, config), direction


def _told(state: OdometryState, camera: CameraModel, pitch_std: float, config: OdometryConfig) -> OwnMotion:
    near = _nearest(camera)
    share = np.hypot(config.height_std, 2 * (near + config.patch / 2) / camera.z * pitch_std) if np.isfinite(near) else 0.0
    std = min(float(np.hypot(np.sqrt(state.var), share * state.speed)), UNKNOWN_SPEED_STD)
    return OwnMotion(state.t, max(state.speed, 0.0), std, state.yaw_rate, float(np.sqrt(state.yaw_var)), "video")


def _corrected(state: OdometryState, t: float, speed: float, std: float, config: OdometryConfig) -> OdometryState:
    """A Kalman step; what lies outside the gate is believed only the third time, and an unknown speed is known when two agree."""
    var = std**2
    if state.var >= UNKNOWN_SPEED_STD**2 and (state.first is None or (speed - state.first) ** 2 > config.gate**2 * 2 * var):
        return replace(state, first=speed)
    if (speed - state.speed) ** 2 > config.gate**2 * (state.var + var) and state.outliers < 2:
        return replace(state, outliers=state.outliers + 1)
    if state.outliers >= 2:
        state = replace(state, var=UNKNOWN_SPEED_STD**2)
    gain = state.var / (state.var + var)
    return replace(state, speed=state.speed + gain * (speed - state.speed), var=(1 - gain) * state.var, matched=t, outliers=0, first=None)


def _scaled(camera: CameraModel, k: float) -> CameraModel:
    width, height = round(camera.width * k), round(camera.height * k)
    return replace(camera, width=width, height=height, fx=camera.fx * k, fy=camera.fy * k, cx=camera.cx * k, cy=camera.cy * k)


def _turned(
    state: OdometryState, new: Array, camera: CameraModel, dt: float, config: OdometryConfig
) -> tuple[Array | None, float | None, Array | None]:
    """(R new from old in camera axes, median flow in px, direction of travel in camera axes); None where it can't be told."""
    old = state.small
    corners = cv2.goodFeaturesToTrack(old, config.corners, config.quality, config.spacing)
    if corners is None or len(corners) < config.least_corners:
        return None, None, None
    moved, ok, _ = cv2.calcOpticalFlowPyrLK(old, new, corners, None, winSize=(15, 15), maxLevel=3)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(new, old, moved, None, winSize=(15, 15), maxLevel=3)
    good = (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & (np.abs(back - corners).max((1, 2)) < 0.7)
    if good.sum() < config.least_corners:
        return None, None, None
    a, b = corners[good, 0], moved[good, 0]
    flow = float(np.median(np.hypot(*(b - a).T)))
    if flow < config.still:
        return np.eye(3), flow, None
    essential, inliers = cv2.findEssentialMat(a, b, intrinsics(camera), cv2.RANSAC, 0.999, 0.7)
    if essential is None or essential.shape != (3, 3):
        return None, flow, None
    count, r, t, _ = cv2.recoverPose(essential, a, b, intrinsics(camera), mask=inliers)
    if count < config.least_corners // 2 or np.trace(r) < 2.9:  # 18 degrees between frames is no driving
        return None, flow, None
    keep = inliers[:, 0] > 0
    rays = [np.column_stack([(p[keep] - (camera.cx, camera.cy)) / (camera.fx, camera.fy), np.ones(keep.sum())]) for p in (a, b)]
    return _as_a_car(rays[0], rays[1], r, camera, max(state.speed * dt, 0.2), config), flow, -(r.T @ t)[:, 0]


def _as_a_car(
    a: Float[Array, "n 3"], b: Float[Array, "n 3"], r: Array, camera: CameraModel, way: float, config: OdometryConfig
) -> Float[Array, "3 3"]:
    """The rotation again, now that a car's rear axle goes where it points: rays `a` and then `b`, `way` m driven.

    Iteratively reweighted least squares of the distances (tangents) to the epipolar lines.
    """
    view, _ = camera_from_vehicle(camera)
    turn = r
    for _ in range(6):
        yaw = -float(np.arctan2((view.T @ turn @ view)[1, 0], (view.T @ turn @ view)[0, 0]))
        t = -turn @ view @ (np.array([1.0, yaw / 2 + camera.x * yaw / way, 0.0]))  # of the old camera, in the new one's axes
        turned = a @ turn.T
        line = turned @ np.array([[0, t[2], -t[1]], [-t[2], 0, t[0]], [t[1], -t[0], 0]])  # t x turned
        norm = np.maximum(np.hypot(line[:, 0], line[:, 1]), 1e-6)
        error = (b * line).sum(1) / norm
        slope = b * (turned @ t)[:, None] - (b * turned).sum(1)[:, None] * t  # b . (t x (axis x turned)) for each axis, (n, 3)
        slope /= norm[:, None]
        weight = 1 / (1 + (error * camera.fx / config.flow_std) ** 2)
        step = -np.linalg.solve((slope * weight[:, None]).T @ slope + 1e-9 * np.eye(3), (slope * weight[:, None]).T @ error)
        turn = cv2.Rodrigues(step)[0] @ turn
    return turn


def _road(image: Array, camera: CameraModel, turn: Array, near: float, far: float, config: OdometryConfig) -> Float[Array, "h w"]:
    """The road from `near` to `far` m before the camera, far end up, as seen by the camera turned by `turn`; high-passed along x."""
    corners = np.array([[far, config.wide], [far, -config.wide], [near, -config.wide], [near, config.wide]])
    r, _ = camera_from_vehicle(camera)
    points = np.column_stack([corners, np.full(4, -camera.z)]) @ r.T @ turn.T
    pixels = points[:, :2] / points[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    height, width = round((far - near) / config.cell), round(2 * config.wide / config.cell)
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    homography = cv2.getPerspectiveTransform(pixels.astype(np.float32), flat)
    road = cv2.warpPerspective(image, homography, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)
    return road - cv2.blur(road, (1, 21))  # 1 m


def _nearest(camera: CameraModel) -> float:
    """How far before the camera the picture's lower side meets the road, and a little more."""
    x = np.arange(1.0, 20.0, 0.1)
    points = np.stack([camera.x + x, np.zeros_like(x), np.zeros_like(x)], -1)
    pixels, depth = image_from_vehicle(camera, points)
    seen = (depth > 0) & (pixels[:, 1] < 0.97 * camera.height)
    return float(x[seen][0]) if seen.any() else float("nan")


def _travelled(
    state: OdometryState, grey: Array, camera: CameraModel, turned: Array, flow: float, dt: float, config: OdometryConfig
) -> tuple[float, float] | None:
    """(m, std) driven between the pictures by the road's shift; None where the road doesn't say."""
    near = _nearest(camera)
    if not near < 15:
        return None
    longest = min(config.longest, config.fastest * dt + 1.0)
    new = _road(grey, camera, turned, near, near + config.patch, config)
    old = _road(state.road, camera, np.eye(3), near - BEHIND, near + config.patch + longest, config)
    rows, width = len(new), new.shape[1] // config.strips
    count = len(old) - rows + 1
    at = (count - 1 - np.arange(count)) * config.cell - BEHIND  # m driven, by row of the match
    scores, weights = [], []
    for k in range(config.strips):
        left = k * width
        strip = new[:, left + config.aside : left + width - config.aside]
        texture = float(strip.std())
        if texture < config.texture[0]:
            continue
        scores.append(cv2.matchTemplate(old[:, left : left + width], strip, cv2.TM_CCOEFF_NORMED).max(1))  # over the slides across
        weights.append(min(texture, config.texture[1]) ** 2)
    if not scores:
        return None
    score, weight = np.array(scores), np.array(weights) / sum(weights)  # (k, count), (k,)
    total = weight @ score
    if flow > config.moving:  # what stays in its place then is dirt, a reflection, or what a codec left
        total[np.abs(at) < config.frozen] = -1.0
    stood = state.var < UNKNOWN_SPEED_STD**2 and state.speed < config.backward  # only who stood reverses; falling rain looks like it
    total[at < -config.frozen - config.backward * dt * stood] = -1.0
    expected = 0.025 * (at - state.speed * dt) ** 2 / (state.var * dt**2 + 0.3**2)
    best = int(np.argmax(total - np.minimum(expected, 0.3)))
    if total[best] < config.match or best in (0, count - 1):
        return None
    apart = np.abs(at - at[best]) > config.apart
    if apart.any() and total[best] - total[apart].max() < config.margin:
        return None
    window = score[:, max(0, best - 2) : best + 3].max(1)
    supports = weight @ (window > 0.7 * score.max(1))
    if supports < config.support:
        return None
    before, peak, after = total[best - 1 : best + 2]
    bend = before - 2 * peak + after
    shift = 0.5 * (before - after) / bend if bend < -1e-6 and before > -1 and after > -1 else 0.0
    return float(at[best] - config.cell * shift), config.way_std * float(np.sqrt(config.match / total[best]))
