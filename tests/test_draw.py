"""Drawings hit what the camera model says, and a film has the drive's length."""

import av
import numpy as np
import pytest

from nanopilot import draw, video
from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.log import Log, LogError, Step
from nanopilot.messages import Behaviour, CarState, Frame, LaneLine, Observation, Percept, Plan, SafeCommand, Signal

CAMERA = model_camera()
BLACK = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)


def percept(points: np.ndarray) -> Percept:
    pixels, _ = image_from_vehicle(CAMERA, np.column_stack([points, np.zeros(len(points))]))
    line = LaneLine(-1, 0.9, pixels.astype(np.float32), points.astype(np.float32), np.full(len(points), 0.1, np.float32))
    return Percept(0.0, "front", (line,), None, (), np.zeros((2, 2), np.uint8), np.ones(2, np.float32), 1.0, True)


def plan() -> Plan:
    t = np.arange(25) * 0.2
    zero = np.zeros(25)
    return Plan(0.0, Behaviour.KEEP_LANE, "", t, np.stack([10 * t, zero], -1), zero, zero + 10, zero, zero)


def test_a_line_is_drawn_where_it_was_seen():
    points = np.stack([np.arange(5.0, 40), np.full(35, 1.75)], -1)
    out = draw.overlay(BLACK, CAMERA, percept(points))
    pixels, _ = image_from_vehicle(CAMERA, np.column_stack([points, np.zeros(35)]))
    inside = pixels[(pixels[:, 1] < CAMERA.height - 1) & (pixels[:, 0] > 0)]
    hit = [out[round((v + 0.5) * 2 - 0.5), round((u + 0.5) * 2 - 0.5)] for u, v in inside]
    assert len(hit) > 20 and all(tuple(h) == draw.CYAN for h in hit)


def test_the_plan_is_as_wide_as_the_car_where_it_lies():
    out = draw.overlay(BLACK, CAMERA, None, None, plan())
    pixels, _ = image_from_vehicle(CAMERA, np.array([[10.0, draw.CAR_WIDTH / 2, 0], [10.0, -draw.CAR_WIDTH / 2, 0]]))
    row = out[round((pixels[0, 1] + 0.5) * 2 - 0.5)].sum(-1) > 50
    assert row.sum() == pytest.approx(2 * (pixels[1, 0] - pixels[0, 0]), abs=4)


def test_left_is_left_from_above():
    zero = np.zeros(25)
    t = np.arange(25) * 0.2
    left = Plan(0.0, Behaviour.KEEP_LANE, "", t, np.stack([10 * t, 0.2 * t**2], -1), zero, zero + 10, zero, zero)
    out = draw.birds_eye(None, left)
    green = np.argwhere((out == draw.GREEN).all(-1))
    top = green[green[:, 0] < 150]
    assert top[:, 1].mean() < out.shape[1] / 2


def test_a_step_with_nothing_but_a_picture_can_be_drawn():
    assert draw.step(BLACK, CAMERA, CarState(0.0, 0.0, 0.0, 0.0, 0.0)).shape == (512, 1280, 3)


def test_a_film_has_a_picture_per_step_at_the_drives_own_times(tmp_path):
    log, film = tmp_path / "a.mcap", tmp_path / "a.mp4"
    with Log(log) as out:
        out.write("/camera/front/model", CAMERA, 0.0)
        for k in range(12):
            t = k * 0.1  # 10 Hz
            seen = Observation(t, (Frame(t, "front", BLACK),), CarState(t, 5.0, 0.0, 0.0, 0.0))
            out.write_step(seen, Step(t, {}), plan=plan(), safe=SafeCommand(t, 0.0, 0.0, Signal.OFF, True))
    assert video.render(log, film) == 12
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        times = [float(f.pts * stream.time_base) for f in container.decode(stream)]
    assert times == pytest.approx(np.arange(12) * 0.1, abs=1e-3)


def test_a_log_without_pictures_makes_no_film(tmp_path):
    with Log(tmp_path / "a.mcap") as out:
        out.write("/step", Step(0.0, {}))
    with pytest.raises(LogError, match="no camera pictures"):
        video.render(tmp_path / "a.mcap", tmp_path / "a.mp4")
    assert not list(tmp_path.glob("*.mp4*"))
