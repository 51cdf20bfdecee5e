"""The humanoid's network: a picture -> class of every cell of 2x2 px. A small relative of the car's, of the same blocks.

In: normalised pictures (B, 3, H, W), H and W multiples of 16. Out: logits of RoomClass (B, 7, H/2, W/2); `Exported` takes the camera's
bytes and gives probabilities. A residual trunk to 1/16, and a feature pyramid back to 1/2. `grow` makes a wider network of a trained
one that says the same at first (Chen et al. 2016, Net2Net, with zeros in place of copies).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nanopilot.messages import RoomClass
from nanopilot.train.network import PIXEL_MEAN, PIXEL_STD, Residual, conv


@dataclass(frozen=True)
class Widths:
    """Channels at 1/4, 1/8, 1/16 and of the pyramid; in each pair, those inside the residual blocks."""

    w4: tuple[int, int] = (32, 16)
    w8: tuple[int, int] = (64, 40)
    w16: tuple[int, int] = (144, 64)
    neck: int = 40


class RoomNetwork(nn.Module):
    def __init__(self, widths: Widths = Widths()) -> None:
        super().__init__()
        (c4, i4), (c8, i8), (c16, i16), neck = widths.w4, widths.w8, widths.w16, widths.neck
        self.stem = conv(3, 16, 3, 2)
        self.stage4 = nn.Sequential(conv(16, c4, 3, 2), Residual(c4, i4))
        self.stage8 = nn.Sequential(conv(c4, c8, 3, 2), Residual(c8, i8))
        self.stage16 = nn.Sequential(conv(c8, c16, 3, 2), Residual(c16, i16), Residual(c16, i16), Residual(c16, i16))
        self.lateral16, self.lateral8, self.lateral4 = nn.Conv2d(c16, neck, 1), nn.Conv2d(c8, neck, 1), nn.Conv2d(c4, neck, 1)
        self.fuse8, self.fuse4 = conv(neck, neck, 3), conv(neck, neck, 3)
        self.up, self.skip = nn.Conv2d(neck, 16 * 4, 1), nn.Conv2d(16, 16, 1)
        self.head = nn.Sequential(conv(16, 16, 3), nn.Conv2d(16, len(RoomClass.NAMES), 1))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 7 h2 w2"]:
        x2 = self.stem(x)
        x4 = self.stage4(x2)
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x16 = x16 + x16.mean((2, 3), keepdim=True)  # what kind of room it is
        up = self.fuse8(F.relu(self.lateral8(x8) + F.interpolate(self.lateral16(x16), x8.shape[-2:])))
        up = self.fuse4(F.relu(self.lateral4(x4) + F.interpolate(up, scale_factor=2.0)))
        return self.head(F.relu(F.pixel_shuffle(self.up(up), 2) + self.skip(x2)))


class Exported(nn.Module):
    def __init__(self, network: RoomNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 7 h2 w2"]:
        return self.network((image.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD).softmax(1)


def widths_of(weights: dict[str, Tensor]) -> Widths:
    """Of a network, by its convolutions' weights."""
    pairs = [(weights[f"stage{k}.1.first.0"].shape[1], weights[f"stage{k}.1.first.0"].shape[0]) for k in (4, 8, 16)]
    return Widths(pairs[0], pairs[1], pairs[2], weights["lateral8"].shape[0])


def grow(narrow: nn.Module, wide: nn.Module) -> None:
    """Give `wide`, of the same layers with as many or more channels, what `narrow` has learnt: its old outputs don't read new inputs."""
    known = narrow.state_dict()
    with torch.no_grad():
        for name, value in wide.state_dict().items():
            old = known[name]
            if old.ndim == 4:
                value[: old.shape[0], old.shape[1] :] = 0.0
            value[tuple(slice(0, n) for n in old.shape)] = old
