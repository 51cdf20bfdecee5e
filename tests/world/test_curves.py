"""The line through a route's coarse points."""

import numpy as np
import pytest

from nanopilot.geometry import project, resample
from nanopilot.world.curves import smoothed


def corner(radius: float, angle: float) -> np.ndarray:
    """Straight, an arc from 60 m on, straight; finely."""
    arc = np.arange(0.0, angle, 0.1 / radius)
    bend = np.stack([60 + radius * np.sin(arc), radius * (1 - np.cos(arc))], -1)
    on = bend[-1] + np.arange(0.1, 70.0, 0.1)[:, None] * (np.cos(angle), np.sin(angle))
    return np.concatenate([np.stack([np.arange(0.0, 60.0, 0.1), np.zeros(600)], -1), bend, on])


@pytest.mark.parametrize("radius", [7.0, 9.0, 20.0])
@pytest.mark.parametrize("phase", [0.0, 3.0, 6.0])
def test_a_smooth_line_through_coarse_points_keeps_to_the_road_where_chords_cut_its_corners(radius, phase):
    exact = corner(radius, np.pi / 2)
    coarse = resample(exact, np.arange(phase, 10.0 * (len(exact) // 100), 10.0))
    smooth = smoothed(coarse, 1.0)
    near = exact[300:-300]  # ends are continued elsewhere

    def worst(line):
        return max(abs(project(line, *p)[1]) for p in near[::5])

    assert worst(smooth) < 0.5 < worst(coarse)
    for p in coarse[2:-2]:
        assert abs(project(smooth, *p)[1]) < 0.1  # it goes through them
    step = np.hypot(*np.diff(smooth, axis=0).T)
    assert step.max() < 1.25 and step.min() > 0.6


def test_two_points_and_doubled_ones_stay_what_they_are():
    straight = np.array([[0.0, 0.0], [0.0, 0.0], [30.0, 0.0]])
    np.testing.assert_array_equal(smoothed(straight, 1.0), straight[1:])
    line = smoothed(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 0.0], [30.0, 0.0]]), 2.0)
    np.testing.assert_allclose(line[:, 1], 0.0, atol=1e-9)
    assert len(line) == 16 and (line[-1] == (30.0, 0.0)).all()
