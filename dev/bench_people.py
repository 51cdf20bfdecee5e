"""What a doubtful person is worth, by what the scene has in his box: the numbers behind perception.people.

    python -m nanopilot.train.frames --split tune --maps 30 --views 40
    python dev/bench_people.py

In: drawn frames of the tuning maps. Out: for boxes of people and riders by score (rows) and by the share of the box that the scene calls a
body (columns), how many are somebody, or a part of him, and how many there are. Ignored actors count neither way.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from nanopilot.geometry import model_camera
from nanopilot.messages import Kind
from nanopilot.perception import Config, Network
from nanopilot.perception.decode import objects
from nanopilot.perception.labels import OBJECT_FIELDS, Frames
from nanopilot.perception.memory import remembered
from nanopilot.perception.people import BODIES, share_of_body
from nanopilot.train.frames import CACHE

SCORES = (0.12, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 1.0)
SHARES = (-1.0, 0.02, 0.1, 0.2, 0.3, 0.5, 1.1)
IOU, INSIDE = 0.3, 0.6  # with somebody's box, or so much of the box within his: a part of a body
IGNORE = OBJECT_FIELDS.index("ignore")


def main(frames: Path = CACHE / "tune", tall: float = 20.0) -> None:
    network, camera, rng = Network(), model_camera(), np.random.default_rng(0)
    config = replace(Config(), score=SCORES[0], people=replace(Config().people, least=SCORES[0]))
    shown, rows = Frames(frames), []
    for i in range(len(shown)):
        out = network.infer(shown.image(i), shown.label["route"][i], remembered(shown.label["path"][i], rng))
        people = shown.label["objects"][i]
        people = people[np.isfinite(people[:, 0]) & (people[:, 0] > 0)]
        bodies = np.isin(out["scene"], BODIES)
        for d in objects(out, camera, config):
            if d.kind == Kind.VEHICLE or d.box[3] - d.box[1] < tall:
                continue
            area, theirs = np.prod(d.box[2:] - d.box[:2]), (people[:, 3:5] - people[:, 1:3]).prod(1)
            inner = np.maximum(np.minimum(people[:, 3:5], d.box[2:]) - np.maximum(people[:, 1:3], d.box[:2]), 0.0).prod(1)
            right = (inner / (area + theirs - inner) > IOU) | (inner > INSIDE * area)
            if not (right & (people[:, IGNORE] > 0)).any():
                rows.append((d.score, share_of_body(bodies, d.box), right.any()))
    score, share, right = np.array(rows, float).T
    print(f"{len(shown)} frames, {len(rows)} boxes of {tall:.0f} px and more; columns: share of body from {SHARES[:-1]}")
    for low, high in itertools.pairwise(SCORES):
        cells = [(score >= low) & (score < high) & (share >= a) & (share < b) for a, b in itertools.pairwise(SHARES)]
        print(
            f"score {low:.2f} to {high:.2f}: " + "  ".join(f"{right[c].mean() if c.any() else np.nan:.2f} of {c.sum():4d}" for c in cells)
        )


if __name__ == "__main__":
    tyro.cli(main)
