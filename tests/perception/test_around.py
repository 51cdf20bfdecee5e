"""Cameras that look aside: the same network, turned; who is where, and who is left to the front camera."""

from dataclasses import replace

import numpy as np
import pytest
from test_decode import empty, place

from nanopilot.geometry import image_from_vehicle, looks_aside, model_camera, parent_from_child, rear_camera, side_camera
from nanopilot.messages import Detection, Frame, Kind
from nanopilot.perception import Config, Network, decode
from nanopilot.perception.around import LONGEST, Around
from nanopilot.perception.decode import objects
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.scene import Actor, Scene, StaticScene, Surface

LEFT, RIGHT, REAR, FRONT = side_camera("left"), side_camera("right"), rear_camera(), model_camera()


def test_side_cameras_see_to_their_side_and_behind_the_front_cameras_edge():
    assert looks_aside(LEFT) and looks_aside(RIGHT) and not looks_aside(replace(FRONT, yaw=0.1))
    for camera, side in ((LEFT, 1), (RIGHT, -1)):
        for bearing, inside in ((40, True), (80, True), (120, True), (30, False), (130, False)):
            at = np.deg2rad(side * bearing)
            (pixel,), (depth,) = image_from_vehicle(camera, np.array([[camera.x + 20 * np.cos(at), camera.y + 20 * np.sin(at), 1.4]]))
            assert (depth > 0 and 0 <= pixel[0] < camera.width) == inside


@pytest.mark.parametrize("camera", [LEFT, RIGHT, REAR])
def test_what_a_turned_camera_sees_is_turned(camera):
    """The same tensors through a camera at the origin and through a turned one: the one is the other, moved."""
    out = empty()
    place(out, 14.0, 3.0, 0.4, 0.9)
    (seen,) = objects(out["heat"], out["box"], replace(FRONT, x=0.0), Config())
    (moved,) = objects(out["heat"], out["box"], camera, Config())
    np.testing.assert_allclose(moved.position, parent_from_child(seen.position, camera.x, camera.y, camera.yaw), atol=1e-3)
    assert np.cos(moved.yaw - seen.yaw - camera.yaw) == pytest.approx(1.0)
    assert moved.distance == pytest.approx(seen.distance) and moved.distance_std == pytest.approx(seen.distance_std)
    told = decode(out, 0.0, camera, camera.name, Config())
    assert told.valid and len(told.objects) == 1 and not told.lanes and told.path is None and not told.edges


@pytest.mark.parametrize("x, y", [(4.0, 12.0), (-3.0, 16.0), (12.0, 18.0)])
@pytest.mark.parametrize("camera, side", [(LEFT, 1), (RIGHT, -1)])
def test_the_network_sees_who_comes_from_the_side(camera, side, x, y):
    np.testing.assert_allclose(surest(camera, x, side * y, -side * np.pi / 2).position, (x, side * y), atol=1.5)


@pytest.mark.parametrize("x, y", [(-10.0, 0.0), (-18.0, 3.5), (-30.0, -3.5)])
def test_the_network_sees_who_comes_from_behind(x, y):
    told = surest(REAR, x, y, 0.0).position
    assert told[0] == pytest.approx(x, rel=0.15) and told[1] == pytest.approx(y, abs=1.0)


def surest(camera, x: float, y: float, yaw: float) -> Detection:
    """Of a car drawn by our own camera at a known place."""
    road = Surface("road", np.array([(-60.0, -60.0), (60.0, -60.0), (60.0, 60.0), (-60.0, 60.0)]))
    eye = CpuCamera(StaticScene((road,), (), ()), Appearance.clear_day())
    scene = Scene(eye.static, (Actor(1, "car", x, y, yaw, (4.5, 1.9, 1.5)),), t=0.0)
    frame = Frame(0.0, camera.name, eye.render(scene, camera, (0.0, 0.0, 0.0), labels=False).rgb)
    found = max(Network().perceive(frame, camera, None, None).objects, key=lambda o: o.score)
    assert found.kind == Kind.VEHICLE
    return found


def seen_at(x: float, y: float) -> Detection:
    return Detection(Kind.VEHICLE, 0.9, np.zeros(4, np.float32), np.array([x, y], np.float32), 0.0, 4.5, 1.8, np.hypot(x, y), 0.5, 0.01)


def test_sides_are_added_and_what_the_front_camera_sees_is_left_to_it():
    ahead = decode(empty(), 0.0, FRONT, "front", Config())
    beside, before = seen_at(2.0, 9.0), seen_at(20.0, 9.0)

    def perceive(frame, camera, route, path):
        assert camera is LEFT and route is None and path is None
        return replace(ahead, objects=(beside, before))

    around = Around((FRONT, LEFT, RIGHT))
    picture = np.zeros((256, 512, 3), np.uint8)
    first = around(ahead, (Frame(0.0, "front", picture), Frame(0.0, "left", picture)), perceive)
    (view,) = first.sides
    assert view.objects == (beside,) and view.camera == "left" and view.yaw == LEFT.yaw and view.since == LONGEST
    (view,) = around(ahead, (Frame(0.1, "front", picture), Frame(0.1, "left", picture)), perceive).sides
    assert view.since == pytest.approx(0.1)
    assert around(ahead, (Frame(0.2, "front", picture),), perceive) is ahead
