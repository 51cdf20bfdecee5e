"""From how far somebody before us is seen: the front camera alone, and with the narrow one beside it.

    python dev/bench_far.py [--seed 2002]

In: the proving ground's road under a seed's looks (a tuning seed), one adult, child, cyclist or car at a time, somewhere in our lane. Out:
per kind, cameras and distance the share found (right kind, score above what tracks need, bearing and distance about right), the median
error of the distance, and how many others were told who aren't there.
"""

from dataclasses import dataclass

import numpy as np
import tyro

from nanopilot.evaluate import track
from nanopilot.evaluate.procedures import ADULT, BICYCLE, CAR, CHILD
from nanopilot.geometry import model_camera, narrow_camera
from nanopilot.messages import Frame, Kind, Percept
from nanopilot.perception import Network
from nanopilot.perception.around import Around
from nanopilot.sim.scene import Actor, Scene
from nanopilot.world.tracks import TrackConfig

KINDS = {"adult": ("person", Kind.PERSON, ADULT), "child": ("person", Kind.PERSON, CHILD),
         "cyclist": ("cyclist", Kind.CYCLIST, BICYCLE), "car": ("car", Kind.VEHICLE, CAR)}  # fmt: skip
DISTANCES = (6, 9, 12, 16, 20, 25, 30, 40, 50, 60, 80)  # m
FRONT, NARROW = model_camera(), narrow_camera()
BEARING, SHARE = 0.5, 0.35  # m across, and share of the distance, by which somebody found may be off


@dataclass
class Tally:
    found: int = 0
    n: int = 0
    wrong: int = 0

    def __post_init__(self) -> None:
        self.errors: list[float] = []

    def add(self, percept: Percept, kind: Kind, x: float, y: float) -> None:
        distance, bearing = np.hypot(x, y), np.arctan2(y, x)
        told = [o for o in percept.objects if o.score >= TrackConfig().score]
        right = [
            o
            for o in told
            if abs(o.distance / distance - 1) < SHARE
            and abs(np.arctan2(o.position[1], o.position[0] - FRONT.x) - bearing) < 0.02 + BEARING / distance
            and o.kind == kind
        ]
        self.n, self.found, self.wrong = self.n + 1, self.found + bool(right), self.wrong + len(told) - len(right)
        self.errors += [o.distance / distance - 1 for o in right[:1]]


def main(seed: int = 2002) -> None:
    network, rng = Network(), np.random.default_rng(seed)
    tallies: dict[tuple[str, str, int], Tally] = {}
    for look in range(track.LOOKS):
        eye = track.camera(seed, look, False, -1.0, True)
        for name, (drawn, kind, size) in KINDS.items():
            for d in DISTANCES:
                for yaw in (0.0, np.pi / 2)[: 1 if kind == Kind.VEHICLE else 2]:
                    x, y, aside = rng.uniform(0, 80), track.OUTER_Y + rng.normal(0, 0.2), rng.uniform(-1, 1)
                    actor = Actor(1, drawn, x + FRONT.x + d, y + aside, yaw, size, 1.4)
                    scene = Scene(eye.static, (actor,), {}, 0.0)
                    frames = tuple(
                        Frame(0.0, c.name, eye.render(scene, c, (x, y, 0.0), labels=False, speed=10.0).rgb) for c in (FRONT, NARROW)
                    )
                    seen = network.perceive(frames[0], FRONT, None, None)
                    both = Around((FRONT, NARROW))
                    for cameras, shown in (("front", frames[:1]), ("both", frames)):
                        percept = both(seen, shown, network.perceive)
                        tallies.setdefault((name, cameras, d), Tally()).add(percept, kind, d, aside)
    for name in KINDS:
        for cameras in ("front", "both"):
            row = [tallies[name, cameras, d] for d in DISTANCES]
            cells = (f"{t.found / t.n:.2f} {np.median(t.errors) if t.errors else np.nan:+.2f} {t.wrong / t.n:.1f}" for t in row)
            print(f"{name:8} {cameras:6}" + " | ".join(f"{d:2} m {c}" for d, c in zip(DISTANCES, cells, strict=True)))


if __name__ == "__main__":
    tyro.cli(main)
