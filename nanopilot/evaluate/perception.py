"""The network alone, judged on labelled frames of maps it has never seen.

In: weights (ONNX, as the pilot loads them) and a folder of shards (`python -m nanopilot.train.frames --split test` draws one).
Out: the figures of perception.metrics over all frames with a 95 % interval each, from resampling whole maps (frames of one map are alike),
as a table and as JSON. Unusable pictures are made here from the usable ones, with kinds training also makes, and some it doesn't.
Run: python -m nanopilot.evaluate.perception --frames ~/.cache/nanopilot/frames/test
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot.geometry import model_camera
from nanopilot.messages import Frame
from nanopilot.perception import Network, heads
from nanopilot.perception.labels import FIELDS, Frames
from nanopilot.perception.memory import remembered
from nanopilot.perception.metrics import Score

Array = np.ndarray

SPOILED_SHARE = 0.1  # of frames, shown a second time as an unusable picture
RESAMPLES = 200


@dataclass(frozen=True)
class PerceptionEvaluation:
    frames: Path = Path("~/.cache/nanopilot/frames/test").expanduser()
    weights: Path | None = None
    memory: bool = True
    """Give a memory of the path, as wrong as in training; else none, as in a drive's first frame."""
    limit: int = 0  # frames of each shard, 0: all
    json: Path | None = None


def spoiled(image: UInt8[Array, "256 512 3"], kind: int) -> UInt8[Array, "256 512 3"]:
    """Lens cap, white-out, a wall right in front, a checked test picture, sideways, or hopelessly out of focus."""
    h, w = image.shape[:2]
    if kind == 0:
        return np.zeros_like(image)
    if kind == 1:
        return np.full_like(image, 255)
    if kind == 2:
        return np.repeat(cv2.resize(image[100:108, 200:208], (w, h))[..., :1], 3, 2)
    if kind == 3:
        v, u = np.mgrid[:h, :w] // 32
        return np.repeat(((u + v) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    if kind == 4:
        return cv2.resize(np.ascontiguousarray(np.rot90(image)), (w, h))
    return cv2.GaussianBlur(image, (0, 0), 20.0)


def judge(config: PerceptionEvaluation) -> dict[str, dict[str, float]]:
    """name -> {value, low, high} over the folder's frames. Raises FileNotFoundError without shards or weights."""
    network, frames, camera = Network(config.weights), Frames(config.frames), model_camera()
    scores: dict[int, Score] = {}
    for i in range(len(frames)):
        shard, place = frames.shard(i)
        if config.limit and place >= config.limit:
            continue
        score = scores.setdefault(shard, Score())
        label = {name: frames.label[name][i] for name in FIELDS}
        image = frames.image(i)
        memory = remembered(label["path"], np.random.default_rng(i))[:-1].reshape(-1, 2) * heads.MEMORY_SCALE if config.memory else None
        route = label["route"][:-1].reshape(-1, 2) * heads.ROUTE_SCALE if label["route"][-1] else None
        score.add(network.perceive(Frame(float(i), camera.name, image), camera, route, memory), label)
        if place % round(1 / SPOILED_SHARE) == 0:
            bad = spoiled(image, place // round(1 / SPOILED_SHARE) % 6)
            score.add(network.perceive(Frame(float(i), camera.name, bad), camera, route, memory), label | {"usable": 0.0})
    whole = Score.pooled(list(scores.values())).summary()
    rng = np.random.default_rng(0)
    maps = list(scores.values())
    draws = [Score.pooled([maps[k] for k in rng.integers(len(maps), size=len(maps))]).summary() for _ in range(RESAMPLES)]
    out = {}
    for name, value in whole.items():
        low, high = np.nanquantile([d[name] for d in draws], (0.025, 0.975)) if np.isfinite(value) else (np.nan, np.nan)
        out[name] = {"value": float(value), "low": float(low), "high": float(high)}
    out["maps"] = {"value": float(len(maps)), "low": float(len(maps)), "high": float(len(maps))}
    return out


def main(config: PerceptionEvaluation) -> None:
    """Print the table, write the JSON."""
    figures = judge(config)
    for name, f in figures.items():
        print(f"{name:32s} {f['value']:9.3f}   [{f['low']:.3f}, {f['high']:.3f}]")
    if config.json:
        config.json.write_text(json.dumps({"suite": "perception", "summary": figures}, indent=1))


if __name__ == "__main__":
    import tyro

    main(tyro.cli(PerceptionEvaluation))
