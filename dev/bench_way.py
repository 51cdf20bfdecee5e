"""How well the way through a town's bends is known, and how often somebody who isn't there holds us back, from logs of drives.

    nanopilot drive --town spider --seed 3004 --no-video
    python dev/bench_way.py out/drive-spider-3004.mcap [more.mcap]

In: logs of town drives, with the simulator's truth; world and planner are run again on what was sensed and perceived then. Out: where the
road bends by more than 0.5 rad within 20 m, how far navigation's line and the path lie beside the true lane's middle 5 to 20 m ahead
(median and 90th percentile, m), the path likewise elsewhere; by how much the next stop line is told too far as we come within 10 m of
it; and the share of steps, 25 m and more from junctions, that are held back (following, yielding), and held back though nobody is within
1.6 m of our lane's middle for 60 m. It steers nothing: what would have come of another plan it can't say.
"""

from math import hypot
from pathlib import Path

import numpy as np
import tyro

from nanopilot import log, planning, world
from nanopilot.evaluate.drive import in_town
from nanopilot.geometry import child_from_parent, parent_from_child, resample, wrap
from nanopilot.messages import Behaviour, Observation, World
from nanopilot.pilot import PilotConfig
from nanopilot.planning.conflicts import FOOTPRINT
from nanopilot.sim.truth import SimTruth, TrueActor

AHEAD = np.array([5.0, 10.0, 15.0, 20.0])  # m
BENT, MOVING = 0.5, 0.5  # rad within 20 m; m/s
EVERY = 0.5  # s between looks at the lines
LINE_AT = 10.0  # m
AWAY, WIDE = 25.0, 1.6  # m


def beside(line: np.ndarray, lane: np.ndarray) -> np.ndarray:
    """How far `line` lies to the left of `lane`, AHEAD m along it; NaN where it doesn't get there."""
    out = np.full(len(AHEAD), np.nan)
    for k, s in enumerate(AHEAD):
        at, on = resample(lane, np.array([s, s + 0.5]))
        forward = (on - at) / np.hypot(*(on - at))
        along, across = (line - at) @ forward, (line - at) @ (-forward[1], forward[0])
        for i in np.flatnonzero(along[:-1] * along[1:] <= 0):
            there = np.interp(0.0, *zip(*sorted(((along[i], across[i]), (along[i + 1], across[i + 1]))), strict=True))
            out[k] = there if not abs(there) > abs(out[k]) else out[k]
    return out


def bend(lane: np.ndarray) -> float:
    a, b, c, d = resample(lane, np.array([0.0, 1.0, AHEAD[-1], AHEAD[-1] + 1.0]))
    return abs(wrap(float(np.arctan2(*(d - c)[::-1]) - np.arctan2(*(b - a)[::-1]))))


def in_our_way(actor: TrueActor, truth: SimTruth) -> bool:
    body = parent_from_child(FOOTPRINT * (actor.length, actor.width), actor.x, actor.y, actor.yaw)
    gap = np.hypot(*(truth.lane_path[None] - body[:, None]).T).min()
    return gap < WIDE and hypot(actor.x - truth.x, actor.y - truth.y) > 3.0


class Tally:
    def __init__(self) -> None:
        self.route: list[np.ndarray] = []
        self.path: list[np.ndarray] = []
        self.straight: list[np.ndarray] = []
        self.lines: list[float] = []
        self.steps = self.held = self.for_nobody = 0

    def lanes(self, told: World, truth: SimTruth) -> None:
        lane = child_from_parent(truth.lane_path, truth.x, truth.y, truth.yaw)
        if len(lane) < 60 or len(told.route_line) == 0 or truth.speed < MOVING:
            return
        path = np.full(len(AHEAD), np.nan) if told.path is None else beside(told.path.points, lane)
        if bend(lane) > BENT:
            self.route.append(beside(told.route_line, lane))
            self.path.append(path)
        else:
            self.straight.append(path)

    def told(self) -> None:
        for name, rows in (("navigation's line, bends", self.route), ("path, bends", self.path), ("path elsewhere", self.straight)):
            errors = np.abs(np.array(rows).reshape(-1, len(AHEAD)))
            middle, far = np.nanmedian(errors, axis=0), np.nanpercentile(errors, 90, axis=0)
            print(
                f"{name:25s} n {len(errors):4d} | "
                + " | ".join(f"{s:.0f} m: {a:.2f}, {b:.2f}" for s, a, b in zip(AHEAD, middle, far, strict=True))
            )
        lines = np.array(self.lines)
        print(
            f"stop lines told too far by {np.round(np.percentile(lines, [10, 50, 90]), 2)} m (10th, 50th, 90th percentile of {len(lines)})"
        )
        print(f"held back {self.held} of {self.steps} steps away from junctions, for nobody {self.for_nobody}")


def replay(path: Path, tally: Tally) -> None:
    config = in_town(PilotConfig())
    state, plans = world.initial(config.world), planning.initial(config.planning)
    looked, before = -np.inf, np.inf
    for step in log.steps(path, (SimTruth,)):
        truth, logged = step.get("/truth"), step.get("/world")
        if truth is None or logged is None:
            continue
        observation = Observation(logged.t, (), step["/car"], step.get("/gps"), step["/route"])
        state, now = world.step(state, observation, step.get("/percept"), config.world)
        plans, plan = planning.step(plans, now, step["/vehicle"], config.planning)
        if now.t - looked >= EVERY:
            looked = now.t
            tally.lanes(now, truth)
        line = next((s.distance for s in truth.signals if s.kind != "none"), np.inf)
        if before > LINE_AT >= line:
            tally.lines.append(now.next_turn_distance - line)
        before = line
        if now.next_turn_distance >= AWAY:
            tally.steps += 1
            if plan.behaviour in (Behaviour.FOLLOW, Behaviour.YIELD):
                tally.held += 1
                tally.for_nobody += not any(in_our_way(a, truth) for a in truth.actors)


def main(logs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    tally = Tally()
    for path in logs:
        replay(path, tally)
    tally.told()


if __name__ == "__main__":
    tyro.cli(main)
