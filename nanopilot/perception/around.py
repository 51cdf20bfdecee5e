"""The other cameras: who is far ahead, and who is beside us or behind, added to what the front camera shows.

In: the front camera's Percept, all frames of the moment, and the function that perceives one. Out: the Percept with road users as a
longer lens ahead sees them, where it looks and from `FAR` on, and with a SideView for each frame of a camera that looks aside. The same
network sees them all, without route and memory, and only its road users are taken. Who stands where the front camera looks is left to it
by the side cameras: a body that both pictures cut would be told twice, and wrongly. Nobody is believed beyond the distance to which the
network learnt to tell one, which grows with the lens. When such pictures are taken is the body's affair; none, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from nanopilot.geometry import MODEL_FOCAL, image_from_image, looks_aside, model_camera
from nanopilot.messages import CameraModel, Detection, Frame, Percept, SideView
from nanopilot.perception.runtime import canonical

FRONT_VIEW = np.pi / 4 - 0.1  # rad to each side: the model camera's half, less what its edge cuts
LONGEST = 0.5  # s: a look longer ago than that is none
FAR = 14.0  # m: a longer lens sees the feet of who stands there, and nearer ones too large for what the network learnt
SAME_MOMENT = 1e-3  # s
EDGE = 0.02  # rad at a longer lens' sides
REACH = 62.0  # m in the model camera: the network says 60 to 70 m of all that stands beyond, and so it seems to drive


class Around:
    """Keeps nothing but when each camera last looked. The first of `cameras` is the front camera."""

    def __init__(self, cameras: tuple[CameraModel, ...], reach: float = REACH) -> None:
        self.front, self.reach = cameras[0], reach
        self.cameras = {c.name: c for c in cameras[1:]}
        self.last: dict[str, float] = {}

    def __call__(self, percept: Percept, frames: tuple[Frame, ...], perceive: Callable[..., Percept]) -> Percept:
        views, ahead = [], self._near(percept.objects, self.front)
        for frame in frames:
            if frame.camera not in self.cameras or not percept.valid:
                continue
            camera = self.cameras[frame.camera]
            if not looks_aside(camera) and abs(frame.t - percept.t) > SAME_MOMENT:
                continue  # the front camera's picture is late: one moment's road users are enough
            seen = perceive(frame, camera, None, None)
            found = self._near(seen.objects, camera)
            if not looks_aside(camera):
                ahead = sharper(ahead, found, self.front, camera) if seen.valid else ahead
                continue
            since = min(frame.t - self.last.get(camera.name, -LONGEST), LONGEST)
            self.last[camera.name] = frame.t
            views.append(SideView(camera.name, camera.yaw, since, tuple(o for o in found if beside(o))))
        return replace(percept, objects=ahead, sides=tuple(views))

    def _near(self, objects: tuple[Detection, ...], camera: CameraModel) -> tuple[Detection, ...]:
        reach = self.reach * canonical(camera).fx / MODEL_FOCAL
        return tuple(o for o in objects if o.distance <= reach)


def beside(o: Detection) -> bool:
    """Whether its footprint's centre is out of the front camera's sight."""
    return abs(np.arctan2(o.position[1], o.position[0] - model_camera().x)) > FRONT_VIEW


def sharper(objects: tuple[Detection, ...], far: tuple[Detection, ...], front: CameraModel, camera: CameraModel) -> tuple[Detection, ...]:
    """The front camera's road users, but for those far ahead `far`, which a longer lens in its place saw; boxes in `front`'s picture."""
    homography = image_from_image(canonical(front), canonical(camera))
    half = np.arctan2(camera.width / 2, camera.fx) - EDGE

    def theirs(o: Detection) -> bool:
        return o.distance > FAR and abs(np.arctan2(o.position[1], o.position[0] - camera.x)) + o.width / 2 / o.distance < half

    def moved(o: Detection) -> Detection:
        corners = cv2.perspectiveTransform(np.asarray(o.box, np.float64).reshape(1, 2, 2), homography)
        return replace(o, box=corners.ravel().astype(np.float32))

    both = [o for o in objects if not theirs(o)] + [moved(o) for o in far if theirs(o)]
    return tuple(sorted(both, key=lambda o: -o.score))
