"""The envelope against the standards' numbers, written down again here and not taken from the code."""

import ast
import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanopilot import safety
from nanopilot.messages import CarState, Command, SafeCommand, Signal
from nanopilot.safety import Mode

DT = 0.05


def car(t=0.0, speed=10.0, **driver):
    return CarState(t, speed, 0.0, 0.0, 0.0, **driver)


def drive(pairs, engaged=True, dt=DT):
    """Feed (acceleration, curvature, speed) triples; the SafeCommands."""
    state, out = safety.initial(engaged=engaged), []
    for k, (a, c, v) in enumerate(pairs):
        state, safe = safety.step(state, Command(k * dt, a, c), car(k * dt, v), k * dt)
        out.append(safe)
    return out


def iso_15622(v):
    """(deceleration, acceleration, negative jerk) by table: 5 m/s and below, 20 m/s and above."""
    return np.interp(v, [5, 20], [5.0, 3.5]), np.interp(v, [5, 20], [4.0, 2.0]), np.interp(v, [5, 20], [5.0, 2.5])


number = st.floats(-50, 50)
triples = st.lists(st.tuples(number, st.floats(-2, 2), st.floats(0, 40)), min_size=2, max_size=40)


@given(triples)
@settings(max_examples=60, deadline=None)
def test_no_command_whatever_leaves_the_envelope(pairs):
    out = drive(pairs)
    for (a, _, v), before, now in zip(pairs[1:], out, out[1:], strict=False):
        deceleration, acceleration, jerk = iso_15622(v)
        assert -8.0 <= now.acceleration <= acceleration + 1e-9
        assert abs(now.curvature) * v**2 <= 3.0 + 1e-9
        assert abs(now.curvature) <= 0.4
        if a >= -deceleration:  # not an emergency
            assert now.acceleration >= min(before.acceleration - jerk * DT, acceleration) - 1e-9
        else:
            assert now.acceleration == max(a, -8.0) and "emergency braking" in now.reasons


@given(st.lists(st.floats(-1, 1), min_size=12, max_size=40), st.floats(2.5, 40))
@settings(max_examples=40, deadline=None)
def test_mean_lateral_jerk_over_half_a_second_is_within_r79(curvatures, v):
    across = np.array([s.curvature for s in drive([(0.0, c, v) for c in curvatures])]) * v**2
    assert np.abs(across[10:] - across[:-10]).max() / 0.5 <= 5.0 + 1e-9


@given(st.floats(-7, 1.5), st.floats(0.5, 30))
@settings(max_examples=40, deadline=None)
def test_a_command_inside_the_envelope_arrives_and_unchanged_ones_give_no_reason(a, v):
    wanted = max(a, -3.5)
    out = drive([(wanted, 0.5 / v**2 if v > 2 else 0.05, v)] * 60)[-1]
    assert out.acceleration == pytest.approx(wanted) and out.reasons == ()


def test_a_reason_is_given_for_every_change():
    pairs = [(9.0, 0.0, 5.0), (0.0, 0.9, 1.0), (-20.0, 0.0, 10.0), (0.0, 0.3, 20.0)]
    first, *_ = drive(pairs[:1])
    assert "acceleration limited" in first.reasons
    assert "jerk limited" in first.reasons
    assert "deceleration limited" in drive([pairs[2]])[0].reasons
    assert "curvature limited" in drive([(0.0, 0.9, 0.0)] * 20)[-1].reasons
    assert "lateral acceleration limited" in drive([(0.0, 0.9, 10.0)] * 60)[-1].reasons
    assert "lateral jerk limited" in drive([pairs[3]])[0].reasons


BAD = [
    ("no command", {"command": None}),
    ("no car state", {"car": None}),
    ("clock not finite", {"t": float("nan")}),
    ("clock not finite", {"t": "now"}),
    ("clock ran backwards", {"t": 0.5}),
    ("command not finite", {"command": SimpleNamespace(t=1.0, acceleration=float("inf"), curvature=0.0)}),
    ("command not finite", {"command": SimpleNamespace(t=1.0, acceleration=10**400, curvature=0.0)}),
    ("car state not finite", {"car": SimpleNamespace(**{**vars(car(1.0)), "speed": float("nan")})}),
    ("command late", {"command": Command(0.7, 0.0, 0.0)}),
    ("car state late", {"car": car(0.7)}),
    ("command out of order", {"command": Command(0.9, 0.0, 0.0)}),
    ("car state out of order", {"car": car(0.9)}),
    ("command out of order", {"command": Command(1.2, 0.0, 0.0)}),
    ("car state out of order", {"car": car(1.2)}),
]


@pytest.mark.parametrize(("reason", "change"), BAD)
def test_a_bad_input_takes_permission_away_and_the_car_brakes(reason, change):
    inputs = {"command": Command(1.0, 1.0, 0.01), "car": car(1.0), "t": 1.0} | change
    state, good = safety.step(safety.initial(engaged=True), Command(0.95, 0.0, 0.01), car(0.95), 0.95)
    assert good.engaged and state.mode == Mode.ENGAGED
    state, safe = safety.step(state, inputs["command"], inputs["car"], inputs["t"])
    assert reason in safe.reasons and state.mode == Mode.STOPPING
    assert safe.acceleration <= good.acceleration and safe.signal == Signal.HAZARD
    assert safe.curvature == good.curvature


def test_without_inputs_it_brakes_to_two_metres_per_second_squared_and_stays_there_until_engaged_again():
    state = safety.initial(engaged=True)
    for k in range(60):
        state, safe = safety.step(state, None, None, k * DT)
    assert safe.acceleration == -2.0
    for k in range(60, 80):
        state, safe = safety.step(state, Command(k * DT, 1.0, 0.0), car(k * DT), k * DT)
    assert state.mode == Mode.STOPPING and safe.acceleration == -2.0 and "stopped: engage again" in safe.reasons
    state, safe = safety.step(state, Command(4.0, 1.0, 0.0), car(4.0), 4.0, engage=True)
    assert state.mode == Mode.ENGAGED and safe.acceleration > -2.0


def test_one_missed_command_is_forgiven():
    state = safety.initial(engaged=True)
    for k, command in enumerate([Command(0.0, 0.0, 0.0), None, Command(0.1, 0.0, 0.0)]):
        state, safe = safety.step(state, command, car(k * DT), k * DT)
    assert state.mode == Mode.ENGAGED and safe.reasons == ()


def test_lost_inputs_never_release_an_emergency_brake_at_once():
    state, safe = safety.step(safety.initial(engaged=True), Command(0.0, -8.0, 0.0), car(), 0.0)
    assert safe.acceleration == -8.0
    _, safe = safety.step(state, None, None, DT)
    assert safe.acceleration <= -7.0


@pytest.mark.parametrize("deed", ["driver_brake", "driver_gas", "driver_steer", "driver_cancel"])
@pytest.mark.parametrize("command", [None, Command(1.0, 1.0, 0.0)])
def test_the_driver_always_wins_and_only_a_fresh_request_engages_again(deed, command):
    state = safety.State(Mode.ENGAGED, t=0.95)
    state, safe = safety.step(state, command, car(1.0, **{deed: True}), 1.0, engage=True)
    assert not safe.engaged and safe.acceleration == 0.0 and safe.reasons[0].startswith("driver")
    state, safe = safety.step(state, Command(1.05, 1.0, 0.0), car(1.05), 1.05)
    assert not safe.engaged and safe.reasons == ()
    state, safe = safety.step(state, Command(1.1, 1.0, 0.0), car(1.1), 1.1, engage=True)
    assert safe.engaged


def test_it_starts_disengaged_and_a_bad_input_does_not_engage_it():
    state, safe = safety.step(safety.initial(), None, car(), 0.0, engage=True)
    assert not safe.engaged and state.mode == Mode.DISENGAGED and safe.reasons == ("no command",)


def test_only_safety_makes_a_safe_command():
    root = Path(importlib.import_module("nanopilot").__file__).parent
    makers = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name == SafeCommand.__name__:
                    makers.add(file.relative_to(root).parts[0])
    assert makers == {"safety"}


def test_safety_imports_only_messages_and_the_standard_library():
    tree = ast.parse(Path(safety.__file__).read_text(encoding="utf-8"))
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} | {
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    }
    assert names == {"__future__", "dataclasses", "enum", "math", "nanopilot.messages"}
