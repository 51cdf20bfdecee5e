"""Metres from classes: a wall and a person drawn by closed form, then read back; and the committed eyes on a drawn room."""

import numpy as np
import pytest

from nanopilot.geometry import road_from_image
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
    free, person = rooms.free_distance(probability(lambda g: g[:, 0] < distance), CAMERA)
    cell = 2.7e-2 * ((distance**2 + 1.3**2) / 1.3)  # m on the floor that a cell (2.7e-2 rad in the middle, twice that at the rim) covers
    assert free[MIDDLE] + CAMERA.x == pytest.approx(distance, abs=2 * cell)
    assert not person.any()


def test_a_rolled_camera_sees_the_same_wall():
    camera = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.3, pitch=0.45, roll=0.06, yaw=0.1)
    free, _ = rooms.free_distance(probability(lambda g: g[:, 0] < 2.0, camera=camera), camera)
    ends = np.array([camera.x, camera.y]) + free[:, None] * np.stack(
        [np.cos(camera.yaw + rooms.BEARINGS), np.sin(camera.yaw + rooms.BEARINGS)], -1
    )
    assert np.abs(ends[20:71, 0] - 2.0).max() < 0.4


def test_an_empty_floor_is_free_as_far_as_is_looked():
    free, _ = rooms.free_distance(probability(lambda g: g[:, 0] < 30.0), CAMERA)
    assert free[MIDDLE] == pytest.approx(rooms.FAR)


def test_a_person_is_found_where_it_stands():
    hidden = probability(lambda g: ~((g[:, 0] > 2.0) & (np.abs(g[:, 1]) < 0.3 * g[:, 0] / 2.0)), RoomClass.PERSON)  # by 0.6 m of person
    picture = np.zeros((rooms.HEIGHT, rooms.WIDTH, 3), np.uint8)
    found = rooms.percept(hidden, picture, 1.0, WALKER).objects
    assert len(found) >= 1 and found[0].kind == Kind.PERSON  # the wedge's ragged edge may give another, further off
    found = sorted(found, key=lambda one: one.distance)
    assert found[0].position == pytest.approx([2.1, 0.0], abs=0.3)


@pytest.mark.skipif(not rooms.WEIGHTS.is_file(), reason="no weights of rooms")
def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="320x240"):
        rooms.RoomEyes().perceive(Frame(0.0, "head", np.zeros((10, 10, 3), np.uint8)), CAMERA, None, CAMERA)
