"""Pedestrian and cyclist collision: will somebody on foot or on a bicycle be in our way when we get there?

In: tracks with their `Closing`, own paths and speed. Out: one warning, of the most urgent. The other's place when we arrive is
extrapolated at constant velocity; who stands before us and isn't surely leaving counts, too. Limits: the warning comes as long before a
braking of 5 m/s² that would just avoid the collision (UN R152's demand) as a driver needs, 1.2 s (Euro NCAP), and at the latest R152's
0.8 s before (both second-hand). A cyclist who rides along in our path is the closest in path's business too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np
from jaxtyping import Float

from nanopilot.assist.closing import Closing
from nanopilot.assist.in_path import beside
from nanopilot.assist.latch import Latch, latched, rung
from nanopilot.messages import CarState, Kind, Track, VehicleModel, Warning, WarningKind, WarningLevel, speed_known

KINDS = {Kind.PERSON: WarningKind.PEDESTRIAN_COLLISION, Kind.CYCLIST: WarningKind.CYCLIST_COLLISION}
LEVELS = (WarningLevel.INFO, WarningLevel.MEDIUM, WarningLevel.LATE)


@dataclass(frozen=True)
class VulnerableConfig:
    braking: float = 5.0  # m/s², UN R152
    before: tuple[float, float] = (1.2, 0.8)  # s, driver's reaction in Euro NCAP's FCW tests; R152's latest
    margin: float = 0.3  # m beside our own sides, guess
    least_speed: float = 10 / 3.6  # m/s, slowest of Euro NCAP's pedestrian tests
    highest_speed: float = 80 / 3.6  # m/s, fastest of them
    sure: float = 2.0  # standard deviations, guess
    fastest: float = 3.5  # m/s on foot, guess (Euro NCAP's runner: 2.2): faster, and more than
    quickest: float = 12.0  # m/s, guess: nobody on foot or on a bicycle is faster
    towards: float = 1.0  # m/s of it towards us, guess: two of a crowd taken for one; away or across it may be an unrecognised cyclist
    position_doubt: float = 1.0  # m, guess: a track less certain is not warned of,
    seen: float = 0.1  # s, guess: nor one that was last seen earlier, for the tracks of a crowd swap their people
    same: float = 2.0  # m, guess: tracks so near each other are one body that was taken for both kinds; the likelier kind is told
    confirm: float = 0.1  # s, guess
    hold: float = 0.6  # s, guess
    release: float = 1.2  # guess


def vulnerable_collision(
    state: Latch,
    t: float,
    others: Sequence[tuple[Track, Closing]],
    paths: tuple[Float[np.ndarray, "n 2"], ...],
    car: CarState,
    vehicle: VehicleModel,
    config: VulnerableConfig,
) -> tuple[Latch, Warning | None]:
    """The most urgent person or cyclist that would be in path when we get there."""
    known = speed_known(car)
    worst: tuple[float, Track, Closing, tuple[float, float]] | None = None
    if not known or config.least_speed <= car.speed <= config.highest_speed:
        for track, how in others:
            if how.rate <= config.sure * how.rate_std or track.position_std > config.position_doubt or track.unseen > config.seen:
                continue
            speed = hypot(track.vx, track.vy)
            if speed > config.quickest or (track.kind == Kind.PERSON and track.vx < -config.towards and speed > config.fastest):
                continue
            if not _meets(track, how, paths, vehicle, config):
                continue
            stop = how.speed / (2 * config.braking)
            limits = (stop + config.before[0], stop + config.before[1])
            if worst is None or how.ttc - limits[0] < worst[0]:
                worst = (how.ttc - limits[0], track, how, limits)
    wanted = 0 if worst is None else rung(worst[2].ttc, worst[3], state.level, config.release)
    state = latched(state, t, wanted, config.confirm, config.hold)
    if state.level == 0 or worst is None:
        return state, None
    _, track, how, limits = worst
    same = [o for o, _ in others if hypot(o.x - track.x, o.y - track.y) < config.same]
    kind = max(same, key=lambda o: o.probability).kind
    reason = f"{how.ttc:.1f} s to a {kind} {how.gap:.0f} m ahead, moving at {hypot(track.vx, track.vy):.1f} m/s"
    return state, Warning(t, KINDS[kind], LEVELS[state.level], how.ttc, how.ttc_std, limits[state.level - 1], "s", reason,
                          track_id=track.id)  # fmt: skip


def _meets(
    track: Track, how: Closing, paths: tuple[Float[np.ndarray, "n 2"], ...], vehicle: VehicleModel, config: VulnerableConfig
) -> bool:
    """Whether the track is in our way when we get there, or is now and not surely leaving: by the mean of the paths, and by one of them."""
    places = [beside(track, path) for path in paths]
    reach = vehicle.width / 2 + max(half for _, half in places) + config.margin

    def within(d: float) -> bool:
        return abs(d + track.vy * how.ttc) <= reach or (abs(d) <= reach and abs(track.vy) < track.velocity_std)

    return within(sum(d for d, _ in places) / len(places)) and any(within(d) for d, _ in places)
