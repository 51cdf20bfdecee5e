"""What is hidden can't be read any more, what isn't stays as it was, and who was missed for a moment or not understood is hidden too."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import CameraModel, Detection, Kind, Percept, SceneClass, Track, World
from nanopilot.perception.runtime import canonical
from nanopilot.watch.blur import SQUARES, areas, hidden

CAMERA = CameraModel("front", 960, 540, 800.0, 800.0, 479.5, 269.5, x=1.3, z=1.4)
PLATE = "NP 2026 X"


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (540, 960, 3), np.uint8)


def percept(*objects: Detection, scene=None, valid: bool = True) -> Percept:
    scene = np.zeros((64, 108), np.uint8) if scene is None else scene
    return Percept(0.0, "front", (), None, objects, scene, np.zeros(108, np.float32), 0.9, valid)


def thing(kind: Kind, box) -> Detection:
    return Detection(kind, 0.9, np.array(box, np.float32), np.array([9, 0], np.float32), 0.0, 4.5, 1.8, 8.0, 0.5, 0.01)


def world(*tracks: Track) -> World:
    none = np.zeros((0, 2))
    return World(0.0, 9.0, 0.0, 0.0, None, None, None, 3.5, 0.0, 0.0, tracks, none, 1.0, "straight", 0.0, 0.0, 0.0, 1.0, 0.0)


def readable(before: np.ndarray, after: np.ndarray) -> float:
    """Correlation of the one with the other."""
    a, b = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(float) for i in (before, after))
    return abs(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))


def test_a_number_plate_can_not_be_read_and_the_rest_is_as_it_was(image):
    box = (300, 200, 600, 420)
    cv2.rectangle(image, (400, 330), (500, 354), (250, 250, 250), -1)
    cv2.putText(image, PLATE, (404, 349), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (10, 10, 10), 2)
    out = hidden(image, CAMERA, percept(thing(Kind.VEHICLE, box)), None)
    plate = slice(330, 354), slice(400, 500)
    template = image[plate]
    assert cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED).max() > 0.999
    assert cv2.matchTemplate(out, template, cv2.TM_CCOEFF_NORMED).max() < 0.5
    assert len(np.unique(out[plate].reshape(-1, 3), axis=0)) <= 10  # squares of 32 px
    np.testing.assert_array_equal(out[:220], image[:220])
    np.testing.assert_array_equal(out[:, 660:], image[:, 660:])
    assert out is not image and image[plate].std() > 50  # the picture itself is not touched


@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.CYCLIST])
def test_heads_are_hidden_and_legs_are_not(image, kind):
    out = hidden(image, CAMERA, percept(thing(kind, (450, 100, 550, 400))), None)
    assert readable(image[100:160, 450:550], out[100:160, 450:550]) < 0.2
    np.testing.assert_array_equal(out[300:], image[300:])


def test_who_was_missed_in_this_frame_is_hidden_where_its_track_is(image):
    track = Track(1, Kind.PERSON, 8.0, 1.0, 1.57, 0.0, 1.0, 0.0, 0.0, 0.3, 0.5, 0.6, 0.6, 2.0, 0.4, 0.8)
    out = hidden(image, CAMERA, percept(), world(track))
    u, v = image_from_vehicle(CAMERA, np.array([[8.0, 1.0, 1.65]]))[0][0].round().astype(int)
    assert readable(image[v - 12 : v + 12, u - 10 : u + 10], out[v - 12 : v + 12, u - 10 : u + 10]) < 0.3
    assert not np.array_equal(out[v, u], image[v, u])
    behind = replace(track, x=-5.0)
    np.testing.assert_array_equal(hidden(image, CAMERA, percept(), world(behind)), image)
    assert list(areas(CAMERA, percept(), world(behind))) == []


@pytest.mark.parametrize("pitch", [0.0, 0.06])
def test_what_the_scene_calls_a_person_is_hidden_where_the_camera_sees_it(image, pitch):
    camera = replace(CAMERA, pitch=pitch)
    seen = canonical(camera)
    place = np.array([[10.0, -1.5, 0.9]])
    (cell,), _ = image_from_vehicle(seen, place)
    scene = np.zeros((seen.height // 4, seen.width // 4), np.uint8)
    scene[int((cell[1] + 0.5) / 4), int((cell[0] + 0.5) / 4)] = SceneClass.PERSON
    out = hidden(image, camera, percept(scene=scene), None)
    (pixel,), _ = image_from_vehicle(camera, place)
    changed = np.argwhere((out != image).any(2))[:, ::-1]
    np.testing.assert_allclose((changed.min(0) + changed.max(0)) / 2, pixel, atol=6)
    assert 15 < np.ptp(changed[:, 0]) < 60


@pytest.mark.parametrize("seen", [None, percept(valid=False)], ids=["failed", "unusable"])
def test_a_picture_that_was_not_understood_is_hidden_whole(image, seen):
    out = hidden(image, CAMERA, seen, None)
    assert len(np.unique(out.reshape(-1, 3), axis=0)) <= SQUARES * 17 and readable(image, out) < 0.1
