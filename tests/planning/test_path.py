"""Paths against circles and straights, whose curvature is known."""

import numpy as np
import pytest
from closed_loop import road

from nanopilot.geometry import resample
from nanopilot.messages import PATH_ARC
from nanopilot.planning.path import moved, shift, smooth


def seen(curvature):
    return smooth(resample(road((90, curvature)), PATH_ARC))


@pytest.mark.parametrize("curvature", [0.0, 0.01, -0.03, 0.1])
def test_sparse_points_of_a_circle_give_its_curvature(curvature):
    path = seen(curvature)
    near = (path.s > 0) & (path.s < 20)
    assert path.curvature[near] == pytest.approx(curvature, rel=0.06, abs=1e-4)
    assert path.at(np.zeros(1))[0] == pytest.approx(np.zeros((1, 2)), abs=0.05)


@pytest.mark.parametrize("offset", [-3.5, 3.5])
def test_a_shifted_circle_is_a_circle_around_the_same_centre(offset):
    path = shift(seen(0.04), offset)
    near = (path.s > 0) & (path.s < 30)
    assert np.hypot(path.xy[near, 0], path.xy[near, 1] - 25) == pytest.approx(25 - offset, abs=0.15)
    assert path.curvature[near] == pytest.approx(1 / (25 - offset), rel=0.05)


def test_locating_gives_back_what_was_laid_beside_the_path():
    path, rng = seen(0.05), np.random.default_rng(0)
    s, d = rng.uniform(0, 50, 50), rng.uniform(-4, 4, 50)
    xy, yaw, _ = path.at(s)
    found_s, found_d, _ = path.locate(xy + d[:, None] * np.stack([-np.sin(yaw), np.cos(yaw)], -1))
    assert found_d == pytest.approx(d, abs=0.06)
    assert found_s == pytest.approx(s, abs=0.15)


def test_after_driving_along_a_circle_it_looks_the_same():
    path = seen(0.05)
    gone = moved(path, 20 * np.sin(0.5), 20 * (1 - np.cos(0.5)), 0.5)
    assert gone.find(0.0, 0.0)[1] == pytest.approx(0.0, abs=0.03)
    assert gone.s[-1] == pytest.approx(path.s[-1] - 10, abs=0.2)
    xy, *_ = gone.at(np.array([10.0]))
    assert xy[0] == pytest.approx([20 * np.sin(0.5), 20 * (1 - np.cos(0.5))], abs=0.08)


def test_noise_of_a_decimetre_bends_the_path_by_less_than_a_comfortable_curve():
    rng = np.random.default_rng(1)
    points = np.stack([PATH_ARC, 0.1 * rng.standard_normal(len(PATH_ARC))], -1)
    assert np.abs(smooth(points).curvature).max() < 0.1
