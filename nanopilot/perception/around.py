"""Side cameras: who is beside us, added to what the front camera shows.

In: the front camera's Percept, all frames of the moment, and the function that perceives one. Out: the Percept with a SideView for each
frame of a camera that looks aside. The same network sees them, without route and memory, and only its road users are taken. Who stands
where the front camera looks is left to it: a body that both pictures cut would be told twice, and wrongly. When such pictures are taken
is the body's affair; none, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nanopilot.geometry import looks_aside, model_camera
from nanopilot.messages import CameraModel, Detection, Frame, Percept, SideView

FRONT_VIEW = np.pi / 4 - 0.1  # rad to each side: the model camera's half, less what its edge cuts
LONGEST = 0.5  # s: a look longer ago than that is none


class Around:
    """Keeps nothing but when each camera last looked."""

    def __init__(self, cameras: tuple[CameraModel, ...]) -> None:
        self.cameras = {c.name: c for c in cameras if looks_aside(c)}
        self.last: dict[str, float] = {}

    def __call__(self, percept: Percept, frames: tuple[Frame, ...], perceive: Callable[..., Percept]) -> Percept:
        views = []
        for frame in frames:
            if frame.camera in self.cameras:
                camera = self.cameras[frame.camera]
                seen = perceive(frame, camera, None, None)
                since = min(frame.t - self.last.get(camera.name, -LONGEST), LONGEST)
                self.last[camera.name] = frame.t
                views.append(SideView(camera.name, camera.yaw, since, tuple(o for o in seen.objects if beside(o))))
        return replace(percept, sides=tuple(views)) if views else percept


def beside(o: Detection) -> bool:
    """Whether its footprint's centre is out of the front camera's sight."""
    return abs(np.arctan2(o.position[1], o.position[0] - model_camera().x)) > FRONT_VIEW
