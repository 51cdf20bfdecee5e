"""Random looks for a humanoid's rooms: materials with procedural textures, plain ones, skin, and a sky.

In: a MuJoCo spec and a random generator. Out: names of materials added to the spec. The same generator always gives the same looks.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from nanopilot.sim.humanoid import require

Array = np.ndarray

TEXTURE = 96  # px of a side


class Painter:
    """Makes materials of random textures."""

    def __init__(self, spec: Any, rng: Any) -> None:
        self.spec, self.rng, self.count, self.floor = spec, rng, 0, np.full((1, 1, 3), 128, np.uint8)
        sky = require().mjtBuiltin.mjBUILTIN_GRADIENT
        one, two = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
        kind = require().mjtTexture.mjTEXTURE_SKYBOX
        spec.add_texture(name="sky", type=kind, builtin=sky, rgb1=one, rgb2=two, width=64, height=384)

    def material(self, floor: bool = False) -> str:
        """A new material's name."""
        rng, name = self.rng, f"paint{self.count}"
        self.count += 1
        shine = {"specular": float(rng.uniform(0, 0.4)), "shininess": float(rng.uniform(0, 0.7))}
        if not floor and rng.random() < 0.3:  # plain
            self.spec.add_material(name=name, rgba=[*rng.uniform(0.05, 0.95, 3), 1], **shine)
            return name
        mujoco = require()
        image = pattern(rng)
        self.floor = image if floor else self.floor
        texture = self.spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=TEXTURE, height=TEXTURE, nchannel=3)
        texture.data = image.tobytes()
        repeat = float(rng.uniform(0.4, 3.0))
        material = self.spec.add_material(name=name, texrepeat=[repeat, repeat], texuniform=True, **shine)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        return name

    def alike(self) -> str:
        """A new material of nearly a colour that the floor has."""
        spots = self.floor.reshape(-1, 3)
        return self.plain(tuple(spots[self.rng.integers(len(spots))] / 255 * self.rng.uniform(0.6, 1.5) + self.rng.normal(0, 0.06, 3)))

    def plain(self, colour: parcels.Colour) -> str:
        """A new material of one colour."""
        name = f"paint{self.count}"
        self.count += 1
        self.spec.add_material(name=name, rgba=[*np.clip(colour, 0.0, 1.0), 1], specular=0.1, shininess=0.2)
        return name

    def skin(self) -> str:
        name = f"paint{self.count}"
        self.count += 1
        self.spec.add_material(name=name, rgba=[*(np.array([0.9, 0.7, 0.55]) * self.rng.uniform(0.35, 1.05)).clip(0, 1), 1])
        return name


def pattern(rng: Any) -> UInt8[Array, "96 96 3"]:
    """Noise of a few sizes between two colours, perhaps with tiles, planks or stripes over it."""
    mix = np.zeros((TEXTURE, TEXTURE))
    for cells in (3, 8, 24, 96):
        mix += rng.uniform(0, 1) * cv2.resize(rng.uniform(-1, 1, (cells, cells)), (TEXTURE, TEXTURE), interpolation=cv2.INTER_LINEAR)
    mix = mix / (np.abs(mix).max() + 1e-9)
    v, u = np.mgrid[:TEXTURE, :TEXTURE]
    kind, size, line = rng.integers(0, 5), int(rng.choice([16, 24, 32, 48])), rng.uniform(-0.9, 0.9)
    if kind == 0:
        mix = 0.3 * mix + np.where((u // size + v // size) % 2, 0.5, -0.5) * rng.uniform(0.3, 1.2)
    elif kind == 1:
        mix = np.where((u % size < 2) | (v % size < 2), line, 0.5 * mix)
    elif kind == 2:
        mix = np.where((u % size < 2), line, 0.5 * mix + 0.4 * np.sin(u // size * 7.3))
    elif kind == 3:
        mix = 0.4 * mix + 0.6 * np.sign(np.sin(2 * np.pi * (u * np.cos(line) + v * np.sin(line)) / size))
    one, two = rng.uniform(0.05, 0.95, 3), rng.uniform(0.05, 0.95, 3)
    two = one + (two - one) * rng.uniform(0.15, 1.0)
    share = (0.5 + 0.5 * mix).clip(0, 1)[..., None]
    return (255 * (one * (1 - share) + two * share)).astype(np.uint8)
