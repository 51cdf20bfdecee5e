"""From an exported network back to one that can be trained on: the committed file is the only one that travels.

In: perception.onnx or rooms.onnx, as training or quantising wrote it. Out: a network that computes the same, but for 8 bits' rounding.
Export has put batch normalisation into the convolutions. Here it is taken out again: each layer's statistics are measured on some
pictures, and scale and shift set so that they undo them (Ioffe & Szegedy 2015, the other way round).
ImageNet's trunk is not read: it stayed as it was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from nanopilot.perception import heads
from nanopilot.train.network import PerceptionNetwork, normalise

Array = np.ndarray


def module_name(node: str) -> str:
    """Of an ONNX node, as '/network/stage8/stage8.1/first/first.0/Conv', the torch module it comes from: 'stage8.1.first.0'."""
    parts: list[str] = []
    for part in node.split("/")[2:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)


def stored(path: Path) -> dict[str, tuple[Array, Array]]:
    """Weight and bias of every convolution and matrix by module name, in float32. Raises FileNotFoundError, ValueError."""
    import onnx
    from onnx import numpy_helper

    if not path.exists():
        raise FileNotFoundError(f"no network at {path}")
    model = onnx.load(str(path))
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    source = {node.output[0]: node for node in model.graph.node}

    def value(name: str) -> Array:
        if name in known:
            return known[name].astype(np.float32)
        node = source[name]
        if node.op_type == "Cast":
            return value(node.input[0])
        if node.op_type != "DequantizeLinear":
            raise ValueError(f"{path}: {name} is no weight but comes from {node.op_type}")
        whole, scale, zero = map(value, node.input)
        across = (-1, *[1] * (whole.ndim - 1))
        return (whole - zero.reshape(across)) * scale.reshape(across)

    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm") and "/context/" not in node.name]
    return {module_name(node.name): (value(node.input[1]), value(node.input[2])) for node in layers}


def unfolded(path: Path, network: PerceptionNetwork, pictures: UInt8[Array, "n 256 512 3"]) -> None:
    """Give `network` the weights of the file; `pictures` are what its layers' statistics are measured on."""
    was, network.bfloat16 = network.bfloat16, False
    n = len(pictures)
    unfold(path, network, normalise(torch.from_numpy(pictures)), torch.zeros(n, heads.ROUTE_SIZE), torch.zeros(n, heads.MEMORY_SIZE))
    network.bfloat16 = was


def unfold(path: Path, network: nn.Module, *inputs: Tensor) -> None:
    """The same for any network of such layers; statistics are measured on these inputs."""
    shifts: dict[nn.Module, Tensor] = {}
    for name, (weight, bias) in stored(path).items():
        layer = network.get_submodule(name)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))  # type: ignore[operator]  # convolutions and matrices have one
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]  # as above
                continue
        head, last = name.rsplit(".", 1)
        shifts[network.get_submodule(f"{head}.{int(last) + 1}")] = torch.from_numpy(bias)

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mean, var = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
        layer.running_mean.copy_(mean)  # type: ignore[operator]  # as above
        layer.running_var.copy_(var)  # type: ignore[operator]  # as above
        layer.weight.copy_((var + layer.eps).sqrt())  # type: ignore[operator]  # as above
        layer.bias.copy_(shifts[layer] + mean)  # type: ignore[operator]  # as above

    hooks = [layer.register_forward_pre_hook(measure) for layer in shifts]
    with torch.no_grad():
        network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
