"""The lane map against MetaDrive's own lane geometry and against shapes known in closed form."""

import numpy as np
import pytest

from nanopilot.sim.lanemap import Lane, Paint, along, at_random, connect
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig


@pytest.fixture(scope="module")
def world():
    world = MetaDriveWorld(WorldConfig(seed=7, map="CrRXO", traffic=0.0))
    world.reset()
    yield world
    world.close()


def straight(id: int, x0: float, x1: float, y: float, left=None, right=None, beside=None) -> Lane:
    n = int(x1 - x0) + 1
    x = np.linspace(x0, x1, n)
    abeam = np.where(x <= beside[1], x - beside[0], -1).astype(int) if beside else np.full(n, -1)
    return Lane(
        id, ("a", str(id)), 0, np.stack([x, np.full(n, y)], -1), np.zeros(n), x - x0, 3.5, left, right,
        np.full(n, Paint.BROKEN, np.uint8), np.full(n, Paint.SOLID, np.uint8), "yellow", "white",
        abeam if left is not None else np.full(n, -1), abeam if right is not None else np.full(n, -1),
    )  # fmt: skip


def test_an_ending_lane_goes_over_into_its_neighbour_smoothly():
    lanes = connect([straight(0, 0, 200, 0.0, right=1, beside=(0, 50)), straight(1, 0, 50, -3.5, left=0, beside=(0, 200))])
    path = lanes.path(lanes.lanes[1], 10.0, 80.0, along([]))
    assert path.centre[0] == pytest.approx((10.0, -3.5))
    assert path.centre[-1] == pytest.approx((90.0, 0.0), abs=0.1)
    assert (np.diff(path.centre[:, 1]) >= -1e-9).all()  # never away from the neighbour
    assert np.hypot(*np.diff(path.centre, axis=0).T).max() < 1.1  # no jump
    assert path.lanes[0] == 1 and path.lanes[-1] == 0


def test_borders_lie_half_a_width_beside_and_end_with_their_lane():
    lanes = connect([straight(0, 0, 200, 0.0, right=1, beside=(0, 50)), straight(1, 0, 50, -3.5, left=0, beside=(0, 200))])
    borders = lanes.path(lanes.lanes[0], 10.0, 80.0, along([])).borders
    assert borders[-1].points[:, 1] == pytest.approx(1.75) and borders[1].points[:, 1] == pytest.approx(-1.75)
    assert borders[2].points[0, 1] == pytest.approx(-5.25)
    assert borders[-1].yellow.all() and not borders[1].yellow.any()
    assert set(borders[2].paint[:39]) == {Paint.SOLID} and set(borders[2].paint[42:]) == {Paint.ABSENT}
    assert set(borders[-2].paint) == {Paint.ABSENT}
    assert len(borders[2].stretches()) == 1 and borders[-2].stretches() == []


def test_past_a_dead_end_the_path_goes_straight_on_unpainted():
    lanes = connect([straight(0, 0, 20, 0.0)])
    path = lanes.path(lanes.lanes[0], 10.5, 60.0, at_random(np.random.default_rng(0)))
    assert path.centre[:, 0] == pytest.approx(10.5 + np.arange(61))
    assert set(path.borders[1].paint[11:]) == {Paint.NONE}


def test_locate_agrees_with_metadrives_own_lane_coordinates(world):
    rng = np.random.default_rng(1)
    network = world.env.current_map.road_network
    for _ in range(200):
        lane = world.lane_map.lanes[rng.integers(len(world.lane_map.lanes))]
        theirs = network.graph[lane.road[0]][lane.road[1]][lane.index]
        s, d = rng.uniform(0, lane.length), rng.uniform(-1.2, 1.2)
        x, y = theirs.position(s, -d)  # MetaDrive counts to the right
        found, s_found, d_found = world.lane_map.locate(x, y, theirs.heading_theta_at(s), [lane.road])
        if found.id == lane.id:
            assert (s_found, d_found) == (pytest.approx(s, abs=0.3), pytest.approx(d, abs=0.03))
        else:  # roads overlap where they meet
            assert found.road == lane.road or found.successors or abs(s - lane.length) < 1 or s < 1


def test_successors_are_those_of_metadrives_graph(world):
    """Where one of MetaDrive's roads ends at a node, every road from that node is reached by at least one lane."""
    by_road = {}
    for lane in world.lane_map.lanes:
        by_road.setdefault(lane.road, []).append(lane)
    for road, lanes in by_road.items():
        reached = {world.lane_map.lanes[i].road for lane in lanes for i in lane.successors}
        assert reached == {other for other in by_road if other[0] == road[1]}


def test_every_path_is_smooth_and_keeps_clear_of_jumps(world):
    rng = np.random.default_rng(2)
    for _ in range(300):
        lane = world.lane_map.lanes[rng.integers(len(world.lane_map.lanes))]
        path = world.lane_map.path(lane, rng.uniform(0, lane.length), 60.0, at_random(rng))
        assert path.centre.shape == (61, 2)
        step = np.diff(path.centre, axis=0)
        assert np.hypot(*step.T).min() > 0.7 and np.hypot(*step.T).max() < 1.3
        turn = np.diff(np.unwrap(np.arctan2(step[:, 1], step[:, 0])))
        assert np.abs(turn).max() < 0.35  # the tightest lane has a radius of 5 m


def test_a_path_along_the_route_stays_on_it(world):
    roads = set(world.roads)
    lane, s, _ = world.lane_map.locate(*world.pose, world.roads)
    path = world.lane_map.path(lane, s, 700.0, along(world.roads))
    on_route = np.array([world.lane_map.lanes[i].road in roads for i in path.lanes])
    assert on_route.all()
    end = world.lane_map.lanes[path.lanes[-1]]
    assert end.road == world.roads[-1]
