"""The humanoid's door: what each bad input does to a walk."""

from math import inf, nan

import numpy as np
import pytest

from nanopilot.messages import CarState, Command, Mode, Reach, RssVerdict, Walk
from nanopilot.safety import keep_out, walker
from tests.rooms import BODY, person, room

STILL = Walk(0.0, 0.0, 0.0)


def car(t, speed=0.0, yaw_rate=0.0):
    return CarState(t, speed, 0.0, yaw_rate, 0.0)


def walking(seconds=1.0, walk=Walk(0.5, 0.0, 0.0)):
    """A state that has been walking, and the time."""
    state = walker.initial(engaged=True)
    for k in range(round(10 * seconds)):
        state, safe = walker.step(state, Command(k / 10, 0.0, 0.0, walk=walk), car(k / 10, 0.5), k / 10)
    return state, safe, seconds


def test_a_good_command_passes_after_speeding_up():
    _, safe, _ = walking()
    assert safe.walk == Walk(0.5, 0.0, 0.0) and safe.engaged and not safe.reasons


def test_off_nothing_moves():
    _, safe = walker.step(walker.initial(), Command(0.0, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0)), car(0.0), 0.0)
    assert not safe.engaged and safe.walk is None and safe.mode == Mode.OFF


def old(t):
    return Command(t - 1.0, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0))


@pytest.mark.parametrize(
    ("command", "body", "reason"),
    [
        (None, car(1.0), "no command"),
        (Command(1.0, 0.0, 0.0), car(1.0), "no command"),
        (old(1.0), car(1.0), "command too old"),
        (Command(1.0, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0)), None, "no word of the body"),
        (Command(1.0, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0)), car(0.0), "no word of the body"),
    ],
)
def test_a_bad_input_stands_still_at_once(command, body, reason):
    state, _, t = walking()
    _, safe = walker.step(state, command, body, t)
    assert safe.walk == STILL and reason in safe.reasons and safe.mode == Mode.TAKEOVER


@pytest.mark.parametrize("t", [nan, inf, 0.2])
def test_a_clock_that_is_none_or_goes_back_stands_still(t):
    state, _, _ = walking()
    _, safe = walker.step(state, Command(1.0, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0)), car(1.0), t)
    assert safe.walk == STILL and "clock" in safe.reasons


def test_blind_for_longer_than_forgiven_stands_still_and_goes_on_when_it_sees():
    state, _, t = walking()
    seen = []
    for k in range(1, 8):
        now, concern = t + (k - 1) / 10, "blind" if k <= 5 else ""
        state, safe = walker.step(state, Command(now, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.0)), car(now, 0.5), now, concern=concern)
        seen.append(safe.walk.vx)
    assert seen[1] > 0.0 and seen[2] == seen[4] == 0.0 and seen[6] > 0.0


@pytest.mark.parametrize("wanted", [Walk(9.0, 9.0, 9.0), Walk(-9.0, -9.0, -9.0)])
def test_no_speed_beyond_the_limits(wanted):
    _, safe, _ = walking(3.0, wanted)
    limits = walker.Config()
    assert -limits.backward <= safe.walk.vx <= limits.forward
    assert abs(safe.walk.vy) <= limits.sideways and abs(safe.walk.yaw_rate) <= limits.turn
    assert {"speed limited", "turn limited"} <= set(safe.reasons)


def test_a_body_that_does_far_more_than_told_is_shut_off_for_good():
    state = walker.initial(engaged=True)
    for k in range(20):
        state, safe = walker.step(state, Command(k / 10, 0.0, 0.0, walk=STILL), car(k / 10, 3.0), k / 10)
    assert safe.mode == Mode.FAILED and safe.walk is None
    _, safe = walker.step(state, Command(2.0, 0.0, 0.0, walk=STILL), car(2.0), 2.0, engage=True)
    assert safe.mode == Mode.FAILED


def test_no_step_towards_what_is_too_near_but_turning_and_going_back_are_allowed():
    state, _, t = walking()
    near = RssVerdict(t, distance=0.2, safe_distance=0.3)
    command = Command(t, 0.0, 0.0, walk=Walk(0.5, 0.0, 0.3))
    _, safe = walker.step(state, command, car(t, 0.5), t, near=near)
    assert safe.walk == Walk(0.0, 0.0, 0.3) and "too near" in safe.reasons
    _, safe = walker.step(state, Command(t, 0.0, 0.0, walk=Walk(-0.05, 0.0, 0.0)), car(t, 0.5), t, near=near)
    assert safe.walk.vx == pytest.approx(-0.05)


def reaching(left, right, steps=40, last=lambda k: ""):
    """What the palms are let do while one reach is asked for, at each step."""
    state, out = walker.initial(engaged=True), []
    for k in range(steps):
        command = Command(k / 10, 0.0, 0.0, walk=STILL, reach=Reach(left, right))
        state, safe = walker.step(state, command, car(k / 10), k / 10, concern=last(k))
        out.append(safe)
    return out


def test_palms_get_where_they_may_and_no_faster_than_a_third_of_a_metre_a_second():
    left, right = (0.4, 0.24, 1.0), (0.4, -0.24, 1.0)
    seen = reaching(left, right)
    path = np.array([[s.reach.left, s.reach.right] for s in seen])
    assert np.linalg.norm(np.diff(path, axis=0), axis=-1).max() <= 0.0351
    assert path[-1] == pytest.approx(np.array([left, right]), abs=1e-6) and not seen[-1].reasons


@pytest.mark.parametrize("far", [(2.0, 0.2, 0.9), (0.4, 1.5, 0.9), (0.4, 0.2, 0.1), (-0.5, 0.2, 0.9)])
def test_palms_stay_where_arms_may_reach(far):
    x, y, z = reaching(far, (0.4, -0.2, 0.9))[-1].reach.left
    assert 0.1 <= x <= 0.6 and abs(y) <= 0.5 and 0.5 <= z <= 1.3


def test_palms_never_meet():
    safe = reaching((0.4, -0.3, 0.9), (0.4, 0.3, 0.9))[-1]
    assert safe.reach.left[1] - safe.reach.right[1] >= 0.12 - 1e-9 and "palms kept apart" in safe.reasons


def test_blind_hands_keep_what_they_hold():
    seen = reaching((0.4, 0.24, 1.0), (0.4, -0.24, 1.0), last=lambda k: "blind" if k > 10 else "")
    assert seen[-1].mode == Mode.TAKEOVER and seen[-1].reach == seen[20].reach and seen[-1].reach is not None


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_reach_that_is_not_finite_is_refused(bad):
    safe = reaching((bad, 0.2, 0.9), (0.4, -0.2, 0.9), steps=3)[-1]
    assert safe.reach is None and "command not finite" in safe.reasons


@pytest.mark.parametrize(
    ("seen", "too_near"),
    [
        (room(), False),
        (room(cells=[(0.22, 0.0)]), True),
        (room(cells=[(0.55, 0.0)]), False),
        (room(cells=[(-0.2, 0.0)]), False),
        (room(tracks=[person(0.45, 0.1)]), True),
        (room(tracks=[person(0.7, 0.0)]), False),
        (room(tracks=[person(-0.4, 0.0)]), False),
    ],
    ids=["nothing", "thing at 0.25 m", "thing at 0.55 m", "thing behind", "person at 0.46 m", "person at 0.7 m", "person behind"],
)
def test_keep_out(seen, too_near):
    _, verdict = keep_out.step(keep_out.initial(), seen, BODY, keep_out.Config())
    assert (verdict.distance < verdict.safe_distance) == too_near
