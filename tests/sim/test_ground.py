"""The painted ground: areas of paint against closed forms, refusals, and scenery that keeps clear of the road."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nanopilot.sim import demo
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.ground import TILE, Ground, dashes, ribbon
from nanopilot.sim.raster import LEVEL_START, TEXEL
from nanopilot.sim.scene import Marking, StaticScene, Surface
from nanopilot.sim.scenery import CLEAR, scatter_props

LOOK = Appearance(wear=0.0)
SQUARE = Surface("road", np.array([(1.0, 1.0), (31.0, 1.0), (31.0, 9.0), (1.0, 9.0)]))


def area(polygon: np.ndarray) -> float:
    """Shoelace formula."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def test_a_ribbon_has_length_times_width() -> None:
    assert area(ribbon(np.array([(0.0, 0.0), (3.0, 4.0), (9.0, 12.0)]), 0.2)) == pytest.approx(15 * 0.2)
    a = np.linspace(0, np.pi, 400)
    assert area(ribbon(np.stack([10 * np.cos(a), 10 * np.sin(a)], -1), 0.5)) == pytest.approx(np.pi * 10 * 0.5, rel=1e-3)


def test_dashes_have_their_share_of_the_line() -> None:
    pieces = dashes(Marking(np.array([(0.0, 0.0), (80.0, 0.0)]), 0.15, dash=(3.0, 5.0)))
    assert len(pieces) == 10 and sum(area(p) for p in pieces) == pytest.approx(30 * 0.15)


def test_painted_texels_cover_the_true_area() -> None:
    ground = Ground(StaticScene((SQUARE,), (Marking(np.array([(2.0, 3.0), (30.0, 6.0)]), 0.25),)), LOOK)
    ground.ensure(16.0, 5.0, 40.0)
    level0 = ground.pool[1 : ground.used, : LEVEL_START[1]]
    count = np.bincount(level0[..., 3].ravel(), minlength=11) * TEXEL**2
    road, blue = level0[..., 3] != 8, np.array([LOOK.asphalt[2], LOOK.white_paint[2]]) * 255
    paint = ((level0[..., 2] - blue[0]) / (blue[1] - blue[0])).clip(0, 1)[road].sum() * TEXEL**2
    assert paint == pytest.approx(np.hypot(28, 3) * 0.25, rel=0.04)
    assert count[2] == pytest.approx(np.hypot(28, 3) * 0.25, rel=0.12)
    assert count[1] + count[2] == pytest.approx(240, rel=0.02)
    assert (ground.table > 0).sum() == np.ceil(31 / TILE)


def test_tiles_are_painted_only_near_the_camera() -> None:
    ground = Ground(demo.static_scene(0), LOOK)
    ground.ensure(0.0, 0.0, 30.0)
    near = ground.used
    ground.ensure(0.0, 0.0, 30.0)
    assert ground.used == near
    ground.ensure(100.0, 0.0, 30.0)
    assert ground.used > near


def test_unknown_ground_is_refused() -> None:
    with pytest.raises(ValueError, match="lava"):
        Ground(StaticScene((Surface("lava", SQUARE.polygon),), ()), LOOK)
    with pytest.raises(ValueError, match="mauve"):
        Ground(StaticScene((SQUARE,), (Marking(np.array([(0.0, 0.0), (1.0, 0.0)]), 0.1, "mauve"),)), LOOK)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scenery_keeps_clear_of_every_surface(seed: int) -> None:
    static = demo.static_scene(seed)
    bare = StaticScene(static.surfaces, static.markings)
    props = scatter_props(bare, seed)
    assert len(props) > 40 and props == scatter_props(bare, seed)
    for prop in props:
        half = 0.0 if prop.kind in ("lamp", "sign") else 0.5 * max(prop.size[:2])
        for surface in bare.surfaces:
            distance = -cv2.pointPolygonTest(surface.polygon.astype(np.float32), (prop.x, prop.y), True)
            assert distance - half > CLEAR - 0.1
