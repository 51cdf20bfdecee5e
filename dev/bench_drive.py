"""What a drive costs on this machine: start-up, time per stage, frame to command, real-time factor, memory of all its processes.

Runs `nanopilot drive` as a user would, film included, and reads the figures from outside: the log's step times, the
proportional memory (PSS: shared pages counted once) of the whole family of processes, twice a second.
Run: python dev/bench_drive.py [--seed 3000] [--repeat 3] [--json FILE]
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import monotonic, sleep

import numpy as np
import psutil
import tyro

from nanopilot.evaluate.suite import origin
from nanopilot.log import steps

SAMPLE = 0.5  # s between looks at the memory


@dataclass(frozen=True)
class Bench:
    seed: int = 3000
    repeat: int = 3
    json: Path | None = None


def family_memory(root: psutil.Process) -> float:
    """GB of a process and all its children."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has just ended
            continue
    return total / 1e9


def one_drive(seed: int) -> dict[str, float]:
    """Figures of one drive; `start_s` is from the command to the first driven step."""
    with TemporaryDirectory() as folder:
        begin = monotonic()
        args = [sys.executable, "-m", "nanopilot", "drive", "--seed", str(seed), "--out", folder]
        drive = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        peak = [0.0]

        def watch() -> None:
            root = psutil.Process(drive.pid)
            while drive.poll() is None:
                try:
                    peak[0] = max(peak[0], family_memory(root))
                except psutil.Error:
                    return
                sleep(SAMPLE)

        watcher = Thread(target=watch)
        watcher.start()
        started = driven = 0.0
        said = ""
        for line in drive.stdout:
            said += line
            if " 0.0 s |" in line:
                started = monotonic()
            if line.strip().startswith("log"):
                driven = monotonic()
        drive.wait()
        watcher.join()
        logs = list(Path(folder).glob("*.mcap"))
        if not started or not logs:
            raise SystemExit(f"the drive did not run:\n{said}")
        records = list(steps(logs[0]))
        taken = [r["/step"].seconds for r in records]
        command = 1e3 * np.array([sum(seconds.values()) for seconds in taken])
        stage = {name: [1e3 * seconds[name] for seconds in taken if name in seconds] for name in taken[0]}
        simulated = records[-1]["/step"].t - records[0]["/step"].t
        return {
            "start_s": started - begin,
            "realtime_factor": simulated / ((driven or monotonic()) - started),
            "command_p50_ms": float(np.median(command)),
            "command_p99_ms": float(np.percentile(command, 99)),
            "memory_gb": peak[0],
            "arrived": float(drive.returncode == 0),
            **{f"{name}_p50_ms": float(np.median(v)) for name, v in stage.items()},
        }


def main(bench: Bench) -> None:
    rows = [one_drive(bench.seed) for _ in range(bench.repeat)]
    print(f"{psutil.cpu_count()} cores, seed {bench.seed}, {bench.repeat} drives: median [least, most]")
    summary = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        summary[name] = float(np.median(values))
        print(f"{name:20s} {np.median(values):8.2f} [{min(values):.2f}, {max(values):.2f}]")
    if bench.json:
        bench.json.write_text(json.dumps(origin("bench_drive") | {"drives": rows, "summary": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Bench))
