"""Other road users over time: position, velocity over ground, yaw, size, acceleration, and how sure we are they exist.

In: own motion and one frame's detections (or None: blind). Out: Tracks, all rows at once as arrays, in the vehicle frame now. Per track a
Kalman filter in ground coordinates, constant velocity but for vehicles that brake, with less noise for those that stand (noise along the
camera's ray and across it apart), one for yaw and yaw rate, frames assigned by the Hungarian method within a Mahalanobis gate, one kind
only. Who leaves the cameras' view is carried on by dead reckoning for a while. It knows neither lanes nor occlusion. Source: Bar-Shalom,
Li & Kirubarajan 2001, ch. 6; Kuhn 1955 (assignment).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from nanopilot.geometry import child_from_parent, model_camera, rotation_2d
from nanopilot.messages import Detection, Kind, Track
from nanopilot.world.motion import Motion

Array = np.ndarray

KINDS = tuple(Kind)
SAME_MOMENT = 1e-3  # s


@dataclass(frozen=True)
class TrackConfig:
    """Numbers are guesses unless said otherwise; per-kind tuples are in the order of Kind."""

    camera_x: float = model_camera().x  # m ahead of the rear axle
    view: float = np.pi / 2  # rad across, the model camera's
    view_margin: float = 0.1  # rad at its edges, and
    view_near: float = 3.0  # m before the camera, where one may well go unseen
    view_far: float = 60.0  # m
    gate: float = 13.8  # squared Mahalanobis distance, 99.9 % of chi-square with 2 degrees of freedom
    position_floor: float = 0.15  # m, std of any detection's footprint
    changing: float = 0.7  # share of a stated std that changes between frames; the rest lasts, and is no motion (dev/bench_tracks.py)
    yaw_std: float = 0.4  # rad, of a detection's yaw: the network's error on the tuning maps (median 0.37, nose and tail apart)
    course_std: float = 0.08  # rad by which a vehicle's yaw may differ from its course, above course_speed
    course_speed: float = 4.0  # m/s
    turn_acceleration: float = 4.0  # m/s²: nobody turns harder than this sideways
    turn_limit: float = 0.8  # rad/s, nor faster than this
    unseen_turn_tau: float = 0.5  # s in which the turning and accelerating of who isn't seen fades
    size_std: float = 0.3  # m
    acceleration_along: tuple[float, ...] = (2.0, 1.0, 1.5)  # m/s² at 1 Hz bandwidth: white-acceleration intensity's root, m/s^1.5
    acceleration_across: tuple[float, ...] = (2.5, 1.0, 1.0)  # a turning car's 3 m/s²; velocity errors on the tuning maps were least
    standing: float = 0.4  # share of both that is left to a vehicle slower than standing_speed and older than standing_age:
    standing_speed: float = 2.0  # m/s; parked cars were told faster than 1.5 m/s in 17 and 33 % of looks, now in 11 and 21 (tuning towns)
    standing_age: float = 1.0  # s
    speed_prior: tuple[float, ...] = (8.0, 1.5, 5.0)  # m/s along its yaw, std at birth
    speed_prior_across: tuple[float, ...] = (3.0, 1.5, 2.0)  # what yaw_std makes of speed_prior
    yaw_rate_prior: float = 0.3  # rad/s
    yaw_acceleration: float = 0.6  # rad/s^1.5
    flip_speed: float = 2.0  # m/s above which its velocity says where its nose is
    acceleration_tau: float = 0.7  # s, low-pass of the velocity's slope
    lasting: float = 0.9  # share of a vehicle's braking that goes on from frame to frame (dev/bench_tracks.py)
    acceleration_settled: float = 1.6  # s after birth until it is believed fully: the filter's own convergence is no acceleration
    score: float = 0.4  # detections below are ignored
    hits: int = 2  # until told
    probability_gain: float = 0.3  # per hit, towards its score
    unseen_tau: float = 0.7  # s in which the probability fades in view
    unseen_in_view: float = 1.0  # s until dropped
    unseen_out_of_view: float = 3.0
    unseen_tentative: float = 0.25


@dataclass(frozen=True)
class Tracks:
    """n objects; mean (x, y, vx, vy), velocity over ground in the vehicle frame's axes; turn (yaw, yaw rate)."""

    id: Int[Array, " n"]
    kind: Int[Array, " n"]  # index into KINDS
    mean: Float[Array, "n 4"]
    cov: Float[Array, "n 4 4"]
    turn: Float[Array, "n 2"]
    turn_cov: Float[Array, "n 2 2"]
    size: Float[Array, "n 2"]  # length, width
    size_var: Float[Array, " n"]
    acceleration: Float[Array, " n"]
    age: Float[Array, " n"]
    unseen: Float[Array, " n"]
    hits: Int[Array, " n"]
    probability: Float[Array, " n"]
    next_id: int = 0

    def __len__(self) -> int:
        return len(self.id)


def none() -> Tracks:
    """No tracks."""
    integers, numbers = np.zeros(0, int), np.zeros(0)
    return Tracks(
        integers, integers, np.zeros((0, 4)), np.zeros((0, 4, 4)), np.zeros((0, 2)), np.zeros((0, 2, 2)),
        np.zeros((0, 2)), numbers, numbers, numbers, numbers, integers, numbers,
    )  # fmt: skip


def selected(tracks: Tracks, keep: Bool[Array, " n"]) -> Tracks:
    """Those rows only."""
    if keep.all():
        return tracks
    return replace(tracks, **{f.name: getattr(tracks, f.name)[keep] for f in fields(Tracks) if f.name != "next_id"})


def joined(a: Tracks, b: Tracks) -> Tracks:
    """All rows of both."""
    if not len(b):
        return a
    rows = {f.name: np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(Tracks) if f.name != "next_id"}
    return Tracks(**rows, next_id=max(a.next_id, b.next_id))


def move(tracks: Tracks, motion: Motion, config: TrackConfig) -> Tracks:
    """Tracks predicted over `motion`, in the vehicle frame after it."""
    if not len(tracks):
        return tracks
    dt, back = motion.dt, rotation_2d(-motion.yaw)
    position = child_from_parent(tracks.mean[:, :2] + tracks.mean[:, 2:] * dt, motion.x, motion.y, motion.yaw)
    speed = np.maximum(np.hypot(tracks.mean[:, 2], tracks.mean[:, 3]), 1e-6)
    grown = np.maximum(1 + _lasting(tracks, config) * dt / speed, 0.0)  # nobody comes to drive backwards by braking
    velocity = grown[:, None] * tracks.mean[:, 2:] @ back.T
    f = np.zeros((4, 4))
    f[:2, :2] = f[2:, 2:] = back
    f[:2, 2:] = back * dt
    yaw, yaw_rate = tracks.turn.T
    along = np.stack([np.cos(yaw - motion.yaw), np.sin(yaw - motion.yaw)], -1)
    stands = (tracks.kind == KINDS.index(Kind.VEHICLE)) & (speed < config.standing_speed) & (tracks.age > config.standing_age)
    share = np.where(stands, config.standing, 1.0)
    noise_along, noise_across = (share * np.array(noise)[tracks.kind] for noise in (config.acceleration_along, config.acceleration_across))
    intensity = _oriented(along, noise_along, noise_across)
    q = np.block([[intensity * dt**3 / 3, intensity * dt**2 / 2], [intensity * dt**2 / 2, intensity * dt]])  # (n, 4, 4)
    g = np.array([[1, dt], [0, 1]])
    fading = np.where(tracks.unseen > 0, np.exp(-dt / config.unseen_turn_tau), 1.0)
    yaw_rate = yaw_rate * fading
    turn_q = config.yaw_acceleration**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    return replace(
        tracks,
        mean=np.concatenate([position, velocity], 1),
        cov=f @ tracks.cov @ f.T + q,
        turn=np.stack([yaw + yaw_rate * dt - motion.yaw, yaw_rate], -1),
        turn_cov=g @ tracks.turn_cov @ g.T + turn_q,
        acceleration=tracks.acceleration * fading,
        age=tracks.age + dt,
        unseen=tracks.unseen + dt,
    )


def _lasting(tracks: Tracks, config: TrackConfig) -> Float[Array, " n"]:
    """m/s² along its way with which each goes on: vehicles that brake, as they have done lately, all others with none.

    Who gains speed doesn't count: mostly it is a distance whose error grows, seen from farther away than the network tells well.
    """
    brakes = (tracks.kind == KINDS.index(Kind.VEHICLE)) & (np.hypot(tracks.mean[:, 2], tracks.mean[:, 3]) > config.flip_speed / 2)
    return np.where(brakes, config.lasting * np.minimum(tracks.acceleration, 0.0), 0.0)


def forget(tracks: Tracks, config: TrackConfig) -> Tracks:
    """Without those unseen too long, in view, far ahead or out of sight, and those that have become one with another that is seen."""
    missed = _in_view(tracks, config) | (tracks.mean[:, 0] > config.view_far)
    limit = np.where(missed, config.unseen_in_view, config.unseen_out_of_view)
    limit = np.where(tracks.hits < config.hits, config.unseen_tentative, limit)
    return selected(tracks, (tracks.unseen <= limit) & ~_taken(tracks, config))


def update(
    tracks: Tracks,
    objects: tuple[Detection, ...],
    dt: float,
    config: TrackConfig,
    look: float = 0.0,
    doubtful: tuple[Detection, ...] = (),
) -> Tracks:
    """Predicted tracks corrected by one frame's detections, `dt` s after that camera's last, new ones begun. `look` is its yaw, rad.

    The `doubtful` begin nothing; they go to the tracks that are left (Zhang et al. 2022, ByteTrack).
    """
    objects = tuple(o for o in objects if o.score >= config.score)
    tracks, hit, column = _matched(tracks, np.ones(len(tracks), bool), objects, dt, config)
    if doubtful:
        tracks, again, _ = _matched(tracks, ~hit, doubtful, dt, config)
        hit |= again
    missed = ~hit & _in_view(tracks, config, look)
    tracks = replace(tracks, probability=np.where(missed, tracks.probability * np.exp(-dt / config.unseen_tau), tracks.probability))
    left = [objects[c] for c in np.delete(np.arange(len(objects)), column)]
    return joined(tracks, _begun(left, tracks.next_id, config))


def _matched(
    tracks: Tracks, free: Bool[Array, " n"], objects: tuple[Detection, ...], dt: float, config: TrackConfig
) -> tuple[Tracks, Bool[Array, " n"], Int[Array, " k"]]:
    """(The tracks, the `free` ones among them corrected by the detections that are theirs; which they are; whose detections)."""
    z, r, kind = _places(objects, config)
    among = np.flatnonzero(free)
    row, column = _assigned(selected(tracks, free), z, r, kind, config)
    row, hit = among[row], np.zeros(len(tracks), bool)
    hit[row] = True
    changing = config.changing**2 * r[column]
    return _corrected(tracks, row, [objects[c] for c in column], z[column], changing, dt, config), hit, column


def _places(objects: Sequence[Detection], config: TrackConfig) -> tuple[Float[Array, "m 2"], Float[Array, "m 2 2"], Int[Array, " m"]]:
    """Where they are, how surely, and their kinds."""
    z = np.array([o.position for o in objects], float).reshape(-1, 2)
    return z, _measurement_cov(objects, z, config), np.array([KINDS.index(o.kind) for o in objects], int)


def told(tracks: Tracks, config: TrackConfig) -> tuple[Track, ...]:
    """Messages of the tracks seen often enough."""
    position_std = np.sqrt((tracks.cov[:, 0, 0] + tracks.cov[:, 1, 1]) / 2)
    velocity_std = np.sqrt((tracks.cov[:, 2, 2] + tracks.cov[:, 3, 3]) / 2)
    yaw = (tracks.turn[:, 0] + np.pi) % (2 * np.pi) - np.pi
    columns = np.column_stack(
        [tracks.mean[:, :2], yaw, tracks.mean[:, 2:], tracks.acceleration, tracks.turn[:, 1], position_std, velocity_std, tracks.size,
         tracks.age, tracks.unseen, tracks.probability]
    ).tolist()  # fmt: skip
    return tuple(
        Track(int(i), KINDS[k], *row)
        for i, k, hits, row in zip(tracks.id, tracks.kind, tracks.hits, columns, strict=True)
        if hits >= config.hits
    )


def _oriented(along: Float[Array, "n 2"], std_along: Float[Array, " n"], std_across: Float[Array, " n"]) -> Float[Array, "n 2 2"]:
    """Covariances with these standard deviations along and across unit vectors."""
    outer = along[:, :, None] * along[:, None, :]
    across = (std_across**2)[:, None, None]
    return across * np.eye(2) + ((std_along**2)[:, None, None] - across) * outer


def _measurement_cov(objects: Sequence[Detection], z: Float[Array, "m 2"], config: TrackConfig) -> Float[Array, "m 2 2"]:
    ray = z - (config.camera_x, 0)
    distance = np.maximum(np.hypot(ray[:, 0], ray[:, 1]), 1e-3)
    noise = np.array([(o.distance_std, o.bearing_std) for o in objects], float).reshape(-1, 2)
    floor = config.position_floor
    return _oriented(ray / distance[:, None], np.hypot(noise[:, 0], floor), np.hypot(noise[:, 1] * distance, floor))


def _in_view(tracks: Tracks, config: TrackConfig, look: float = 0.0) -> Bool[Array, " n"]:
    """Whether a camera that looks there (rad) should see the footprint's centre."""
    x, y = child_from_parent(tracks.mean[:, :2], config.camera_x, 0.0, look).T
    return (x > config.view_near) & (np.abs(np.arctan2(y, x)) < config.view / 2 - config.view_margin) & (np.hypot(x, y) < config.view_far)


def _taken(tracks: Tracks, config: TrackConfig) -> Bool[Array, " n"]:
    """Who is unseen and overlaps, across and along its yaw, with one of its kind that is seen: two bodies can't."""
    gone = tracks.unseen > config.unseen_tentative
    there = (tracks.unseen < config.unseen_tentative) & (tracks.hits >= config.hits)
    offset = tracks.mean[:, None, :2] - tracks.mean[there, :2]  # (n, m, 2)
    c, s = np.cos(tracks.turn[there, 0]), np.sin(tracks.turn[there, 0])
    along, across = c * offset[..., 0] + s * offset[..., 1], c * offset[..., 1] - s * offset[..., 0]
    room = (tracks.size[:, None] + tracks.size[there]) / 2  # (n, m, 2): length, width
    within = (np.abs(along) < room[..., 0]) & (np.abs(across) < room[..., 1])
    return gone & (within & (tracks.kind[:, None] == tracks.kind[there])).any(1)


def _assigned(
    tracks: Tracks, z: Float[Array, "m 2"], r: Float[Array, "m 2 2"], kind: Int[Array, " m"], config: TrackConfig
) -> tuple[Int[Array, " k"], Int[Array, " k"]]:
    """Rows of tracks and columns of detections that belong together."""
    if not len(tracks) or not len(z):
        return np.zeros(0, int), np.zeros(0, int)
    s = tracks.cov[:, None, :2, :2] + r  # (n, m, 2, 2)
    d = z - tracks.mean[:, None, :2]  # (n, m, 2)
    determinant = s[..., 0, 0] * s[..., 1, 1] - s[..., 0, 1] ** 2
    far = (s[..., 1, 1] * d[..., 0] ** 2 - 2 * s[..., 0, 1] * d[..., 0] * d[..., 1] + s[..., 0, 0] * d[..., 1] ** 2) / determinant
    possible = (far <= config.gate) & (tracks.kind[:, None] == kind)
    cost = np.where(possible, far + np.log(determinant), 1e6)  # negative log likelihood, twice, without constants
    row, column = linear_sum_assignment(cost)
    keep = possible[row, column]
    return row[keep], column[keep]


def _corrected(
    tracks: Tracks,
    row: Int[Array, " k"],
    objects: list[Detection],
    z: Float[Array, "k 2"],
    r: Float[Array, "k 2 2"],
    dt: float,
    config: TrackConfig,
) -> Tracks:
    """The rows corrected by their detections."""
    if not len(row):
        return tracks
    mean, cov = tracks.mean.copy(), tracks.cov.copy()
    gain = cov[row][:, :, :2] @ np.linalg.inv(cov[row][:, :2, :2] + r)  # (k, 4, 2)
    step = (gain @ (z - mean[row, :2])[:, :, None])[..., 0]
    keep = np.eye(4) - np.concatenate([gain, np.zeros_like(gain)], 2)
    mean[row] += step
    cov[row] = keep @ cov[row] @ keep.transpose(0, 2, 1) + gain @ r @ gain.transpose(0, 2, 1)

    speed = np.hypot(mean[row, 2], mean[row, 3])
    turn, turn_cov = tracks.turn.copy(), tracks.turn_cov.copy()
    nose = np.cos(turn[row, 0] - np.arctan2(mean[row, 3], mean[row, 2]))
    turn[row, 0] += np.where((speed > config.flip_speed) & (nose < 0), np.pi, 0.0)
    course_var = config.course_std**2 + (cov[row, 2, 2] + cov[row, 3, 3]) / np.maximum(speed, config.course_speed) ** 2
    course_var = np.where((speed > config.course_speed) & (tracks.kind[row] != KINDS.index(Kind.PERSON)), course_var, np.inf)
    seen_yaw = np.array([o.yaw for o in objects])
    for yaw, var in ((seen_yaw, np.full(len(row), config.yaw_std**2)), (np.arctan2(mean[row, 3], mean[row, 2]), course_var)):
        innovation = (yaw - turn[row, 0] + np.pi / 2) % np.pi - np.pi / 2  # nose and tail look alike
        turn_gain = turn_cov[row][:, :, 0] / (turn_cov[row][:, 0, 0] + var)[:, None]  # (k, 2)
        turn[row] += turn_gain * innovation[:, None]
        turn_cov[row] -= turn_gain[:, :, None] * turn_cov[row][:, :1, :]
    limit = np.minimum(config.turn_acceleration / np.maximum(speed, 1e-3), config.turn_limit)
    turn[row, 1] = np.clip(turn[row, 1], -limit, limit)

    size, size_var = tracks.size.copy(), tracks.size_var.copy()
    size_gain = size_var[row] / (size_var[row] + config.size_std**2)
    size[row] += size_gain[:, None] * (np.array([(o.length, o.width) for o in objects]) - size[row])
    size_var[row] *= 1 - size_gain

    acceleration, probability = tracks.acceleration.copy(), tracks.probability.copy()
    elapsed = np.maximum(tracks.unseen[row], SAME_MOMENT)  # since the last hit, which another camera may just have given
    if dt > 0:
        along = np.where(speed > config.flip_speed / 2, 1, 0)[:, None] * mean[row, 2:] / np.maximum(speed, 1e-6)[:, None]
        settled = np.minimum(tracks.age[row] / config.acceleration_settled, 1)
        slope = settled * (step[:, 2:] * along).sum(1) / elapsed + _lasting(tracks, config)[row]
        acceleration[row] += (1 - np.exp(-elapsed / config.acceleration_tau)) * (slope - acceleration[row])
    probability[row] += config.probability_gain * (np.array([o.score for o in objects]) - probability[row])
    unseen, hits = tracks.unseen.copy(), tracks.hits.copy()
    unseen[row], hits[row] = 0, hits[row] + 1
    return replace(
        tracks, mean=mean, cov=cov, turn=turn, turn_cov=turn_cov, size=size, size_var=size_var, acceleration=acceleration,
        unseen=unseen, hits=hits, probability=probability,
    )  # fmt: skip


def _begun(objects: Sequence[Detection], next_id: int, config: TrackConfig) -> Tracks:
    """A new track for each detection."""
    z, r, kind = _places(objects, config)
    n = len(objects)
    yaw = np.array([o.yaw for o in objects], float)
    cov = np.zeros((n, 4, 4))
    cov[:, :2, :2] = r
    along = np.stack([np.cos(yaw), np.sin(yaw)], -1).reshape(n, 2)
    cov[:, 2:, 2:] = _oriented(along, np.array(config.speed_prior)[kind], np.array(config.speed_prior_across)[kind])
    turn_cov = np.tile(np.diag([config.yaw_std**2, config.yaw_rate_prior**2]), (n, 1, 1))
    score = np.array([o.score for o in objects], float)
    zero = np.zeros(n)
    return Tracks(
        next_id + np.arange(n), kind, np.concatenate([z, np.zeros((n, 2))], 1), cov, np.stack([yaw, zero], -1), turn_cov,
        np.array([(o.length, o.width) for o in objects], float).reshape(n, 2), np.full(n, config.size_std**2),
        zero, zero, zero, np.ones(n, int), config.probability_gain * score, next_id + n,
    )  # fmt: skip
