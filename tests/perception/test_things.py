"""A table and a box drawn by projecting their corners, then read back in metres; colours against their names."""

import colorsys

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import CameraModel, Reach, RoomClass
from nanopilot.perception import things

CAMERA = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.3, pitch=0.52)


def drawn(scene, x, y, z, yaw, half, label):
    """The silhouette of a block whose front's foot is at (x, y, z) and looks along yaw, into the scene."""
    c, s = np.cos(yaw), np.sin(yaw)
    signs = np.array([(a, b, h) for a in (-2, 0) for b in (-1, 1) for h in (0, 2)])
    local = signs * half
    corners = np.stack([x + c * local[:, 0] - s * local[:, 1], y + s * local[:, 0] + c * local[:, 1], z + local[:, 2]], -1)
    pixels, _ = image_from_vehicle(CAMERA, corners)
    cells = np.round((pixels + 0.5) * scene.shape[1] / CAMERA.width - 0.5).astype(np.int32)
    cv2.fillConvexPoly(scene, cv2.convexHull(cells), int(label))


def room(distance=1.2, yaw=np.pi, aside=0.1):
    """A table whose base begins at `distance`, and a box that begins 7 cm before it, on the top's edge."""
    scene = np.full((72, 96), RoomClass.OBSTACLE, np.uint8)
    drawn(scene, 4.0, 0.0, 0.0, np.pi, (0.01, 4.0, -5.0), RoomClass.FLOOR)
    scene[18:] = RoomClass.FLOOR
    drawn(scene, distance, 0.0, 0.0, yaw, (0.2, 0.35, 0.37), RoomClass.TABLE)
    drawn(scene, distance - 0.07, aside, things.TABLE_HEIGHT, yaw, (0.1, 0.12, 0.1), RoomClass.BOX)
    return scene


def test_a_table_and_a_box_are_where_they_stand():
    found = {one.kind: one for one in things.things(room(), np.full((144, 192, 3), (200, 30, 30), np.uint8), CAMERA)}
    table, box = found["table"], found["box"]
    assert (table.x, table.y) == pytest.approx((1.2, 0.0), abs=0.06)
    assert (box.x, box.y) == pytest.approx((1.13, 0.1), abs=0.04)
    assert abs(abs(table.yaw) - np.pi) < 0.1 and box.colour == "red"
    assert table.width == pytest.approx(0.7, abs=0.1)


def test_a_look_from_twice_as_far_counts_a_sixteenth():
    picture = np.full((144, 192, 3), (200, 30, 30), np.uint8)
    near, far = (next(k.weight for k in things.things(room(d), picture, CAMERA) if k.kind == "table") for d in (1.3, 2.6))
    assert near / far == pytest.approx(16.0, rel=0.4)  # places err by some cells


def test_two_tables_in_one_piece_are_not_one_long_front():
    scene = np.full((72, 96), RoomClass.FLOOR, np.uint8)
    drawn(scene, 1.4, 0.8, 0.0, -np.pi / 2, (0.2, 0.35, 0.37), RoomClass.TABLE)  # both along the wall to the left, fronts in one line
    drawn(scene, 3.0, 0.8, 0.0, -np.pi / 2, (0.2, 0.35, 0.37), RoomClass.TABLE)
    assert cv2.connectedComponents((scene == RoomClass.TABLE).astype(np.uint8))[0] == 2  # one piece, and what is not
    for one in things.things(scene, np.full((144, 192, 3), (200, 30, 30), np.uint8), CAMERA):
        assert one.width < 0.9 and min(np.hypot(one.x - x, one.y - 0.8) for x in (1.4, 3.0)) < 0.2


def test_nothing_is_found_where_nothing_is():
    scene = np.full((72, 96), RoomClass.FLOOR, np.uint8)
    assert things.things(scene, np.zeros((144, 192, 3), np.uint8), CAMERA) == ()


@pytest.mark.parametrize(("name", "hue"), [("red", 355), ("red", 10), ("yellow", 55), ("green", 120), ("blue", 220), ("blue", 240)])
def test_hues_have_the_names_that_people_give_them(name, hue):
    rgb = (255 * np.array(colorsys.hsv_to_rgb(hue / 360, 0.8, 0.7))).astype(np.uint8)
    image = np.broadcast_to(rgb, (144, 192, 3)).copy()
    assert things.colour(image, np.ones((72, 96), bool)) == name


def test_grey_has_no_hue():
    assert things.colour(np.full((144, 192, 3), 120, np.uint8), np.ones((72, 96), bool)) == "pale"


def test_what_closed_palms_hold_is_masked_and_what_open_ones_do_not_is_not():
    closed = Reach((0.35, 0.13, 0.9), (0.35, -0.13, 0.9))
    mask = things.held(closed, CAMERA, (72, 96))
    pixels, _ = image_from_vehicle(CAMERA, np.array([[0.35, 0.0, 0.9]]))
    u, v = ((pixels[0] + 0.5) * 96 / 320 - 0.5).astype(int)
    assert mask[v, u] and not mask[:20].any()
    assert things.held(Reach((0.35, 0.24, 0.9), (0.35, -0.24, 0.9)), CAMERA, (72, 96)) is None


@pytest.mark.parametrize(("turned", "seen"), [(0.0, True), (0.9, True), (1.4, False)])
def test_a_front_seen_from_beside_tells_nothing(turned, seen):
    scene = np.full((72, 96), RoomClass.FLOOR, np.uint8)
    foot = things.road_from_image(CAMERA, np.array([[160.0, 150.0]]))[0]
    points = foot + np.linspace(-0.3, 0.3, 20)[:, None] * np.array([np.sin(turned), np.cos(turned)])
    assert (things._thing("table", points, False, "red", 0.0) is not None) == seen and scene.any()
