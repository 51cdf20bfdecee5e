"""How often does perception/plausible complain where nothing is wrong: pictures in folders, and the steps of stored drives.

    python dev/check_plausible.py PICTURES_FOLDER ... DRIVE.mcap ...

For a folder: complaints of single pictures (labels are passed over; --most 150 a folder, evenly chosen). For a log: complaints of
its steps with picture, percept and speed, and how far the neighbours in a scene differ. A log keeps its pictures as JPEG.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from nanopilot import log
from nanopilot.messages import Frame
from nanopilot.perception import plausible


def folder(path: Path, most: int) -> None:
    pictures = [f for f in sorted(path.rglob("*")) if f.suffix.lower() in (".png", ".jpg", ".jpeg")]
    files = [f for f in pictures if not any(part.startswith("label") for part in f.parts)]
    chosen = files[:: max(1, len(files) // most)][:most]
    told: Counter[str] = Counter()
    for file in chosen:
        image = cv2.imread(str(file))
        if image is not None:
            frame = Frame(0.0, "file", np.ascontiguousarray(image[..., ::-1]))
            told[plausible.step(plausible.State(), frame, None, 5.0)[1] or "nothing"] += 1
    print(f"{path}: {dict(told)}")


def drive(path: Path) -> None:
    state, told, order = plausible.State(), Counter[str](), []
    for now in log.steps(path):
        frame = next(m for m in now.values() if isinstance(m, Frame))
        percept = now.get("/percept")
        state, complaint = plausible.step(state, frame, percept, now["/car"].speed)
        told[complaint or "nothing"] += 1
        if percept is not None and percept.scene.size > 1:
            order.append(float((percept.scene[1:] != percept.scene[:-1]).mean()))
    print(f"{path}: {dict(told)}; neighbours that differ: at most {max(order, default=0.0):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--most", type=int, default=150)
    options = parser.parse_args()
    for path in options.paths:
        drive(path) if path.suffix == ".mcap" else folder(path, options.most)
