"""What the network costs: inference by engine, decoding, and training throughput, for a few trunk sizes.

In: nothing but this machine. Out: one line per candidate with multiply-adds, weights, images a second in training on one thread, and
milliseconds a frame on one thread with ONNX Runtime and OpenVINO; then the whole `perceive` call with the committed weights.
The numbers chosen in train.network.NetworkConfig come from here. Run: python dev/bench_perception.py
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nanopilot.geometry import MODEL_HEIGHT, MODEL_WIDTH, model_camera
from nanopilot.messages import ROUTE_ARC, Frame
from nanopilot.perception import WEIGHTS, Network, heads
from nanopilot.train.network import NetworkConfig, PerceptionNetwork, normalise
from nanopilot.train.perception import export

CANDIDATES = {
    "small": NetworkConfig(widths=(24, 40, 80, 128), blocks=(1, 1, 1), neck=48),
    "chosen": NetworkConfig(),
    "wide": NetworkConfig(widths=(32, 64, 128, 192), blocks=(1, 2, 2), neck=64),
}
BATCH = 8
ROUNDS = 40


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Median and 95th percentile of ROUNDS calls after a few to warm up."""
    for _ in range(5):
        call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times)), float(np.quantile(times, 0.95))


def multiply_adds(network: PerceptionNetwork) -> float:
    """Millions for one picture: convolutions and matrices."""
    total = 0.0

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * (out.shape[2] * out.shape[3] if out.ndim == 4 else 1)  # type: ignore[operator, union-attr]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, MODEL_HEIGHT, MODEL_WIDTH), torch.zeros(1, heads.ROUTE_SIZE))
    for hook in hooks:
        hook.remove()
    return total / 1e6


def training_rate(network: PerceptionNetwork) -> float:
    """Images a second, forward and backward, on one thread."""
    network = network.to(memory_format=torch.channels_last).train()
    images = torch.randint(0, 255, (BATCH, MODEL_HEIGHT, MODEL_WIDTH, 3), dtype=torch.uint8)
    route = torch.zeros(BATCH, heads.ROUTE_SIZE)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        sum(v.square().mean() for v in network(normalise(images), route).values()).backward()  # type: ignore[union-attr]
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds)


def openvino_call(path: Path, inputs: dict[str, np.ndarray]) -> Callable[[], object]:
    import openvino

    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"})
    request = model.create_infer_request()
    return lambda: request.infer(inputs)


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    inputs = {"image": np.full((1, MODEL_HEIGHT, MODEL_WIDTH, 3), 100, np.uint8), "route": np.zeros((1, heads.ROUTE_SIZE), np.float32)}
    for name, config in CANDIDATES.items():
        network = PerceptionNetwork(config)
        macs, weights = multiply_adds(network), sum(p.numel() for p in network.parameters()) / 1e6
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export(network, path, {})
            onnx = Network(path)
            ort = milliseconds(lambda: onnx.session.run(None, inputs))  # noqa: B023
            vino = milliseconds(openvino_call(path, inputs))
        rate = training_rate(network)
        print(f"{name:8s} {macs:5.0f} MMAC {weights:.2f} M weights  training {rate:4.1f} images/s", end="  ")
        print(f"onnxruntime {ort[0]:.1f} ms (p95 {ort[1]:.1f})  openvino {vino[0]:.1f} ms (p95 {vino[1]:.1f})")
    if WEIGHTS.exists():
        pilot, camera = Network(), model_camera()
        frame = Frame(0.0, camera.name, np.random.default_rng(0).integers(0, 255, (MODEL_HEIGHT, MODEL_WIDTH, 3), dtype=np.uint8))
        line = np.stack([ROUTE_ARC, np.zeros(len(ROUTE_ARC))], -1)
        whole = milliseconds(lambda: pilot.perceive(frame, camera, line))
        print(f"perceive with the committed weights, decoding included: {whole[0]:.1f} ms (p95 {whole[1]:.1f})")


if __name__ == "__main__":
    main()
