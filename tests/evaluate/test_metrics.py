"""Intervals against published tables and scipy; comfort against motions with a closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from nanopilot.evaluate.metrics import comfort, mean_interval, wilson


@pytest.mark.parametrize(
    "k, n, low, high",  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(kn):
    k, n = kn
    reference = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_wilson_of_nothing_and_of_nonsense():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 successes in 2 trials"):
        wilson(3, 2)


def test_a_mean_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [low <= 5.0 <= high for low, high in (mean_interval(rng.normal(5, 2, 8)) for _ in range(2000))]
    assert 0.935 < np.mean(covered) < 0.965


def test_a_circle_at_constant_speed_is_pure_lateral_acceleration():
    t, v, radius = np.arange(0, 20, 0.05), 10.0, 50.0
    felt = comfort(t, np.full(len(t), v), v / radius * t + 3.0)
    assert felt.lateral_acceleration == pytest.approx(v**2 / radius)
    assert (felt.acceleration, felt.deceleration, felt.longitudinal_jerk) == (0.0, 0.0, 0.0)
    assert felt.lateral_jerk == pytest.approx(0.0, abs=1e-6)


def test_constant_jerk_is_found():
    t = np.arange(0, 4, 0.05)
    felt = comfort(t, 20 - 0.5 * 1.5 * t**2, np.zeros(len(t)))  # a = -1.5 t
    assert felt.longitudinal_jerk == pytest.approx(1.5, rel=1e-6)
    assert felt.deceleration == pytest.approx(1.5 * t[-1], rel=0.01)
    assert felt.acceleration == 0.0


def test_a_step_in_curvature_counts_as_its_mean_over_half_a_second():
    t, v = np.arange(0, 4, 0.05), 10.0
    yaw = np.where(t > 2, 0.02 * v * (t - 2), 0.0)  # 0 -> 2 m/s² at once: R79's mean is 2 / 0.5 s
    assert comfort(t, np.full(len(t), v), yaw).lateral_jerk == pytest.approx(4.0, rel=1e-6)


def test_heading_may_wrap_and_too_little_gives_zero():
    t = np.arange(0, 10, 0.05)
    turning = (0.4 * t + np.pi) % (2 * np.pi) - np.pi
    assert comfort(t, np.full(len(t), 5.0), turning).lateral_acceleration == pytest.approx(2.0)
    assert comfort(t[:1], t[:1], t[:1]).deceleration == 0.0
    with pytest.raises(ValueError, match="ascend"):
        comfort(t[::-1], t, t)
