"""The other cameras: who is far ahead, and who is beside us or behind, added to what the front camera shows.

In: the front camera's Percept, all frames of the moment, and the function that perceives one. Out: the Percept with road users as a
longer lens ahead sees them, where it looks, mixed from `FAR` on and alone from `FARTHER`, and with a SideView for each frame of a camera
that looks aside. The same network sees them all, without route and memory, and only its road users are taken. Who stands where the front
camera looks is left to it by the side cameras: a body that both pictures cut would be told twice, and wrongly. Nobody is believed beyond
the distance to which the network learnt to tell one, which grows with the lens. When such pictures are taken is the body's affair; none,
and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from nanopilot.geometry import MODEL_FOCAL, MODEL_HEIGHT, image_from_image, looks_aside, model_camera
from nanopilot.messages import CameraModel, Detection, Frame, Kind, Percept, SideView
from nanopilot.perception.heads import GRID_STRIDE
from nanopilot.perception.people import shared
from nanopilot.perception.runtime import canonical

FRONT_VIEW = np.pi / 4 - 0.1  # rad to each side: the model camera's half, less what its edge cuts
LONGEST = 0.5  # s: a look longer ago than that is none
FAR = 14.0  # m: a longer lens sees the feet of who stands there, and nearer ones too large for what the network learnt
FAR_PEOPLE = 11.0  # m: people are small for it even there
FARTHER = 20.0  # m: from there on it is believed alone
SAME_BODY = 0.4  # intersection over union of two lenses' boxes of one body
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
        views, ahead, doubtful = [], self._near(percept.objects, self.front), self._near(percept.doubtful, self.front)
        for frame in frames:
            if frame.camera not in self.cameras or not percept.valid:
                continue
            camera = self.cameras[frame.camera]
            if not looks_aside(camera) and abs(frame.t - percept.t) > SAME_MOMENT:
                continue  # the front camera's picture is late: one moment's road users are enough
            if not looks_aside(camera):
                frame, camera = horizon_as_learnt(frame, camera)
            seen = perceive(frame, camera, None, None)
            found = self._near(seen.objects, camera)
            if not looks_aside(camera):
                whole, less = (
                    tuple(o for o in part if not feet_cut(o, self.cameras[frame.camera]))
                    for part in (found, self._near(seen.doubtful, camera))
                )
                if seen.valid:
                    ahead, doubtful = sharper(ahead, whole, self.front, camera), sharper(doubtful, less, self.front, camera)
                continue
            since = min(frame.t - self.last.get(camera.name, -LONGEST), LONGEST)
            self.last[camera.name] = frame.t
            views.append(SideView(camera.name, camera.yaw, since, tuple(o for o in found if beside(o))))
        return replace(percept, objects=ahead, sides=tuple(views), doubtful=doubtful)

    def _near(self, objects: tuple[Detection, ...], camera: CameraModel) -> tuple[Detection, ...]:
        reach = self.reach * canonical(camera).fx / MODEL_FOCAL
        return tuple(o for o in objects if o.distance <= reach)


def horizon_as_learnt(frame: Frame, camera: CameraModel) -> tuple[Frame, CameraModel]:
    """A level camera's picture moved up or down, black where it ends: the network learnt distances with the model camera's horizon.

    With it at 0.6 of the height, as the narrow camera has it, cars were told 2 % too far at 25 m and 6 to 9 % too near at 50 m, as if they
    drove away; so 1 to 2 % too far (still pictures of tuning seed 2000).
    """
    up = too_low(camera)
    if up == 0:
        return frame, camera
    rows, image = np.arange(camera.height) + up, np.zeros_like(frame.image)
    inside = (rows >= 0) & (rows < camera.height)
    image[inside] = frame.image[rows[inside]]
    return replace(frame, image=image), replace(camera, cy=camera.cy - up)


def too_low(camera: CameraModel) -> int:
    """Rows by which a camera's horizon lies lower than the network learnt it."""
    return round(camera.cy - model_camera().cy * camera.height / MODEL_HEIGHT)


def feet_cut(o: Detection, camera: CameraModel) -> bool:
    """Whether somebody stands lower than the picture of `camera` goes once its horizon is as learnt: he would be told too far away."""
    end = MODEL_HEIGHT * (1 - max(too_low(camera), 0) / camera.height)
    return o.kind != Kind.VEHICLE and bool(o.box[3] > end - GRID_STRIDE)


def beside(o: Detection) -> bool:
    """Whether its footprint's centre is out of the front camera's sight."""
    return abs(np.arctan2(o.position[1], o.position[0] - model_camera().x)) > FRONT_VIEW


def sharper(objects: tuple[Detection, ...], far: tuple[Detection, ...], front: CameraModel, camera: CameraModel) -> tuple[Detection, ...]:
    """The front camera's road users, but for those far ahead `far`, which a longer lens in its place saw; boxes in `front`'s picture.

    Who is seen by both is told once, between FAR and FARTHER by a mixture, so that he doesn't jump where one lens takes over.
    """
    homography = image_from_image(canonical(front), canonical(camera))
    half = np.arctan2(camera.width / 2, camera.fx) - EDGE

    def theirs(o: Detection) -> bool:
        return o.distance > (FAR if o.kind == Kind.VEHICLE else FAR_PEOPLE) and whole(o)

    def whole(o: Detection) -> bool:
        return abs(np.arctan2(o.position[1], o.position[0] - camera.x)) + o.width / 2 / o.distance < half

    def moved(o: Detection) -> Detection:
        corners = cv2.perspectiveTransform(np.asarray(o.box, np.float64).reshape(1, 2, 2), homography)
        return replace(o, box=corners.ravel().astype(np.float32))

    left, both = list(objects), []
    for o in map(moved, far):
        seen = max((x for x in left if x.kind == o.kind), key=lambda x: shared(x.box, o.box), default=None)
        if seen is not None and shared(seen.box, o.box) > SAME_BODY:
            left = [x for x in left if x is not seen]
            share = ((seen.distance + o.distance) / 2 - FAR) / (FARTHER - FAR)
            both.append(mixed(seen, o, share) if whole(o) else seen)
        elif theirs(o):
            both.append(o)
    both += [o for o in left if not theirs(o)]
    return tuple(sorted(both, key=lambda o: -o.score))


def mixed(near: Detection, far: Detection, share: float) -> Detection:
    """One body as two lenses tell it: `share` (cut to 0..1) of `far`."""
    share = float(np.clip(share, 0.0, 1.0))
    if share in (0.0, 1.0):
        return far if share else near
    names = ("score", "position", "distance", "distance_std", "bearing_std", "box")
    return replace(far, **{n: (1 - share) * getattr(near, n) + share * getattr(far, n) for n in names})
