"""Where we are on the route: an extended Kalman filter of the rear axle's pose in the map frame, and the route ahead.

In: own motion, GpsFix, Route, the perceived path. Out: route line in the vehicle frame, next manoeuvre, distances.
State (x, y, yaw, gps bias x, gps bias y, yaw-rate bias). A receiver's error is mostly correlated (Gauss-Markov), so
averaging fixes doesn't help: the bias is a state of its own and the pose stays honestly uncertain. Progress along
the route is sought only near the last, so loops and self-crossing routes do no harm. Where road and route are both
straight the perceived path corrects the yaw, and shows how far beside the route's line our lane runs. A lone lane is where the line runs,
and what it seems aside is our own error; of one of several the line is told moved over by that. A light or sign seen tells how far the
junction is. So after a turn or two the receiver's error, metres, is known to decimetres both ways, and with it the way through the next.
Source: Bar-Shalom, Li & Kirubarajan 2001, ch. 8 (correlated measurement noise by state augmentation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, project, resample, wrap
from nanopilot.messages import PATH_ARC, ROUTE_ARC, CarState, GpsFix, Manoeuvre, Route, Turn
from nanopilot.world.curves import RoadCurve, normals, smoothed
from nanopilot.world.motion import Motion

Array = np.ndarray

X, Y, YAW, BX, BY, YAW_RATE_BIAS = range(6)


@dataclass(frozen=True)
class LocaliseConfig:
    """Receiver numbers are those of the simulated one; the rest are guesses."""

    gps_tau: float = 60.0  # s, correlation time of the receiver's error
    gps_white_std: float = 0.3  # m, its uncorrelated part; GpsFix.std is all of it
    course_min_speed: float = 1.0  # m/s below which course over ground says nothing
    yaw_rate_bias_std: float = 0.003  # rad/s
    yaw_rate_bias_tau: float = 600.0  # s
    speed_scale_std: float = 0.01  # of the wheel's circumference
    start_yaw_std: float = 0.5  # rad: a car stands along its route
    gate: float = 25.0  # squared Mahalanobis distance above which a fix is refused
    max_refused: int = 5  # fixes refused in a row until the pose is taken anew
    gps_max_delay: float = 1.0  # s of receiver delay made up for by dead reckoning
    unknown_std: float = 100.0  # m, localisation_std before any fix
    unknown_distance: float = 1e4  # m, distances without a route
    speed_limit: float = 50 / 3.6  # m/s without a route
    search_back: float = 6.0  # m around the expected progress, at least
    search_ahead: float = 12.0
    search_stds: float = 3.0
    off_route: float = 30.0  # m from the route at which it is sought everywhere again
    passed: float = 3.0  # m behind which a manoeuvre is over
    line_spacing: float = 2.0  # m between the points of the line made through the route's
    most_missing: float = 1.0  # m a radian of bend, by which that line may be shorter than the road
    match_std: float = 0.05  # rad: perceived road against route, both straight
    match_tau: float = 5.0  # s over which that error stays the same
    match_length: float = 15.0  # m of path and route compared
    match_bend: float = 0.05  # rad of bend in it that is still straight
    match_gate: float = 0.3  # rad
    aside_std: float = 0.3  # m: lane against route, in one frame
    line_gate: float = 4.0  # squared Mahalanobis distance above which a light or sign isn't this junction's
    line_memory: float = 5.0  # m over which what it tells errs alike
    aside_tau: float = 1.0  # s over which that error stays the same
    aside_drift: float = 0.4  # m / sqrt(s): the receiver's, 2 m over gps_tau
    aside_jump: float = 2.0  # m: more is another lane, and begun anew
    aside_told: float = 1.5  # m: less sure than this, the line is told where the receiver has it
    start_length: float = 50.0  # m of a new route in which we are sought first
    start_distance: float = 15.0  # m from us at which it is found there


@dataclass(frozen=True)
class Line:
    """A Route, a smooth line through its points, that line's arc lengths, and those of the manoeuvres."""

    route: Route
    points: Float[Array, "n 2"]
    s: Float[Array, " n"]
    manoeuvres: tuple[Manoeuvre, ...]


@dataclass(frozen=True)
class LocaliseState:
    mean: Float[Array, "6"] | None = None  # None before the first fix
    cov: Float[Array, "6 6"] | None = None
    bias_std: float = 0.0  # m, stationary, of the receiver's correlated error
    gps_t: float = -np.inf  # time of the last fix used
    refused: int = 0
    line: Line | None = None
    s: float = -1.0  # progress along the route, m; negative: not found yet
    off: float = 0.0  # distance from the route, m
    passed: int = 0  # manoeuvres behind us
    aside: float = 0.0  # m our lane runs left of the route's line
    aside_var: float = np.inf


@dataclass(frozen=True)
class Ahead:
    """What World tells about the route; see there."""

    route_line: Float[Array, "n 2"]
    route_std: float
    next_turn: Turn
    next_turn_distance: float
    goal_distance: float
    speed_limit: float
    localisation_std: float
    along_std: float  # m, of our progress


def predict(state: LocaliseState, motion: Motion, config: LocaliseConfig) -> LocaliseState:
    """Pose after own motion."""
    if state.mean is None:
        return state
    m, dt = state.mean.copy(), motion.dt
    turn = -m[YAW_RATE_BIAS] * dt
    c, s = np.cos(m[YAW] + turn / 2), np.sin(m[YAW] + turn / 2)
    step = np.array([c * motion.x - s * motion.y, s * motion.x + c * motion.y])
    m[:2] += step
    m[YAW] = wrap(m[YAW] + motion.yaw + turn)
    keep = np.exp(-dt / config.gps_tau)
    m[[BX, BY]] *= keep
    keep_rate = np.exp(-dt / config.yaw_rate_bias_tau)
    m[YAW_RATE_BIAS] *= keep_rate

    f = np.diag([1, 1, 1, keep, keep, keep_rate])
    across = np.array([-step[1], step[0]])
    f[:2, YAW] = across
    f[:2, YAW_RATE_BIAS] = -across * dt / 2
    f[YAW, YAW_RATE_BIAS] = -dt
    q = np.zeros((6, 6))
    travelled_var = motion.travelled_std**2 + (config.speed_scale_std * motion.travelled) ** 2
    q[:2, :2] = travelled_var * np.outer([c, s], [c, s]) + (motion.yaw_std / 2) ** 2 * np.outer(across, across)
    q[YAW, YAW] = motion.yaw_std**2
    q[[BX, BY], [BX, BY]] = state.bias_std**2 * (1 - keep**2)
    q[YAW_RATE_BIAS, YAW_RATE_BIAS] = config.yaw_rate_bias_std**2 * (1 - keep_rate**2)
    return replace(state, mean=m, cov=f @ state.cov @ f.T + q)


def update(
    state: LocaliseState,
    car: CarState,
    gps: GpsFix | None,
    route: Route | None,
    path: RoadCurve | None,
    lone: bool,
    t: float,
    dt: float,
    config: LocaliseConfig,
) -> LocaliseState:
    """Pose corrected by a new fix and by the path, progress found on the (new) route; `lone` where our side of the road has one lane."""
    if route is not None and (state.line is None or not _same(route, state.line.route)):
        state = replace(state, line=_line(route, config), s=-1.0, off=0.0, passed=0, aside_var=np.inf)
    if gps is not None and gps.t > state.gps_t:
        state = _fixed(state, car, gps, t, config)
    if state.mean is None or state.line is None:
        return state
    state = _progress(state, car.speed * dt, config)
    state = replace(state, aside_var=state.aside_var + config.aside_drift**2 * dt)
    return state if path is None else _matched(state, path, lone, dt, config)


def lined(state: LocaliseState, distance: float, seen: float, std: float, travelled: float, config: LocaliseConfig) -> LocaliseState:
    """Pose corrected along a straight road by a stop line `distance` m ahead on the route and `seen` m ahead, give or take `std`.

    `travelled` since the last frame: who stands sees the same error again.
    """
    if state.mean is None or state.line is None or travelled <= 0 or not np.isfinite(distance + seen):
        return state
    steps = np.diff(resample(state.line.points, state.s + np.array([0.0, 1.0, distance - 1.0, distance])), axis=0)[::2]
    forward = steps[0] / np.hypot(*steps[0])
    bent = forward @ steps[1] < np.cos(config.match_gate) * np.hypot(*steps[1])
    h = np.zeros((1, 6))
    h[0, :2] = forward
    innovation = distance - seen
    if bent or innovation**2 > config.line_gate * float(h[0] @ state.cov @ h[0] + std**2):
        return state
    var = std**2 * max(config.line_memory / travelled, 1.0)
    mean, cov = _corrected(state.mean, state.cov, h, np.array([innovation]), np.array([[var]]))
    return replace(state, mean=mean, cov=cov, s=state.s + float(forward @ (mean - state.mean)[:2]))


def ahead(state: LocaliseState, config: LocaliseConfig) -> Ahead:
    """What the planner may know; without a route or a fix an empty line and far distances."""
    std = config.unknown_std if state.cov is None else min(float(np.sqrt((state.cov[X, X] + state.cov[Y, Y]) / 2)), config.unknown_std)
    far = config.unknown_distance
    if state.line is None or state.mean is None or state.s < 0:
        limit = config.speed_limit if state.line is None else state.line.route.speed_limit
        return Ahead(np.zeros((0, 2)), std, Turn.STRAIGHT, far, far, limit, std, std)
    route = state.line.route
    x, y, yaw = state.mean[:3]
    line = child_from_parent(resample(state.line.points, state.s + ROUTE_ARC), x, y, yaw)
    aside_std = float(np.sqrt(state.aside_var))
    across = std
    if aside_std < config.aside_told:
        line, across = resample(line + state.aside * normals(line), ROUTE_ARC), aside_std
    goal = max(float(state.line.s[-1]) - state.s, 0.0)
    forward = np.array([np.cos(yaw), np.sin(yaw)])
    told = (route.speed_limit, std, float(np.sqrt(forward @ state.cov[:2, :2] @ forward)))
    if state.passed < len(state.line.manoeuvres):
        following = state.line.manoeuvres[state.passed]
        return Ahead(line, across, following.turn, max(following.s - state.s, 0.0), goal, *told)
    return Ahead(line, across, Turn.ARRIVE, goal, goal, *told)


def _same(a: Route, b: Route) -> bool:
    return a is b or (np.array_equal(a.points, b.points) and a.manoeuvres == b.manoeuvres and a.speed_limit == b.speed_limit)


def _line(route: Route, config: LocaliseConfig) -> Line:
    """The line through the route's points. It is a little shorter than the road: what is missing at its end is missing in the bends."""
    points = smoothed(route.points, config.line_spacing)
    s = _arc(points)
    heading = np.unwrap(np.arctan2(*np.diff(points, axis=0).T[::-1]))
    bent = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(heading, prepend=heading[0])))])
    missing = route.manoeuvres[-1].s - s[-1] if route.manoeuvres and route.manoeuvres[-1].turn == Turn.ARRIVE else 0.0
    if not 0 < missing < config.most_missing * bent[-1]:
        return Line(route, points, s, route.manoeuvres)
    along = np.interp([m.s for m in route.manoeuvres], s + missing * bent / bent[-1], s)
    return Line(route, points, s, tuple(replace(m, s=float(at)) for m, at in zip(route.manoeuvres, along, strict=True)))


def _arc(points: Float[Array, "n 2"]) -> Float[Array, " n"]:
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])


def _fixed(state: LocaliseState, car: CarState, gps: GpsFix, t: float, config: LocaliseConfig) -> LocaliseState:
    """Pose corrected by a fix; started from it when there was none or when too many were refused."""
    moving = abs(car.speed) > config.course_min_speed
    if state.mean is None or state.refused >= config.max_refused:
        return _started(state, gps, moving, config)
    m, p = state.mean, state.cov
    delay = float(np.clip(t - gps.t, 0, config.gps_max_delay)) * car.speed
    h = np.zeros((2, 6))
    h[0, [X, BX]] = h[1, [Y, BY]] = 1
    h[:, YAW] = delay * np.sin(m[YAW]), -delay * np.cos(m[YAW])
    expected = m[:2] + m[[BX, BY]] - delay * np.array([np.cos(m[YAW]), np.sin(m[YAW])])
    r = np.eye(2) * config.gps_white_std**2
    innovation = np.array([gps.x, gps.y]) - expected
    if innovation @ np.linalg.solve(h @ p @ h.T + r, innovation) > config.gate:
        return replace(state, gps_t=gps.t, refused=state.refused + 1)
    m, p = _corrected(m, p, h, innovation, r)
    if moving:
        m, p = _yaw_corrected(m, p, wrap(gps.heading - m[YAW]), gps.heading_std)
    return replace(state, mean=m, cov=p, gps_t=gps.t, refused=0)


def _started(state: LocaliseState, gps: GpsFix, moving: bool, config: LocaliseConfig) -> LocaliseState:
    bias_std = float(np.sqrt(max(gps.std**2 - config.gps_white_std**2, 0.0)))
    yaw, yaw_std = 0.0, np.pi
    if moving:
        yaw, yaw_std = gps.heading, gps.heading_std
    elif state.line is not None:
        points = state.line.points
        s, _ = project(points, gps.x, gps.y)
        (x0, y0), (x1, y1) = resample(points, np.array([s - 1, s + 1]))
        yaw, yaw_std = float(np.arctan2(y1 - y0, x1 - x0)), config.start_yaw_std
    std = np.array([gps.std, gps.std, yaw_std, bias_std, bias_std, config.yaw_rate_bias_std])
    cov = np.diag(std**2)
    cov[X, BX] = cov[BX, X] = cov[Y, BY] = cov[BY, Y] = -(bias_std**2)  # the fix is pose + bias + white
    mean = np.array([gps.x, gps.y, yaw, 0, 0, 0])
    return replace(state, mean=mean, cov=cov, bias_std=bias_std, gps_t=gps.t, refused=0, s=-1.0)


def _corrected(m: Array, p: Array, h: Array, innovation: Array, r: Array) -> tuple[Float[Array, "6"], Float[Array, "6 6"]]:
    """Kalman correction in Joseph form."""
    k = np.linalg.solve(h @ p @ h.T + r, h @ p).T
    left = np.eye(6) - k @ h
    m = m + k @ innovation
    m[YAW] = wrap(m[YAW])
    return m, left @ p @ left.T + k @ r @ k.T


def _yaw_corrected(m: Array, p: Array, innovation: float, std: float) -> tuple[Float[Array, "6"], Float[Array, "6 6"]]:
    h = np.zeros((1, 6))
    h[0, YAW] = 1
    return _corrected(m, p, h, np.array([innovation]), np.array([[std**2]]))


def _progress(state: LocaliseState, travelled: float, config: LocaliseConfig) -> LocaliseState:
    """Progress `s` by projection onto the route near where it must be by now."""
    x, y = state.mean[:2]
    line, manoeuvres = state.line, state.line.manoeuvres
    if state.s < 0 or state.off > config.off_route:
        s, d = _project_between(line, x, y, 0.0, config.start_length) if state.s < 0 else (0.0, np.inf)
        if abs(d) > config.start_distance:
            s, d = project(line.points, x, y)
    else:
        wide = config.search_stds * float(np.sqrt(np.trace(state.cov[:2, :2]) / 2))
        expected = state.s + travelled
        s, d = _project_between(line, x, y, expected - max(config.search_back, wide), expected + max(config.search_ahead, wide))
    passed = state.passed
    while passed < len(manoeuvres) and manoeuvres[passed].s < s - config.passed:
        passed += 1
    return replace(state, s=s, off=abs(d), passed=passed)


def _project_between(line: Line, x: float, y: float, begin: float, end: float) -> tuple[float, float]:
    """`project` onto the part of the route from `begin` to `end` metres."""
    length = float(line.s[-1])
    begin, end = float(np.clip(begin, 0, length - 1e-3)), float(np.clip(end, 1e-3, length))
    inner = line.s[(line.s > begin) & (line.s < end)]
    s, d = project(resample(line.points, np.concatenate([[begin], inner, [end]])), x, y)
    return begin + s, d


def _matched(state: LocaliseState, path: RoadCurve, lone: bool, dt: float, config: LocaliseConfig) -> LocaliseState:
    """Yaw corrected by the perceived road's heading, and our lane's place beside the route measured, where both are straight.

    A lone lane is where the route runs: beside it we only seem to be, and the pose is corrected.
    """
    half = config.match_length / 2
    arc = np.array([0, half, 2 * half])
    seen = np.stack([np.interp(arc, PATH_ARC, path.points[:, k]) for k in (0, 1)], -1)
    told = resample(state.line.points, state.s + arc)
    lines = np.stack([seen, told])  # (2, 3, 2)
    step = np.diff(lines, axis=1)
    bend = np.abs([wrap(a - b) for a, b in np.arctan2(step[..., 1], step[..., 0])])
    seen_heading, told_heading = np.arctan2(*(lines[:, -1] - lines[:, 0]).T[::-1])
    innovation = wrap(told_heading - seen_heading - state.mean[YAW])
    if bend.max() > config.match_bend or abs(innovation) > config.match_gate or not 0 < state.s < state.line.s[-1] - 2 * half:
        return state
    std = config.match_std * float(np.sqrt(max(config.match_tau / max(dt, 1e-3), 1.0)))  # many frames tell what one tells
    mean, cov = _yaw_corrected(state.mean, state.cov, innovation, std)
    var = config.aside_std**2 * max(config.aside_tau / max(dt, 1e-3), 1.0)
    normal = normals(told)[1]
    if lone:
        mean, cov = _across_corrected(mean, cov, seen[1], told[1], normal, var)
    state = replace(state, mean=mean, cov=cov)
    ahead = child_from_parent(told, *mean[:3])
    aside = float((seen[1] - ahead[1]) @ normals(ahead)[1])
    if not np.isfinite(state.aside_var) or abs(aside - state.aside) > config.aside_jump:
        return replace(state, aside=aside, aside_var=config.aside_std**2)
    gain = state.aside_var / (state.aside_var + var)
    return replace(state, aside=state.aside + gain * (aside - state.aside), aside_var=(1 - gain) * state.aside_var)


def _across_corrected(
    m: Array, p: Array, seen: Array, told: Array, normal: Array, var: float
) -> tuple[Float[Array, "6"], Float[Array, "6 6"]]:
    """Pose moved across the road so that a point `seen` in the vehicle frame lies on the line through `told` in the map's."""
    c, s = np.cos(m[YAW]), np.sin(m[YAW])
    point = m[:2] + (c * seen[0] - s * seen[1], s * seen[0] + c * seen[1])
    h = np.zeros((1, 6))
    h[0, :2] = normal
    h[0, YAW] = normal @ (-s * seen[0] - c * seen[1], c * seen[0] - s * seen[1])
    return _corrected(m, p, h, np.array([normal @ (told - point)]), np.array([[var]]))
