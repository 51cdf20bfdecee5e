"""Trains the perception network: frames in, weights/perception.onnx out. Read it from top to bottom.

One or more processes (one core each) hold the same network; each takes its share of a batch, gradients are averaged (synchronous
data-parallel SGD). AdamW, linear warm-up and cosine decay, an exponential moving average of the weights is what gets exported.
A checkpoint and an ONNX file are written every few minutes and at the end; started again with the same --out, it goes on from there.
Losses and figures go to OUT/tensorboard and OUT/metrics.jsonl.
The frame folder is read anew at each epoch, so frames may still be being drawn.
The exported file carries the names of the real pictures it was trained on, so that nobody judges it on them.
Run: python -m nanopilot.train.frames, then python -m nanopilot.train.perception --hours 1
"""

from __future__ import annotations

import copy
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter
from torch import Tensor

from nanopilot.geometry import model_camera
from nanopilot.perception import Config, decode, heads
from nanopilot.perception.labels import FIELDS, Frames
from nanopilot.perception.memory import remembered
from nanopilot.perception.metrics import Score
from nanopilot.train import real
from nanopilot.train.augment import AugmentConfig, augment
from nanopilot.train.frames import CACHE
from nanopilot.train.lite0 import imagenet
from nanopilot.train.losses import all_losses, total
from nanopilot.train.network import Exported, NetworkConfig, PerceptionNetwork, normalise
from nanopilot.train.unfold import unfolded

DATA = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
LABELS = Path("~/.cache/nanopilot/labels").expanduser()  # what `nanopilot train label` wrote about real pictures
Taught = tuple[real.RealFrame, Path | None]  # a real picture and what teachers said of it
SHARES = {
    "camvid": 4.0,
    "rural_road": 2.0,
    "kitti_object": 1.5,
    "not_road": 0.15,
    "nuscenes_unlabelled": 2.5,
}  # how often a set is looked at
TAUGHT_SHARE = 0.8  # of every other set that teachers alone have labelled
PRINT_EVERY = 50  # steps
SAVE_EVERY = 240.0  # s
BIG_WEIGHT = 1000  # numbers
OPSET = 17
MEASURED = 48  # pictures on which an exported network's layers are measured


@dataclass(frozen=True)
class TrainConfig:
    """Everything that shapes a run; stored in the checkpoint and, as JSON, in the ONNX file."""

    frames: Path = CACHE
    out: Path = Path("out/perception")
    steps: int = 6000  # the cosine's length
    hours: float = 24.0  # stop earlier when this much time is gone
    batch: int = 16
    processes: int = 2
    rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: int = 200  # steps
    ema: float = 0.998
    clip: float = 5.0  # largest gradient norm
    seed: int = 0
    tune_frames: int = 320
    bfloat16: bool = False  # compute the trunk so; for CPUs with AVX512_BF16 or AMX
    start: Path | None = None  # what a new run begins from: a checkpoint, as far as its weights fit, or an exported perception.onnx
    only: str = ""  # train this module alone, say "people", and leave all else as it is
    real: float = 0.0  # share of real pictures in a batch; needs NANOPILOT_DATA
    final: bool = False  # train on the real pictures held out for tuning, too
    scenes: Path | None = None  # what train.scenes wrote about real pictures
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


def batches(config: TrainConfig, rank: int, start: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Endless batches of this process's share: pictures (B, 256, 512, 3) uint8, labels by name. A pass sees every frame once."""
    size = config.batch // config.processes
    looks = round(config.real * size)  # at real pictures
    sets = by_set(real_pictures(config))
    step = start
    while True:
        frames = Frames(config.frames / "train")
        rng = np.random.default_rng([config.seed, step])  # the same order in every process, which each takes its part of
        order = rng.permutation(len(frames))[: len(frames) // config.batch * config.batch].reshape(-1, config.batch)
        if len(order) == 0:
            raise ValueError(f"{len(frames)} frames do not fill one batch of {config.batch}")
        for row in order:
            own = row[rank * size : (rank + 1) * size]
            rng = np.random.default_rng([config.seed, step, rank, 1])
            raw = [(frames.image(i), {name: frames.label[name][i] for name in FIELDS}) for i in own[looks:]]
            raw += [real.sample(frame, rng, said) for frame, said in (pick(sets, rng) for _ in range(looks))]
            pairs = [augment(image, label, rng, config.augment) for image, label in raw]
            images = torch.from_numpy(np.stack([image for image, _ in pairs]))
            labels = {name: torch.from_numpy(np.stack([np.asarray(label[name]) for _, label in pairs])) for name in (*FIELDS, "memory")}
            labels["usable"] = labels["usable"].float()
            yield images, labels
            step += 1


def real_pictures(config: TrainConfig) -> list[Taught]:
    """Those this run trains on; TuSimple's never."""
    pairs = real.pairs(DATA, LABELS, "all" if config.final else "train", config.scenes) if config.real else []
    return [(frame, said) for frame, said in pairs if frame.set != "tusimple"]


def by_set(pairs: list[Taught]) -> dict[str, list[Taught]]:
    """Real pictures grouped by the set they are from."""
    return {name: [pair for pair in pairs if pair[0].set == name] for name in sorted({frame.set for frame, _ in pairs})}


def pick(sets: dict[str, list[Taught]], rng: np.random.Generator) -> Taught:
    """Any of a set drawn by SHARES."""
    share = np.array([SHARES.get(name, TAUGHT_SHARE) for name in sets])
    chosen = sets[list(sets)[rng.choice(len(sets), p=share / share.sum())]]
    return chosen[int(rng.integers(len(chosen)))]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    done = min((step - config.warmup) / max(config.steps - config.warmup, 1), 1.0)
    return config.rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * done)))


def average_gradients(network: torch.nn.Module, processes: int) -> None:
    if processes == 1:
        return
    parameters = [p for p in network.parameters() if p.grad is not None]
    flat = torch.cat([p.grad.reshape(-1) for p in parameters])  # type: ignore[union-attr]  # None is left out above
    dist.all_reduce(flat)
    flat /= processes
    at = 0
    for p in parameters:
        p.grad = flat[at : at + p.numel()].view_as(p)
        at += p.numel()


def update_average(average: torch.nn.Module, network: torch.nn.Module, step: int, decay: float) -> None:
    decay = min(decay, (step + 1) / (step + 10))  # a young average follows quickly
    with torch.no_grad():
        for a, n in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if a.dtype.is_floating_point:
                a.lerp_(n, 1 - decay)
            else:
                a.copy_(n)


def evaluate(network: PerceptionNetwork, folder: Path, limit: int) -> dict[str, float]:
    """Metrics on a folder's frames, evenly picked, as the pilot would decode them, with a memory as wrong as in training."""
    frames, score, rng = Frames(folder), Score(), np.random.default_rng(0)
    exported = Exported(network).eval()
    with torch.no_grad():
        for i in np.unique(np.linspace(0, len(frames) - 1, min(limit, len(frames))).astype(int)):
            image = torch.from_numpy(frames.image(i))[None]
            memory = torch.from_numpy(remembered(frames.label["path"][i], rng))[None]
            outputs = exported(image, torch.from_numpy(frames.label["route"][i])[None], memory)
            named = {name: value[0].numpy() for name, value in zip(heads.OUTPUTS, outputs, strict=True)}
            score.add(decode(named, 0.0, model_camera(), "front", Config()), {name: frames.label[name][i] for name in FIELDS})
    return score.summary()


def halve(model: Any) -> None:
    """Keep an ONNX model's big weights as float16 in the file; the runtime casts them back once, when it loads it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in model.graph.initializer:
        if weight.data_type == TensorProto.FLOAT and np.prod(weight.dims) >= BIG_WEIGHT:
            name = weight.name
            small = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{name}_half")
            weight.CopyFrom(small)
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def export(network: PerceptionNetwork, path: Path, about: dict[str, str]) -> None:
    """Write the ONNX file at once, with what it is in its metadata."""
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.onnx")
    example = (torch.zeros(1, *(256, 512, 3), dtype=torch.uint8), torch.zeros(1, heads.ROUTE_SIZE), torch.zeros(1, heads.MEMORY_SIZE))
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    names = {"input_names": list(heads.INPUTS), "output_names": list(heads.OUTPUTS)}
    axes = {"image": {2: "width"}, "scene": {2: "cells4"}, "heat": {3: "cells8"}, "box": {3: "cells8"}}
    torch.onnx.export(Exported(plain).eval(), example, str(part), dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
    model = onnx.load(str(part))
    halve(model)
    for key, value in ({"nanopilot_heads": heads.VERSION} | about).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(part))
    part.rename(path)


def save(
    config: TrainConfig, step: int, seconds: float, network: PerceptionNetwork, average: PerceptionNetwork, optimiser: torch.optim.Optimizer
) -> None:
    """The checkpoint, and the averaged network as ONNX."""
    config.out.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step, "seconds": seconds, "config": asdict(config), "network": network.state_dict(), "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }  # fmt: skip
    part = config.out / "checkpoint.part"
    torch.save(state, part)
    part.rename(config.out / "checkpoint.pt")
    seen = json.dumps(sorted(frame.name for frame, _ in real_pictures(config)))
    shaped = {key: value for key, value in asdict(config).items() if not isinstance(value, Path)}  # where files lay is nobody's business
    about = {"step": str(step), "train_seconds": f"{seconds:.0f}", "config": json.dumps(shaped), "real_pictures": seen}
    export(average, config.out / "perception.onnx", about)


def begin_from(network: PerceptionNetwork, config: TrainConfig) -> None:
    """Take over, where names and shapes fit, a checkpoint's averaged weights; or all of an exported network's."""
    if config.start.suffix == ".onnx":
        frames = Frames(config.frames / "train")
        unfolded(config.start, network, np.stack([frames.image(i) for i in np.linspace(0, len(frames) - 1, MEASURED).astype(int).tolist()]))
        return
    own = network.state_dict()
    known = torch.load(config.start, weights_only=False)["average"]
    own.update({name: value for name, value in known.items() if name in own and own[name].shape == value.shape})
    network.load_state_dict(own)


def train(rank: int, config: TrainConfig) -> None:
    """One process's work. Process 0 also prints, evaluates and saves."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(config.seed)
    network = PerceptionNetwork(config.network, config.bfloat16).to(memory_format=torch.channels_last)
    network.context.load_state_dict(imagenet())
    if config.start:
        begin_from(network, config)
    average = copy.deepcopy(network).eval()
    average.bfloat16 = False
    learns = network.get_submodule(config.only)
    network.requires_grad_(False)
    learns.requires_grad_(True)
    network.context.requires_grad_(False)
    decayed = [p for p in learns.parameters() if p.requires_grad and p.ndim > 1]
    other = [p for p in learns.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.rate, betas=(0.9, 0.99))
    step, before = 0, 0.0
    if (config.out / "checkpoint.pt").exists():
        state = torch.load(config.out / "checkpoint.pt", weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, before = state["step"], state["seconds"]
        if rank == 0:
            print(f"going on from step {step} ({before / 60:.0f} min trained)", flush=True)

    if step >= config.steps and rank == 0:
        save(config, step, before, network, average, optimiser)
        print("these steps are done already: wrote the network again", flush=True)
    if step >= config.steps:
        return
    begin = saved = monotonic()
    running: dict[str, float] = {}
    network.eval()
    learns.train()
    curves = SummaryWriter(str(config.out / "tensorboard"), purge_step=step) if rank == 0 else None
    bar = Progress(TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), disable=rank > 0)
    task = bar.add_task("steps", total=config.steps, completed=step)
    bar.start()
    for images, labels in batches(config, rank, step):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        losses = all_losses(network(normalise(images), labels["route"], labels["memory"]), labels, model_camera().x)
        loss = total(losses)
        optimiser.zero_grad()
        loss.backward()
        average_gradients(network, config.processes)
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        if torch.isfinite(norm):  # all processes see the same norm
            optimiser.step()
        update_average(average, network, step, config.ema)
        step += 1

        seconds = monotonic() - begin
        stop = torch.tensor(float(step >= config.steps or seconds > config.hours * 3600))
        if config.processes > 1:
            dist.broadcast(stop, 0)
        if rank == 0:
            for name, value in losses.items():
                running[name] = running.get(name, float(value.detach())) * 0.95 + float(value.detach()) * 0.05
            bar.update(task, completed=step)
            if step % PRINT_EVERY == 0:
                text = " ".join(f"{name} {value:.3f}" for name, value in running.items())
                print(f"step {step} {before + seconds:.0f} s lr {learning_rate(step, config):.5f} | {text}", flush=True)
                for name, value in running.items():
                    curves.add_scalar(f"loss/{name}", value, step)
            if stop or monotonic() - saved > SAVE_EVERY:
                saved = monotonic()
                save(config, step, before + seconds, network, average, optimiser)
                report = evaluate(average, config.frames / "tune", config.tune_frames if stop else 120)
                print(f"tune at step {step}: {' '.join(f'{name} {value:.3f}' for name, value in report.items())}", flush=True)
                for name, value in {k: v for k, v in report.items() if np.isfinite(v)}.items():
                    curves.add_scalar(f"tune/{name}", value, step)
                curves.flush()
                with (config.out / "metrics.jsonl").open("a") as file:
                    file.write(json.dumps({"step": step, "seconds": before + seconds} | report) + "\n")
        if stop:
            bar.stop()
            if curves:
                curves.close()
            return


def _process(rank: int, config: TrainConfig, meeting: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it when the parent dies; background jobs ignore it
    if config.processes > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        patience = timedelta(minutes=15)
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=config.processes, timeout=patience)
    train(rank, config)
    if config.processes > 1:
        dist.destroy_process_group()


def main(config: TrainConfig) -> None:
    """Train until the steps or the hours are done."""
    if config.batch % config.processes:
        raise ValueError(f"a batch of {config.batch} does not divide among {config.processes} processes")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_process, (config, f"{folder}/meeting"), nprocs=config.processes)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(TrainConfig))
