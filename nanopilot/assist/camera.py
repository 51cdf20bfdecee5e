"""The camera itself: covered, blinded, moved, or not yet known well enough.

In: how long the world has been blind, the frame's Percept, the calibration. Out: a warning each.
"""

from __future__ import annotations

from dataclasses import dataclass

from nanopilot.assist.latch import Latch, latched
from nanopilot.messages import Calibration, Percept, Warning, WarningKind, WarningLevel, World


@dataclass(frozen=True)
class CameraConfig:
    blind: float = 1.0  # s without a usable picture, guess
    hold: float = 1.0  # s, guess


def blocked(state: Latch, world: World, percept: Percept | None, config: CameraConfig) -> tuple[Latch, Warning | None]:
    """No usable picture for a while."""
    state = latched(state, world.t, int(percept is None or not percept.valid), config.blind, config.hold)
    if not state.level:
        return state, None
    reason = f"no usable picture for {world.blind:.0f} s: camera covered or blinded"
    return state, Warning(world.t, WarningKind.CAMERA_BLOCKED, WarningLevel.MEDIUM, world.blind, 0.0, config.blind, "s", reason)


def not_calibrated(calibration: Calibration | None) -> Warning | None:
    """The camera's pitch and yaw are not, or no longer, known well enough: distances may be wrong. None without an online calibration."""
    c = calibration
    if c is None or c.valid:
        return None
    if c.moved:
        reason = f"the camera was moved: distances are wrong until it is found again, {100 * c.progress:.0f} %"
        return Warning(c.t, WarningKind.CAMERA_MOVED, WarningLevel.MEDIUM, c.progress, 0.0, 1.0, "", reason)
    reason = f"camera {100 * c.progress:.0f} % calibrated: distances are less certain"
    return Warning(c.t, WarningKind.NOT_CALIBRATED, WarningLevel.INFO, c.progress, 0.0, 1.0, "", reason)
