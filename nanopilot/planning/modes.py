"""How it drives, as drivers choose it: chill, standard or assertive.

In: the planner's configuration and a mode's name. Out: the configuration in that mode. A mode is five numbers of comfort: how far behind a
lead, how hard it accelerates, brakes and takes curves, and how much time whom it passes before must still have. Nothing that keeps clear
of others when it must changes with it: emergency braking and the limits of `safety` are one for all. Time gaps are openpilot's
(relaxed, standard, aggressive), well above the 0.8 s of ISO 15622; the other numbers are guesses around the standard mode's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from nanopilot.planning.planner import Config

Mode = Literal["chill", "standard", "assertive"]


@dataclass(frozen=True)
class Comfort:
    time_gap: float  # s
    acceleration: float  # m/s²
    deceleration: float  # m/s²
    curve: float  # m/s², across
    pass_margin: float  # s


MODES: dict[Mode, Comfort] = {
    "chill": Comfort(1.75, 1.3, 1.5, 1.4, 3.0),
    "standard": Comfort(1.45, 2.0, 2.0, 1.8, 2.0),
    "assertive": Comfort(1.25, 2.5, 2.5, 2.2, 1.6),
}


def chosen(config: Config, mode: Mode) -> Config:
    """The planner's configuration in a mode. Raises ValueError for an unknown one."""
    if mode not in MODES:
        raise ValueError(f"a mode is one of {', '.join(MODES)}, not {mode!r}")
    c = MODES[mode]
    longitudinal = replace(
        config.longitudinal, time_gap=c.time_gap, comfort_acceleration=c.acceleration, comfort_deceleration=c.deceleration,
        curve_lateral_acceleration=c.curve,
    )  # fmt: skip
    return replace(config, longitudinal=longitudinal, conflicts=replace(config.conflicts, pass_margin=c.pass_margin))
