"""The quadratic programs against another solver, their limits, and what happens when no solver answers."""

import numpy as np
import pytest
from closed_loop import CAR
from scipy.optimize import minimize

from nanopilot.messages import PATH_ARC
from nanopilot.planning import lateral, longitudinal, qp
from nanopilot.planning.lateral import LateralConfig
from nanopilot.planning.longitudinal import Bounds, LongitudinalConfig
from nanopilot.planning.path import smooth

TIMES = np.arange(31) * 0.2
STRAIGHT = smooth(np.stack([PATH_ARC, 0 * PATH_ARC], -1))
LONG, LAT = LongitudinalConfig(), LateralConfig()


def speed_plan(speed, acceleration=0.0, bounds=None, wanted=10.0):
    table = longitudinal.speed_table(STRAIGHT, wanted, LONG)
    return longitudinal.plan(STRAIGHT, table, TIMES, speed, acceleration, bounds or Bounds.none(31), CAR, LONG)


def path_plan(speed=8.0, curvature=0.0, path=STRAIGHT):
    times = TIMES[:21]
    return lateral.plan(path, times, speed * times, np.full(21, speed), curvature, 0.3, LAT)


def test_the_solver_agrees_with_scipy():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((6, 6))
    q = qp.Problem(
        a @ a.T + np.eye(6),
        rng.standard_normal(6),
        rng.standard_normal((3, 6)),
        np.full(3, -0.2),
        np.full(3, 0.1),
        np.full(6, -0.3),
        np.full(6, 0.3),
    )
    rows = [{"type": "ineq", "fun": lambda x: q.high - q.g @ x}, {"type": "ineq", "fun": lambda x: q.g @ x - q.low}]
    reference = minimize(
        lambda x: 0.5 * x @ q.p @ x + q.c @ x, np.zeros(6), bounds=[(-0.3, 0.3)] * 6, constraints=rows, options={"ftol": 1e-12}
    )
    assert qp.solve(q) == pytest.approx(reference.x, abs=1e-4)


def test_an_impossible_problem_has_no_answer():
    one = np.eye(1)
    assert qp.solve(qp.Problem(one, np.zeros(1), one, np.ones(1), np.ones(1), np.full(1, -0.5), np.full(1, 0.5))) is None


@pytest.mark.parametrize("speed", [0.0, 3.0, 10.0, 25.0])
def test_normal_driving_stays_within_iso_15622(speed):
    for bounds in (Bounds.none(31), longitudinal.stopping_bounds(Bounds.none(31), 60.0)):
        p = speed_plan(speed, bounds=bounds, wanted=15.0)
        jerk = np.diff(p.acceleration) / 0.2
        assert p.acceleration.min() >= -np.interp(speed, [5, 20], [5.0, 3.5]) - 1e-3
        assert p.acceleration.max() <= np.interp(speed, [5, 20], [4.0, 2.0]) + 1e-3
        assert jerk.min() >= -np.interp(speed, [5, 20], [5.0, 2.5]) - 1e-3
        assert p.solved and p.speed.min() >= 0


def test_the_plan_is_the_integral_of_its_own_speed():
    p = speed_plan(5.0)
    assert np.cumsum(0.5 * (p.speed[1:] + p.speed[:-1]) * 0.2) == pytest.approx(p.s[1:])


def test_it_stops_before_a_stop():
    p = speed_plan(8.0, bounds=longitudinal.stopping_bounds(Bounds.none(31), 20.0))
    assert p.s[-1] <= 20.1 and p.speed[-1] < 0.5 and not p.emergency


def test_what_comfort_cannot_stop_for_is_braked_for_harder():
    wall = Bounds(np.full(31, np.inf), np.zeros(31), np.full(31, np.inf), np.full(31, 7.0))
    p = speed_plan(9.0, bounds=wall)  # 81 / (2 * 7) = 5.8 m/s²
    assert p.emergency and p.acceleration.min() < -5.0 and p.acceleration.min() >= -8.0
    assert p.s[-1] < 7.0 + 0.3


def test_curves_are_driven_at_the_comfortable_lateral_acceleration():
    arc = np.linspace(0, 6, 100)
    bend = smooth(np.stack([10 * np.sin(arc), 10 * (1 - np.cos(arc))], -1)[:40])
    table = longitudinal.speed_table(bend, 15.0, LONG)
    assert table[8] == pytest.approx(4.2, abs=0.15)


@pytest.mark.parametrize("speed", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("curvature", [0.0, 0.1])
def test_steering_stays_within_un_r79(speed, curvature):
    beside = smooth(np.stack([PATH_ARC, np.full(16, 1.0)], -1))
    p = path_plan(speed, min(curvature, 3 / speed**2), beside)
    assert np.abs(p.curvature).max() * speed**2 <= 3.0 + 1e-3
    assert np.abs(np.diff(p.curvature) / 0.2).max() * speed**2 <= 5.0 + 1e-3
    assert p.solved


def test_a_start_outside_the_bounds_is_brought_back_not_refused():
    p = path_plan(20.0, 0.05)  # 20 m/s²
    assert p.solved and abs(p.curvature[-1]) * 400 < 3.0


def test_a_side_offset_is_driven_out_without_swinging():
    p = path_plan(8.0, 0.0, smooth(np.stack([PATH_ARC, np.full(16, 0.5)], -1)))
    assert p.xy[-1, 1] == pytest.approx(0.5, abs=0.1)
    assert p.xy[:, 1].max() < 0.6


def test_without_a_solver_it_pursues_the_path_and_rolls_out(monkeypatch):
    for module in (lateral, longitudinal):
        monkeypatch.setattr(module, "solve", lambda problem: None)
    beside = smooth(np.stack([PATH_ARC, np.full(16, 1.0)], -1))
    p = path_plan(8.0, 0.0, beside)
    assert not p.solved and p.curvature[3] > 0 and np.abs(p.curvature).max() * 64 <= 3.0
    s = speed_plan(8.0, bounds=longitudinal.stopping_bounds(Bounds.none(31), 20.0))
    assert not s.solved and s.s[-1] <= 20.5
