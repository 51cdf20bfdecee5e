"""The simulator as a plain Gymnasium environment: `import nanopilot.sim.gym; gymnasium.make("nanopilot/Drive-v0")`.

In: an action (2,): steering, left positive, and acceleration, both in [-1, 1] of what the car can do. Out: a dict of `image`
(256, 512, 3) uint8 RGB, `speed` (1,) m/s and `route` (16, 2), points of the navigation line at messages.ROUTE_ARC in the
vehicle frame, m. Reward and termination are MetaDrive's own. `reset(seed=n)` drives MetaDrive's map n; without a seed the
next map is drawn at random. MetaDrive allows one open environment per process. No sensor noise, no delay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import gymnasium
import numpy as np

from nanopilot.geometry import child_from_parent, model_camera, project, resample
from nanopilot.messages import ROUTE_ARC
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig

ID = "nanopilot/Drive-v0"
MAX_STEPS = 4000  # 200 s at 20 Hz
TOP_SPEED = 60.0  # m/s, bound of the observation space
ROUTE_REACH = 1000.0  # m, likewise
MAPS = 1_000_000  # seeds an unseeded reset draws from


class DriveEnv(gymnasium.Env):
    """See the module. `config.seed` is overridden by reset."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, config: WorldConfig = WorldConfig(), appearance: Appearance | None = None, render_mode: str | None = None) -> None:
        self.config, self.render_mode = config, render_mode
        self._look = appearance or Appearance.clear_day()
        self._eye = model_camera()
        self._world: MetaDriveWorld | None = None
        image = gymnasium.spaces.Box(0, 255, (self._eye.height, self._eye.width, 3), np.uint8)
        speed = gymnasium.spaces.Box(-TOP_SPEED, TOP_SPEED, (1,), np.float32)
        route = gymnasium.spaces.Box(-ROUTE_REACH, ROUTE_REACH, (len(ROUTE_ARC), 2), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"image": image, "speed": speed, "route": route})
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        number = int(self.np_random.integers(MAPS)) if seed is None else seed
        self.close()
        self._world = MetaDriveWorld(replace(self.config, seed=number))
        self._world.reset()
        self._line = self._world.route().points
        self._camera = CpuCamera(self._world.static_scene(), self._look)
        return self._observe(), {"seed": number}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self._world is None:
            raise gymnasium.error.ResetNeeded("reset() comes before step()")
        self._world.step(float(action[0]), float(action[1]))
        stopped = self._world.stopped
        return self._observe(), float(self._world.reward), bool(stopped), False, {"stopped": stopped}

    def render(self) -> np.ndarray | None:
        return self._image if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        if self._world is not None:
            self._world.close()
            self._world = None

    def _observe(self) -> dict[str, Any]:
        world = self._world
        self._image = self._camera.render(world.scene(), self._eye, world.pose, labels=False, speed=world.speed).rgb
        s, _ = project(self._line, *world.pose[:2])
        route = child_from_parent(resample(self._line, s + ROUTE_ARC), *world.pose)
        return {
            "image": self._image,
            "speed": np.array([world.speed], np.float32).clip(-TOP_SPEED, TOP_SPEED),
            "route": route.astype(np.float32).clip(-ROUTE_REACH, ROUTE_REACH),
        }


gymnasium.register(id=ID, entry_point=DriveEnv, max_episode_steps=MAX_STEPS)
