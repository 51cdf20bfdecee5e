"""The rate filter beside a textbook Kalman filter in matrices."""

import numpy as np
import pytest

from nanopilot.assist.rate import begun, corrected


def test_it_is_the_matrix_form_with_white_noise_on_the_rate():
    rng, noise, memory, dt, r = np.random.default_rng(0), 0.7, 0.3, 0.05, 0.04
    f = begun(1.0, r, 0.5, 0.0)
    x, p = np.array([1.0, 0.0]), np.diag([r, 0.25])
    a, h = np.array([[1, dt], [0, 1]]), np.array([[1.0, 0.0]])
    for n in range(1, 40):
        z = 1.0 + 0.3 * n * dt + rng.normal(0, 0.1)
        f = corrected(f, z, r, n * dt, noise, memory)
        x, p = a @ x, a @ p @ a.T + noise**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        k = p @ h.T / (h @ p @ h.T + r / (1 - np.exp(-dt / memory)))
        x, p = x + k[:, 0] * (z - x[0]), (np.eye(2) - k @ h) @ p
    assert (f.value, f.rate) == pytest.approx(tuple(x)) and (f.p00, f.p01, f.p11) == pytest.approx((p[0, 0], p[0, 1], p[1, 1]))
    assert corrected(f, 9.0, r, f.t, noise, memory) is f  # time stands


def test_a_box_that_is_neared_at_constant_speed_grows_by_the_square_of_its_rate():
    distance, speed, dt = 40.0, 10.0, 0.05
    f = begun(-np.log(distance), 1e-6, 1.0, 0.0)
    for n in range(1, 60):
        f = corrected(f, -np.log(distance - speed * n * dt), 1e-6, n * dt, 0.05, 0.1, closing=True)
    assert f.rate == pytest.approx(speed / (distance - speed * 59 * dt), rel=0.02)
