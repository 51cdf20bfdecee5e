"""Signs and lights are cut out of the camera's own picture where the scene shows them, and read."""

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_image
from nanopilot.messages import CameraModel, Light, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.roadside import RoadsideConfig, read_roadside
from nanopilot.perception.runtime import canonical
from nanopilot.perception.signals import SIGNS, Reader, Reading

CAMERA = CameraModel("dash", 1280, 720, 1000.0, 1000.0, 639.5, 330.0, pitch=0.02, roll=0.03)
SEEN = canonical(CAMERA)


class Fixed:
    """A reader that keeps what it was shown and always says the same."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.crops = reading, []

    def read(self, crops):
        self.crops += crops
        return [self.reading] * len(crops)


def scene_with(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A scene whose sign class covers a box of the camera's picture."""
    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    cv2.rectangle(mask, tuple(map(int, low)), tuple(map(int, high)), 255, -1)
    small = cv2.warpPerspective(mask, image_from_image(SEEN, CAMERA), (SEEN.width, SEEN.height))
    s = heads.SCENE_STRIDE
    cells = small.reshape(SEEN.height // s, s, SEEN.width // s, s).mean((1, 3)) > 127
    return np.where(cells, SceneClass.SIGN, SceneClass.SKY).astype(np.uint8)


def test_a_patch_is_cut_where_the_camera_saw_it() -> None:
    picture = np.full((720, 1280, 3), 40, np.uint8)
    picture[150:230, 900:980] = (200, 30, 30)
    reader = Fixed(Reading(SIGNS.index("speed limit 50"), 0.9, None, 0.1))
    signs, lights = read_roadside(scene_with((900, 150), (980, 230)), picture, CAMERA, SEEN, reader)
    (crop,) = reader.crops
    assert (crop[..., 0] == 200).mean() > 0.5 and (crop[..., 0] == 200).sum() > 0.7 * 80 * 80  # most of it, and little else
    assert [s.name for s in signs] == ["speed limit 50"] and lights == ()
    assert signs[0].speed_limit == pytest.approx(50 / 3.6)


def test_what_is_too_small_or_unread_is_not_told() -> None:
    picture = np.full((720, 1280, 3), 40, np.uint8)
    reader = Fixed(Reading(None, 0.2, Light.OFF, 0.9))
    assert read_roadside(scene_with((900, 150), (980, 230)), picture, CAMERA, SEEN, reader) == ((), ())
    assert len(reader.crops) == 1
    tiny = np.full((64, 128), SceneClass.SKY, np.uint8)
    tiny[10, 10:12] = SceneClass.SIGN
    read_roadside(tiny, picture, CAMERA, SEEN, reader)
    assert len(reader.crops) == 1


def test_no_more_patches_are_read_than_allowed() -> None:
    scene = np.full((64, 128), SceneClass.SKY, np.uint8)
    for k in range(10):
        scene[10:16, 12 * k + 9 : 12 * k + 15] = SceneClass.SIGN
    reader = Fixed(Reading(None, 0.0, None, 0.0))
    read_roadside(scene, np.zeros((720, 1280, 3), np.uint8), CAMERA, SEEN, reader, RoadsideConfig(most=2))
    assert len(reader.crops) == 2


@pytest.mark.parametrize(("state", "colour", "lamp"), [(Light.RED, (235, 40, 30), 0), (Light.GREEN, (40, 230, 130), 2)])
def test_a_lit_lamp_in_an_upright_housing_is_a_light(state: Light, colour: tuple, lamp: int) -> None:
    picture = np.full((720, 1280, 3), 150, np.uint8)
    picture[100:220, 600:650] = 25
    cv2.circle(picture, (625, 122 + 38 * lamp), 15, colour, -1, cv2.LINE_AA)
    picture = cv2.GaussianBlur(picture, (0, 0), 1.5)
    signs, lights = read_roadside(scene_with((602, 102), (648, 218)), picture, CAMERA, SEEN, Reader())
    assert [light.state for light in lights] == [state] and signs == ()
