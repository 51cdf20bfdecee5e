"""What a camera can see, free of any simulator: a flat world of surfaces, markings, props, actors, lights.

In: nothing. Out: plain dataclasses that a world fills (MetaDrive, SUMO, a test) and a camera draws. Map frame,
metres; ground is z = 0. It holds no physics and no lane graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """An area of ground. `kind` is 'road', 'pavement', 'crossing', 'grass', ... (drawn in the order given)."""

    kind: str
    polygon: Float[Array, "n 2"]


@dataclass(frozen=True)
class Marking:
    """Paint along a polyline. `dash` is (painted, gap) metres, None for a solid line."""

    points: Float[Array, "n 2"]
    width: float = 0.15
    colour: str = "white"  # or 'yellow'
    dash: tuple[float, float] | None = None


@dataclass(frozen=True)
class Prop:
    """A thing that stands: 'building', 'tree', 'bush', 'pole', 'lamp', 'sign', 'light', 'barrier', 'cone', 'kerb'.

    `size` is (length along yaw, width, height); `variant` picks among looks: a sign's name, a building's style.
    """

    kind: str
    x: float
    y: float
    yaw: float = 0.0
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    variant: str = ""
    id: int = -1  # lights: the key into Scene.lights


@dataclass(frozen=True)
class Actor:
    """Somebody who moves: kind 'car', 'suv', 'van', 'truck', 'bus', 'person', 'cyclist'. (x, y) is the box's centre."""

    id: int
    kind: str
    x: float
    y: float
    yaw: float
    size: tuple[float, float, float]  # length, width, height
    speed: float = 0.0
    braking: bool = False
    signal: str = "off"  # 'left', 'right', 'hazard'


@dataclass(frozen=True)
class StaticScene:
    surfaces: tuple[Surface, ...]
    markings: tuple[Marking, ...]
    props: tuple[Prop, ...] = ()

    def bounds(self) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of all that is drawn."""
        points = np.concatenate([s.polygon for s in self.surfaces] + [m.points for m in self.markings])
        return (*points.min(0), *points.max(0))


@dataclass(frozen=True)
class Scene:
    """One instant."""

    static: StaticScene
    actors: tuple[Actor, ...] = ()
    lights: dict[int, str] = field(default_factory=dict)  # Prop.id -> 'red', 'yellow', 'green', 'off'
    t: float = 0.0


@dataclass(frozen=True)
class Render:
    """One camera's picture of one instant, all from one pass. Depth is along the optical axis, m, inf in the sky."""

    rgb: np.ndarray  # (H, W, 3) uint8
    semantic: np.ndarray  # (H, W) uint8, messages.SceneClass
    instance: np.ndarray  # (H, W) int32: Actor.id, -1 elsewhere
    depth: np.ndarray  # (H, W) float32
