"""Every mode meets every event, against the rules in words, and the door brings each event about."""

from dataclasses import is_dataclass, replace
from itertools import product

import pytest

from nanopilot import safety
from nanopilot.messages import Alert, CarState, Command, Mode, SafeCommand, Signal
from nanopilot.safety import follow, rss, watchdog
from nanopilot.safety.inputs import Seen
from nanopilot.safety.modes import ACTUATING, TABLE, Event

DT = 0.05
E, M = Event, Mode
DRIVING = {M.ENGAGED, M.TAKEOVER, M.MINIMUM_RISK, M.STANDSTILL}


def rule(mode: Mode, event: Event) -> Mode:
    """What each pair must lead to, said a second time and by rule."""
    if mode == M.FAILED or event == E.FAILURE:
        return M.FAILED
    if event == E.DRIVER:
        return mode if mode in (M.OFF, M.READY) else M.OVERRIDDEN
    if event == E.CANCEL:
        return M.OFF if mode == M.OFF else M.READY
    if event == E.ENGAGE:
        return M.READY if mode == M.OFF else M.ENGAGED
    denied = event in (E.LOST, E.BAD, E.UNANSWERED, E.CONCERN)
    if mode == M.OFF:
        return M.READY if event == E.GOOD else M.OFF
    if mode == M.READY:
        return M.OFF if denied else M.READY
    if mode == M.OVERRIDDEN:
        return M.OVERRIDDEN if event == E.BAD else M.OFF if denied else M.READY
    if mode == M.ENGAGED:
        return M.MINIMUM_RISK if event == E.LOST else M.TAKEOVER if denied else M.ENGAGED
    if mode == M.TAKEOVER:
        if event in (E.LOST, E.UNANSWERED):
            return M.MINIMUM_RISK
        return M.ENGAGED if event == E.GOOD else M.TAKEOVER
    if event == E.STOPPED:
        return M.STANDSTILL
    return M.STANDSTILL if mode == M.STANDSTILL and event != E.GOOD else M.MINIMUM_RISK


@pytest.mark.parametrize(("mode", "event"), list(product(M, E)))
def test_every_mode_meets_every_event(mode, event):
    assert TABLE[mode, event] == rule(mode, event)


def test_there_is_nothing_else_in_the_table_and_the_car_obeys_in_four_modes():
    assert set(TABLE) == set(product(M, E)) and ACTUATING == DRIVING


# each event, brought about by inputs at t = 1 in any mode: (command, car, engage, concern)
GOOD = {"command": Command(1.0, 0.0, 0.0), "car": CarState(1.0, 10.0, 0.0, 0.0, 0.0), "engage": False, "concern": ""}
HAPPENS = {
    E.DRIVER: {"car": replace(GOOD["car"], driver_steer=True)},
    E.CANCEL: {"car": replace(GOOD["car"], driver_cancel=True)},
    E.BAD: {"command": None},
    E.ENGAGE: {"engage": True},
    E.GOOD: {},
}


def before(mode: Mode, **changes) -> safety.State:
    return safety.State(mode, Seen(t=0.95, command_t=0.95, car_t=0.95, speed=10.0, expected_speed=10.0), **changes)


def react(state: safety.State, **changes) -> tuple[safety.State, SafeCommand]:
    x = GOOD | changes
    return safety.step(state, x["command"], x["car"], 1.0, engage=x["engage"], concern=x["concern"])


@pytest.mark.parametrize(("mode", "event"), list(product(M, HAPPENS)))
def test_the_door_brings_the_event_about(mode, event):
    state, safe = react(before(mode), **HAPPENS[event])
    assert state.mode == safe.mode == rule(mode, event)
    assert safe.engaged == (state.mode in DRIVING)
    if not safe.engaged:
        assert safe.acceleration == safe.curvature == 0.0


@pytest.mark.parametrize("mode", M)
def test_long_denial_long_concern_and_a_long_request(mode):
    assert react(before(mode, denied=0.21), command=None)[0].mode == rule(mode, E.LOST)
    assert react(before(mode, denied=0.19), command=None)[0].mode == rule(mode, E.BAD)
    assert react(before(mode, concerned=0.21), concern="blind")[0].mode == rule(mode, E.CONCERN)
    assert react(before(mode, concerned=0.19), concern="blind")[0].mode == rule(mode, E.GOOD)
    assert react(before(mode, concerned=0.21))[0].mode == rule(mode, E.GOOD)
    long = before(mode, requested=10.01)
    assert react(long, concern="blind")[0].mode == rule(mode, E.UNANSWERED if mode == M.TAKEOVER else E.GOOD)
    assert react(before(mode, requested=9.99))[0].mode == rule(mode, E.GOOD)


@pytest.mark.parametrize("mode", M)
def test_a_stand_ends_the_minimum_risk_manoeuvre_and_nothing_else(mode):
    standing = CarState(1.0, 0.1, 0.0, 0.0, 0.0)
    state = replace(before(mode), seen=Seen(t=0.95, expected_speed=0.1))
    stops = mode in (M.MINIMUM_RISK, M.STANDSTILL)
    for command in (None, Command(1.0, 0.0, 0.0)):
        after = react(state, command=command, car=standing)[0].mode
        assert after == rule(mode, E.STOPPED if stops else E.GOOD if command else E.BAD)
    rolling = replace(state, seen=Seen(t=0.95, expected_speed=0.11))
    assert react(rolling, car=replace(standing, speed=0.11))[0].mode == rule(mode, E.GOOD)
    assert react(rolling, car=replace(standing, speed=-0.11))[0].mode == rule(mode, E.GOOD)
    assert react(state, car=standing, engage=True)[0].mode == rule(mode, E.ENGAGE)
    assert react(state, car=standing, command=None, engage=True)[0].mode == rule(mode, E.STOPPED if stops else E.BAD)
    assert react(state, car=None)[0].mode == rule(mode, E.BAD)


@pytest.mark.parametrize("mode", M)
def test_a_car_that_does_far_too_much_is_shut_off(mode):
    too_much = CarState(1.0, 10.0, 0.0, 0.7, 0.0)  # 7 m/s² across, more than twice 3
    state, safe = react(before(mode, excess=0.21), car=too_much)
    if mode in DRIVING:
        assert state.mode == M.FAILED and safe.signal == Signal.HAZARD and safe.reasons == ("failed: start anew",)
        assert safe.alert == Alert.URGENT and not safe.engaged
    else:
        assert state.mode == rule(mode, E.GOOD)
    assert react(before(mode, excess=0.19), car=too_much)[0].mode == rule(mode, E.GOOD)
    assert react(before(mode, excess=0.19))[0].excess == 0.0
    assert react(before(M.ENGAGED, excess=0.1), car=too_much)[0].excess == pytest.approx(0.15)
    assert react(before(mode, excess=0.21), car=replace(too_much, t=0.5))[0].mode != M.FAILED or mode == M.FAILED


def test_the_driver_beats_all_but_a_failure_and_a_failure_the_driver():
    too_much = CarState(1.0, 10.0, 0.0, 0.7, 0.0, driver_brake=True)
    assert react(before(M.ENGAGED, excess=0.21), car=too_much)[0].mode == M.FAILED
    late = CarState(0.2, 10.0, 0.0, 0.0, 0.0, driver_gas=True)
    state, safe = react(before(M.TAKEOVER, denied=5.0, concerned=5.0, requested=50.0), command=None, car=late, engage=True, concern="x")
    assert state.mode == M.OVERRIDDEN and safe.reasons == ("driver: gas",)


@pytest.mark.parametrize("deed", ["brake", "gas", "steer", "cancel"])
@pytest.mark.parametrize("command", [None, Command(1.0, 1.0, 0.0)])
def test_the_driver_always_wins_and_only_a_fresh_request_engages_again(deed, command):
    acts = replace(GOOD["car"], **{f"driver_{deed}": True})
    state, safe = react(before(M.ENGAGED), command=command, car=acts, engage=True)
    assert not safe.engaged and safe.acceleration == 0.0 and safe.alert == Alert.NONE and safe.signal == Signal.OFF
    assert safe.reasons == ("driver: " + {"steer": "steering"}.get(deed, deed),)
    engaged = []
    for k, engage in enumerate([True, True, False, True], start=1):  # a button held down is no fresh request
        t = 1.0 + k * DT
        state, safe = safety.step(state, Command(t, 0.0, 0.0), replace(GOOD["car"], t=t), t, engage=engage)
        engaged.append(safe.engaged)
    assert engaged == [False, False, False, True]


def test_several_deeds_are_all_named_and_are_no_cancel():
    both = replace(GOOD["car"], driver_cancel=True, driver_brake=True)
    state, safe = react(before(M.ENGAGED), car=both)
    assert safe.reasons == ("driver: brake, cancel",) and state.mode == M.OVERRIDDEN


def test_it_starts_off_and_is_ready_before_it_can_be_engaged():
    assert safety.initial().mode == M.OFF and safety.initial(engaged=True).mode == M.ENGAGED
    modes, state = [], safety.initial()
    for k, engage in enumerate([True, False, True]):
        state, safe = safety.step(state, Command(k * DT, 0.0, 0.0), CarState(k * DT, 5.0, 0.0, 0.0, 0.0), k * DT, engage=engage)
        modes.append(safe.mode)
    assert modes == [M.READY, M.READY, M.ENGAGED]


def ride(state, seconds, speed, decelerate=True, **inputs):
    """Go on with a concern, the car doing as told; every SafeCommand."""
    out, t, v, a = [], state.seen.t, speed, 0.0
    for k in range(round(seconds / DT)):
        t += DT
        car = CarState(t, v + 1e-6 * (k % 2), a, 0.0, 0.0)  # no wheel speed is ever quite still
        command = inputs.get("command", lambda t: Command(t, 0.0, 0.0, Signal.LEFT))(t)
        state, safe = safety.step(state, command, car, t, concern=inputs.get("concern", ""))
        if decelerate:
            a = safe.acceleration if v > 0 else 0.0
            v = max(v + a * DT, 0.0)
        out.append(safe)
    return state, out


def test_an_unanswered_request_escalates_and_ends_standing_in_lane_with_hazards():
    """UN R157: urgent after 4 s, the manoeuvre after 10 s, at most 4 m/s², hazards from its start."""
    state, out = ride(before(M.ENGAGED), 25.0, 10.0, concern="blind")
    first = {m: next(s.t for s in out if s.mode == m) for m in (M.TAKEOVER, M.MINIMUM_RISK, M.STANDSTILL)}
    assert first[M.TAKEOVER] == pytest.approx(0.95 + 0.275, abs=0.03)  # a step more or less, as sums of 0.05 round
    assert first[M.MINIMUM_RISK] - first[M.TAKEOVER] == pytest.approx(10.0, abs=0.11)
    urgent = next(s.t for s in out if s.alert == Alert.URGENT)
    assert urgent - first[M.TAKEOVER] == pytest.approx(4.0, abs=0.06)
    for s in out:
        assert s.signal == (Signal.LEFT if s.mode == M.ENGAGED else Signal.HAZARD)
        assert s.alert == {M.ENGAGED: Alert.NONE, M.TAKEOVER: Alert.TAKEOVER if s.t < urgent else Alert.URGENT}.get(s.mode, Alert.URGENT)
        assert s.acceleration >= -4.0 and s.engaged
        if s.mode == M.TAKEOVER:
            assert s.reasons[0] == "blind"
    assert state.mode == M.STANDSTILL and out[-1].acceleration == -4.0


def test_a_concern_that_goes_away_ends_the_request_but_never_the_manoeuvre():
    state, _ = ride(before(M.ENGAGED), 0.7, 10.0, decelerate=False, concern="blind")
    assert state.mode == M.TAKEOVER
    state, out = ride(state, 0.1, 10.0)
    assert state.mode == M.ENGAGED and "blind" not in out[-1].reasons and state.requested == 0.0
    assert out[-1].acceleration > out[0].acceleration and out[-1].alert == Alert.NONE
    state, out = ride(before(M.MINIMUM_RISK), 1.0, 10.0)
    assert state.mode == M.MINIMUM_RISK and "stopped: engage again" in out[-1].reasons


def test_without_commands_it_brakes_at_once_on_its_arc_and_stands_until_engaged_again():
    start = replace(before(M.ENGAGED), curvature=0.01)
    state, out = ride(start, 12.0, 10.0, command=lambda t: None)
    assert {s.mode for s in out[:4]} == {M.TAKEOVER} and out[5].mode == M.MINIMUM_RISK
    assert min(s.acceleration for s in out) == -4.0 and all(s.curvature == 0.01 for s in out)
    assert all("no command" in s.reasons for s in out)
    state, out = ride(state, 1.0, 0.0)
    assert state.mode == M.STANDSTILL and out[-1].acceleration == -4.0
    t = state.seen.t + DT
    state, safe = safety.step(state, Command(t, 1.0, 0.0), CarState(t, 0.0, 0.0, 0.0, 0.0), t, engage=True)
    assert state.mode == M.ENGAGED and safe.acceleration > -4.0 and safe.alert == Alert.NONE


@pytest.mark.parametrize(("mode", "concern"), [(M.MINIMUM_RISK, ""), (M.TAKEOVER, "blind")])
def test_a_stop_follows_the_lane_and_brakes_harder_where_the_plan_does(mode, concern):
    state = replace(before(mode, concerned=1.0), acceleration=-4.0)
    _, safe = react(state, command=Command(1.0, 1.0, 0.001, Signal.LEFT), concern=concern)
    assert safe.acceleration == -4.0 and safe.curvature == 0.001 and safe.signal == Signal.HAZARD
    _, safe = react(state, command=Command(1.0, -7.0, 0.0), concern=concern)
    assert safe.acceleration == -7.0
    assert react(replace(state, acceleration=0.0), concern=concern)[1].acceleration == pytest.approx(-0.5)  # 10 m/s³


def test_one_missed_command_is_forgiven():
    state = before(M.ENGAGED)
    for k, command in enumerate([None, Command(1.05, 0.0, 0.0)]):
        t = 1.0 + k * DT
        state, safe = safety.step(state, command, replace(GOOD["car"], t=t), t)
    assert state.mode == M.ENGAGED and safe.reasons == () and state.denied == 0.0


def test_a_command_made_from_a_car_state_that_cannot_be_used_steers_no_more():
    _, safe = react(replace(before(M.ENGAGED), curvature=0.01), command=Command(1.0, 2.0, 0.011, Signal.LEFT), car=None)
    assert safe.mode == M.TAKEOVER and safe.curvature == 0.01 and safe.acceleration < 0.0 and safe.signal == Signal.HAZARD


def test_lost_inputs_never_release_an_emergency_brake_at_once():
    state, safe = react(before(M.ENGAGED), command=Command(1.0, -8.0, 0.0))
    assert safe.acceleration == -8.0
    _, safe = safety.step(state, None, None, 1.05)
    assert safe.acceleration == pytest.approx(-7.5)


def test_engaging_in_a_curve_begins_with_the_arc_the_car_is_on():
    bend = CarState(1.0, 10.0, 0.0, 0.2, 0.0)
    assert react(before(M.READY), car=bend)[0].curvature == pytest.approx(0.02)
    assert react(before(M.READY), car=replace(bend, t=0.1))[0].curvature == 0.0
    slow = replace(before(M.READY), seen=Seen(t=0.95))
    assert react(slow, car=replace(bend, speed=3.0))[0].curvature == 0.0
    assert react(slow, car=replace(bend, speed=3.1))[0].curvature == pytest.approx(0.2 / 3.1)


# --------------------------------------------------------------------------- at the edges


def test_what_it_starts_with():
    state = safety.initial(engaged=True)
    assert (state.acceleration, state.curvature, state.excess, state.denied, state.concerned, state.requested, state.engage) == (0,) * 7
    assert state.followed == follow.Followed((), 0.0, 0.0, 0.0)
    assert state.seen == Seen(float("-inf"), float("-inf"), float("-inf"), 20.0, 20.0, 0.0, float("inf"), 0.0, 0.0)
    assert safety.Config().rss_brake is False


@pytest.mark.parametrize("part", [safety, safety.inputs, safety.limits, follow, watchdog, rss])
def test_states_and_configurations_cannot_be_changed(part):
    kinds = [k for k in vars(part).values() if isinstance(k, type) and is_dataclass(k) and k.__module__ == part.__name__]
    assert kinds and all(k.__dataclass_params__.frozen for k in kinds)


def test_exactly_the_time_allowed_is_still_allowed():
    """In steps of a quarter second, which has no rounding."""
    state = safety.State(M.ENGAGED, Seen(t=0.75, command_t=0.75, car_t=0.75, speed=10.0, expected_speed=10.0))
    after, _ = react(state, car=CarState(1.0, 10.0, 0.0, 0.7, 0.0))
    assert after.mode == M.ENGAGED and after.excess == 0.25
    assert react(state, command=None)[0].mode == M.TAKEOVER and react(state, command=None)[0].denied == 0.25
    after, safe = react(state, concern="blind")
    assert after.mode == M.ENGAGED and after.concerned == 0.25 and safe.reasons == ()
    assert react(state)[0].concerned == 0.0
    asked = replace(state, mode=M.TAKEOVER, concerned=1.0)
    assert react(replace(asked, requested=10.0), concern="blind")[0].mode == M.TAKEOVER
    assert react(replace(asked, requested=3.75), concern="blind")[1].alert == Alert.TAKEOVER
    assert react(replace(asked, requested=3.76), concern="blind")[1].alert == Alert.URGENT


def test_what_the_car_does_counts_only_where_the_bus_is_to_be_believed():
    state = replace(before(M.ENGAGED), acceleration=3.0, curvature=0.025)
    wanted, slow = Command(1.0, 3.0, 0.025), CarState(1.0, 10.0, -1.2, 0.0, 0.0)
    _, safe = react(state, command=wanted, car=slow)
    assert {"acceleration far above the car's", "curvature far from the car's"} <= set(safe.reasons)
    _, safe = react(state, command=wanted, car=replace(slow, t=0.1))
    assert safe.curvature == 0.025 and safe.reasons == ("car state late", "jerk limited")
