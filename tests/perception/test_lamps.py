"""Lights and signs by their colour, on a drawn place whose posts are known, and on things that only look like lights."""

import cv2
import numpy as np
import pytest

from nanopilot.geometry import model_camera, narrow_camera
from nanopilot.messages import Frame, Light, Percept
from nanopilot.perception import lamps
from nanopilot.perception.signals import Reader
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.scene import Marking, Prop, Scene, StaticScene, Surface
from nanopilot.world.signals import SignalConfig, place

POST = 40.0  # m ahead of the rear axle


@pytest.fixture(scope="module")
def eye():
    road = Surface("road", np.array([(-10.0, -5.0), (120.0, -5.0), (120.0, 5.0), (-10.0, 5.0)]))
    props = (
        Prop("light", POST, -4.0, np.pi, (0.4, 0.4, 3.6), id=1),
        Prop("light", POST + 2, 4.0, 0.0, (0.4, 0.4, 3.6), id=2),  # turned away
        Prop("sign", POST - 20, -4.0, np.pi, (0.8, 0.8, 2.6), "stop_word"),
        Prop("building", 60.0, 20.0, 0.0, (12.0, 12.0, 8.0), "house"),
    )
    return CpuCamera(StaticScene((road,), (Marking(np.array([(0.0, 0.0), (100.0, 0.0)])),), props), Appearance.clear_day())


@pytest.fixture(scope="module")
def reader():
    return Reader()


def look(eye, camera, state: str, x: float = 0.0):
    lights = {1: state, 2: "red"}
    return eye.render(Scene(eye.static, (), lights, 0.0), camera, (x, 0.0, 0.0), labels=False).rgb


@pytest.mark.parametrize("state", ["red", "yellow", "green"])
def test_a_light_is_found_with_its_state_and_where_it_stands(eye, reader, state):
    for camera, x in ((narrow_camera(), 0.0), (narrow_camera(), 20.0), (model_camera(), 28.0)):
        _, (light,) = lamps.find(look(eye, camera, state, x), camera, reader)
        distance, left = place(light.box, 3.1, SignalConfig())
        assert light.state == Light(state)
        assert distance == pytest.approx(POST - x - camera.x, rel=0.1) and left == pytest.approx(-4.0, abs=0.5)


@pytest.mark.parametrize("to_line", [6.8, 6.2, 5.6])
def test_a_green_light_is_found_where_the_picture_cuts_its_housing(eye, reader, to_line):
    """As seen by who stands 3, 2.4 and 1.8 m before the line, beside which it stands."""
    _, (light,) = lamps.find(look(eye, model_camera(), "green", POST - SignalConfig().light_behind - to_line), model_camera(), reader)
    assert light.state == Light.GREEN
    distance, _ = place(light.box, 3.1, SignalConfig())
    assert distance + model_camera().x - SignalConfig().light_behind == pytest.approx(to_line, abs=0.3)


def test_lights_that_are_off_or_face_away_say_nothing(eye, reader):
    assert lamps.find(look(eye, narrow_camera(), "off"), narrow_camera(), reader)[1] == ()


def test_a_stop_sign_is_read(eye, reader):
    signs, _ = lamps.find(look(eye, narrow_camera(), "off", 2.0), narrow_camera(), reader)
    assert [s.name for s in signs] == ["stop"]


def test_brake_lights_and_a_red_ball_in_the_sky_are_no_lights(reader):
    camera = narrow_camera()
    image = np.full((camera.height, camera.width, 3), 200, np.uint8)
    cv2.circle(image, (250, 60), 6, (255, 20, 10), -1)  # in a bright sky: no housing
    cv2.circle(image, (250, 230), 6, (255, 20, 10), -1)  # below the horizon
    assert lamps.find(image, camera, reader)[1] == ()


def test_all_cameras_add_to_the_front_ones_percept(eye):
    cameras = (model_camera(), narrow_camera())
    frames = tuple(Frame(0.0, c.name, look(eye, c, "red")) for c in cameras)
    empty = Percept(0.0, "front", (), None, (), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 1.0, True)
    seen = lamps.Roadside()(empty, frames, cameras)
    assert {light.state for light in seen.lights} == {Light.RED}
