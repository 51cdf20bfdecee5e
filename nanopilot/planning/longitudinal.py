"""Longitudinal MPC: how fast to go over the next seconds.

In: the path, the wanted speed, what must not be driven into (Bounds). Out: distance, speed, acceleration at each time.
First a plain roll-out in time (accelerate, brake for curves, gaps and stops at comfortable rates), then a quadratic
program over jerk that follows it within the limits of ISO 15622 (second-hand); only if the objects can't be kept
clear that way a second one with emergency limits. If no program solves, the roll-out itself is the plan.
It knows no slope and plans no reversing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from jaxtyping import Float

from nanopilot.messages import VehicleModel
from nanopilot.planning.path import Path
from nanopilot.planning.qp import Problem, solve

Array = np.ndarray


@dataclass(frozen=True)
class LongitudinalConfig:
    curve_lateral_acceleration: float = 1.8  # m/s², comfort: 4.2 m/s on a radius of 10 m
    unseen_curvature: float = 0.05  # 1/m: how the road may bend beyond the seen path, guess
    turn_speed: float = 5.0  # m/s at a turn that navigation announces, before its curve is surely seen: a radius of 14 m, guess
    turn_margin: float = 4.0  # m: navigation's turns may come so much earlier, twice its error
    comfort_acceleration: float = 2.0  # m/s², ISO 15622 allows 4 falling to 2
    comfort_deceleration: float = 2.0  # m/s², what the roll-out brakes with
    time_gap: float = 1.45  # s, ISO 15622 asks for at least 0.8
    standstill_gap: float = 4.0  # m to a lead's rear
    settling_time: float = 0.8  # s of the last approach to a stop or gap, guess
    gap_recovery: float = 0.8  # m/s at which a gap cut short by others is opened again, guess
    emergency_deceleration: float = 8.0  # m/s², a dry road gives it
    emergency_jerk: float = 30.0  # m/s³, what brakes reach, guess
    # weights after Bryson: the deviation that costs 1
    speed: float = 1.0  # m/s
    acceleration: float = 2.0  # m/s²
    jerk: float = 2.0  # m/s³
    gap_slack: float = 0.3  # m
    object_slack: float = 0.02  # m
    emergency_slack: float = 0.2  # m of missing distance that makes it an emergency, guess


@dataclass(frozen=True)
class Bounds:
    """Limits on the rear axle's distance along the path at each time, m; inf where there is none."""

    gap: Float[Array, " n"]  # s + time_gap * v must stay below: the lead's rear less standstill gap and our front
    lead_speed: Float[Array, " n"]  # m/s, of the lead that makes `gap`
    stop: Float[Array, " n"]  # stop there: goal, yield line
    object: Float[Array, " n"]  # past this we touch something

    @staticmethod
    def none(n: int) -> Bounds:
        return Bounds(*(np.full(n, v) for v in (np.inf, 0.0, np.inf, np.inf)))


@dataclass(frozen=True)
class Profile:
    """Distance along the path, speed and acceleration at the times asked for."""

    s: Float[Array, " n"]
    speed: Float[Array, " n"]
    acceleration: Float[Array, " n"]
    emergency: bool = False
    solved: bool = True


def iso_limits(speed: float) -> tuple[float, float, float]:
    """(deceleration, acceleration, jerk), all positive, at a speed: ISO 15622 (second-hand), linear from 5 to 20 m/s."""
    share = float(np.clip((speed - 5.0) / 15.0, 0.0, 1.0))
    return 5.0 - 1.5 * share, 4.0 - 2.0 * share, 5.0 - 2.5 * share


def speed_table(path: Path, wanted: float, config: LongitudinalConfig, turn: float = np.inf) -> Float[Array, " n"]:
    """The speed at each of the path's points from which the curves, and a turn `turn` m ahead, can be reached braking comfortably, m/s."""
    window = np.ones(3) / 3  # m: curvature is judged over three points
    bend = np.abs(np.convolve(np.pad(path.curvature, 1, mode="edge"), window, mode="valid"))
    bend[-1] = max(bend[-1], config.unseen_curvature)
    v2 = np.minimum(wanted**2, config.curve_lateral_acceleration / np.maximum(bend, 1e-4))
    slope = 2 * config.comfort_deceleration * path.s
    v2 = np.minimum(v2, config.turn_speed**2 + np.maximum(2 * config.comfort_deceleration * (turn - config.turn_margin) - slope, 0.0))
    return np.sqrt(np.minimum.accumulate((v2 + slope)[::-1])[::-1] - slope)


def slowed(path: Path, table: Float[Array, " n"], at: float, speed: float, config: LongitudinalConfig) -> Float[Array, " n"]:
    """The speed table lowered so that `speed` holds `at` metres ahead; unchanged where there is none."""
    if not np.isfinite(at):
        return table
    return np.minimum(table, np.sqrt(speed**2 + 2 * config.comfort_deceleration * np.maximum(at - path.s, 0.0)))


def roll_out(
    path: Path, table: Float[Array, " m"], times: Float[Array, " n"], speed: float, bounds: Bounds | None, config: LongitudinalConfig
) -> Profile:
    """Drive at the table's speed, keeping gaps and stopping, with bounded acceleration and no jerk limit."""
    n = len(times)
    dt = float(times[1] - times[0])
    limits, first, spacing = table.tolist(), float(path.s[0]), float(path.s[-1] - path.s[0]) / (len(path.s) - 1)
    room = [(0.0, [np.inf] * n, [0.0] * n)]  # (time gap, where to, whose speed) of each kind of bound
    if bounds is not None:
        room = [(config.time_gap, bounds.gap.tolist(), bounds.lead_speed.tolist()), (0.0, bounds.stop.tolist(), [0.0] * n)]
    hardest = iso_limits(speed)[0]
    s, v, a = [0.0], [speed], []
    for k in range(n - 1):
        ahead = int((s[k] + v[k] * dt - first) / spacing)
        allowed = limits[min(max(ahead, 0), len(limits) - 1)]
        for time_gap, where, whose in room:
            left = max(where[k] - time_gap * whose[k] - s[k], 0.0)
            allowed = min(allowed, whose[k] + min(sqrt(2 * config.comfort_deceleration * left), left / config.settling_time))
        a.append(max(min(max((allowed - v[k]) / dt, -hardest), config.comfort_acceleration), -v[k] / dt))
        v.append(v[k] + a[k] * dt)
        s.append(s[k] + 0.5 * (v[k] + v[k + 1]) * dt)
    return Profile(np.array(s), np.array(v), np.array(a + a[-1:]), solved=False)


def problem(
    guide: Profile,
    times: Float[Array, " n"],
    acceleration: float,
    bounds: Bounds,
    vehicle: VehicleModel,
    emergency: bool,
    config: LongitudinalConfig,
) -> Problem:
    """The quadratic program over jerk (one a step) and three slacks: gap, object, never backwards."""
    n = len(times) - 1
    dt = times[1] - times[0]
    t = times[1:]
    v0 = guide.speed[0]
    lag = np.subtract.outer(np.arange(n), np.arange(n))  # steps since the jerk
    acted = lag >= 0
    to_a = dt * acted
    to_v = dt**2 * (lag + 0.5) * acted
    to_s = dt**3 * (0.5 * lag**2 + 0.5 * lag + 1 / 6) * acted
    free_v = v0 + acceleration * t
    free_s = v0 * t + 0.5 * acceleration * t**2

    p, c = np.zeros((n + 3, n + 3)), np.zeros(n + 3)
    for matrix, free, scale in (
        (to_v, free_v - guide.speed[1:], config.speed),
        (to_a, np.full(n, acceleration), config.acceleration),
        (np.eye(n), np.zeros(n), config.jerk),
    ):
        p[:n, :n] += matrix.T @ matrix / scale**2
        c[:n] += matrix.T @ free / scale**2
    slack = np.array([config.gap_slack, config.object_slack, config.object_slack])
    p[range(n, n + 3), range(n, n + 3)] = n / slack**2
    c[n:] = n / slack

    decel, accel, jerk = iso_limits(v0)
    accel = min(accel, config.comfort_acceleration, vehicle.max_acceleration)
    if emergency:
        decel, jerk = min(config.emergency_deceleration, vehicle.max_deceleration), config.emergency_jerk
    release = np.full(n, max(jerk, 5.0))
    release[0] = max(release[0], 2 * abs(acceleration) / dt)  # brakes may always be let go when we stand
    back = np.cumsum(release) * dt  # coming from outside the limits
    high = np.maximum(accel, acceleration - np.arange(1, n + 1) * dt * jerk)
    low = np.minimum(-decel, acceleration + back)

    def rows(matrix: Array, which: int | None, sign: float = -1.0) -> Array:
        out = np.zeros((len(matrix), n + 3))
        out[:, :n] = matrix
        if which is not None:
            out[:, n + which] = sign
        return out

    cut_short = max(config.time_gap * v0 - bounds.gap[0], 0.0) if np.isfinite(bounds.gap[0]) else 0.0
    relaxed = np.maximum(cut_short - config.gap_recovery * t, 0.0)
    gap, stop, touch = (np.isfinite(b[1:]) for b in (bounds.gap, bounds.stop, bounds.object))
    g = np.vstack([
        rows(to_a, None),
        rows(to_v, 2, 1.0),
        rows((to_s + config.time_gap * to_v)[gap], 0),
        rows(to_s[stop], 0),
        rows(to_s[touch], 1),
    ])  # fmt: skip
    upper = [
        high - acceleration,
        np.full(n, 1e3),
        (bounds.gap[1:] + relaxed - free_s - config.time_gap * free_v)[gap],
        (bounds.stop[1:] - free_s)[stop],
        (bounds.object[1:] - free_s)[touch],
    ]
    lower = [low - acceleration, -free_v] + [np.full(len(u), -1e4) for u in upper[2:]]
    x_low = np.concatenate([np.full(n, -jerk), np.zeros(3)])
    x_high = np.concatenate([release, np.full(3, 1e4)])
    return Problem(p, c, g, np.concatenate(lower), np.concatenate(upper), x_low, x_high)


def plan(
    path: Path,
    table: Float[Array, " m"],
    times: Float[Array, " n"],
    speed: float,
    acceleration: float,
    bounds: Bounds,
    vehicle: VehicleModel,
    config: LongitudinalConfig,
) -> Profile:
    """The profile to drive from now (s = 0) at `speed` and `acceleration`; `times` are evenly spaced."""
    guide = roll_out(path, table, times, speed, bounds, config)
    answer = None
    for emergency in (False, True):
        x = solve(problem(guide, times, acceleration, bounds, vehicle, emergency, config))
        if x is None:
            continue
        answer = _profile(x[: len(times) - 1], times, speed, acceleration, emergency)
        over = answer.s - bounds.object
        if over.max() <= config.emergency_slack:
            break
    return answer if answer is not None else guide


def _profile(jerk: Float[Array, " m"], times: Float[Array, " n"], speed: float, acceleration: float, emergency: bool) -> Profile:
    dt = np.diff(times)
    a = acceleration + np.concatenate([[0.0], np.cumsum(jerk * dt)])
    v = speed + np.concatenate([[0.0], np.cumsum(a[:-1] * dt + 0.5 * jerk * dt**2)])
    v = np.maximum(v, 0.0)
    s = np.concatenate([[0.0], np.cumsum(0.5 * (v[1:] + v[:-1]) * dt)])
    return Profile(s, v, a, emergency)


def stopping_bounds(bounds: Bounds, distance: float) -> Bounds:
    """The bounds with a stop `distance` metres ahead added."""
    return replace(bounds, stop=np.minimum(bounds.stop, max(distance, 0.0)))
