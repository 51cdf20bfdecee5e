"""Boxes stretched to the body the scene shows: made-up scenes whose right answers are plain."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import Detection, Kind, SceneClass
from nanopilot.perception.feet import FeetConfig, on_their_feet

CAMERA, CONFIG = model_camera(), FeetConfig()


def upright(x: float, y: float = 0.0, height: float = 1.75, width: float = 0.6) -> np.ndarray:
    """The box (left, top, right, bottom) of somebody standing at `x`, `y`."""
    corners, _ = image_from_vehicle(CAMERA, np.array([[x, y + width / 2, height], [x, y - width / 2, 0.0]]))
    return np.array([*corners[0], *corners[1]], np.float32)


def detection(box: np.ndarray, distance: float, kind: Kind = Kind.PERSON, score: float = 0.8) -> Detection:
    place = np.array([CAMERA.x + distance, 0.0], np.float32)
    return Detection(kind, score, box, place, 0.0, 0.5, 0.5, distance, 1.0, 0.02)


def scene(*boxes: np.ndarray, kind: int = SceneClass.PERSON) -> np.ndarray:
    out = np.full((CAMERA.height // 4, CAMERA.width // 4), SceneClass.ROAD, np.uint8)
    for box in boxes:
        left, top, right, bottom = np.round(box / 4).astype(int)
        out[top:bottom, left:right] = kind
    return out


def half(box: np.ndarray) -> np.ndarray:
    return np.array([box[0], box[1], box[2], (box[1] + box[3]) / 2], np.float32)


@pytest.mark.parametrize("kind", [SceneClass.PERSON, SceneClass.CYCLIST])
@pytest.mark.parametrize("x", [5.0, 6.0, 7.5])
def test_a_box_to_the_waist_is_stretched_to_the_feet(x, kind):
    body = upright(x)
    (told,) = on_their_feet((detection(half(body), 2 * x),), scene(body, kind=kind), CAMERA, CONFIG)
    assert told.box == pytest.approx(body, abs=4.0)
    assert abs(told.distance - (x - CAMERA.x)) < 2 * told.distance_std and told.position[0] == pytest.approx(x, rel=0.12)


def test_what_is_whole_hidden_or_on_wheels_stays_as_it_is():
    body = upright(8.0)
    whole, car = detection(body, 6.7), detection(half(body), 16.0, Kind.VEHICLE)
    assert on_their_feet((whole,), scene(body), CAMERA, CONFIG) == (whole,)
    assert on_their_feet((car,), scene(body), CAMERA, CONFIG) == (car,)
    hidden = detection(half(body), 16.0)
    assert on_their_feet((hidden,), scene(half(body)), CAMERA, CONFIG) == (hidden,)
    assert on_their_feet((hidden,), scene(), CAMERA, CONFIG) == (hidden,)


def test_far_away_a_row_is_too_coarse():
    body = upright(24.0)
    low = detection(body - np.array([0, 6, 0, 6], np.float32), 30.0)
    assert on_their_feet((low,), scene(body), CAMERA, CONFIG) == (low,)


def test_legs_below_a_gap_are_another_body():
    body, far = upright(8.0), upright(20.0)
    below = body.copy()
    below[1] = far[3] + 16.0
    d = detection(far, 18.7)
    assert on_their_feet((d,), scene(far, below), CAMERA, CONFIG) == (d,)


def test_somebody_who_is_told_himself_lends_nobody_his_legs():
    near, far = upright(7.0, -0.35), upright(20.0, 0.3)
    both = (detection(near, 5.7), detection(far, 18.7, score=0.6))
    told = on_their_feet(both, scene(near, far), CAMERA, CONFIG)
    assert {t.distance for t in told} <= {5.7, 18.7} and told[0] is both[0]


def test_a_box_within_a_body_is_a_part_of_it():
    body = upright(8.0)
    part = detection(half(body), 16.0, score=0.9)
    rider = detection(body, 6.7, Kind.CYCLIST, 0.6)
    assert on_their_feet((part, rider), scene(body), CAMERA, CONFIG) == (rider,)
    twin = replace(rider, score=0.5, box=rider.box + np.float32(1.0))
    assert on_their_feet((rider, twin), scene(body), CAMERA, CONFIG) == (rider,)


def test_nobody_in_the_picture():
    assert on_their_feet((), scene(), CAMERA, CONFIG) == ()
