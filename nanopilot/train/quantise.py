"""The network's trunk in 8 bits: about a quarter off a frame's time, for tenths of a point.

In: the float ONNX file that training wrote, and frames to see how large each layer's outputs get. Out: the same network, its name, its
metadata and all, with the trunk's convolutions as static int8 (Jacob et al. 2018: per channel for weights, per tensor for activations).
Weights use 7 of the 8 bits, for CPUs with AVX2 but no VNNI add pairs of products in 16. The heads stay float: metres are read from them.
Run: python -m nanopilot.train.quantise --weights out/perception/perception.onnx --out perception.onnx
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from nanopilot.perception import heads
from nanopilot.perception.labels import Frames
from nanopilot.train.frames import CACHE
from nanopilot.train.perception import halve

TRUNK = (
    "added", "stem", "stage8", "stage16", "down32", "stage32", "lateral32", "lateral16", "lateral8", "fuse", "object_hidden", "scene_up",
    "scene_skip", "scene.0", *(f"context/_blocks.{n}" for n in range(5, 16)),
)  # fmt: skip  # layers whose convolutions are made int8: ImageNet's first blocks lose too much by it (4 points of vehicle precision)


@dataclass(frozen=True)
class QuantiseConfig:
    weights: Path = Path("out/perception/perception.onnx")
    out: Path = Path("out/perception/perception-int8.onnx")
    frames: Path = CACHE / "train"
    count: int = 128  # frames looked at: more change nothing
    seed: int = 0


class Calibration(CalibrationDataReader):
    """Some frames with their routes and their true paths for a memory, one at a time."""

    def __init__(self, frames: Frames, chosen: np.ndarray) -> None:
        self.inputs: Iterator[dict[str, np.ndarray]] = (
            {
                "image": frames.image(i)[None],
                "route": frames.label["route"][i][None],
                "memory": heads.memory_vector(frames.label["path"][i])[None],
            }
            for i in chosen.tolist()
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.inputs, None)


def widen(model: onnx.ModelProto) -> None:
    """Undo `halve`: every stored half becomes a float initializer again, its cast goes."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] in stored]:
        half = stored[node.input[0]]
        model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(half).astype(np.float32), node.output[0]))
        model.graph.initializer.remove(half)
        model.graph.node.remove(node)


def fold_pads(model: onnx.ModelProto) -> None:
    """Give every convolution the zeros that a node before it puts around its input: one pass over the pixels less."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pads = {node.output[0]: node for node in model.graph.node if node.op_type == "Pad" and node.input[1] in stored}
    for node in model.graph.node:
        if node.op_type == "Conv" and (pad := pads.pop(node.input[0], None)):
            _, _, top, left, _, _, bottom, right = stored[pad.input[1]].tolist()
            own = next(a for a in node.attribute if a.name == "pads")
            own.ints[:] = [a + b for a, b in zip(own.ints, (top, left, bottom, right), strict=True)]
            node.input[0] = pad.input[0]
            model.graph.node.remove(pad)


def groups(node: onnx.NodeProto) -> int:
    """Of a convolution: more than one is a depthwise one, in ImageNet's trunk the first to suffer in 8 bits."""
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def main(config: QuantiseConfig) -> None:
    """Write the int8 network. Raises FileNotFoundError without weights or frames."""
    model = onnx.load(str(config.weights))
    about = {p.key: p.value for p in model.metadata_props}
    widen(model)
    frames = Frames(config.frames)
    chosen = np.random.default_rng(config.seed).choice(len(frames), min(config.count, len(frames)), replace=False)
    with tempfile.TemporaryDirectory() as folder:
        wide, small = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, str(wide))
        quant_pre_process(str(wide), str(wide), skip_symbolic_shape=True)  # constants worked out, batch normalisation within convolutions
        model = onnx.load(str(wide))
        fold_pads(model)
        onnx.save(model, str(wide))
        chosen_layers = [
            n for n in model.graph.node if n.op_type == "Conv" and any(f"/{layer}{end}" in n.name for layer in TRUNK for end in "/.")
        ]
        trunk = [n.name for n in chosen_layers if not ("/context/" in n.name and groups(n) > 1)]
        quantize_static(
            str(wide), str(small), Calibration(frames, chosen), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            nodes_to_quantize=trunk, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
        )  # fmt: skip
        model = onnx.load(str(small))
    halve(model)
    del model.metadata_props[:]
    for key, value in (about | {"quantised": f"int8 trunk, {len(chosen)} frames, seed {config.seed}"}).items():
        model.metadata_props.add(key=key, value=value)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    part = config.out.with_suffix(".part.onnx")
    onnx.save(model, str(part))
    part.rename(config.out)
    print(f"{len(trunk)} convolutions in int8, {config.out.stat().st_size / 1e6:.1f} MB: {config.out}")


if __name__ == "__main__":
    import tyro

    main(tyro.cli(QuantiseConfig))
