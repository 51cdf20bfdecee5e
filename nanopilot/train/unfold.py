"""Weights out of an exported ONNX file back into a network, so that a new run can go on from published weights without their checkpoint.

In: a PerceptionNetwork, the file, a few batches' pictures. Out: the network, in training mode, says what the file says of those pictures.
Export folds each batch normalisation into its convolution, and what is folded can't be told apart again. So each is set, while the
pictures pass through it, to undo exactly what it does to them: gain = their standard deviation, bias = their mean + the folded bias.
Where the network is narrower than the file, the channels that carry most are kept (structured pruning by magnitude, Li et al. 2017);
layers of another shape keep their fresh start.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nanopilot.train.network import PerceptionNetwork, Residual

Layers = dict[str, tuple[Tensor, Tensor]]  # module name -> (weight, bias)


def module_name(node: str) -> str:
    """'/network/stage8/stage8.1/first/first.0/Conv' -> 'stage8.1.first.0': a scope repeats the name of the one it is in."""
    parts = node.split("/")[2:-1]
    return ".".join(part for part, inner in zip(parts, [*parts[1:], ""], strict=True) if not inner.startswith(f"{part}."))


def weights_of(path: Path) -> Layers:
    """Every convolution and matrix in the file."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    held = {i.name: numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}
    cast = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast" and n.input[0] in held}
    layers = [n for n in graph.node if n.op_type in ("Conv", "Gemm") and n.name.startswith("/network/")]
    return {
        module_name(n.name): (torch.from_numpy(held[cast.get(n.input[1], n.input[1])].copy()), torch.from_numpy(held[n.input[2]].copy()))
        for n in layers
    }


def slimmed(layers: Layers, network: PerceptionNetwork) -> Layers:
    """Only as many channels between producers and consumers as the network has: those of the largest weights on both sides."""
    layers, modules = dict(layers), dict(network.named_modules())
    between = [([f"{name}.first.0"], [f"{name}.second.0"]) for name, module in modules.items() if isinstance(module, Residual)]
    between += [
        (["lateral8", "lateral16", "lateral32"], ["fuse.0"]), (["fuse.0"], ["lane", "object_hidden.0", "scene_up"]),
        (["object_hidden.0"], ["object"]),
    ]  # fmt: skip
    for producers, consumers in between:
        out = sum(layers[name][0].flatten(1).norm(dim=1) for name in producers)
        used = sum(layers[name][0].transpose(0, 1).flatten(1).norm(dim=1) for name in consumers)
        keep = (out * used).argsort(descending=True)[: modules[producers[0]].out_channels].sort().values
        layers |= {name: (layers[name][0][keep], layers[name][1][keep]) for name in producers}
        layers |= {name: (layers[name][0][:, keep], layers[name][1]) for name in consumers}
    return layers


def unfold(network: PerceptionNetwork, path: Path, image: Tensor, route: Tensor, memory: Tensor) -> None:
    """Load `path` into `network`; image (B, 3, 256, W) normalised, route and memory (B, 33). Raises KeyError for an unknown layer."""
    modules = dict(network.named_modules())
    hooks = []
    for name, (weight, bias) in slimmed(weights_of(path), network).items():
        layer = modules.get(name)
        if not isinstance(layer, nn.Conv2d | nn.Linear) or layer.weight.shape != weight.shape:
            continue
        layer.weight.data.copy_(weight)
        if layer.bias is not None:
            layer.bias.data.copy_(bias)
            continue
        parent, _, last = name.rpartition(".")
        norm = modules[f"{parent}.{int(last) + 1}"]

        def undo(norm: nn.Module, inputs: tuple[Tensor], folded: Tensor = bias) -> None:
            mean, var = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
            norm.weight.data.copy_((var + norm.eps).sqrt())
            norm.bias.data.copy_(mean + folded)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)

        hooks.append(norm.register_forward_pre_hook(undo))
    with torch.no_grad():
        network.train()(image, route, memory)
    for hook in hooks:
        hook.remove()
