"""Metres from classes: a wall and a person drawn by closed form, then read back; and the committed eyes on a drawn room."""

import numpy as np
import pytest

from nanopilot.geometry import camera_from_vehicle, road_from_image
from nanopilot.messages import CameraModel, Frame, Kind, RoomClass, WalkerState
from nanopilot.perception import rooms

CAMERA = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.3, pitch=0.52)
WALKER = WalkerState(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.78, 0.0, 0.0, 0.0, CAMERA, np.zeros(29))
MIDDLE = len(rooms.BEARINGS) // 2


def probability(is_floor, otherwise=RoomClass.OBSTACLE, camera=CAMERA):
    """Classes of every cell, by where the ray through its middle meets the floor."""
    h, w = rooms.HEIGHT // rooms.STRIDE, rooms.WIDTH // rooms.STRIDE
    v, u = np.mgrid[:h, :w]
    scale = camera.width / w
    pixels = np.stack([(u + 0.5) * scale - 0.5, (v + 0.5) * scale - 0.5], -1).reshape(-1, 2)
    ground = road_from_image(camera, pixels)
    floor = np.isfinite(ground).all(1) & is_floor(np.nan_to_num(ground))
    label = np.where(floor, RoomClass.FLOOR, otherwise).reshape(h, w)
    return (label[None] == np.arange(len(RoomClass.NAMES))[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("distance", [1.0, 1.5, 2.0, 3.0])
def test_a_wall_across_is_where_it_stands(distance):
    free = rooms.free_distance(probability(lambda g: g[:, 0] < distance), CAMERA)
    cell = 2.7e-2 * ((distance**2 + 1.3**2) / 1.3)  # m on the floor that a cell (2.7e-2 rad in the middle, twice that at the rim) covers
    assert free[MIDDLE] + CAMERA.x == pytest.approx(distance, abs=2 * cell)


def test_a_rolled_camera_sees_the_same_wall():
    camera = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.3, pitch=0.45, roll=0.06, yaw=0.1)
    free = rooms.free_distance(probability(lambda g: g[:, 0] < 2.0, camera=camera), camera)
    ends = np.array([camera.x, camera.y]) + free[:, None] * np.stack(
        [np.cos(camera.yaw + rooms.BEARINGS), np.sin(camera.yaw + rooms.BEARINGS)], -1
    )
    assert np.abs(ends[20:71, 0] - 2.0).max() < 0.4


def test_an_empty_floor_is_free_as_far_as_is_looked():
    free = rooms.free_distance(probability(lambda g: g[:, 0] < 30.0), CAMERA)
    assert free[MIDDLE] == pytest.approx(rooms.FAR)


def figures(*stand, wall=6.5):
    """A floor up to a wall, and upright boards (class, x, y, half width, from what height, to what height) before it, by their rays."""
    h, w = rooms.HEIGHT // rooms.STRIDE, rooms.WIDTH // rooms.STRIDE
    out = probability(lambda g: g[:, 0] < wall).argmax(0)
    v, u = np.mgrid[:h, :w]
    scale = CAMERA.width / w
    pixels = np.stack([(u + 0.5) * scale - 0.5, (v + 0.5) * scale - 0.5], -1).reshape(-1, 2)
    r, _ = camera_from_vehicle(CAMERA)
    rays = np.stack([*((pixels - (CAMERA.cx, CAMERA.cy)) / CAMERA.fx).T, np.ones(len(pixels))], -1) @ r
    for label, x, y, half, low, high in sorted(stand, key=lambda one: -one[1]):
        at = np.array([CAMERA.x, 0.0, CAMERA.z]) + rays * ((x - CAMERA.x) / np.where(rays[:, 0] > 0.01, rays[:, 0], np.nan))[:, None]
        out[((np.abs(at[:, 1] - y) < half) & (at[:, 2] > low) & (at[:, 2] < high)).reshape(h, w)] = label
    return (out[None] == np.arange(len(RoomClass.NAMES))[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("x", [0.8, 1.5, 3.0, 5.0])
def test_a_person_is_found_where_it_stands(x):
    found = rooms.people(figures((RoomClass.PERSON, x, -0.3, 0.22, 0.0, 1.7)), CAMERA)
    assert len(found) == 1 and found[0].kind == Kind.PERSON
    assert found[0].position == pytest.approx([x, -0.3], abs=0.1 + 0.03 * x**2)  # a cell's error grows as the square


def test_arms_and_trunk_do_not_tell_a_person_farther_than_his_feet_do():
    """Hands 0.8 m above the floor are seen against floor far behind him: that told people 0.2 m too far away."""
    foot = (RoomClass.PERSON, 0.9, -0.3, 0.12, 0.0, 1.7)
    arms = (RoomClass.PERSON, 0.9, -0.3, 0.28, 0.8, 1.4)
    (found,) = rooms.people(figures(foot, arms), CAMERA)
    assert np.hypot(*found.position) - np.hypot(0.9, 0.3) == pytest.approx(rooms.FOOT, abs=0.06)


def test_whose_feet_the_lower_rim_cuts_stands_nearer_than_it_shows():
    cut = figures((RoomClass.PERSON, 0.32, 0.0, 0.22, 0.0, 1.7))
    (found,) = rooms.people(cut, CAMERA)
    rim = float(road_from_image(CAMERA, np.array([[159.5, 239.5]]))[0, 0]) - CAMERA.x
    assert found.distance == pytest.approx(rooms.CUT * rim + rooms.FOOT, abs=0.03)


def test_what_is_as_low_as_a_stool_is_no_person():
    assert not rooms.people(figures((RoomClass.PERSON, 2.0, 0.0, 0.22, 0.0, 0.9)), CAMERA)


def test_whose_feet_are_hidden_is_nowhere_for_sure():
    assert not rooms.people(figures((RoomClass.PERSON, 3.0, 0.0, 0.22, 0.0, 1.7), (RoomClass.OBSTACLE, 2.0, 0.0, 0.5, 0.0, 0.7)), CAMERA)


def test_two_side_by_side_are_two():
    pair = figures(
        (RoomClass.PERSON, 2.0, 0.45, 0.25, 0.0, 1.7),
        (RoomClass.PERSON, 2.0, -0.45, 0.25, 0.0, 1.7),
        (RoomClass.PERSON, 2.0, 0, 0.3, 1.0, 1.1),
    )
    found = sorted(rooms.people(pair, CAMERA), key=lambda one: one.position[1])
    assert [one.position[1] for one in found] == pytest.approx([-0.45, 0.45], abs=0.15)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="320x240"):
        rooms.RoomEyes().perceive(Frame(0.0, "head", np.zeros((10, 10, 3), np.uint8)), CAMERA, None, CAMERA)
