"""How late and how noisy the speed of the car ahead is, for several noises of the tracker, on the same percepts.

    python dev/bench_tracks.py [--seed 2000]

In: six cells of the proving ground (a tuning seed), each driven once with the guardian; its percepts go through `world.tracks` again
with every setting. Out: per setting the error of the lead's speed from 1 s on and nearer than 45 m (root mean square, m/s), the same
while the lead brakes as a delay (error over its deceleration, s), and how much the speed jumps from frame to frame where nothing
happens (m/s).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import tyro

from nanopilot.evaluate import protocols
from nanopilot.evaluate.procedures import cases
from nanopilot.evaluate.track import TrackBody
from nanopilot.geometry import child_from_parent
from nanopilot.messages import Percept
from nanopilot.pilot import Pilot
from nanopilot.world import tracks
from nanopilot.world.motion import own_motion

CELLS = (
    "ccr/CCRb, 50 km/h/2 m/s²/12 m", "ccr/CCRb, 50 km/h/6 m/s²/12 m", "ccr/CCRb, 50 km/h/6 m/s²/40 m",
    "ccr/CCRb 2026, 4 m/s², headway 1 s/100 %/80", "r152/car stands/impact speed/60", "r152/car goes 20 km/h/impact speed/60",
)  # fmt: skip
FIRST, NEAR = 1.0, 45.0  # s, m
ASIDE = 1.5  # m beside which it is another


@dataclass(frozen=True)
class Moment:
    """One step: what was seen and sensed, and where the lead truly was, ahead of the rear axle, and its speed."""

    percept: Percept
    car: object
    x: float
    y: float
    speed: float


def recorded(name: str, seed: int) -> list[Moment]:
    case = next(c for c in cases() if c.name == name)
    body = TrackBody(case.trial, seed, protocols.look(case))
    moments = []
    for record in Pilot(body, protocols.PilotConfig(engaged=False), protocols.network().perceive).drive():
        now, lead = body.trace[-1], case.trial.actors(record.observation.t)[0]
        (x, y), percept = child_from_parent(np.array([lead.x, lead.y]), now.x, now.y, now.yaw), record.percept
        if percept is not None:
            moments.append(Moment(percept, record.observation.car, x, y, lead.speed))
    return moments


def replayed(moments: list[Moment], config: tracks.TrackConfig) -> np.ndarray:
    """(n, 3): true distance, true speed, told speed of each moment (NaN: not told)."""
    known, last, rows = tracks.none(), None, []
    for m in moments:
        dt = m.percept.t - last.percept.t if last else 0.05
        if last:
            known = tracks.move(known, own_motion(last.car, m.car, dt), config)
        known, last = tracks.forget(tracks.update(known, m.percept.objects, dt, config), config), m
        leads = [t for t in tracks.told(known, config) if abs(t.y - m.y) < ASIDE and abs(t.x - m.x) < 0.25 * m.x + 2.0]
        rows.append((m.x, m.speed, max(leads, key=lambda t: t.probability).vx if leads else np.nan))
    return np.array(rows)


def main(seed: int = 2000) -> None:
    cells = [recorded(name, seed) for name in CELLS]
    print("changing share, noise along, lasting braking | error m/s, delay s, jump m/s")
    for share, noise, lasting in product((1.0, 0.7, 0.5), (2.0, 2.5, 3.0), (0.0, 0.6, 0.9)):
        config = tracks.TrackConfig(changing=share, acceleration_along=(noise, 1.0, 1.5), lasting=lasting)
        errors, delays, jumps = [], [], []
        for moments in cells:
            x, true, told = replayed(moments, config).T
            t = np.array([m.percept.t for m in moments])
            slope, error = np.gradient(true, t), told - true
            meant = (t > FIRST) & (x < NEAR) & np.isfinite(error)
            errors.append(np.sqrt((error[meant] ** 2).mean()))
            if (brakes := meant & (slope < -0.5)).any():
                delays.append((error[brakes] / -slope[brakes]).mean())
            jumps.append(np.nanstd(np.diff(told)[(meant & (np.abs(slope) < 0.1))[1:]]))
        print(
            f"{share:4.2f} {noise:4.1f} {lasting:4.1f} | {np.mean(errors):5.2f} {np.mean(delays):5.2f} {np.nanmean(jumps):5.2f}", flush=True
        )


if __name__ == "__main__":
    tyro.cli(main)
