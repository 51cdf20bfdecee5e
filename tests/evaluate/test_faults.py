"""The injector on a body made by hand, and the judge of a row."""

from types import SimpleNamespace

import numpy as np
import pytest

from nanopilot import safety
from nanopilot.evaluate import faults
from nanopilot.evaluate.inject import FAULTS, Fault, FaultyBody, FaultyEyes, Killed
from nanopilot.messages import Alert, CarState, Command, Frame, Mode, Observation
from nanopilot.safety import watchdog

DT = 0.05
BY_NAME = {f.name: f for f in FAULTS}


class Body:
    """Counts; picture k is all k."""

    cameras, vehicle = (), None

    def __init__(self):
        self.k, self.done = -1, []

    def observe(self):
        self.k += 1
        t = DT * self.k
        image = np.full((20, 40, 3), self.k % 256, np.uint8)
        return Observation(t, (Frame(t, "front", image),), CarState(t, 10.0 + 0.01 * self.k, 0.2, 0.0, 0.0))

    def act(self, command):
        self.done.append(command)

    def truth(self):
        return self.k

    def close(self):
        pass


def ride(name, steps=20, since=5):
    """Observe and act with an engaged pilot; (body, observations)."""
    body = FaultyBody(Body(), BY_NAME[name], lambda truth, seen: truth == since, 0)
    state, seen = safety.initial(engaged=True), []
    for _ in range(steps):
        seen.append(body.observe())
        now = seen[-1].t
        state, safe = safety.step(state, Command(now, 0.0, 0.0), seen[-1].car, now)
        body.act(safe)
    return body, seen


def pictures(seen):
    """Per step the grey of the picture's four corners, None where there is none."""
    corners = (slice(None, None, 19), slice(None, None, 39), 0)
    return [o.frames[0].image[corners].ravel().tolist() if o.frames else None for o in seen]


def test_every_fault_has_its_own_name_and_camera_faults_begin_with_their_moment():
    assert len(BY_NAME) == len(FAULTS) == 29
    clean = pictures(ride("none")[1])
    assert clean == [[k] * 4 for k in range(20)]
    for name in BY_NAME:
        if name.startswith(("camera", "frames")):
            spoilt = pictures(ride(name, 50)[1])
            assert spoilt[:5] == clean[:5] and spoilt[5:] != [[k] * 4 for k in range(5, 50)], name


def test_what_each_camera_fault_shows():
    def after(name):
        return pictures(ride(name)[1])[5:]

    assert after("camera black") == [[0] * 4] * 15
    assert after("camera frozen") == [[5] * 4] * 15
    assert after("camera torn")[:2] == [[5, 5, 4, 4], [6, 6, 5, 5]]
    assert after("camera half covered")[0] == [0, 5, 0, 5]
    assert after("camera over-exposed")[3] == [48] * 4
    assert after("frames in wrong order")[:6] == [[k] * 4 for k in (5, 4, 7, 6, 9, 8)]
    _, seen = ride("camera delayed 0.3 s")
    assert [round((o.t - o.frames[0].t) / DT) for o in seen] == [0] * 5 + [5] + [6] * 14  # no older frame than the first
    dropped = [not o.frames for o in ride("frames dropped 50 %", 400)[1]][5:]
    assert 0.4 < np.mean(dropped) < 0.6
    noise = ride("camera noise")[1][10].frames[0].image
    assert 10 < noise.std() < 40


def test_clock_and_wheel_speed():
    _, seen = ride("clock jumps 1 s ahead")
    for o, k in zip(seen, range(20), strict=True):
        assert o.t == o.car.t == o.frames[0].t == pytest.approx(DT * k + (1.0 if k >= 5 else 0.0))
    body, _ = ride("clock jumps 1 s ahead")
    assert body.sent[5][1].alert == Alert.TAKEOVER and body.sent[7][1].alert == Alert.NONE
    assert {o.car.speed for o in ride("wheel speed stuck")[1][5:]} == {10.05}
    body, seen = ride("wheel speed absurd")
    assert seen[5].car.speed == 60.0 and body.sent[5][1].alert == Alert.TAKEOVER and body.sent[-1][1].mode == Mode.MINIMUM_RISK


def test_lost_commands_end_in_braking_and_the_last_one_is_held_for_a_quarter_second():
    body, _ = ride("commands lost for good")
    assert [safe.alert == Alert.URGENT for _, safe in body.sent] == [k > 9 for k in range(20)]
    assert body.sent[-1][1].acceleration < -3.0
    body, _ = ride("commands lost for 0.2 s")
    assert {safe.alert for _, safe in body.sent} == {Alert.NONE}


def eyes(name):
    """The faulty eyes with a network that answers its input, at a body whose moment has come."""
    body = FaultyBody(Body(), BY_NAME[name], lambda *_: True, 0)
    frame = body.observe().frames[0]
    it = FaultyEyes.__new__(FaultyEyes)
    it.body, it._held, it._hung = body, None, False
    it._infer = lambda x: {"a": np.arange(8.0) + x, "n": np.arange(3)}
    it.network = SimpleNamespace(perceive=lambda frame, camera, route, expected: camera)
    return it, frame


def test_what_each_network_fault_answers():
    answer = eyes("network gives NaN")[0]._answer(1.0)
    assert np.isnan(answer["a"]).all() and (answer["n"] == np.arange(3)).all()
    it, _ = eyes("network constant")
    assert it._answer(1.0) is it._answer(2.0)
    shuffled = eyes("network shuffled")[0]._answer(0.0)["a"]
    assert sorted(shuffled) == list(range(8)) and list(shuffled) != list(range(8))
    assert (eyes("none")[0]._answer(0.0)["a"] == np.arange(8)).all()


def test_a_stage_that_raises_hangs_or_is_killed():
    it, frame = eyes("stage raises")
    with pytest.raises(RuntimeError):
        it(frame, None, None)
    it, frame = eyes("pilot killed")
    with pytest.raises(Killed):
        it(frame, None, None)
    assert not issubclass(Killed, Exception)
    it, frame = eyes("stage hangs 2 s")
    _, safe = safety.step(safety.initial(engaged=True), Command(0.0, 0.0, 0.0), CarState(0.0, 10.0, 0.0, 0.0, 0.0), 0.0)
    it.body._watchdog, _ = watchdog.step(watchdog.initial(), safe, None, 0.0)
    it(frame, None, None)
    it(frame, None, None)
    assert it.body.body.k == 40 and len(it.body.sent) == 40  # once, two seconds, no command left out
    assert next(t for t, safe in it.body.sent if safe.alert != Alert.NONE) == pytest.approx(0.3)


def test_calibration_turns_the_camera():
    from nanopilot.geometry import model_camera

    it, frame = eyes("calibration off by 2 degrees")
    assert it(frame, model_camera(), None).yaw == pytest.approx(np.radians(2.0))


def row(bound=None, alert_at=None, told="", written=20, kept=20, name="x", **last):
    """A drive of a second whose fault begins at 0.2 s."""
    whole = {"crash_vehicle": False, "crash_object": False, "crash_person": False, "out_of_road": False, "wheels_in_lane": True,
             "speed": 10.0, "lane_offset": 0.1, "y": 0.0}  # fmt: skip
    truths = [SimpleNamespace(t=DT * k, x=0.5 * k, **(whole | (last if k == 19 else {}))) for k in range(20)]
    sent = [(DT * k, SimpleNamespace(alert=Alert.TAKEOVER if k == alert_at else Alert.NONE, mode=Mode.ENGAGED)) for k in range(20)]
    body = SimpleNamespace(fault=Fault(name, bound), since=0.2, truths=truths, sent=sent)
    return faults.judge(body, [DT * k for k in range(written)], kept, told, "")


@pytest.mark.parametrize(
    ("drive", "why"),
    [
        ({}, []),
        ({"alert_at": 6}, []),
        ({"bound": 0.1, "alert_at": 6}, []),
        ({"bound": 0.1, "alert_at": 7}, ["detected after 0.15 s"]),
        ({"bound": 0.1}, ["not detected"]),
        ({"alert_at": 2}, ["alerted before the fault"]),
        ({"wheels_in_lane": False}, ["lane left"]),
        ({"out_of_road": True}, ["lane left"]),
        ({"crash_object": True}, ["contact"]),
        ({"kept": 19}, ["1 steps lost from the log"]),
        ({"name": "log disk full", "told": "the log x stopped: File too large; it is readable up to about 0.1 s"}, []),
        ({"name": "log disk full", "told": "filled"}, ["log: filled, 0 steps lost"]),
        ({"name": "log disk full"}, ["log: did not notice, 0 steps lost"]),
    ],
)
def test_the_judge_names_every_reason(drive, why):
    assert row(**drive)["why"] == why and row(**drive)["passed"] == (not why)


def test_a_full_disk_may_take_no_more_than_the_last_chunk():
    told = "the log x stopped: File too large; it is readable up to about 0.1 s"
    assert row(name="log disk full", told=told, written=100, kept=60)["passed"]
    assert not row(name="log disk full", told=told, written=100, kept=50)["passed"]


def test_a_moment_that_never_came_is_no_pass():
    body = SimpleNamespace(fault=FAULTS[0], since=None)
    assert faults.judge(body, [], 0, "", "arrived")["passed"] is False


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="camera black"):
        faults.evaluate(3000, "no such", "", 1, None)
