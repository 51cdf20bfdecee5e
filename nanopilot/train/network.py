"""The perception network in torch: one picture, a coarse route line and the path expected from earlier frames in, all heads out.

A picture is 256 px high, and 512 wide in training; in use any multiple of 64.
Two trunks, as BiSeNet has them (Yu et al. 2018). One sees the picture at half its size and stays as ImageNet left it (train.lite0): what
things are. The other is small, residual (He et al. 2016), of dense 3x3 convolutions only (fast in training and inference on a CPU), and
learns from nothing at full size: where they are. The first's features are added to the second's where both are equally fine, then a
feature pyramid back to 1/8 (Lin et al. 2017) and small heads: scene at 1/4, lane lines row-wise, objects at 1/8. People, few, narrow and
of many sizes, have some layers of their own before their head, from the pyramid and from the picture at 1/4.
The path and the confidence are regressed from the flattened 1/32 features; the route line joins them there, and as a bias on the trunk.
Each path point is a learned mixture of straight-on and the expected path, plus a correction: where nothing is painted the network
can hold on to what it saw before, as a filter does, and learns from wrong expectations when not to.
`forward` gives raw tensors for the losses; `Exported` is what ONNX holds: uint8 picture in, tensors named by perception.heads out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nanopilot.messages import PATH_ARC, SceneClass
from nanopilot.perception import heads
from nanopilot.train import lite0

PIXEL_MEAN, PIXEL_STD = 110.0, 60.0  # grey levels, guess: middle of a day picture
PATH_CELLS = (heads.GRID_SHAPE[0] // 4, heads.GRID_SHAPE[1] // 4)  # at 1/32
PATH_SCALE = 10.0  # m per unit of the raw output
STD_RANGE = (0.02, 10.0)  # m, of the path's Laplace scale
COLUMN_SCALE_RANGE = (0.2, 64.0)  # px, of a lane row's Laplace scale
SURE = 0.3  # least probability of a scene cell's class (guess: costs CamVid's mIoU nothing)
HEAT_PRIOR = -4.0  # logit of an object at a cell before training: about 2 % (Lin et al. 2017, focal loss)


@dataclass(frozen=True)
class NetworkConfig:
    """Channels at 1/4 to 1/32; residual blocks at the last three, and their inner channels. Measured by dev/bench_perception.py;
    multiples of 16, as the runtime packs them so on CPUs with AVX-512."""

    widths: tuple[int, int, int, int] = (32, 48, 96, 160)
    blocks: tuple[int, int, int] = (1, 2, 2)
    inner: tuple[int, int, int] = (32, 48, 96)
    neck: int = 48
    scene: int = 32  # at 1/4
    people: int = 48  # of people's own layers at 1/8, and
    people_blocks: int = 2
    path_channels: int = 16
    path_hidden: int = 192
    route_hidden: int = 64
    memory_hidden: int = 64


def conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    padding = size // 2 if padding is None else padding
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first = conv(channels, inner, 3)
        self.second = nn.Sequential(nn.Conv2d(inner, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class People(nn.Module):
    """Persons and cyclists: heat logits (B, 2, 32, 64) and boxes (B, 11, 32, 64) from features at 1/4 and at 1/8."""

    def __init__(self, fine: int, coarse: int, config: NetworkConfig) -> None:
        super().__init__()
        self.fine = conv(fine, config.people, 3, 2)
        self.coarse = conv(coarse, config.people, 1)
        self.blocks = nn.Sequential(*[Residual(config.people, config.people) for _ in range(config.people_blocks)])
        self.hidden = conv(config.people, config.people, 1)
        self.out = nn.Conv2d(config.people, len(heads.KINDS) - 1 + len(heads.BOX_CHANNELS), 1)
        with torch.no_grad():
            self.out.bias[: len(heads.KINDS) - 1] = HEAT_PRIOR

    def forward(self, x4: Float[Tensor, "b c h4 w4"], x8: Float[Tensor, "b d h8 w8"]) -> tuple[Tensor, Tensor]:
        out = self.out(self.hidden(self.blocks(self.fine(x4) + self.coarse(x8))))
        return out[:, : len(heads.KINDS) - 1], out[:, len(heads.KINDS) - 1 :]


class PerceptionNetwork(nn.Module):
    def __init__(self, config: NetworkConfig = NetworkConfig(), bfloat16: bool = False) -> None:
        super().__init__()
        self.bfloat16 = bfloat16  # of the trunk in training: twice as fast on CPUs that have it, many times slower on others
        c4, c8, c16, c32 = config.widths
        n8, n16, n32 = config.blocks
        i8, i16, i32 = config.inner
        self.stem = conv(3, c4, 8, 4, padding=2)
        self.stage8 = nn.Sequential(conv(c4, c8, 3, 2), *[Residual(c8, i8) for _ in range(n8)])
        self.stage16 = nn.Sequential(conv(c8, c16, 3, 2), *[Residual(c16, i16) for _ in range(n16)])
        self.down32 = nn.Sequential(nn.Conv2d(c16, c32, 3, 2, 1, bias=False), nn.BatchNorm2d(c32))
        self.stage32 = nn.Sequential(*[Residual(c32, i32) for _ in range(n32)])

        self.context = lite0.Lite0(len(lite0.STAGES))  # all of it frozen
        seen = (config.neck, c16, c32, config.neck)
        self.added = nn.ModuleList(nn.Conv2d(n, to, 1) for n, to in zip(lite0.TAPS.values(), seen, strict=True))

        self.route = nn.Sequential(nn.Linear(heads.ROUTE_SIZE, config.route_hidden), nn.ReLU(inplace=True))
        self.route_bias = nn.Linear(config.route_hidden, c32)

        self.memory = nn.Sequential(nn.Linear(heads.MEMORY_SIZE, config.memory_hidden), nn.ReLU(inplace=True))

        self.lateral32 = nn.Conv2d(c32, config.neck, 1)
        self.lateral16 = nn.Conv2d(c16, config.neck, 1)
        self.lateral8 = nn.Conv2d(c8, config.neck, 1)
        self.fuse = conv(config.neck, config.neck, 3)

        self.rows_per_cell = heads.GRID_STRIDE // heads.ROW_STRIDE
        self.lane = nn.Conv2d(config.neck, 3 * len(heads.SIDES) * self.rows_per_cell, 1)
        self.object_hidden = conv(config.neck, config.neck, 1)
        self.object = nn.Conv2d(config.neck, 1 + len(heads.BOX_CHANNELS), 1)  # vehicles
        self.people = People(c4, config.neck, config)
        self.scene_up = nn.Conv2d(config.neck, config.scene * 4, 1)
        self.scene_skip = nn.Conv2d(c4, config.scene, 1)
        self.scene = nn.Sequential(conv(config.scene, config.scene, 3), nn.Conv2d(config.scene, len(SceneClass.NAMES), 1))

        self.flat = conv(c32, config.path_channels, 1)
        self.path = nn.Sequential(
            nn.Linear(
                config.path_channels * PATH_CELLS[0] * PATH_CELLS[1] + config.route_hidden + config.memory_hidden + heads.MEMORY_SIZE,
                config.path_hidden,
            ),
            nn.ReLU(inplace=True),
            nn.Linear(config.path_hidden, config.path_hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.path_hidden, 4 * heads.PATH_POINTS),
        )
        self.confidence = nn.Linear(c32, 1)

        with torch.no_grad():
            self.object.bias[:1] = HEAT_PRIOR
        self.register_buffer("arc", torch.tensor(PATH_ARC, dtype=torch.float32))

    def trunk(self, image: Float[Tensor, "b 3 h w"], bias: Float[Tensor, "b c"]) -> tuple[Tensor, ...]:
        """Scene logits (B, 13, 64, 128), people's heat and boxes, features at 1/8 (B, C, 32, 64) and 1/32 (B, D, 8, 16)."""
        seen = self.context(image, halved=(PIXEL_STD / lite0.STD, (PIXEL_MEAN - lite0.MEAN) / lite0.STD))
        c8, c16, c32, c64 = (add(features) for add, features in zip(self.added, seen, strict=True))
        x4 = self.stem(image)
        x8 = self.stage8(x4)
        x16 = self.stage16[1:](self.stage16[0](x8) + c16)
        x32 = self.stage32(F.relu(self.down32(x16) + c32 + bias[:, :, None, None]))
        up = self.lateral32(x32) + F.interpolate(c64, scale_factor=2.0)
        up = self.lateral16(x16) + F.interpolate(up, scale_factor=2.0)
        up = self.fuse(F.relu(self.lateral8(x8) + c8 + F.interpolate(up, scale_factor=2.0)))
        scene = self.scene(F.relu(F.pixel_shuffle(self.scene_up(up), 2) + self.scene_skip(x4)))
        return scene, *self.people(x4, up), up, x32

    def forward(self, image: Float[Tensor, "b 3 h w"], route: Float[Tensor, "b 33"], memory: Float[Tensor, "b 33"]) -> dict[str, Tensor]:
        """Raw heads by name: logits for classes, columns, existence, heat and confidence; columns in px, path and scales in metres."""
        wish = self.route(route)  # (B, R)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            scene, heat, people, up, x32 = (features.float() for features in self.trunk(image, self.route_bias(wish)))
        b, _, h, w = up.shape
        lane = self.lane(up).reshape(b, 3, len(heads.SIDES), self.rows_per_cell, h, w)
        lane = lane.permute(0, 1, 2, 4, 3, 5).reshape(b, 3, len(heads.SIDES), h * self.rows_per_cell, w)[:, :, :, heads.FIRST_ROW :]
        logits = lane[:, 0]  # (B, 4, 39, 64)
        attention = logits.softmax(-1)
        columns = heads.GRID_STRIDE * torch.arange(w, dtype=torch.float32) + (heads.GRID_STRIDE - 1) / 2
        where = attention.detach()

        objects = self.object(self.object_hidden(up))
        coarse = F.interpolate(self.flat(x32), PATH_CELLS, mode="bilinear", align_corners=False)  # as it is, at the model camera's width
        flat = torch.cat([coarse.flatten(1), wish, self.memory(memory), memory], 1)
        path = self.path(flat).reshape(b, heads.PATH_POINTS, 4)
        straight = torch.stack([self.arc, torch.zeros_like(self.arc)], -1)  # a network that knows nothing goes straight on
        trust = path[..., 3:].sigmoid() * memory[:, -1:, None]
        expected = heads.MEMORY_SCALE * memory[:, :-1].reshape(b, heads.PATH_POINTS, 2)
        base = straight + trust * (expected - straight)
        return {
            "scene": scene,
            "lane_logits": logits,
            "lane_u": (attention * columns).sum(-1),
            "lane_exists": (where * lane[:, 1]).sum(-1),
            "lane_scale": (where * lane[:, 2]).sum(-1).exp().clamp(*COLUMN_SCALE_RANGE),
            "path": base + PATH_SCALE * path[..., :2],
            "path_scale": (path[..., 2] - 1.0).exp().clamp(*STD_RANGE),
            "heat": torch.cat([objects[:, :1], heat], 1),
            "box": objects[:, 1:],
            "people": people,
            "confidence": self.confidence(x32.mean((2, 3)))[:, 0],
        }


def normalise(image: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """Pictures as they come from a camera, as the trunk wants them (channels last in memory)."""
    return ((image.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD).contiguous(memory_format=torch.channels_last)


class Exported(nn.Module):
    """The network with everything in the graph that a pilot needs: pixels in; classes, metres and probabilities out."""

    def __init__(self, network: PerceptionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: UInt8[Tensor, "b h w 3"], route: Float[Tensor, "b 33"], memory: Float[Tensor, "b 33"]) -> tuple[Tensor, ...]:
        """In the order of heads.OUTPUTS. Heat keeps local maxima only; a Laplace scale b becomes a standard deviation, b·√2.

        A scene cell whose likeliest class is less likely than SURE is "not sure".
        """
        out = self.network((image.permute(0, 3, 1, 2).float() - PIXEL_MEAN) / PIXEL_STD, route, memory)
        sure = out["scene"].softmax(1).amax(1) > SURE
        heat = out["heat"].sigmoid()
        heat = heat * (heat == F.max_pool2d(heat, 3, 1, 1)).float()
        return (
            torch.where(sure, out["scene"].argmax(1), SceneClass.IGNORE).to(torch.uint8),
            out["lane_u"],
            out["lane_exists"].sigmoid(),
            out["lane_scale"] * 2**0.5,
            out["path"],
            out["path_scale"] * 2**0.5,
            heat,
            out["box"],
            out["people"],
            out["confidence"].sigmoid(),
        )
