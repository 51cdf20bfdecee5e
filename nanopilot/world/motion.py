"""Own motion between two steps, from wheel speed and yaw-rate sensor: where the new vehicle frame stands in the old one.

In: the last and the new CarState and the time between them. Out: a Motion. Speed and yaw rate are taken as their
means over the step, the path as a circle's arc (exact for constant values). It knows nothing of slip, and of the car
the rear axle only. Source: Kelly, Mobile Robotics, ch. 4 (odometry).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nanopilot.messages import CarState

JERK = 5.0  # m/s³, guess: how speed may wander between two samples
YAW_JERK = 2.0  # rad/s³


@dataclass(frozen=True)
class Motion:
    """The new frame stands at (x, y, yaw) in the old one after `dt` s and `travelled` m."""

    dt: float
    x: float
    y: float
    yaw: float
    travelled: float
    yaw_std: float
    travelled_std: float


def own_motion(last: CarState, now: CarState, dt: float) -> Motion:
    """Motion over `dt` s (>= 0) from the mean speed and yaw rate; sensor errors are taken as constant within the step."""
    travelled = (last.speed + now.speed) / 2 * dt
    yaw = (last.yaw_rate + now.yaw_rate) / 2 * dt
    chord = travelled * float(np.sinc(yaw / 2 / np.pi))
    between = dt**3 / 12  # the trapezoid rule's error per unit of the second derivative
    return Motion(
        dt=dt,
        x=chord * float(np.cos(yaw / 2)),
        y=chord * float(np.sin(yaw / 2)),
        yaw=yaw,
        travelled=abs(travelled),
        yaw_std=float(np.hypot(now.yaw_rate_std * dt, YAW_JERK * between)),
        travelled_std=float(np.hypot(now.speed_std * dt, JERK * between)),
    )
