"""Cameras that look aside: the same network, turned; who is where, and who is left to the front camera."""

from dataclasses import replace

import numpy as np
import pytest
from test_decode import empty, place

from nanopilot.geometry import image_from_vehicle, looks_aside, model_camera, narrow_camera, parent_from_child, rear_camera, side_camera
from nanopilot.messages import Detection, Frame, Kind
from nanopilot.perception import Config, Network, decode
from nanopilot.perception.around import FAR, LONGEST, REACH, Around, horizon_as_learnt
from nanopilot.perception.decode import objects
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.lanemap import LanePath
from nanopilot.sim.scene import Actor, Scene, StaticScene, Surface
from nanopilot.train.frames import View, object_rows

LEFT, RIGHT, REAR, FRONT, NARROW = side_camera("left"), side_camera("right"), rear_camera(), model_camera(), narrow_camera()


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
    (seen,) = objects(out, replace(FRONT, x=0.0), Config())
    (moved,) = objects(out, camera, Config())
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
    assert around(ahead, (Frame(0.2, "front", picture),), perceive) == ahead


def test_a_longer_lens_tells_who_is_far_ahead_where_it_looks():
    """Its own of those beyond FAR in its picture; the front camera's of those near, aside, or beyond what it may be believed of."""
    ahead = decode(empty(), 0.0, FRONT, "front", Config())
    near, aside, doubled, beyond = seen_at(10.0, 0.0), seen_at(30.0, 20.0), seen_at(42.0, 0.5), seen_at(REACH + 5.0, -40.0)
    far, too_near, cut = seen_at(40.0, 0.0), seen_at(FAR - 1.0, 1.0), seen_at(30.0, 9.5)
    box = np.array([300.0, 150.0, 330.0, 180.0], np.float32)
    far = replace(far, box=box)

    def perceive(frame, camera, route, path):
        assert camera.name == NARROW.name and camera.fx == NARROW.fx
        return replace(ahead, objects=(far, too_near, cut))

    around = Around((FRONT, NARROW))
    picture = np.zeros((256, 512, 3), np.uint8)
    frames = (Frame(0.0, "front", picture), Frame(0.0, "narrow", picture))
    _, levelled = horizon_as_learnt(frames[1], NARROW)
    told = around(replace(ahead, objects=(near, aside, doubled, beyond)), frames, perceive)
    places = sorted(tuple(o.position) for o in told.objects)
    assert places == [(10.0, 0.0), (30.0, 20.0), (40.0, 0.0)] and told.sides == ()
    moved = next(o for o in told.objects if o.position[0] == 40.0).box
    np.testing.assert_allclose(moved[2:] - moved[:2], (box[2:] - box[:2]) / 3, atol=1e-3)
    np.testing.assert_allclose(moved[:2], ((300 - FRONT.cx) / 3 + FRONT.cx, (150 - levelled.cy) / 3 + FRONT.cy), atol=1e-3)
    late = (frames[0], Frame(0.1, "narrow", picture))
    assert around(replace(ahead, objects=(doubled,)), late, perceive).objects == (doubled,)
    assert around(replace(ahead, valid=False), frames, perceive).objects == ()


def test_people_are_left_to_the_longer_lens_from_nearer_on_but_not_those_whose_feet_it_cuts():
    """Feet at a row of the picture as learnt: on the road 12 m ahead they are in it; lower than it goes somebody is the front camera's."""
    ahead = decode(empty(), 0.0, FRONT, "front", Config())
    picture = np.zeros((256, 512, 3), np.uint8)
    frames = (Frame(0.0, "front", picture), Frame(0.0, "narrow", picture))
    end = 256 - round(NARROW.cy - FRONT.cy)  # rows of it that have anything to see
    whole, cut = (
        replace(seen_at(12.0, 0.0), kind=Kind.PERSON, box=np.array([250, 100, 280, bottom], np.float32)) for bottom in (end - 10, end - 4)
    )
    for seen, kept in (
        (whole, 1),
        (cut, 0),
        (replace(whole, kind=Kind.VEHICLE), 0),
        (replace(cut, kind=Kind.VEHICLE, position=np.array([40.0, 0.0], np.float32), distance=38.7), 1),
    ):
        told = Around((FRONT, NARROW))(ahead, frames, lambda *_, seen=seen: replace(ahead, objects=(seen,)))
        assert len(told.objects) == kept


@pytest.mark.parametrize("height", [0.25, 0.375, 0.6])
def test_a_longer_lens_horizon_is_moved_to_where_it_was_learnt_and_the_road_with_it(height):
    camera = replace(NARROW, cy=height * NARROW.height - 0.5)
    (pixel,), _ = image_from_vehicle(camera, np.array([[40.0, 1.0, 0.0]]))
    picture = np.zeros((256, 512, 3), np.uint8)
    picture[round(pixel[1]), round(pixel[0])] = 255
    frame, moved = horizon_as_learnt(Frame(0.0, "narrow", picture), camera)
    assert abs(moved.cy - FRONT.cy) <= 0.5 and frame.image.shape == picture.shape
    (again,), _ = image_from_vehicle(moved, np.array([[40.0, 1.0, 0.0]]))
    assert frame.image[round(again[1]), round(again[0])].all() and frame.image.astype(bool).sum() == 3


@pytest.mark.parametrize("x, y, yaw", [(40.0, 0.0, 0.0), (30.0, 5.0, 0.3), (70.0, -6.0, 1.6), (26.0, 2.0, -0.5)])
def test_what_training_teaches_of_a_longer_lens_is_what_decoding_makes_of_it(x, y, yaw):
    picture = type("Render", (), {"instance": np.zeros((256, 512), np.int32)})()
    picture.instance[100:140, 200:260] = 7
    view = View((0.0, 0.0, 0.0), LanePath(np.zeros((2, 2)), np.zeros(2, int), {}))
    row = object_rows((Actor(7, "car", x, y, yaw, (4.5, 1.8, 1.5)),), picture, view, NARROW)[0]
    out = empty()
    place(out, row[6], row[7], row[8], 0.9)  # as the model camera would see it
    (found,) = objects(out, NARROW, Config())
    np.testing.assert_allclose(found.position, (x, y), atol=0.02)
    assert np.cos(found.yaw - yaw) == pytest.approx(1.0, abs=1e-3)
