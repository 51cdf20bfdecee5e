"""A teacher of scenes: a large network, begun from ImageNet, learns CamVid's classes and writes them for pictures that have none.

In: labelled real pictures (train.real), and EfficientNet-Lite0 as trained on ImageNet (train.lite0). Out: OUT/checkpoint.pt, and for
each real picture without classes a PNG of scene classes at the picture's size; where the teacher is unsure "not sure", where it sees
road ANY_ROAD, for it knows no paint.
A few hundred labelled pictures are too few to learn thin things from nothing; what it writes about the others the car's network learns.
It is fast enough to label with and too slow to drive with. It never runs in the car.
Run: python -m nanopilot.train.scenes
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nanopilot.geometry import MODEL_HEIGHT, MODEL_WIDTH, image_from_image
from nanopilot.messages import SceneClass
from nanopilot.perception.datasets import RealFrame
from nanopilot.perception.labels import ANY_ROAD
from nanopilot.perception.runtime import canonical
from nanopilot.train import real
from nanopilot.train.augment import AugmentConfig, augment
from nanopilot.train.lite0 import MEAN, STD, TAPS, Lite0, imagenet
from nanopilot.train.losses import scene_loss
from nanopilot.train.perception import DATA, LABELS, by_set, pick

Array = np.ndarray

SCENES = Path("~/.cache/nanopilot/scenes").expanduser()
LABELLED = ("camvid", "rural_road")  # sets whose scenes teach; the others are what it writes about, rural_road too, which knows only road
FROZEN = 2  # stages that stay as ImageNet left them: edges and textures are the same everywhere, and most of the time goes there
NECK = 80
ZOOM = 1.25  # size a picture is looked at in, of the model camera's; as it is and mirrored
SURE = 0.6  # least probability that is written down
KEEP_EVERY = 100  # steps between checkpoints


@dataclass(frozen=True)
class ScenesConfig:
    """How the teacher is trained, and where it writes."""

    out: Path = Path("out/scenes")
    labels: Path = SCENES
    steps: int = 1000
    batch: int = 8
    rate: float = 1e-3  # of the new layers; a third of it for the pretrained ones
    weight_decay: float = 0.02
    warmup: int = 50
    bfloat16: bool = False
    threads: int = 2
    seed: int = 0


class Teacher(nn.Module):
    """EfficientNet-Lite0 and a feature pyramid back to 1/4 (Lin et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Lite0(FROZEN)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, NECK, 1) for channels in TAPS.values())
        self.mix = nn.ModuleList(nn.Sequential(nn.Conv2d(NECK, NECK, 3, 1, 1, bias=False), nn.BatchNorm2d(NECK), nn.ReLU()) for _ in (8, 4))
        self.scene = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(NECK, len(SceneClass.NAMES), 1))
        for name, parameter in self.trunk.named_parameters():
            if "_depthwise_conv" in name:
                parameter.requires_grad_(False)  # their gradients take most of a step's time on a CPU, the 1x1 ones learn enough

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h4 w4"]:
        """Logits of scene classes at a quarter of the size, which must be multiples of 32."""
        x4, x8, x16, x32 = (lateral(f) for lateral, f in zip(self.laterals, self.trunk(image), strict=True))
        up = x16 + F.interpolate(x32, scale_factor=2.0)
        up = self.mix[0](x8 + F.interpolate(up, scale_factor=2.0))
        return self.scene(self.mix[1](x4 + F.interpolate(up, scale_factor=2.0)))


def normalise(images: UInt8[Array, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    return ((torch.from_numpy(images).permute(0, 3, 1, 2).float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def save(path: Path, state: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def train(config: ScenesConfig) -> Teacher:
    """The trained teacher; goes on from its checkpoint."""
    torch.manual_seed(config.seed)
    teacher = Teacher().to(memory_format=torch.channels_last)
    teacher.trunk.load_state_dict(imagenet())
    old = [p for p in teacher.trunk.parameters() if p.requires_grad]
    new = [p for name, p in teacher.named_parameters() if not name.startswith("trunk.")]
    optimiser = torch.optim.AdamW(
        [{"params": old, "lr": config.rate / 3}, {"params": new}], lr=config.rate, weight_decay=config.weight_decay
    )

    def rate(step: int) -> float:
        return min((step + 1) / config.warmup, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / config.steps, 1))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    step, path = 0, config.out / "checkpoint.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        for part, key in ((teacher, "teacher"), (optimiser, "optimiser"), (schedule, "schedule")):
            part.load_state_dict(state[key])
        step = state["step"]
        print(f"scene teacher: going on from step {step}", flush=True)
    frames = real.pairs(DATA, None, "train")  # not the held-out ones: networks that learn from it are judged on those
    sets = by_set([(f, said) for f, said in frames if f.set in LABELLED])
    colours = AugmentConfig(spoil=0.0)
    begin, running = monotonic(), 0.0
    teacher.train()
    while step < config.steps:
        torch.manual_seed(config.seed + step)  # dropout's
        rng = np.random.default_rng([config.seed, step])
        pairs = [augment(*real.sample(pick(sets, rng)[0], rng), rng, colours) for _ in range(config.batch)]
        label = torch.from_numpy(np.stack([fields["scene"] for _, fields in pairs]))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            logits = teacher(normalise(np.stack([image for image, _ in pairs])))
        loss = scene_loss(logits.float(), label, torch.ones(config.batch, dtype=torch.bool))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        step += 1
        running += 0.05 * (loss.item() - running) if step > 1 else loss.item()
        if step % 50 == 0:
            print(f"scene teacher: step {step} of {config.steps}, {monotonic() - begin:.0f} s, loss {running:.3f}", flush=True)
        if step % KEEP_EVERY == 0 or step == config.steps:
            state = {"teacher": teacher.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict(), "step": step}
            save(path, state)
    return teacher.eval()


def look(teacher: nn.Module, frame: RealFrame, sure: float = SURE) -> UInt8[Array, "h w"]:
    """Scene classes of a picture at its camera's size: mean probability of it and its mirror image, "not sure" below `sure`."""
    whole = canonical(frame.camera)
    height, width = (32 * round(ZOOM * n / 32) for n in (MODEL_HEIGHT, max(MODEL_WIDTH, whole.width)))
    middle = ZOOM * (whole.cx - whole.width / 2) + width / 2
    seen = replace(whole, width=width, height=height, fx=ZOOM * whole.fx, fy=ZOOM * whole.fy, cx=middle, cy=ZOOM * whole.cy)
    homography = image_from_image(seen, frame.camera)
    image = cv2.warpPerspective(real.read(frame), homography, (width, height), flags=cv2.INTER_AREA)
    with torch.no_grad():
        both = teacher(normalise(np.stack([image, image[:, ::-1]]))).float().softmax(1)
        chance = F.interpolate((both[:1] + both[1:].flip(-1)) / 2, (height, width), mode="bilinear")[0].numpy()
    size = (frame.camera.width, frame.camera.height)
    layers = np.stack([cv2.warpPerspective(c, np.linalg.inv(homography), size) for c in chance])  # (k, h, w)
    layers[SceneClass.ROAD] += layers[SceneClass.MARKING]
    layers[SceneClass.MARKING] = 0
    best = layers.argmax(0).astype(np.uint8)
    best[best == SceneClass.ROAD] = ANY_ROAD
    return np.where(layers.max(0) > sure, best, SceneClass.IGNORE).astype(np.uint8)


def write(teacher: Teacher, frames: Iterable[RealFrame], out: Path) -> int:
    """Label what isn't yet; how many that were."""
    done = 0
    for frame in frames:
        path = out / frame.set / f"{frame.image.stem}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path.with_suffix(".part.png")), look(teacher, frame))
            path.with_suffix(".part.png").rename(path)
            done += 1
    return done


def main(config: ScenesConfig) -> None:
    """Train the teacher, then let it write."""
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    teacher = train(config)
    frames = [f for f, _ in real.pairs(DATA, LABELS, "all") if f.usable and f.set not in ("camvid", "tusimple")]
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        print(f"scene teacher: {write(teacher, frames, config.labels)} pictures labelled in {config.labels}", flush=True)


if __name__ == "__main__":
    import tyro

    main(tyro.cli(ScenesConfig))
