"""Made-up memories are wrong in the stated ways and no others."""

import numpy as np
import pytest

from nanopilot.messages import PATH_ARC
from nanopilot.perception import heads
from nanopilot.perception.memory import LANE_WIDTHS, MEMORY_OTHER_LANE, MEMORY_STRAIGHT, remembered

BEND = np.stack([20 * np.sin(PATH_ARC / 20), 20 * (1 - np.cos(PATH_ARC / 20))], -1).astype(np.float32)


def draws(n: int) -> np.ndarray:
    """(n, 16, 2) remembered versions of BEND, m."""
    vectors = [remembered(BEND, np.random.default_rng(i)) for i in range(n)]
    assert all(v[-1] == 1.0 for v in vectors)
    return np.stack([v[:-1].reshape(-1, 2) * heads.MEMORY_SCALE for v in vectors])


def test_a_memory_is_as_long_as_the_path_it_remembers():
    lengths = np.hypot(*np.moveaxis(np.diff(draws(50), axis=1), -1, 0))
    np.testing.assert_allclose(lengths, np.tile(np.hypot(*np.diff(BEND, axis=0).T), (50, 1)), atol=1e-4)


def test_one_in_ten_lies_a_lane_aside_and_the_others_near():
    aside = draws(1000)[:, 0, 1]  # BEND begins at the origin, heading along x
    other = np.abs(aside) > LANE_WIDTHS[0] - 0.5
    assert other.mean() == pytest.approx(MEMORY_OTHER_LANE, abs=0.03)
    assert 0.1 < np.abs(aside[~other]).mean() < 0.4
    assert abs(aside.mean()) < 0.15  # neither side is preferred


def test_far_parts_are_forgotten_more_than_near_ones():
    error = np.median(np.hypot(*np.moveaxis(draws(300) - BEND, -1, 0)), axis=0)
    assert error[3] < 0.7 and error[-1] > 3.0 and (np.diff(error) > -0.05).all()


def test_some_know_of_no_bend_and_others_have_it_too_early_or_too_late():
    step = np.diff(draws(600), axis=1)
    heading = np.unwrap(np.arctan2(step[..., 1], step[..., 0]))
    bend_by_21m = heading[:, 8] - heading[:, 0]  # the true path turns by about a radian
    assert 0.5 * MEMORY_STRAIGHT < (np.abs(bend_by_21m) < 0.2).mean() < 0.4
    assert (bend_by_21m > 0.75).mean() > 0.4


def test_no_memory_is_all_zero_and_a_wrong_shape_is_refused():
    assert not heads.memory_vector(None).any()
    with pytest.raises(ValueError, match="16 points"):
        heads.memory_vector(np.zeros((5, 2)))
