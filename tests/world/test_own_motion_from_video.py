"""Odometry and mounting against drawn roads of known motion, closed forms, and real frames where they are."""

import os
from dataclasses import replace
from math import radians, tan
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera, road_from_image
from nanopilot.messages import SPEED_KNOWN_STD, CameraModel, Frame, LaneLine, OwnMotion, speed_known
from nanopilot.sim import demo
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.world import mounting, odometry

KITTI = Path(os.environ.get("NANOPILOT_DATA", "../shared/data")) / "kitti_odometry" / "sequence_1"
CONFIG, MOUNTING = odometry.OdometryConfig(), mounting.MountingConfig()
HZ = 20


@pytest.fixture(scope="module")
def road() -> CpuCamera:
    return CpuCamera(demo.static_scene(), Appearance(seed=1))


def drive(road: CpuCamera, camera: CameraModel, speed: float, steps: int, start: float = 0.0, empty: bool = False):
    """OwnMotion at each frame of a drive along the demo's right lane, the camera being known."""
    state, told = odometry.initial(), []
    for k in range(steps):
        s, t = start + speed * k / HZ, k / HZ
        (x, y), heading = demo.beside(s, -1.75)[0], float(demo.centre(s)[1][0])
        scene = demo.scene(road.static, t)
        scene = replace(scene, actors=()) if empty else scene
        image = road.render(scene, camera, (float(x), float(y), heading), labels=False, speed=speed).rgb
        state, motion, _ = odometry.step(state, Frame(t, "front", image), camera, 0.0, CONFIG)
        told.append(motion)
    return told


@pytest.mark.parametrize("speed", [5.0, 12.0])
def test_speed_on_a_straight_drawn_road(road, speed):
    told = drive(road, replace(model_camera(), pitch=0.03), speed, 25, empty=True)[8:]
    assert np.median([abs(m.speed / speed - 1) for m in told]) < 0.05
    assert all(speed_known(m) and m.source == "video" for m in told)


def test_yaw_rate_in_a_drawn_curve(road):
    told = drive(road, model_camera(), 10.0, 30, start=demo.CURVE_START + 20, empty=True)[10:]
    assert np.median([m.yaw_rate for m in told]) == pytest.approx(10 / demo.CURVE_RADIUS, rel=0.2)


def test_standing_is_no_motion(road):
    told = drive(road, model_camera(), 0.0, 8, empty=True)
    assert told[-1].speed < 0.1 and told[-1].speed_std < 0.3


def test_a_picture_or_two_that_hold_still_are_no_standing():
    rng, state = np.random.default_rng(0), odometry.initial()
    image = cv2.GaussianBlur(rng.integers(0, 255, (288, 512, 3), np.uint8), (0, 0), 3)
    told = []
    for k in range(6):
        state, motion, _ = odometry.step(state, Frame(k / HZ, "front", image), model_camera(), 0.0, CONFIG)
        told.append(speed_known(motion))
    assert not any(told[:4]) and told[5] and state.speed == 0.0  # the third pair is the first to count, and two must agree


def test_only_who_stood_reverses(monkeypatch):
    """The road is fed in: 0.15 m back in 0.05 s, as falling rain feigns at night."""
    ground = np.random.default_rng(0).normal(0, 9, (1200, 96)).astype(np.float32)  # from 60 m on, towards us

    def road(image, camera, turn, start, end, config):
        first = round((60 - end) / config.cell) + (3 if image is None else 0)  # None: the new picture
        return ground[first : first + round((end - start) / config.cell)]

    monkeypatch.setattr(odometry, "_road", road)
    for state, reverses in ((odometry.initial(), False), (odometry.OdometryState(speed=15.0, var=0.5), False),
                            (odometry.OdometryState(speed=0.0, var=0.1), True)):  # fmt: skip
        way = odometry._travelled(replace(state, road=ground), None, model_camera(), np.eye(3), 5.0, 0.05, CONFIG)
        assert (way is not None) == reverses
        assert way is None or way[0] == pytest.approx(-0.15, abs=0.03)


def test_a_picture_without_texture_leaves_speed_unknown():
    state, camera = odometry.initial(), model_camera()
    for k in range(5):
        frame = Frame(k / HZ, "front", np.full((camera.height, camera.width, 3), 90, np.uint8))
        state, motion, direction = odometry.step(state, frame, camera, 0.0, CONFIG)
    assert motion.speed_std > SPEED_KNOWN_STD and direction is None


def test_an_unknown_speed_is_known_when_two_measurements_agree():
    def known(*speeds):
        state = odometry.initial()
        for k, speed in enumerate(speeds):
            state = odometry._corrected(state, k / HZ, speed, 0.5, CONFIG)
        return speed_known(odometry._told(state, model_camera(), 0.0, CONFIG)), state.speed

    assert not known(0.0)[0] and not known(0.0, 12.0)[0] and not known(12.0, 0.0, 12.0)[0]
    assert known(0.0, 12.0, 12.4) == (True, pytest.approx(12.4, abs=0.1))


def test_a_doubtful_pitch_makes_speed_doubtful(road):
    state, camera = odometry.OdometryState(t=0.0, speed=20.0, var=0.01, matched=0.0), model_camera()
    sure, unsure = (odometry._told(state, camera, std, CONFIG).speed_std for std in (0.0, radians(2)))
    assert sure < 1.0 and unsure > SPEED_KNOWN_STD


def lines(camera: CameraModel, true: CameraModel) -> tuple[LaneLine, ...]:
    """A straight lane's lines as `true` sees them and `camera` lifts them."""
    out = []
    for side, y in ((-1, 1.75), (1, -1.75)):
        x = 1.4 * 256 / np.linspace(160, 12, 38)  # as rows of the picture
        pixels, _ = image_from_vehicle(true, np.stack([x, np.full_like(x, y), 0 * x], -1))
        points = road_from_image(camera, pixels).astype(np.float32)
        points = points[np.isfinite(points).all(1)]
        out.append(LaneLine(side, 0.9, pixels.astype(np.float32), points, np.full(38, 0.05, np.float32)))
    return tuple(out)


@pytest.mark.parametrize("pitch, yaw", [(2.0, 0.0), (-1.5, 1.0), (0.5, -2.0)])
def test_the_mounting_is_found_from_lane_lines(pitch, yaw):
    camera, going = replace(model_camera(), z=1.3), OwnMotion(0.0, 15.0, 0.5, 0.0, 0.01, "csv")
    true = replace(camera, pitch=radians(pitch), yaw=radians(yaw))
    state = mounting.initial(camera, MOUNTING)
    progress = []
    for k in range(400):
        state, told = mounting.step(state, k / HZ, camera, lines(camera, true), None, going, MOUNTING)
        state, camera = mounting.turned(state, camera, MOUNTING)
        progress.append(told.progress)
    assert np.degrees([camera.pitch, camera.yaw]) == pytest.approx([pitch, yaw], abs=0.2)
    assert told.valid and progress[10] < 0.5 and (np.diff(progress) >= -1e-3).all()


def test_the_vanishing_point_is_where_the_road_goes():
    camera = model_camera()
    true = replace(camera, pitch=radians(1.0), yaw=radians(-0.5))
    right, down = mounting.vanishing_point(lines(camera, true), camera, MOUNTING)
    assert (right, down) == pytest.approx((-tan(radians(0.5)), -tan(radians(1.0))), abs=2e-3)
    assert mounting.vanishing_point(lines(camera, true)[:1], camera, MOUNTING) is None


@pytest.mark.parametrize("later", [0.15, 0.07])  # wildly otherwise than before, and just to one side
def test_the_mounting_is_found_from_the_direction_of_travel_and_a_moved_camera_begins_anew(later):
    camera, going = model_camera(), OwnMotion(0.0, 15.0, 0.5, 0.0, 0.01, "video")
    state, rng = mounting.initial(camera, MOUNTING), np.random.default_rng(0)
    for k in range(1200):
        pitch = 0.02 if k < 600 else later
        seen = odometry.Direction(0.01 + 0.02 * rng.normal(), -pitch + 0.02 * rng.normal(), 0.02)
        state, told = mounting.step(state, k / HZ, camera, (), seen, going, MOUNTING)
        if k == 599:
            assert (told.yaw, told.pitch) == pytest.approx((-0.01, 0.02), abs=0.005) and told.valid and told.moved == 0
    assert told.moved == 1 and told.pitch == pytest.approx(later, abs=0.01)


def test_nothing_is_learnt_in_a_bend_or_standing():
    camera = model_camera()
    for motion in (OwnMotion(0.0, 15.0, 0.5, 0.2, 0.01, "csv"), OwnMotion(0.0, 0.0, 0.1, 0.0, 0.01, "csv")):
        state = mounting.initial(camera, MOUNTING)
        for k in range(50):
            state, told = mounting.step(state, k / HZ, camera, lines(camera, replace(camera, pitch=0.03)), None, motion, MOUNTING)
        assert told.pitch == 0.0 and not told.valid


@pytest.mark.skipif(not KITTI.is_dir(), reason=f"no KITTI odometry frames in {KITTI} (NANOPILOT_DATA)")
def test_speed_of_real_frames_with_the_pitch_found_on_the_way():
    p = np.loadtxt(KITTI / "calib.txt")[0].reshape(3, 4)
    poses = np.loadtxt(KITTI / "poses.txt").reshape(-1, 3, 4)
    true = np.linalg.norm(np.diff(poses[:, :, 3], axis=0), axis=1) * 10
    state, errors, mount, told = odometry.initial(), [], None, None
    for k, path in enumerate(sorted((KITTI / "image_l").iterdir())):
        image = cv2.imread(str(path))[..., ::-1].copy()
        if mount is None:
            camera = CameraModel("kitti", image.shape[1], image.shape[0], p[0, 0], p[1, 1], p[0, 2], p[1, 2], x=1.3, z=1.65)
            mount = mounting.initial(camera, MOUNTING)
            told = mounting.told(mount, MOUNTING)
        state, motion, seen = odometry.step(state, Frame(k / 10, "kitti", image), camera, told.pitch_std, CONFIG)
        mount, told = mounting.step(mount, k / 10, camera, (), seen, motion, MOUNTING)
        mount, camera = mounting.turned(mount, camera, MOUNTING)
        if k > 10:
            errors.append(abs(motion.speed / true[k - 1] - 1))
    assert np.median(errors) < 0.05
