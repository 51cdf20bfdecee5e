"""Whether a map can be passed, against roads whose answer is plain, and MetaDrive's tapers against the way their road points."""

import numpy as np
import pytest

from nanopilot.sim.lanemap import Lane, connect
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
from nanopilot.sim.metadrive_map import markings
from nanopilot.sim.ramps import passable

ROADS = (("a", "b"), ("b", "c"))
BORDERS = [np.array([(0.0, y), (100.0, y)]) for y in (1.75, -5.25)]


def lane(id: int, road: tuple[str, str], x0: float, y: float) -> Lane:
    n = 51
    none, flat = np.full(n, -1), np.zeros(n, np.uint8)
    centre = np.stack([x0 + np.arange(n), np.full(n, y)], -1)
    return Lane(id, road, id % 2, centre, np.zeros(n), np.arange(n) * 1.0, 3.5, None, None, flat, flat, "white", "white", none, none)


TWO_LANES = connect([lane(2 * i + k, road, 50.0 * i, -3.5 * k) for i, road in enumerate(ROADS) for k in (0, 1)])


@pytest.mark.parametrize(
    ("line", "open_"),
    [
        ([(40.0, 1.75), (60.0, -1.0)], True),  # over the left lane: the right one is left
        ([(40.0, -5.25), (60.0, -1.0)], True),  # over the right one
        ([(40.0, 1.75), (60.0, -3.5)], False),  # half the right lane is left, and a car is wider
        ([(50.0, 1.75), (50.0, -5.25)], False),  # across all, where two roads meet
    ],
)
def test_a_road_is_open_where_a_car_fits_past_every_continuous_line(line, open_):
    assert passable(TWO_LANES, ROADS, [*BORDERS, np.array(line)]) is open_


def test_the_tuning_map_whose_taper_lies_across_its_road_is_open_once_it_lies_along_it():
    for repaired in (False, True):
        world = MetaDriveWorld(WorldConfig(3002, "3", 0.0, repaired=repaired))
        try:
            world.reset()
            assert world.truth().passable is repaired
        finally:
            world.close()


def test_where_the_road_points_along_x_repairing_changes_nothing():
    painted = []
    for repaired in (False, True):
        world = MetaDriveWorld(WorldConfig(5, "SrS", 0.0, repaired=repaired))
        try:
            world.reset()
            assert world.truth().passable
            painted.append([m.points for m in markings(world.env.current_map)])
        finally:
            world.close()
    assert len(painted[0]) == len(painted[1]) > 10
    for shipped, ours in zip(*painted, strict=True):
        np.testing.assert_allclose(shipped, ours, atol=1e-6)
