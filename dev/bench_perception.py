"""What a frame costs: our whole path from picture to Percept beside the peers' own, same frames, one core each, in one run.

In: frames of NANOPILOT_DATA (CamVid's and KITTI's), or drawn ones without it. Out: median and 99th percentile, ratios, the time of each
part of ours, our peak memory. The peers are the teachers of nanopilot.teachers, from NANOPILOT_DATA/teachers; without them ours is timed
alone, which is said. Frames go round robin, so that all meet the same moments of the machine. With --design it also times the trunk sizes
that NetworkConfig was chosen among, by engine, and training (needs the extra `train`).
Run: python dev/bench_perception.py [--frames 60] [--json FILE] [--design]
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tyro

from nanopilot.engine import Engine
from nanopilot.evaluate.suite import machine, origin
from nanopilot.geometry import MODEL_HEIGHT, MODEL_WIDTH, model_camera
from nanopilot.messages import CameraModel, Frame
from nanopilot.perception import Network, datasets, heads
from nanopilot.perception.decode import decode
from nanopilot.perception.roadside import read_roadside
from nanopilot.perception.runtime import canonical, to_model
from nanopilot.perception.signals import Reader

DATA = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
WARM_UP = 3  # frames more than one of each size
Picture = tuple[np.ndarray, CameraModel]


@dataclass(frozen=True)
class Bench:
    frames: int = 60
    json: Path | None = None
    design: bool = False


def pictures(count: int) -> tuple[list[Picture], str]:
    """Frames and where they are from."""
    try:
        found = [f for f in datasets.find(DATA) if f.set in ("camvid", "kitti_object")]
    except FileNotFoundError:
        found = []
    if found:
        chosen = [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]
        return [(datasets.read(f), f.camera) for f in chosen], "CamVid and KITTI"
    from nanopilot.sim import demo
    from nanopilot.sim.camera import CpuCamera

    static = demo.static_scene(1)
    eye, camera = CpuCamera(static), model_camera()
    drawn = []
    for s in np.linspace(0, 100, count):
        x, y = demo.beside(s, -0.5 * demo.LANE)[0]
        drawn.append((eye.render(demo.scene(static), camera, (x, y, float(demo.centre(s)[1][0]))).rgb, camera))
    return drawn, "drawn ones (no NANOPILOT_DATA)"


class Ours:
    """The steps of Network.perceive, each timed."""

    def __init__(self) -> None:
        self.network, self.parts = Network(), {"warp": [], "network": [], "decode": [], "roadside": []}
        self.route, self.memory = heads.route_vector(None), heads.memory_vector(None)

    def __call__(self, image: np.ndarray, camera: CameraModel) -> None:
        t0 = time.perf_counter()
        seen = canonical(camera)
        small = to_model(image, camera, seen)
        t1 = time.perf_counter()
        outputs = self.network.infer(small, self.route, self.memory)
        t2 = time.perf_counter()
        percept = decode(outputs, 0.0, seen, camera.name, self.network.config, small)
        t3 = time.perf_counter()
        read_roadside(percept.scene, image, camera, seen, self.network.reader)
        for name, seconds in zip(self.parts, (t1 - t0, t2 - t1, t3 - t2, time.perf_counter() - t3), strict=True):
            self.parts[name].append(1e3 * seconds)


def peers() -> dict[str, Callable[[np.ndarray, CameraModel], object]]:
    """The teachers by name; each does its own resizing and decoding."""
    try:
        from nanopilot.teachers import Teachers, barred, tiled

        teachers = Teachers(DATA / "teachers")
    except (FileNotFoundError, ValueError) as error:
        print(f"ours alone: {error}")
        return {}
    out: dict[str, Callable[[np.ndarray, CameraModel], object]] = {"twinlitenet": lambda image, _: teachers.twinlitenet(image)}
    for name, detect in teachers.detectors.items():
        out[name] = lambda image, _, detect=detect: tiled(detect, image)

    def road(bgr: np.ndarray) -> np.ndarray:
        return teachers.segment(bgr.transpose(2, 0, 1)[None].astype(np.float32))[0]

    out["road_adas"] = lambda image, _: barred(road, image[..., ::-1], 896, 512)
    return out


def peak_memory(frames: list[Picture]) -> float:
    """MB that a process needs at most which only perceives."""
    pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_perceive_all, args=(theirs, frames[:10]))
    process.start()
    megabytes = pipe.recv()
    process.join()
    return megabytes


def _perceive_all(pipe: multiprocessing.connection.Connection, frames: list[Picture]) -> None:
    network, reader = Network(), Reader()
    for image, camera in frames:
        network.perceive(Frame(0.0, camera.name, image), camera, None)
        reader.read([image[:48, :48]])
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    pipe.send(int(status["VmHWM"].split()[0]) / 1024)  # getrusage would tell the parent's peak, which exec keeps


def compare(bench: Bench) -> dict[str, float]:
    """Print the table; the summary as a dict."""
    frames, source = pictures(bench.frames)
    ours = Ours()
    runners: dict[str, Callable[[np.ndarray, CameraModel], object]] = {"ours": ours} | peers()
    times: dict[str, list[float]] = {name: [] for name in runners}
    sizes = list({camera.width: (image, camera) for image, camera in frames}.values())  # each is compiled when it first comes
    warm = [*sizes, *frames[:WARM_UP]]
    for k, (image, camera) in enumerate([*warm, *frames]):
        for name, run in runners.items():
            start = time.perf_counter()
            run(image, camera)
            if k >= len(warm):
                times[name].append(1e3 * (time.perf_counter() - start))
    print(f"{len(frames)} frames: {source}; one core each, {machine()['cpu']}; picture in, answer out, ms")
    middle = {name: float(np.median(v)) for name, v in times.items()}
    for name, values in times.items():
        ratio = middle[name] / middle["ours"]
        print(f"{name:20s} p50 {middle[name]:7.1f}  p99 {np.percentile(values, 99):7.1f}  {ratio:5.1f} times ours")
    parts = {name: float(np.median(values[len(warm) :])) for name, values in ours.parts.items()}
    memory = peak_memory(frames)
    print("ours: " + ", ".join(f"{name} {value:.1f}" for name, value in parts.items()) + f" ms; peak memory {memory:.0f} MB")
    summary = {"ours_ms_p50": middle["ours"], "ours_ms_p99": float(np.percentile(times["ours"], 99)), "peak_memory_mb": memory}
    summary |= {f"ours_{name}_ms": value for name, value in parts.items()} | {f"{name}_ms_p50": value for name, value in middle.items()}
    if "twinlitenet" in middle:
        summary["times_faster_than_twinlitenet"] = middle["twinlitenet"] / middle["ours"]
    return summary | {"n": len(frames)}


def design() -> None:
    """Trunk sizes: multiply-adds, weights, milliseconds by engine, pictures a second in training; all on one thread."""
    import onnxruntime
    import torch
    from torch import nn

    from nanopilot.train.network import NetworkConfig, PerceptionNetwork, normalise
    from nanopilot.train.perception import export

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    batch = 8
    chosen = NetworkConfig()
    wide, deep = replace(chosen, inner=chosen.widths[1:], neck=64), replace(chosen, blocks=(1, 3, 2))
    candidates = {"chosen": chosen, "wide inside": wide, "deeper": deep}
    image = np.full((1, MODEL_HEIGHT, MODEL_WIDTH, 3), 100, np.uint8)
    inputs = {"image": image, "route": heads.route_vector(None)[None], "memory": heads.memory_vector(None)[None]}
    for name, config in candidates.items():
        network = PerceptionNetwork(config)
        total = 0

        def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
            nonlocal total
            total += layer.weight.numel() * (out.shape[2] * out.shape[3] if out.ndim == 4 else 1)

        hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        tensors = [torch.from_numpy(inputs[key]) for key in ("route", "memory")]
        with torch.no_grad():
            network.eval()(normalise(torch.from_numpy(image)), *tensors)
        for hook in hooks:
            hook.remove()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export(network, path, {})
            engine, options = Engine(path, fixed=True), onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        engines = {"onnxruntime": lambda s=session: s.run(None, inputs), "openvino": lambda e=engine: e(inputs)}
        took = {engine: [] for engine in engines}
        for _ in range(30):
            for engine, run in engines.items():
                start = time.perf_counter()
                run()
                took[engine].append(1e3 * (time.perf_counter() - start))
        network = network.to(memory_format=torch.channels_last).train()
        many, seconds = normalise(torch.zeros(batch, MODEL_HEIGHT, MODEL_WIDTH, 3, dtype=torch.uint8)), []
        for _ in range(4):
            start = time.perf_counter()
            sum(v.square().mean() for v in network(many, *[t.expand(batch, -1) for t in tensors]).values()).backward()
            seconds.append(time.perf_counter() - start)
        speed = "  ".join(f"{engine} {np.median(v[5:]):.1f} ms" for engine, v in took.items())
        weights = sum(p.numel() for p in network.parameters())
        print(f"{name:12s} {total / 1e6:4.0f} MMAC {weights / 1e6:.2f} M weights  {speed}  training {batch / min(seconds):.1f} pictures/s")


def main(bench: Bench) -> None:
    cv2.setNumThreads(1)
    summary = compare(bench)
    if bench.json:
        bench.json.write_text(json.dumps(origin("bench_perception") | {"summary": summary}, indent=1) + "\n")
    if bench.design:
        design()


if __name__ == "__main__":
    main(tyro.cli(Bench))
