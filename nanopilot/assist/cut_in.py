"""Cut-in: has the closest in path come into our way from beside it?

In: tracks, own paths, the closest in path. Out: one notice, told once for each that comes in; the danger itself is `forward`'s and
`headway`'s. Somebody we steer behind has not come in: what counts is his own speed across our path; nor has who crosses it, comes
towards us or is only reckoned there, unseen. It needs no own speed. No standard asks for it; UN R157 and R171 only test that one reacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from nanopilot.assist.in_path import beside
from nanopilot.messages import Kind, Track, VehicleModel, Warning, WarningKind, WarningLevel, World


@dataclass(frozen=True)
class CutInConfig:
    """Guesses."""

    clear: float = 0.2  # m of air between our flanks' paths: then he is beside
    memory: float = 3.0  # s since he was
    least_rate: float = 0.5  # m/s across our path; a lane change takes 3 to 6 s
    most_angle: float = np.pi / 4  # rad between his way and ours: who turns in, crosses or comes towards us has more
    most_unseen: float = 0.2  # s; cars beside us drift, once the picture's side has cut them off
    least_age: float = 0.6  # s of his track, so that its speed means something
    reach: float = 45.0  # m
    told: float = 2.0  # s


@dataclass(frozen=True)
class CutInState:
    beside: Mapping[int, tuple[int, float]] = field(default_factory=dict)  # track: side (-1 left), when last
    warning: Warning | None = None  # as it was first told


def cut_in(
    state: CutInState,
    world: World,
    lead: Track | None,
    paths: tuple[Float[np.ndarray, "n 2"], ...],
    vehicle: VehicleModel,
    config: CutInConfig,
) -> tuple[CutInState, Warning | None]:
    """The notice, for `told` seconds."""
    t = world.t
    places = {i: (side, when) for i, (side, when) in state.beside.items() if t - when < config.memory}
    for track in world.tracks:
        if track.kind != Kind.PERSON and track.age >= config.least_age and track.x > 0:
            nearest, half = min((beside(track, path) for path in paths), key=lambda pair: abs(pair[0]))
            if abs(nearest) - half > vehicle.width / 2 + config.clear:
                places[track.id] = (-1 if nearest > 0 else 1, t)
    warning = state.warning if state.warning is not None and t - state.warning.t <= config.told else None
    if lead is not None and lead.x < config.reach and lead.unseen < config.most_unseen and places.get(lead.id, (0, t))[1] < t:
        side, _ = places.pop(lead.id)
        along = _direction(paths[0], lead.x)
        ahead = float(along[0] * lead.vx + along[1] * lead.vy)
        rate = side * float(along[0] * lead.vy - along[1] * lead.vx)  # positive to us
        if rate > config.least_rate and np.arctan2(rate, ahead) < config.most_angle:
            reason = f"a {lead.kind} comes into our way from the {'left' if side < 0 else 'right'}, {lead.x:.0f} m ahead"
            warning = Warning(t, WarningKind.CUT_IN, WarningLevel.INFO, rate, lead.velocity_std, config.least_rate, "m/s", reason, side,
                              lead.id)  # fmt: skip
    return CutInState(places, warning), warning


def _direction(path: Float[np.ndarray, "n 2"], x: float) -> Float[np.ndarray, "2"]:
    """The path's unit vector beside `x`."""
    k = int(np.clip(np.searchsorted(path[:, 0], x), 1, len(path) - 1))
    step = path[k] - path[k - 1]
    return step / max(float(np.hypot(*step)), 1e-6)
