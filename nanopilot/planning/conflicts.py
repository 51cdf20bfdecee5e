"""Who may be in our way, and when: an ST graph of the corridor along our path.

In: the path, tracks, where we would be if free. Out: Bounds on our distance over time, and why. Whoever moves along
the path is predicted in the path's own coordinates (drivers keep their lane) and is a lead; whoever crosses is
predicted on its present curve and acceleration for a while and, as tracks turn doubtfully, straight on as well; it is yielded to unless we
are surely past before, with room for its left turn (right-hand traffic). Who crosses inside a junction is waited for before it, for inside
others drive; once inside, a smaller margin is enough to go on and leave it. Source of the graph: Fan et al. 2018 (arXiv 1807.08048).
It knows no priority rules or signs, of lights only that who comes across has red while we have green, and it doesn't look behind us.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import asin, atan2, cos, hypot, inf, pi, sin

import numpy as np
from jaxtyping import Bool, Float

from nanopilot.geometry import wrap
from nanopilot.messages import Kind, Track, VehicleModel
from nanopilot.planning.longitudinal import Bounds, LongitudinalConfig
from nanopilot.planning.path import Path

Array = np.ndarray

CAMERA_X = 1.3  # m ahead of the rear axle, geometry.model_camera's
FOOTPRINT = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 5), np.linspace(-0.5, 0.5, 3)), -1).reshape(-1, 2)  # in lengths and widths


@dataclass(frozen=True)
class ConflictConfig:
    """All guesses, tried in the closed-loop tests, unless another origin stands beside."""

    pass_difference: float = 5.0  # m/s at most by which we pass who goes in the next lane our way, or stands there but a moment
    pass_parked: float = 7.0  # m/s past who has stood there for
    parked_age: float = 1.0  # s
    pass_distance: float = 5.0  # m between centre lines: farther aside, nobody pulls out in front of us
    walk_distance: float = 2.5  # m from our middle to a person's who is passed so slowly: 1.3 m from our side
    side_margin: float = 0.3  # m between our side and another's
    max_extra_margin: float = 0.7  # m, for the uncertainty of who crosses
    min_probability: float = 0.3
    standing_speed: float = 0.5  # m/s: slower is standing, and is not predicted to move
    parallel_angle: float = 0.7  # rad
    parallel_distance: float = 9.0  # m: beyond, nobody is on our road
    turning_rate: float = 0.1  # rad/s beside the road's own: it turns off
    turning_doubt: float = 0.25  # 1/m, of velocity_std: so much more (the tracks' rates err by 0.4 rad/s at the 90th percentile)
    edge_bearing: float = inf  # rad from straight ahead of the camera: who goes our way and whose rear is farther aside is believed to stay
    # as far beside us as when last seen, straight; inf believes all. In towns 0.6: boxes the picture's side cuts off make parked cars drive
    sure_bearing: float = 0.6  # rad: whoever is cut off there is no emergency, wherever he is told to be,
    sure_lean: float = 0.3  # rad: unless he heads across the road by more (tuning maps: true cut-ins 0.33 to 0.41, drifting tracks to 0.25)
    sure_unseen: float = 0.2  # s, and has been seen since
    crossing_slow: float = 2.0  # m/s: who seems to stand abreast of us and across, slower than this, is such a box, and so is who is slower
    crossing_sure: float = 3.0  # velocity_stds (tuning towns 3001, 3003: 247 looks at false ones 1.2 to 3.1, 16 at a true one 4.0 to 5.5)
    beside_std: float = 0.3  # m, position_std: whoever is known no better may be beside our way by the rest of it
    askew_doubt: float = 0.3  # rad by which who goes our way, or stands, is believed to be less askew, from
    askew_far: float = 20.0  # m on, nearer less: yaws err by 0.4 (tuning town 3006: a bus in the next lane, 0.25 off, kept us 22 s)
    drift_time: float = 1.5  # s a sideways speed is believed to last
    drift_doubt: float = 0.4  # of a track's velocity_std, by which its sideways speed is believed less; and
    sideways: float = 0.5  # of its speed along our way, at most: cars don't drive sideways
    walk_doubt: float = 0.7  # of a person's: 0.5 m/s, about as much as the velocities of who walks along a pavement jump
    cut_in_horizon: float = 3.0  # s
    crossing_horizon: float = 5.0  # s
    certain_horizon: float = 2.0  # s: only a crossing predicted this near is worth an emergency; 14 m/s are gone in 1.75 s
    certain_std: tuple[float, float] = (1.5, 2.0)  # m, m/s: who is known no better is none (tuning towns: 35 m/s out of a parked row)
    turning_angle: float = 1.6  # rad: who turns has then turned into a road, and goes straight on
    gaining_time: float = 1.5  # s that who crosses is believed to go on accelerating
    acceleration_doubt: float = 1.0  # m/s² by which accelerating and braking is believed less: the tracks' median error is 0.6
    lead_braking_time: float = 1.5  # s a lead's braking is believed to last
    lead_max_braking: float = 8.0  # m/s²: more is taken for a tracking error
    joining_share: float = 0.7  # of its speed along our path: within 45 degrees of our way
    touch_gap: float = 1.0  # m to what must not be touched
    yield_gap: float = 2.0  # m before a conflict zone
    mouth_gap: float = 3.0  # m before a junction's mouth: one, and the 2 m to which navigation knows it
    mouth_passed: float = 2.0  # m of our nose past it from which we are inside: what navigation can tell
    left_turn_radius: float = 20.0  # m, of who may turn left across our way: MetaDrive's junctions of two and three lanes (tuning map 3010)
    clear_time: float = 0.5  # s after it has left
    pass_margin: float = 2.0  # s we must be gone before it comes
    keep_yielding: float = 0.7  # s more for whom we already yield to
    red_braking: float = 4.0  # m/s² with which who comes across is trusted to brake for his red light while ours is green, and
    red_line: float = 5.0  # m from our corridor that he does not come by it: stop lines are twice as far from the lanes they cross
    patience: float = 6.0  # s of waiting, after which ...
    impatient_margin: float = 0.6  # s is enough, as it is inside a junction


@dataclass(frozen=True)
class Verdict:
    """What the others allow, who leads, and whom we yield to."""

    bounds: Bounds
    lead_id: int = -1
    yields: tuple[int, ...] = ()


@dataclass(frozen=True)
class Occupancy:
    """One track's stay in our corridor: at which times, and between which arc lengths."""

    there: Bool[Array, " n"]
    surely: Bool[Array, " n"]  # even if all doubt of where it goes is in our favour
    rear: Float[Array, " n"]
    front: Float[Array, " n"]
    along: Float[Array, " n"]  # its speed along the path, m/s
    parallel: bool


def occupancy(
    path: Path, track: Track, place: tuple[float, float, int], times: Float[Array, " n"], half_width: float, config: ConflictConfig
) -> Occupancy | None:
    """Predict a track, now at `place` (see `Path.find`), over `times`, and lay its footprint on the corridor of
    `half_width` metres to each side; None if it never gets there."""
    s, d, k = place
    tx, ty = path.tangent[k]
    speed = hypot(track.vx, track.vy)
    standing = speed < config.standing_speed
    v_s = float(track.vx * tx + track.vy * ty)
    v_d = float(track.vy * tx - track.vx * ty)
    lean = wrap(track.yaw - path.yaw[k])
    beside = min(max(track.position_std - config.beside_std, 0.0), config.max_extra_margin)  # m: who may be beside our way is not in it yet
    doubtful = np.minimum(track.position_std + track.velocity_std * times, config.max_extra_margin)  # m
    edge = cut_off(track, config.edge_bearing) and (standing or abs(sin(lean)) < sin(config.parallel_angle))
    if edge:
        lean, d = 0.0, d - v_d * track.unseen
    turns_off = not edge and abs(track.yaw_rate - path.curvature[k] * v_s) > config.turning_rate + config.turning_doubt * track.velocity_std
    if (
        track.kind != Kind.PERSON
        and abs(d) < config.parallel_distance
        and abs(sin(lean)) < sin(config.parallel_angle)
        and (standing or not turns_off)
    ):
        doubt = inf if edge else config.drift_doubt * track.velocity_std
        v_d = float(np.copysign(min(max(abs(v_d) - doubt, 0.0), config.sideways * abs(v_s)), v_d))
        v_s, v_d = (0.0, 0.0) if standing else (v_s, v_d)
        askew = max(asin(abs(sin(lean))) - config.askew_doubt * min(hypot(track.x, track.y) / config.askew_far, 1.0), 0.0)
        half_l = 0.5 * (track.length * cos(askew) + track.width * sin(askew))
        half_w = 0.5 * (track.width * cos(askew) + track.length * sin(askew))
        if edge and standing:
            half_w = 0.0  # a picture's side makes it stand askew and a metre nearer: in our lane only if its middle is
        if abs(d) - half_w - abs(v_d) * config.drift_time > half_width - beside:
            return None
        slowing = min(max(track.acceleration + config.acceleration_doubt, -config.lead_max_braking), 0.0)  # a lead never accelerates
        braking = slowing * np.sign(v_s)
        braked = np.minimum(times, config.lead_braking_time)
        if braking:
            braked = np.minimum(braked, abs(v_s / braking))
        along = v_s + braking * braked
        centre = s + v_s * times + braking * braked * (times - 0.5 * braked)
        side = d + v_d * np.minimum(times, config.drift_time)
        into = np.abs(side) - half_w
        return Occupancy(into < half_width - beside, into < half_width - doubtful, centre - half_l, centre + half_l, along, True)

    if standing:
        speed, rate, course, growing = 0.0, 0.0, track.yaw, np.full(len(times), -beside)
    else:
        rate, course = track.yaw_rate, atan2(track.vy, track.vx)
        growing = doubtful
        if track.kind == Kind.PERSON:  # nobody knows how a person turns: straight on, and along the road unless surely across it
            rate, surely_across = 0.0, max(abs(v_d) - config.walk_doubt * track.velocity_std, 0.0)
            speed, course = hypot(v_s, surely_across), path.yaw[k] + atan2(np.copysign(surely_across, v_d), v_s)
            growing = growing * (surely_across > 0)
    gaining = max(track.acceleration - config.acceleration_doubt, 0.0) * (not standing)
    gained = np.minimum(times, config.gaining_time)
    way = speed * times + gaining * gained * (times - 0.5 * gained)
    bend = rate / max(speed, config.standing_speed)
    arc = np.minimum(way, config.turning_angle / max(abs(bend), 1e-6))  # it turns on the same curve, then goes straight on
    half_turn = 0.5 * bend * arc
    chord, on = arc * np.sinc(half_turn / pi), way - arc
    heading = course + 2 * half_turn
    middle = np.stack([
        track.x + chord * np.cos(course + half_turn) + on * np.cos(heading),
        track.y + chord * np.sin(course + half_turn) + on * np.sin(heading),
    ], -1)  # fmt: skip  # (n, 2)
    nearest = path.locate(middle)[2]
    along = (speed + gaining * gained) * np.cos(heading - path.yaw[nearest])
    gap = np.hypot(*(middle - path.xy[nearest]).T)
    near = gap < half_width + growing + hypot(track.length, track.width)
    if not near.any():
        return None
    there, surely = np.zeros(len(times), bool), np.zeros(len(times), bool)
    rear, front = np.full(len(times), np.inf), np.full(len(times), -np.inf)
    yaw = track.yaw + 2 * half_turn[near, None]
    ahead, left = (FOOTPRINT * (track.length, track.width)).T
    corner = np.stack([np.cos(yaw) * ahead - np.sin(yaw) * left, np.sin(yaw) * ahead + np.cos(yaw) * left], -1)
    station, across, _ = path.locate(middle[near, None] + corner)  # (m, 15)
    inside = (np.abs(across) < half_width + growing[near, None]) & (station > 0) & (station < path.s[-1])
    there[near] = inside.any(1)
    surely[near] = (inside & (np.abs(across) < half_width - np.abs(growing[near, None]))).any(1)
    rear[near] = np.where(inside, station, np.inf).min(1)
    front[near] = np.where(inside, station, -np.inf).max(1)
    return Occupancy(there, surely, rear, front, along, False)


def passing_speeds(
    path: Path, tracks: tuple[Track, ...], table: Float[Array, " m"], gaps: LongitudinalConfig, config: ConflictConfig
) -> Float[Array, " m"]:
    """The speed table lowered beside slow vehicles of our direction and people near our lane, and before them as far as comfortable
    braking needs."""
    v2 = table**2
    for track in tracks:
        s, d, k = path.find(track.x, track.y)
        along = float(np.dot((track.vx, track.vy), path.tangent[k]))
        lean = wrap(track.yaw - path.yaw[k])
        walks = track.kind == Kind.PERSON
        ours = walks or (abs(sin(lean)) < sin(config.parallel_angle) and along > -config.standing_speed)
        aside = config.walk_distance if walks else config.pass_distance
        beside = (np.abs(path.s - s) < max(0.5 * track.length, 1.0)) & (abs(d) < aside) & ours
        parked = not walks and hypot(track.vx, track.vy) < config.standing_speed and track.age > config.parked_age
        fastest = config.pass_parked if parked else max(along, 0.0) + config.pass_difference
        v2[beside] = np.minimum(v2[beside], fastest**2)
    slope = 2 * gaps.comfort_deceleration * path.s
    return np.sqrt(np.minimum.accumulate((v2 + slope)[::-1])[::-1] - slope)


def futures(
    path: Path, track: Track, place: tuple[float, float, int], times: Float[Array, " n"], half_width: float, config: ConflictConfig
) -> list[Occupancy]:
    """The ways it may go that lead into our corridor: as it moves now and, as the turning of who crosses is badly known, straight on."""
    now = occupancy(path, track, place, times, half_width, config)
    found = [] if now is None or not now.there.any() else [now]
    if track.yaw_rate == 0 or track.kind == Kind.PERSON or (now is not None and now.parallel):
        return found
    straight = occupancy(path, replace(track, yaw_rate=0.0), place, times, half_width, config)
    if straight is not None and straight.there.any() and not straight.parallel:
        found.append(replace(straight, surely=np.zeros_like(straight.there)))
    return found


def assess(
    path: Path,
    tracks: tuple[Track, ...],
    times: Float[Array, " n"],
    free: Float[Array, " n"],
    vehicle: VehicleModel,
    waiting: float,
    yielding: tuple[int, ...],
    gaps: LongitudinalConfig,
    config: ConflictConfig,
    mouth: float = inf,
    inside: bool = False,
    green: float | None = None,
) -> Verdict:
    """Bounds from all tracks. `free` is our distance over time were we alone; `waiting` how long we have stood yielding, s; `mouth` how far
    ahead the next junction begins, m; `inside` whether we are in one; `green`, where we come by a green light, the direction from which we
    came, rad."""
    nose = vehicle.length - vehicle.rear_overhang
    half_width = 0.5 * vehicle.width + config.side_margin
    n = len(times)
    gap, lead_speed, stop, touch = np.full(n, np.inf), np.zeros(n), np.full(n, np.inf), np.full(n, np.inf)
    lead_id, lead_room, yields = -1, np.inf, []
    places = zip(*(a.tolist() for a in path.locate(np.array([(o.x, o.y) for o in tracks]).reshape(-1, 2))), strict=True)
    likely = [
        (track, place[2], o)
        for track, place in zip(tracks, places, strict=True)
        if track.probability >= config.min_probability
        and place[0] <= path.s[-1]  # beyond, nobody knows how the road goes on
        and not stays_beside(track, nose, config)
        for o in futures(path, track, place, times, half_width, config)
    ]
    for track, k, o in likely:
        first = int(np.argmax(o.there))
        lean = abs(sin(wrap(track.yaw - path.yaw[k])))
        hearsay = cut_off(track, config.sure_bearing) and (lean < sin(config.sure_lean) or track.unseen > config.sure_unseen)
        hearsay |= track.position_std > config.certain_std[0] or track.velocity_std > config.certain_std[1]
        joining = max(config.standing_speed, config.joining_share * hypot(track.vx, track.vy))
        merges = o.along[first] > joining
        stands = np.abs(o.along).max() < config.standing_speed and hypot(track.vx, track.vy) < config.standing_speed
        if (o.parallel and (merges or stands)) or stands:
            # a lead, now or when it has cut in; who ends up beside or behind our nose must look out itself
            if times[first] > config.cut_in_horizon or 0.5 * (o.rear[first] + o.front[first]) < free[first] + 0.5 * nose:
                continue
            rear, along, since = o.rear, np.maximum(o.along, 0.0), first
        else:
            last = n - 1 - int(np.argmax(o.there[::-1]))
            zone_in, zone_out = o.rear[o.there].min(), o.front[o.there].max()
            leaves = np.inf if last == n - 1 else times[last]
            if zone_out < nose or times[first] > config.crossing_horizon:
                continue
            if green is not None and stops_for_red(track, green, float(times[first]), config):
                continue
            gone = float(np.interp(zone_out + vehicle.rear_overhang, free, times, right=np.inf))
            come = float(np.interp(zone_in - nose, free, times, right=np.inf))
            margin = config.impatient_margin if inside or waiting > config.patience else config.pass_margin
            margin += config.keep_yielding if track.id in yielding and not inside else 0.0
            soonest = free_braking(free, times, gaps)
            too_late_to_stop = zone_in - nose < soonest
            if gone + (0.0 if too_late_to_stop else margin) < times[first] or come > leaves + config.clear_time:
                continue
            joins = o.along[last] > joining
            if joins and free[first] - vehicle.rear_overhang > o.front[first]:
                continue  # behind us
            yields.append(track.id)
            if merges and joins:
                rear = o.rear[first] + o.along[first] * (times - times[first])
                along, since = np.full(n, o.along[first]), first
            else:
                until = times <= leaves + config.clear_time
                swept = max(left_turn(path, track, times, half_width, config) - nose - config.yield_gap, soonest)
                before = min(zone_in - nose - config.yield_gap, swept)
                if track.kind != Kind.PERSON and zone_in > mouth and mouth - nose + config.mouth_passed > soonest:
                    before = min(before, max(mouth - nose - config.mouth_gap, soonest))
                stop[until] = np.minimum(stop[until], before)
                certain = o.surely & (times <= config.certain_horizon) & (not hearsay)
                if certain.any():
                    during = until & (times >= times[first] - config.clear_time) & (times <= config.certain_horizon)
                    touch[during] = np.minimum(touch[during], o.rear[certain].min() - nose - config.touch_gap)
                continue
        room = rear - nose - gaps.standstill_gap
        nearer = (room < gap) & (np.arange(n) >= since)
        gap[nearer], lead_speed[nearer] = room[nearer], along[nearer]
        if not hearsay:
            touch[since:] = np.minimum(touch[since:], (rear - nose - config.touch_gap)[since:])
        if room[since] < lead_room:
            lead_id, lead_room = track.id, room[since]
    return Verdict(Bounds(gap, lead_speed, stop, touch), lead_id, tuple(dict.fromkeys(yields)))


def cut_off(track: Track, bearing: float) -> bool:
    """Whether its rear is farther aside than `bearing` (rad) of the front camera's middle, where the picture's side cuts it off."""
    return atan2(max(abs(track.y) - 0.5 * track.width, 0.0), track.x - 0.5 * track.length - CAMERA_X) > bearing


def stays_beside(track: Track, nose: float, config: ConflictConfig) -> bool:
    """Whether it is a vehicle abreast of us or behind, cut off by the picture's side, and slow, along our way or no longer seen: wherever
    its track has drifted to, under our own body even, it hasn't touched us, so it stands or drives beside our lane."""
    lengthwise = 0.5 * (track.length * abs(cos(track.yaw)) + track.width * abs(sin(track.yaw)))
    abreast = track.kind != Kind.PERSON and track.x - lengthwise < nose
    sure = max(config.crossing_slow, config.crossing_sure * track.velocity_std)
    across = hypot(track.vx, track.vy) > sure and abs(sin(track.yaw)) > sin(config.parallel_angle)
    lost = track.unseen > config.sure_unseen and config.edge_bearing < inf  # last measured where the picture cuts: parked cars, mostly
    return abreast and (lost or (cut_off(track, config.edge_bearing) and not across))


def stops_for_red(track: Track, green: float, comes: float, config: ConflictConfig) -> bool:
    """Whether a vehicle that comes from the side, by the direction `green` (rad) of our road before the junction, can still stop for the
    red light that it has while ours is green; it is in our way in `comes` s. Who is in the junction already can't; who comes towards us
    has green, too."""
    speed = hypot(track.vx, track.vy)
    across = track.kind != Kind.PERSON and abs(sin(wrap(track.yaw - green))) > sin(config.parallel_angle)
    return across and speed**2 < 2 * config.red_braking * (speed * comes - config.red_line)


def left_turn(path: Path, track: Track, times: Float[Array, " n"], half_width: float, config: ConflictConfig) -> float:
    """Where on our path a crossing vehicle would come nearest to us if it turned left, the widest sweep in right-hand traffic, m; inf if
    nowhere. Whom we yield to is given that much room: standing within it we would be hit."""
    rate = hypot(track.vx, track.vy) / config.left_turn_radius
    if track.kind == Kind.PERSON or track.yaw_rate > rate:
        return inf
    o = occupancy(path, replace(track, yaw_rate=rate), path.find(track.x, track.y), times, half_width, config)
    return inf if o is None or o.parallel or not o.there.any() else float(o.rear[o.there].min())


def free_braking(free: Float[Array, " n"], times: Float[Array, " n"], gaps: LongitudinalConfig) -> float:
    """The distance it takes to stop from now, braking at 5/8 of what an emergency allows (5 m/s²), m."""
    speed = (free[1] - free[0]) / (times[1] - times[0])
    return float(speed**2 / (2 * 0.625 * gaps.emergency_deceleration))
