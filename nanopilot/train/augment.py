"""Changes a training picture may undergo: mirror, light, night, shade, colour, noise, blur, rain, dirt; and pictures of no road at all.

In: a uint8 picture and its Label's fields. Out: new ones, and a memory: the path as earlier frames may have left it. Mirroring swaps
left and right in every label. A spoiled picture (`spoil`) teaches only that it is unusable: every other head's `known` is off.
Numpy and OpenCV, about 3 ms a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot.geometry import MODEL_WIDTH
from nanopilot.perception import heads
from nanopilot.perception.labels import HEADS, OBJECT_FIELDS
from nanopilot.perception.memory import remembered

Array = np.ndarray
PATH = HEADS.index("path")
Fields = dict[str, Array]


@dataclass(frozen=True)
class AugmentConfig:
    """Shares of pictures, and ranges (guesses: as strong as still looks like a camera)."""

    mirror: float = 0.5  # only where no path is taught: who drives must know which side of the yellow line is ours
    light: float = 0.8
    contrast: tuple[float, float] = (0.65, 1.4)
    brightness: float = 30.0  # grey levels
    tint: float = 0.12
    gamma: float = 0.3
    gamma_range: tuple[float, float] = (0.6, 2.2)  # above 1 it is darker, as at dusk
    shade: float = 0.2  # a wedge of the picture lies in shade
    shade_depth: tuple[float, float] = (0.4, 0.8)
    rain: float = 0.06  # streaks
    jpeg: float = 0.15
    jpeg_quality: tuple[int, int] = (25, 80)
    noise: float = 0.25
    noise_std: tuple[float, float] = (2.0, 12.0)
    blur: float = 0.15
    blur_std: tuple[float, float] = (0.4, 1.2)  # px
    erase: float = 0.15  # a dirty or hidden patch of at most 15 % of each side
    grey: float = 0.05
    spoil: float = 0.08
    drop_route: float = 0.05
    no_memory: float = 0.35


def mirror(image: Array, label: Fields) -> tuple[Array, Fields]:
    """Left becomes right."""
    label = dict(label)
    last = MODEL_WIDTH - 1
    label["scene"] = label["scene"][:, ::-1]
    label["lane_u"] = last - label["lane_u"][::-1]
    label["path"] = label["path"] * np.array([1, -1], np.float32)
    route = label["route"].copy()
    route[1:-1:2] *= -1
    label["route"] = route
    objects = label["objects"].copy()
    k = {name: i for i, name in enumerate(OBJECT_FIELDS)}
    objects[:, [k["u0"], k["u1"]]] = last - objects[:, [k["u1"], k["u0"]]]
    objects[:, k["foot_u"]] = last - objects[:, k["foot_u"]]
    objects[:, [k["y"], k["yaw"], k["bearing"]]] *= -1
    label["objects"] = objects
    return image[:, ::-1], label


def recolour(image: UInt8[Array, "h w 3"], rng: np.random.Generator, config: AugmentConfig) -> Array:
    """Light, colour, noise, blur and a dirty patch, each at its own chance."""
    if rng.random() < config.light:
        gain = np.exp(rng.uniform(*np.log(config.contrast))) * (1 + rng.uniform(-config.tint, config.tint, 3))
        shift = rng.uniform(-config.brightness, config.brightness)
        table = np.clip((np.arange(256)[:, None] - 110) * gain + 110 + shift, 0, 255).astype(np.uint8)  # (256, 3)
        image = cv2.LUT(np.ascontiguousarray(image), table.reshape(1, 256, 3))
    if rng.random() < config.gamma:
        gamma = np.exp(rng.uniform(*np.log(config.gamma_range)))
        image = cv2.LUT(np.ascontiguousarray(image), (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8))
    if rng.random() < config.shade:
        image = shaded(image, rng, config)
    if rng.random() < config.rain:
        image = rained(image, rng)
    if rng.random() < config.grey:
        image = np.repeat(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*config.blur_std))
    if rng.random() < config.noise:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, 0, rng.uniform(*config.noise_std))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < config.jpeg:
        quality = int(rng.integers(*config.jpeg_quality))
        image = cv2.imdecode(cv2.imencode(".jpg", np.ascontiguousarray(image), (cv2.IMWRITE_JPEG_QUALITY, quality))[1], cv2.IMREAD_COLOR)
    if rng.random() < config.erase:
        h, w = image.shape[:2]
        dv, du = int(rng.uniform(0.03, 0.15) * h), int(rng.uniform(0.03, 0.15) * w)
        v, u = int(rng.integers(h - dv)), int(rng.integers(w - du))
        image = image.copy()
        image[v : v + dv, u : u + du] = rng.integers(0, 256, 3)
    return image


def shaded(image: UInt8[Array, "h w 3"], rng: np.random.Generator, config: AugmentConfig) -> Array:
    """One side of a random line is darker."""
    h, w = image.shape[:2]
    angle = rng.uniform(0, 2 * np.pi)
    u, v = rng.uniform(0.1, 0.9, 2) * (w, h)
    beyond = (np.arange(w)[None] - u) * np.cos(angle) + (np.arange(h)[:, None] - v) * np.sin(angle)
    light = np.where(beyond > 0, np.float32(rng.uniform(*config.shade_depth)), np.float32(1))
    return (image * light[..., None]).astype(np.uint8)


def rained(image: UInt8[Array, "h w 3"], rng: np.random.Generator) -> Array:
    """Bright streaks, all at one slant."""
    h, w = image.shape[:2]
    streaks = np.zeros((h, w), np.uint8)
    slant, length = rng.uniform(-0.4, 0.4), rng.uniform(6, 24)
    for u, v in rng.uniform(0, (w, h), (int(rng.integers(40, 250)), 2)):
        cv2.line(streaks, (int(u), int(v)), (int(u + slant * length), int(v + length)), int(rng.integers(40, 130)), 1, cv2.LINE_AA)
    return cv2.add(np.ascontiguousarray(image), cv2.merge([streaks] * 3))


def spoil(image: UInt8[Array, "h w 3"], rng: np.random.Generator) -> Array:
    """A picture no one can drive by: dark, blinded, covered, upside down, out of focus, noise, or a crop of something."""
    h, w = image.shape[:2]
    kind = int(rng.integers(9))
    noise = rng.normal(0, rng.uniform(0, 6), image.shape)
    if kind == 0:  # lens cap
        out = rng.uniform(0, 12) + noise
    elif kind == 1:  # blinded
        out = 255 - rng.uniform(0, 12) + noise
    elif kind == 2:  # one colour
        out = rng.uniform(0, 255, 3) + noise
    elif kind == 3:
        out = rng.integers(0, 256, image.shape)
    elif kind == 4:
        out = image[::-1]
    elif kind == 5:  # far out of focus, or dirt on the lens
        out = cv2.GaussianBlur(image, (0, 0), rng.uniform(12, 30))
    elif kind == 6:  # a broken transfer: blocks in the wrong places
        side = 32
        blocks = image.reshape(h // side, side, w // side, side, 3).transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
        blocks = rng.permutation(blocks).reshape(h // side, w // side, side, side, 3)
        out = blocks.transpose(0, 2, 1, 3, 4).reshape(h, w, 3)
    elif kind == 7:  # a small part of a road picture, lying on its side, is none of its own
        side = int(rng.integers(24, 64))
        v, u = int(rng.integers(h - side)), int(rng.integers(w - side))
        out = cv2.resize(np.rot90(image[v : v + side, u : u + side]), (w, h), interpolation=cv2.INTER_CUBIC)
    else:  # mostly covered by something near
        out = image.copy()
        edge = int(rng.uniform(0.8, 1.0) * w)
        out[:, :edge] = rng.uniform(0, 255, 3)
        out = out[:, ::-1] if rng.random() < 0.5 else out
    return np.clip(out, 0, 255).astype(np.uint8)


def augment(image: Array, label: Fields, rng: np.random.Generator, config: AugmentConfig) -> tuple[Array, Fields]:
    """One picture and its label as training sees them this time."""
    if rng.random() < config.spoil:
        known = np.array([name == "confidence" for name in HEADS])
        spoiled = {"known": known, "usable": np.float64(0.0), "memory": heads.memory_vector(None)}
        return spoil(image, rng), label | spoiled
    if rng.random() < config.mirror and not label["known"][PATH]:
        image, label = mirror(image, label)
    if rng.random() < config.drop_route:
        label = label | {"route": np.zeros(heads.ROUTE_SIZE, np.float32)}
    memory = heads.memory_vector(None) if rng.random() < config.no_memory else remembered(label["path"], rng)
    return np.ascontiguousarray(recolour(image, rng, config)), label | {"memory": memory}
