"""The sky as one picture: gradient, sun, clouds and far hills, and the noise textures everything shares.

In: an Appearance. Out: a paraboloid map (N, N, 4) uint8: RGB and SceneClass, where the direction (x, y, z) with
z >= 0 lies at (x, y) / (|d| + z) of the half size from the centre (Heidrich & Seidel 1998). Clouds stand still.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.messages import SceneClass
from nanopilot.sim.appearance import Appearance

Array = np.ndarray
SKY_SIZE = 1024  # px: 9 a degree at the horizon, more than a 90 degree camera of 512 px has
HILL_TAN = 0.055  # highest hill, tangent of its elevation (guess)
DETAIL_SIZE = 512


def fractal(size: int, octaves: tuple[int, ...], seed: int) -> Float[Array, "n n"]:
    """Tileable noise in 0..1: white noise of each octave's cell count, smoothly enlarged, halved in weight each time."""
    rng = np.random.default_rng([seed, size])
    total = np.zeros((size, size), np.float32)
    for k, cells in enumerate(octaves):
        cell = size // cells
        noise = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        large = cv2.resize(noise, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += large[2 * cell : -2 * cell, 2 * cell : -2 * cell] / 2**k
    total -= total.min()
    return total / total.max()


@lru_cache(maxsize=1)
def detail() -> UInt8[Array, "512 512"]:
    """The grain used for asphalt, grass, foliage and plaster: flat histogram, tileable."""
    noise = fractal(DETAIL_SIZE, (512, 256, 128, 32), 7).ravel()
    rank = np.empty(noise.size, np.uint8)
    rank[np.argsort(noise, kind="stable")] = np.arange(noise.size) * 256 // noise.size
    return rank.reshape(DETAIL_SIZE, DETAIL_SIZE)


def patches(seed: int) -> UInt8[Array, "512 512"]:
    """Stains from 25 cm to 30 m, for a sample each 25 cm: what makes asphalt and grass uneven."""
    noise = fractal(DETAIL_SIZE, (4, 8, 32, 128, 256), seed)
    return np.clip(127.5 + 60 * (noise - noise.mean()) / noise.std(), 0, 255).astype(np.uint8)


def paint_sky(look: Appearance) -> UInt8[Array, "1024 1024 4"]:
    """The paraboloid map of an appearance."""
    half = SKY_SIZE / 2
    v, u = np.mgrid[0:SKY_SIZE, 0:SKY_SIZE].astype(np.float32)
    px, py = (u - half) / (half - 2), (v - half) / (half - 2)
    r2 = np.minimum(px**2 + py**2, 1.0)
    z = (1 - r2) / (1 + r2)  # of the unit direction
    x, y = px * (1 + z), py * (1 + z)
    zenith, horizon, fog = np.array(look.zenith), np.array(look.horizon), look.fog_colour()
    rise = np.clip(z, 0, 1)[..., None] ** 0.55
    colour = horizon + (zenith - horizon) * rise  # (N, N, 3)
    sun = look.sun_direction()
    near = np.clip(x * sun[0] + y * sun[1] + z * sun[2], 0, 1)
    strength = np.array(look.sun)
    colour += strength * (0.35 * near[..., None] ** 12 + 0.5 * near[..., None] ** 90) + 2.0 * strength * (near > 0.9994)[..., None]
    # clouds lie on a plane overhead, so they crowd together near the horizon
    plane = 70.0 / (z + 0.12)
    field = fractal(512, (4, 8, 16, 32, 64), look.seed)
    thick = cv2.remap(field.astype(np.float32), np.mod(x * plane * 1.3 + 40, 511), np.mod(y * plane * 1.3 + 90, 511), cv2.INTER_LINEAR)
    cover = np.clip((thick - (0.82 - 0.55 * look.cloud)) * 4.0, 0, 1)[..., None] * min(1.0, 3 * look.cloud)
    lit = np.array(look.ambient) * 1.25 + strength * (0.55 + 0.3 * near[..., None] ** 6)
    lit = lit * (1.0 - 0.35 * np.clip(thick - 0.45, 0, 1))[..., None]
    cover *= np.clip(z * 7, 0, 1)[..., None] * 0.9
    colour += cover * (lit - colour)
    if look.night > 0:
        rng = np.random.default_rng([look.seed, 3])
        stars = (rng.random(z.shape) > 0.9985)[..., None] * rng.random(z.shape)[..., None] ** 3
        colour += look.night * stars * (1 - cover) * np.clip(z * 4, 0, 1)[..., None]
    haze = np.exp(-z / max(look.fog_density * 45, 1e-4))[..., None]
    colour += haze * (fog - colour)
    # hills: a ragged line of woods above the horizon
    azimuth = np.arctan2(y, x)
    line = fractal(512, (4, 16, 64, 256), look.seed + 1)[0]
    height = np.interp(azimuth, np.linspace(-np.pi, np.pi, 513), np.append(line, line[0])) * HILL_TAN
    tangent = z / np.sqrt(np.maximum(1 - z**2, 1e-6))
    hill = tangent < height
    wood = np.array(look.grass) * 0.5 * (np.array(look.ambient) + 0.4 * strength)
    clear = np.exp(-look.fog_density * 800)
    colour = np.where(hill[..., None], fog + clear * (wood - fog), colour)
    label = np.where(hill, SceneClass.NATURE, SceneClass.SKY)
    return np.dstack([np.clip(colour, 0, 1) * 255, label]).astype(np.uint8)
