"""How fast is `watch`, and does its memory stay constant?

    python dev/bench_watch.py VIDEO [--minutes 60] [--hz 5] [--focal 1150] [--json docs/results/bench-watch.json]

In: a video, played over and over as one of that many minutes, without --minutes five times; `hz` takes it for one of that many pictures a
second. Out: pictures a second and processor time with log, film and report; latency from frame to warning (p50, p99); resident memory
after each loop, its slope over the second half, and its peak; how busy the machine was besides. Log and film of an hour at 25 pictures a
second take about 15 GB in the temporary folder.
"""

import argparse
import json
import os
import resource
import tempfile
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import psutil
from rich.console import Console

from nanopilot.bodies import sources
from nanopilot.bodies.lens import LensConfig
from nanopilot.evaluate.suite import origin
from nanopilot.watch import run

LOOPS = 5
GAP = 0.04  # s between two loops


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("video")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--hz", type=float)
    parser.add_argument("--focal", type=float)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    played, latency, memory, ends = sources.pictures, [], [], []

    def looped(source: str, hz: float | None):
        t = 0.0
        while (len(ends) < LOOPS) if args.minutes is None else t < 60 * args.minutes:
            start = t
            for picture in played(source, hz):
                t = start + picture.t + GAP
                yield picture._replace(t=start + picture.t)
            memory.append(psutil.Process().memory_info().rss / 2**20)
            ends.append(t / 3600)

    account = run._account

    def timed(record, *rest):
        latency.append(sum(record.seconds.values()) * 1e3)
        return account(record, *rest)

    sources.pictures, run._account = looped, timed
    with tempfile.TemporaryDirectory() as out:
        start, worked = perf_counter(), process_time()
        run.run(run.RunConfig(args.video, Path(out), LensConfig(focal=args.focal), hz=args.hz), console=Console(quiet=True))
        wall, worked = perf_counter() - start, process_time() - worked
    half = len(ends) // 2
    slope = float(np.polyfit(ends[half:], memory[half:], 1)[0]) if len(ends) - half > 2 else float("nan")
    summary = {
        "pictures": len(latency),
        "minutes_of_video": 60 * ends[-1],
        "pictures_per_second": len(latency) / wall,
        "processor_ms_per_picture": 1e3 * worked / len(latency),
        "frame_to_warning_p50_ms": float(np.percentile(latency, 50)),
        "frame_to_warning_p99_ms": float(np.percentile(latency, 99)),
        "memory_first_loop_mib": memory[0],
        "memory_last_loop_mib": memory[-1],
        "memory_slope_mib_per_hour_of_video": slope,
        "memory_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
        "load_average_5_min": os.getloadavg()[1],
        "share_of_a_core": worked / wall,
    }
    for name, value in summary.items():
        print(f"{name.replace('_', ' ')}: {value:.4g}")
    print("memory after each loop, MiB: " + ", ".join(f"{m:.0f}" for m in memory[:: max(1, len(memory) // 20)]))
    if args.json:
        args.json.write_text(json.dumps(origin("bench-watch") | {"rows": [], "summary": summary, "memory_mib": memory}, indent=1) + "\n")


if __name__ == "__main__":
    main()
