"""What one step of `safety` costs on one core: median and p99 over many steps of an ordinary drive, garbage collection on.

    python dev/bench_safety.py [--steps 20000] [--tracks 8]

By the clock, and in processor time, which other programs on the machine touch less. The goal is 50 µs for
the door itself: the median of its processor time decides the exit code.
The second opinion (rss) is no part of the way to the wheels and is timed apart.
"""

from __future__ import annotations

import argparse
import sys
from math import sin
from time import perf_counter, thread_time

import numpy as np

from nanopilot import safety
from nanopilot.messages import PATH_ARC, CarState, Command, Curve, Kind, Track, Turn, VehicleModel, World
from nanopilot.safety import rss

GOAL = 50.0  # µs
CAR = VehicleModel(2.5, 4.5, 1.8, 0.9, 0.7, 2.7, 8.0, 0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--tracks", type=int, default=8)
    options = parser.parse_args()
    state, verdicts = safety.initial(engaged=True), rss.RssState()
    door, opinion = [], []
    path = Curve(np.column_stack([PATH_ARC, 0.002 * PATH_ARC**2]), np.full(len(PATH_ARC), 0.1), 1.0)
    tracks = tuple(
        Track(k, Kind.VEHICLE, 12.0 * k + 8, 3.5 * (k % 3 - 1), 0.0, 9.0, 0.0, 0.0, 0.0, 0.2, 0.2, 4.5, 1.8, 1.0, 0.0, 1.0)
        for k in range(options.tracks)
    )
    for k in range(options.steps):
        t = 0.05 * k
        a = 3.0 * sin(t)  # beyond the limits at times, so that reasons are given
        car = CarState(t, 10.0 + 0.5 * sin(0.3 * t), 0.15 * sin(0.3 * t), 0.1 * sin(0.2 * t), 0.0)
        command = Command(t, a, 0.02 * sin(t))
        world = World(
            t, 10.0, 0.0, 0.0, path, None, None, 3.5, 0.0, 0.0, tracks, np.zeros((0, 2)), 1.0, Turn.ARRIVE, 1e3, 1e3, 14.0, 1.0, 0.0
        )  # fmt: skip
        begin, busy = perf_counter(), thread_time()
        state, _ = safety.step(state, command, car, t)
        door.append((perf_counter() - begin, thread_time() - busy))
        begin, busy = perf_counter(), thread_time()
        verdicts, _ = rss.step(verdicts, world, CAR)
        opinion.append((perf_counter() - begin, thread_time() - busy))
    for name, seconds in (("safety.step", door), (f"rss.step, {options.tracks} tracks", opinion)):
        wall, cpu = (np.array(seconds) * 1e6).T
        p50, p99 = np.percentile(wall, [50, 99])
        c50, c99 = np.percentile(cpu, [50, 99])
        print(f"{name}: median {p50:.1f} µs, p99 {p99:.1f} µs by the clock; {c50:.1f} and {c99:.1f} µs of processor; {options.steps} steps")
    median = float(np.median([cpu for _, cpu in door]) * 1e6)
    print(f"the door's step: {median:.1f} µs of processor, {'within' if median <= GOAL else 'above'} {GOAL:.0f} µs")
    return 0 if median <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
