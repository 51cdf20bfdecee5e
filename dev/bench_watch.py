"""How fast is `watch`, and does its memory stay constant?

    python dev/bench_watch.py VIDEO [--loops 5] [--focal 1150]

In: a video, played several times over as one. Out: pictures a second and processor time with log, film and report; latency from frame
to warning (p50, p99); resident memory after each loop, and its peak.
"""

import argparse
import resource
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import psutil
from rich.console import Console

from nanopilot.bodies import sources
from nanopilot.bodies.lens import LensConfig
from nanopilot.watch import run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("video")
    parser.add_argument("--loops", type=int, default=5)
    parser.add_argument("--focal", type=float)
    args = parser.parse_args()
    played, latency, memory = sources.pictures, [], []

    def looped(source: str, hz: float | None):
        t = 0.0
        for _ in range(args.loops):
            start = t
            for picture in played(source, hz):
                t = start + picture.t + 0.04
                yield picture._replace(t=start + picture.t)
            memory.append(psutil.Process().memory_info().rss / 2**20)

    account = run._account

    def timed(record, *rest):
        latency.append(sum(record.seconds.values()) * 1e3)
        return account(record, *rest)

    sources.pictures, run._account = looped, timed
    with tempfile.TemporaryDirectory() as out:
        start, worked = perf_counter(), process_time()
        run.run(run.RunConfig(args.video, Path(out), LensConfig(focal=args.focal)), console=Console(quiet=True))
        wall, worked = perf_counter() - start, process_time() - worked
    print(f"{len(latency)} pictures in {wall:.1f} s with start and report: {len(latency) / wall:.1f} a second")
    print(f"processor time: {1e3 * worked / len(latency):.1f} ms a picture, all threads")
    print(f"frame to warning: p50 {np.percentile(latency, 50):.1f} ms, p99 {np.percentile(latency, 99):.1f} ms")
    print("memory after each loop, MiB: " + ", ".join(f"{m:.0f}" for m in memory))
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
