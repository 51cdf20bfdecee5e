"""Stored drives through safety alone: does it let through what it let through then, and what does the second opinion say?

    python dev/replay_safety.py out/*.mcap

For each log: steps, the largest change of acceleration and curvature against the stored /safe, steps in each mode, reasons, and
the share of steps that rss calls dangerous, and in which it would brake. Exit code 1 where a command changed.
"""

from __future__ import annotations

import sys
from collections import Counter

from nanopilot import log, safety
from nanopilot.safety import rss


def replay(path: str) -> bool:
    """Print one log's lines; whether nothing changed."""
    state, opinion = safety.initial(engaged=True), rss.RssState()
    modes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    apart, curved, n, danger, brakes = 0.0, 0.0, 0, 0, 0
    for now in log.steps(path):
        step, seen = now["/step"], now.get("/world")
        concern = step.fault or ("blind" if seen is not None and seen.blind > 0 else "")
        state, safe = safety.step(state, now.get("/command"), now["/car"], step.t, concern=concern)
        apart = max(apart, abs(safe.acceleration - now["/safe"].acceleration))
        curved = max(curved, abs(safe.curvature - now["/safe"].curvature))
        modes[safe.mode.value] += 1
        reasons.update(safe.reasons)
        n += 1
        if seen is not None:
            opinion, verdict = rss.step(opinion, seen, now["/vehicle"])
            danger += verdict.danger > 0
            brakes += verdict.acceleration < 0
    print(f"{path}: {n} steps, changed by at most {apart:g} m/s² and {curved:g} 1/m; {dict(modes)}; {dict(reasons)}")
    print(f"  rss: dangerous in {danger / max(n, 1):.0%} of the steps, would brake in {brakes / max(n, 1):.0%}")
    return apart == curved == 0.0


if __name__ == "__main__":
    changed = [path for path in sys.argv[1:] if not replay(path)]
    sys.exit(bool(changed))
