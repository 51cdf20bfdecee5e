"""Lenses: closed forms, a round trip through the file, drawn chessboards of a known camera, and real ones where they are."""

import os
from math import radians, tan
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.bodies.lens import BoardResult, LensConfig, calibrate, lens, write

CHESSBOARDS = Path(os.environ.get("NANOPILOT_DATA", "../shared/data")) / "chessboards"


def test_field_of_view_focal_length_and_guess():
    assert lens(LensConfig(fov_deg=90), 1000, 500).camera.fx == pytest.approx(500)
    assert lens(LensConfig(focal=843), 960, 540).camera.fx == 843
    guess = lens(LensConfig(height=1.2, pitch_deg=-3), 960, 540)
    assert guess.camera.fx == pytest.approx(480 / tan(radians(30))) and "guess" in guess.source
    assert guess.camera.z == 1.2 and guess.camera.pitch == pytest.approx(radians(-3)) and guess.undistorter() is None


def result(**more) -> BoardResult:
    matrix = np.array([[700.0, 0, 319], [0, 710, 181], [0, 0, 1]])
    return BoardResult(matrix, np.array([-0.3, 0.1, 0.001, -0.001, 0.0]), (640, 360), 0.2, 12, (), **more)


def test_the_file_comes_back_and_scales_to_a_larger_picture(tmp_path):
    path = tmp_path / "calib.yaml"
    write(result(), path, 9, 6, 0.025)
    assert path.read_text().startswith("%YAML:1.0") and "camera_matrix: !!opencv-matrix" in path.read_text()
    same, twice = (lens(LensConfig(calibration=path), *size) for size in ((640, 360), (1280, 720)))
    assert (same.camera.fx, same.camera.fy, same.camera.cx) == pytest.approx((700, 710, 319))
    assert (twice.camera.fx, twice.camera.cx) == pytest.approx((1400, 638.5))
    np.testing.assert_allclose(same.distortion, result().distortion)


def test_undistorting_takes_a_point_where_opencv_says(tmp_path):
    write(result(), tmp_path / "c.yaml", 9, 6, 0.025)
    each = lens(LensConfig(calibration=tmp_path / "c.yaml"), 640, 360)
    image = np.zeros((360, 640, 3), np.uint8)
    cv2.circle(image, (90, 60), 3, (255, 255, 255), -1)
    out = each.undistorter()(image)
    k = result().matrix
    wanted = cv2.undistortPoints(np.array([[[90.0, 60.0]]]), k, result().distortion, P=k)[0, 0]
    v, u = np.nonzero(out[..., 0] > 128)
    assert (u.mean(), v.mean()) == pytest.approx(tuple(wanted), abs=0.5)


@pytest.mark.parametrize(
    "config, said",
    [
        (LensConfig(fov_deg=5), "field of view"),
        (LensConfig(focal=3.0), "focal length"),
        (LensConfig(height=40.0), "40 m above"),
        (LensConfig(pitch_deg=80), "pitched"),
    ],
)
def test_impossible_cameras_are_refused(config, said):
    with pytest.raises(ValueError, match=said):
        lens(config, 640, 360)


@pytest.mark.parametrize("text", ["", "hello", "%YAML:1.0\n---\nimage_width: 3\n", "%YAML:1.0\n---\n{{{"])
def test_a_bad_file_is_refused(text, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"c\.yaml"):
        lens(LensConfig(calibration=tmp_path / "c.yaml"), 640, 360)


def test_a_file_for_another_shape_is_refused(tmp_path):
    write(result(), tmp_path / "c.yaml", 9, 6, 0.025)
    with pytest.raises(ValueError, match="another shape"):
        lens(LensConfig(calibration=tmp_path / "c.yaml"), 640, 480)


def drawn(k: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A 5 x 4 board seen by a pinhole."""
    image = np.full((360, 480), 220, np.uint8)
    for i in range(6):
        for j in range(5):
            if (i + j) % 2:
                corners = np.array([(i - 1, j - 1, 0), (i, j - 1, 0), (i, j, 0), (i - 1, j, 0)], float) * 0.03
                pixels = cv2.projectPoints(corners, turn, shift, k, None)[0][:, 0]
                cv2.fillPoly(image, [np.round(pixels * 16).astype(np.int32)], 20, cv2.LINE_AA, 4)
    return image


def test_drawn_boards_give_back_the_camera_that_drew_them(tmp_path):
    k, rng = np.array([[420.0, 0, 239.5], [0, 420, 179.5], [0, 0, 1]]), np.random.default_rng(0)
    for n in range(10):
        turn, shift = rng.uniform(-0.5, 0.5, 3), np.array([-0.06, -0.045, 0.3]) + rng.uniform(-0.02, 0.02, 3)
        cv2.imwrite(str(tmp_path / f"{n}.png"), drawn(k, turn, shift))
    cv2.imwrite(str(tmp_path / "no_board.png"), np.zeros((360, 480), np.uint8))
    found = calibrate(tmp_path, 5, 4, 0.03)
    assert found.used >= 8 and found.rms < 0.3 and "no_board.png" in found.left_out
    assert found.matrix[0, 0] == pytest.approx(420, rel=0.02) and found.matrix[0, 2] == pytest.approx(239.5, abs=8)
    with pytest.raises(ValueError, match="whole 9x6 board"):
        calibrate(tmp_path)


@pytest.mark.skipif(not CHESSBOARDS.is_dir(), reason=f"no chessboard pictures in {CHESSBOARDS} (NANOPILOT_DATA)")
def test_real_boards_give_a_lens_that_leaves_a_pixel_at_most(tmp_path):
    for path in sorted(CHESSBOARDS.iterdir())[::2]:  # ten of twenty: the corners take their time
        (tmp_path / path.name).symlink_to(path.resolve())
    found = calibrate(tmp_path)
    assert found.used >= 8 and found.rms < 1.2
    assert found.matrix[0, 0] == pytest.approx(found.matrix[1, 1], rel=0.02)
