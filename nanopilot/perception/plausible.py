"""Is the camera alive, and does the network answer it? What a picture and a percept show of themselves.

In: each frame, its Percept (or None), the wheel speed. Out: a complaint in words, '' where all is well; the pilot then does
without the percept. It finds a picture that is dark or glaring in half (lower, left or right), full of noise, or the same again
while we move (which tells nothing new), and an answer that stays while the picture changes, or has no order. Thresholds:
guesses with room; of 240 pictures of four sets they call two dark (dev/check_plausible.py). It can't see a wrong calibration or
a torn picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from nanopilot.messages import Frame, Percept

Array = np.ndarray


@dataclass(frozen=True)
class Config:
    every: int = 4  # only every so many-th pixel is looked at
    dark: float = 20.0  # of 255: a half (lower, left, right) without any brighter pixel of any colour is dark; headlamps light one
    glaring: float = 250.0  # of 255: such a pixel shows nothing
    glare: float = 0.6  # share of such pixels in a half
    noise: float = 25.0  # median second difference along a row, of 255; ordinary pictures have 0 to 10
    moving: float = 1.0  # m/s
    torn: float = 0.4  # share of neighbouring scene cells that differ: 0.06 to 0.09 on drives, 0.7 and more where cells are shuffled


@dataclass(frozen=True)
class State:
    picture: UInt8[Array, "h w 3"] | None = None
    scene: UInt8[Array, "h w"] | None = None
    t: float = 0.0
    frozen: float = 0.0  # s of moving for which the picture has been the same; once told, it stays told until the picture changes
    stuck: float = 0.0  # s of moving for which the answer has been the same


def step(state: State, frame: Frame, percept: Percept | None, speed: float, config: Config = Config()) -> tuple[State, str]:
    """What is wrong with this frame or its percept."""
    picture = frame.image[:: config.every, :: config.every]
    scene = percept.scene if percept is not None and percept.scene.size > 1 else None
    dt = max(frame.t - state.t, 0.0) if speed > config.moving else 0.0
    same = state.picture is not None and np.array_equal(picture, state.picture)
    stays = scene is not None and state.scene is not None and np.array_equal(scene, state.scene)
    state = State(picture.copy(), scene, frame.t, state.frozen + dt if same else 0.0, (0.0 if same else dt) + state.stuck if stays else 0.0)
    return state, _complaint(state, frame.image, config)


def _complaint(state: State, image: UInt8[Array, "h w 3"], config: Config) -> str:
    picture = state.picture
    height, width = picture.shape[:2]
    for half in (picture[height // 2 :], picture[:, : width // 2], picture[:, width // 2 :]):
        if half.max() < config.dark:
            return "camera: dark"
        if (half[..., 1] >= config.glaring).mean() > config.glare:
            return "camera: over-exposed"
    row = image[:: 2 * config.every, :, 1].astype(np.int16)
    if np.median(np.abs(2 * row[:, 1:-1] - row[:, :-2] - row[:, 2:])) > config.noise:
        return "camera: noise"
    if state.frozen > 0:
        return "camera: the picture stands still"
    if state.stuck > 0:
        return "network: the answer stands still"
    scene = state.scene
    if scene is not None and (scene[1:] != scene[:-1]).mean() > config.torn:
        return "network: the answer is no scene"
    return ""
