"""The guardian at the door: heard whoever drives, within an emergency's limit, and never against the driver's cancel or bad inputs."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanopilot import safety
from nanopilot.messages import CarState, Command, Guard, GuardStage, Mode
from nanopilot.safety import watchdog

MODES = [m for m in Mode if m != Mode.FAILED]


def step(mode, guard, t=1.0, car=None, wanted=0.0, **more):
    state = safety.State(mode)
    car = CarState(t, 15.0, 0.0, 0.0, 0.0, **more) if car is None else car
    return safety.step(state, Command(t, wanted, 0.0), car, t, guard=guard)


def brake(a, t=1.0, stage=GuardStage.FULL):
    return Guard(t, stage, a, reason="car 9 m ahead")


@pytest.mark.parametrize("mode", MODES)
@given(st.floats(-30, 0))
@settings(max_examples=30, deadline=None)
def test_whoever_drives_it_brakes_at_once_and_with_8_at_most(mode, a):
    _, plain = step(mode, None)
    _, safe = step(mode, brake(a))
    assert safe.acceleration == pytest.approx(min(plain.acceleration, max(a, -8.0)))
    assert safe.brakes == (a < plain.acceleration) and safe.engaged == plain.engaged and safe.mode == plain.mode
    assert any("guardian: car 9 m ahead" in r for r in safe.reasons) == safe.brakes


def test_it_never_weakens_a_harder_braking_of_the_pilot():
    _, safe = step(Mode.ENGAGED, brake(-4.0), wanted=-7.0)
    assert safe.acceleration == -7.0 and not safe.brakes


@pytest.mark.parametrize("stage", [GuardStage.NONE, GuardStage.WARNING, GuardStage.PRECHARGE])
def test_who_asks_for_no_braking_keeps_nobody_from_accelerating(stage):
    _, plain = step(Mode.ENGAGED, None, wanted=1.5)
    _, safe = step(Mode.ENGAGED, brake(0.0, stage=stage), wanted=1.5)
    assert safe.acceleration == plain.acceleration > 0 and not safe.brakes


def test_failed_means_hands_off():
    _, safe = step(Mode.FAILED, brake(-8.0))
    assert safe.acceleration == 0.0 and not (safe.brakes or safe.precharge)


@pytest.mark.parametrize("age", [-0.02, 0.251, 5.0])
def test_a_guard_of_another_time_is_not_heard(age):
    _, safe = step(Mode.READY, brake(-8.0, t=1.0 - age))
    assert not safe.brakes and safe.acceleration == 0.0


def test_bad_inputs_and_cancel_take_it_away():
    assert step(Mode.READY, brake(-8.0))[1].brakes
    assert not step(Mode.READY, brake(-8.0), driver_cancel=True)[1].brakes
    assert not step(Mode.READY, brake(-8.0), car=CarState(0.1, 15.0, 0.0, 0.0, 0.0))[1].brakes, "an old car state"
    state = safety.State(Mode.READY)
    assert not safety.step(state, None, None, 1.0, guard=brake(-8.0))[1].brakes, "no car state"
    state, _ = step(Mode.READY, None)
    assert not safety.step(state, None, CarState(1.0, 15.0, 0.0, 0.0, 0.0), float("nan"), guard=brake(-8.0))[1].brakes, "no clock"


@pytest.mark.parametrize("pedal", ["driver_brake", "driver_gas", "driver_steer"])
def test_pedals_and_wheel_do_not_stop_it_from_braking(pedal):
    assert step(Mode.READY, brake(-8.0), **{pedal: True})[1].brakes


def test_what_slipped_past_a_message_is_not_let_through():
    broken = brake(-8.0)
    object.__setattr__(broken, "acceleration", float("nan"))
    assert step(Mode.READY, broken)[1].acceleration == 0.0
    broken = Guard(1.0, curvature=0.001)
    object.__setattr__(broken, "curvature", float("inf"))
    assert not step(Mode.READY, broken)[1].steers


def test_it_works_without_a_pilot():
    """The command is missing: nobody plans, the guardian still brakes."""
    _, safe = safety.step(safety.State(Mode.OFF), None, CarState(1.0, 15.0, 0.0, 0.0, 0.0), 1.0, guard=brake(-8.0))
    assert safe.brakes and safe.acceleration == -8.0 and not safe.engaged


def test_precharge_is_passed_on_and_a_warning_is_not_one():
    for stage, ready in ((GuardStage.NONE, False), (GuardStage.WARNING, False), (GuardStage.PRECHARGE, True), (GuardStage.FULL, True)):
        safe = step(Mode.READY, brake(0.0, stage=stage))[1]
        assert safe.precharge == ready and not safe.brakes


@given(st.floats(-0.1, 0.1))
@settings(max_examples=30, deadline=None)
def test_steering_back_stays_within_r79(curvature):
    """5 m/s³ in a step of 0.05 s at 15 m/s, then no more than 3 m/s² across."""
    state, t, last = safety.State(Mode.READY), 1.0, 0.0
    for _ in range(30):
        turning = CarState(t, 15.0, 0.0, 15.0 * last, 0.0)
        state, safe = safety.step(state, None, turning, t, guard=Guard(t, curvature=curvature, reason="line"))
        assert safe.steers and abs(safe.curvature - last) * 225 <= 5.0 * 0.0501 + 1e-9 and abs(safe.curvature) * 225 <= 3.0 + 1e-9
        last, t = safe.curvature, t + 0.05
    assert abs(last - curvature) < 1e-9 or abs(last) * 225 == pytest.approx(3.0)


def test_it_does_not_steer_against_the_driver_or_the_pilot():
    keep = Guard(1.0, curvature=0.001, reason="line")
    assert step(Mode.READY, keep)[1].steers
    assert not step(Mode.READY, keep, driver_steer=True)[1].steers
    assert not step(Mode.ENGAGED, keep)[1].steers


def test_an_intervention_nobody_confirms_ends():
    _, safe = step(Mode.READY, brake(-8.0))

    def after(command, age):
        return watchdog.step(watchdog.step(watchdog.initial(), command, None, 1.0)[0], None, None, 1.0 + age)[1]

    assert after(safe, 0.25) is safe
    ended = after(safe, 0.26)
    assert (ended.acceleration, ended.brakes, ended.engaged, ended.mode) == (0.0, False, False, Mode.READY)
    for field in ("steers", "precharge"):
        only = replace(safe, brakes=False, precharge=False, acceleration=0.0) if field == "steers" else replace(safe, brakes=False)
        assert not getattr(after(replace(only, **{field: True}), 1.0), field)
