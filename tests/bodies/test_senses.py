"""What the humanoid's dead reckoning says, against where MuJoCo has it: walking about with a good IMU, and standing with a bad gyro."""

import numpy as np
import pytest

from nanopilot.geometry import wrap
from nanopilot.messages import Mode, SafeCommand, Signal, Walk
from nanopilot.sim import humanoid, rooms

pytestmark = [pytest.mark.drive, pytest.mark.skipif(not humanoid.available(), reason=humanoid.INSTALL)]


def walked(walks, **senses):
    """The body after a tenth of a second of each walk on an empty floor, and the last observation."""
    from nanopilot.bodies.humanoid import Humanoid, HumanoidConfig
    from nanopilot.bodies.senses import SensesConfig

    room = rooms.RoomConfig(0, (-30.0, 30.0), (-30.0, 30.0), things=0, people=0)
    body = Humanoid(HumanoidConfig(room, SensesConfig(**senses), frame_every=10**6))
    for walk in walks:
        seen = body.observe()
        body.act(SafeCommand(seen.t, 0.0, 0.0, Signal.OFF, True, mode=Mode.ENGAGED, walk=walk))
    seen = body.observe()
    body.close()
    return body, seen.walker


def test_with_a_good_gyro_neither_yaw_nor_place_is_lost_by_walking_about():
    rng = np.random.default_rng(1)
    turns = np.repeat(rng.uniform(-0.8, 0.8, 8), 20)
    body, told = walked([Walk(0.5, 0.0, float(turn)) for turn in turns], gyro_bias=0.0, gyro_noise=0.0, tilt_noise=0.0)
    true = body.truth()
    assert abs(wrap(told.yaw - true.yaw)) < np.deg2rad(1.5)  # read at 50 Hz in place of 250 it was 2 to 5 degrees off
    assert np.hypot(told.x - true.x, told.y - true.y) < 0.12


def test_a_robot_that_stands_learns_the_gyros_bias():
    body, _ = walked([Walk(0.0, 0.0, 0.0)] * 80, gyro_bias=0.005)
    assert body.senses.offset == pytest.approx(body.senses.bias[2], abs=0.0008) and abs(body.senses.bias[2]) > 0.001
    body, _ = walked([Walk(0.3, 0.0, 0.0)] * 30, gyro_bias=0.005)
    assert body.senses.offset == 0.0  # walking tells nothing


def test_standing_keeps_its_yaw_though_the_gyro_errs():
    body, told = walked([Walk(0.0, 0.0, 0.0)] * 120, gyro_bias=0.01)
    assert abs(body.senses.bias[2]) > 0.003  # 12 s of it would be 2 degrees and more
    assert abs(wrap(told.yaw - body.truth().yaw)) < np.deg2rad(1.0)  # what 2.5 s give, until feet are at rest and watched


def test_the_foot_that_carries_more_keeps_yaw_though_the_other_creeps():
    (early, then), (late, now) = (walked([Walk(0.0, 0.0, 0.0)] * n, gyro_bias=0.01) for n in (60, 120))
    drifted = wrap(now.yaw - late.truth().yaw) - wrap(then.yaw - early.truth().yaw)
    assert abs(drifted) < 0.002  # in the 6 s the left foot turns by 5 mrad and more, and the gyro is 20 off
    assert late.senses._carries() == 1 and late.senses.offset == pytest.approx(late.senses.bias[2], abs=0.0005)


@pytest.mark.parametrize("walk", [Walk(0.1, 0.0, 0.0), Walk(-0.1, 0.0, 0.0), Walk(0.5, 0.0, 0.0)])
def test_the_feet_do_the_speed_that_is_commanded(walk):
    first, _ = walked([walk] * 40)
    last, _ = walked([walk] * 100)
    way = np.array([last.truth().x - first.truth().x, last.truth().y - first.truth().y])
    c, s = np.cos(first.truth().yaw), np.sin(first.truth().yaw)
    speed = np.array([[c, s], [-s, c]]) @ way / 6.0
    assert speed == pytest.approx([walk.vx, walk.vy], abs=0.04)  # untrimmed it creeps by 0.07, and by 0.1 with hands up


@pytest.mark.parametrize("tenths", [5, 7])
def test_told_to_stand_it_finishes_its_step_and_keeps_its_place(tenths):
    body, told = walked([Walk(0.0, 0.0, 0.0)] * 10 + [Walk(0.0, 0.0, 0.4)] * tenths + [Walk(0.0, 0.0, 0.0)] * 15, gyro_bias=0.0)
    true = body.truth()
    assert body.gait.standing and np.hypot(told.x - true.x, told.y - true.y) < 0.02  # stopped within a step it lost 0.03 to 0.05 m


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_first_step_sways_to_the_side_that_is_asked_for(side):
    body, _ = walked([Walk(0.0, 0.0, 0.0)] * 10 + [Walk(0.0, 0.01 * side, 0.4)] * 8 + [Walk(0.0, 0.0, 0.0)] * 10)
    assert 0.08 < side * body.truth().y < 0.25
