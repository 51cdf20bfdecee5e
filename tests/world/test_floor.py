"""Place and yaw by the floor's pattern: pictures of a floor drawn at random, from where a robot truly is, while its legs tell it wrong."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from nanopilot.geometry import camera_from_vehicle, child_from_parent, intrinsics, parent_from_child, rotation_2d
from nanopilot.messages import CameraModel, WalkerState
from nanopilot.world import floor

CAMERA = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.25, pitch=0.52)
CONFIG = floor.Config()
CELL = 0.01  # m, of the floor below


def pattern(seed, contrast=40.0):
    """A floor of 16 by 16 m with its origin in the middle."""
    blurred = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (1600, 1600, 3)).astype(np.float32), (0, 0), 5)
    return np.clip(120 + contrast * blurred / blurred.std(), 0, 255).astype(np.uint8)


def picture(ground, pose, camera=CAMERA):
    """What the camera of a robot at `pose` sees of the floor; grey above the horizon."""
    r, t = camera_from_vehicle(camera)
    vehicle = np.eye(3)
    vehicle[:2, :2], vehicle[:2, 2] = rotation_2d(-pose[2]), child_from_parent(np.zeros(2), *pose)
    cell = np.array([[CELL, 0, -8.0], [0, CELL, -8.0], [0, 0, 1]])
    image = cv2.warpPerspective(ground, intrinsics(camera) @ np.column_stack([r[:, 0], r[:, 1], t]) @ vehicle @ cell, (320, 240))
    image[:60] = 128
    return image


def shown(rows=72):
    """Cells that show floor: below the horizon."""
    cells = np.zeros((72, 96), bool)
    cells[22:rows] = True
    return cells


def walker(t, pose, camera=CAMERA):
    return WalkerState(t, *pose, 0.0, 0.0, 0.78, 0.0, 0.0, 0.0, camera, np.zeros(29))


def walk(ground, told, seconds=12.0, camera_told=lambda t: CAMERA, seen=shown, lose=()):
    """Errors (m, rad) of the place by the floor and of the legs' own, after a walk round a bend of which the legs tell `told(pose, t)`."""
    state = floor.initial(CONFIG)
    for k in range(int(seconds * 5)):
        t = k / 5
        pose = (0.5 * t, 0.03 * t * t, 0.06 * 2 * t)
        image = None if any(a <= t < b for a, b in lose) else picture(ground, pose)
        state = floor.step(state, walker(t, told(pose, t), camera_told(t)), image, None if image is None else seen(), CONFIG)
    legs = np.array(told(pose, t)) - pose
    off = np.array(state.pose) - pose
    return (float(np.hypot(*off[:2])), abs(float(off[2]))), (float(np.hypot(*legs[:2])), abs(float(legs[2])))


def long(pose, t):
    """Legs that tell every way 4 % too long, and turn by 1.5 degrees in ten seconds."""
    return parent_from_child(np.array([[1.04 * pose[0], 1.04 * pose[1]]]), 0, 0, 0.0)[0].tolist() + [pose[2] + 0.0026 * t]


@pytest.mark.parametrize("contrast", [40.0, 5.0])
def test_the_pattern_corrects_what_legs_tell_wrong(contrast):
    (place, yaw), (legs, legs_yaw) = walk(pattern(1, contrast), long)
    assert legs > 0.25 and legs_yaw > 0.03
    assert place < legs / 3 and yaw < 0.8 * legs_yaw


def test_a_floor_without_pattern_leaves_dead_reckoning_as_it_is():
    (place, yaw), (legs, legs_yaw) = walk(np.full((1600, 1600, 3), 90, np.uint8), long)
    assert place == pytest.approx(legs, abs=1e-6) and yaw == pytest.approx(legs_yaw, abs=1e-6)


def test_a_push_is_believed_after_a_moment():
    """At 6 s the feet slide by 0.12 m aside and the legs don't notice."""
    (place, yaw), (legs, _) = walk(pattern(2), lambda pose, t: (pose[0], pose[1] - 0.12 * (t > 6), pose[2]))
    assert legs == pytest.approx(0.12) and place < 0.03 and yaw < 0.01


def test_without_pictures_for_a_while_it_goes_on_by_its_legs_and_finds_back():
    (place, _), (legs, _) = walk(pattern(3), long, lose=((5.0, 7.0),))
    assert place < legs / 3


def test_a_tilt_that_the_imu_tells_wrong_does_not_push_it_away():
    """The camera is told up to 5 mrad too low, now and then, while legs are right."""
    (place, yaw), _ = walk(pattern(4), lambda pose, t: pose, camera_told=lambda t: replace(CAMERA, pitch=0.52 + 0.005 * np.sin(t)))
    assert place < 0.04 and yaw < 0.01


def test_what_is_no_floor_is_not_looked_at():
    """The lower half of the pictures is somebody's moving coat."""
    ground, coat, state = pattern(5), pattern(6), floor.initial(CONFIG)
    for k in range(40):
        pose = (0.1 * k, 0.0, 0.0)
        image = picture(ground, pose)
        image[150:] = coat[10 * k : 10 * k + 90, :320]
        state = floor.step(state, walker(k / 5, (1.05 * pose[0], 0.0, 0.0)), image, shown(45), CONFIG)
    assert abs(state.pose[0] - pose[0]) < 0.1 < 0.05 * pose[0]


def test_what_contradicts_is_not_drawn():
    ground, state = pattern(7), floor.initial(CONFIG)
    for k in range(5):
        state = floor.step(state, walker(k / 5, (0.0, 0.0, 0.0)), picture(ground, (0.0, 0.0, 0.0)), shown(), CONFIG)
    moved = floor.step(state, walker(1.0, (0.0, 0.0, 0.0)), picture(ground, (0.06, 0.05, 0.0)), shown(), CONFIG)
    assert moved.contradicted == 1 and moved.pose == state.pose
    assert np.array_equal(moved.image, state.image) and np.array_equal(moved.distance, state.distance)


def test_walls_of_the_map_end_it_and_nothing_breaks():
    ground, state = pattern(8), floor.initial(CONFIG)
    for k in range(5):
        pose = (11.0 + 0.5 * k, 0.0, 0.0)
        state = floor.step(state, walker(k / 5, pose), picture(ground, (0.0, 0.0, 0.0)), shown(), CONFIG)
    assert state.pose == pytest.approx(pose)
