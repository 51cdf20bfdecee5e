"""The humanoid's network: a picture -> class of every cell of 2x2 px. A small relative of the car's, of the same blocks.

In: normalised pictures (B, 3, H, W), H and W multiples of 16. Out: logits of RoomClass (B, 7, H/2, W/2); `Exported` takes the camera's
bytes and gives probabilities. A residual trunk to 1/16, and a feature pyramid back to 1/2.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nanopilot.messages import RoomClass
from nanopilot.train.network import PIXEL_MEAN, PIXEL_STD, Residual, conv


class RoomNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, 3, 2)
        self.stage4 = nn.Sequential(conv(16, 32, 3, 2), Residual(32, 16))
        self.stage8 = nn.Sequential(conv(32, 48, 3, 2), Residual(48, 32))
        self.stage16 = nn.Sequential(conv(48, 96, 3, 2), Residual(96, 48), Residual(96, 48), Residual(96, 48))
        self.lateral16, self.lateral8, self.lateral4 = nn.Conv2d(96, 32, 1), nn.Conv2d(48, 32, 1), nn.Conv2d(32, 32, 1)
        self.fuse8, self.fuse4 = conv(32, 32, 3), conv(32, 32, 3)
        self.up, self.skip = nn.Conv2d(32, 16 * 4, 1), nn.Conv2d(16, 16, 1)
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
