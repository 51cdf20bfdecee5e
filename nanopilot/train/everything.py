"""From nothing to the committed network, one command: frames, teachers, two runs of training, int8. `nanopilot train everything`

In: nothing; with NANOPILOT_DATA (docs/data.md) real pictures join. Out: OUT/perception-int8.onnx, which perception/weights holds a copy of,
and OUT/held-in/perception.onnx, which has not seen the real pictures kept out for tuning: only that one may be judged on them.
Every step goes on from what is there already: what was stopped, at any second, is started again with the same command.
The first run learns from MetaDrive's maps, SUMO's towns and the real pictures kept in; the second, shorter, from all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from nanopilot.train import frames, label, perception, quantise, scenes, signals, town_frames

TAUGHT = {  # what the teachers of boxes and lines look at, and every so many-th picture: neighbours teach the same
    "nuscenes_unlabelled": 1, "camvid/train/images": 1, "rural_road/train/images": 4, "kitti_odometry/sequence_1/image_l": 3,
    "clips/ll_solidWhiteRight.mp4": 6, "clips/vd_test_small2.mp4": 6,
}  # fmt: skip


@dataclass(frozen=True)
class EverythingConfig:
    """Sizes of the steps. The defaults made the committed weights."""

    maps: int = 480
    towns: int = 100
    tune_maps: int = 10
    steps: int = 36000
    restart: int = 10500  # step: a network of the first is good enough to look at
    final_steps: int = 3000
    real: float = 0.45  # share of real pictures in a batch, where there are any
    seed: int = 0
    data: Path = perception.DATA
    out: Path = Path("out/everything")


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware: there training is twice as fast, elsewhere many times slower."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def main(config: EverythingConfig) -> None:
    """Do every step that is not done yet, and say how long each took this time."""
    begin = monotonic()

    def done(what: str) -> None:
        print(f"=== {what}: {(monotonic() - begin) / 60:.1f} min since the start", flush=True)

    frames.main(frames.FramesConfig("train", config.maps))
    frames.main(frames.FramesConfig("tune", config.tune_maps, views=32))
    town_frames.main(town_frames.TownFramesConfig("train", config.towns))
    done("frames")

    real = config.data.is_dir()
    if real:
        for source, every in TAUGHT.items():
            label.main(label.LabelConfig(config.data / source, every=every))
        done("labels")

        scenes.main(scenes.ScenesConfig(out=config.out / "scenes", bfloat16=has_bfloat16()))
        done("teacher of scenes")

        if not (reader := config.out / "signals.onnx").exists():
            signals.main(signals.SignalsConfig(data=config.data, out=reader, passes=20, threads=1))
        done("reader of signs and lights")

    shares = {"real": config.real if real else 0.0, "scenes": scenes.SCENES, "bfloat16": has_bfloat16(), "batch": 16, "ema": 0.999}
    first, second = config.out / "held-in", config.out / "final"
    perception.main(
        perception.TrainConfig(out=first, steps=config.steps, restart=config.restart, rate=2e-3, warmup=500, seed=config.seed, **shares)
    )
    done("first run")
    start = first / "checkpoint.pt"
    perception.main(
        perception.TrainConfig(
            out=second, start=start, final=True, steps=config.final_steps, rate=1e-3, warmup=200, seed=config.seed + 1, **shares
        )
    )
    done("second run")
    quantise.main(quantise.QuantiseConfig(second / "perception.onnx", config.out / "perception-int8.onnx"))
    done("int8")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(EverythingConfig))
