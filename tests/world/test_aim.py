"""The camera's aim against exact geometry: lines of straights and bends, driven along in swerves, by cameras turned by known angles."""

from dataclasses import replace
from math import radians

import numpy as np
import pytest

from nanopilot import world
from nanopilot.geometry import child_from_parent, rotation_2d
from nanopilot.messages import CarState, LaneLine, Observation
from nanopilot.world import aim
from nanopilot.world.aim import AimConfig, AimState
from nanopilot.world.motion import Motion

CONFIG = AimConfig()
DT, SPEED = 0.05, 10.0
X = np.arange(4.0, 31.0, 1.5)


def line(side: int, radius: float, where: float, aside: float, yaw: float, turned: float, noise: float, rng) -> LaneLine:
    """A lane's line as seen by a car that is `where` m on, `aside` m left of the middle, and looks `yaw` rad left of the road."""
    s = np.arange(where - 10, where + 60, 0.5)
    a, r = s / radius, radius - 1.75 * -side
    road = np.stack([r * np.sin(a), radius - r * np.cos(a)], -1)
    here = where / radius
    at = np.array([np.sin(here) * (radius - aside), radius - (radius - aside) * np.cos(here)])
    seen = child_from_parent(road, *at, here + yaw) @ rotation_2d(turned).T
    seen = seen[np.argsort(seen[:, 0])]
    points = np.stack([X, np.interp(X, *seen.T) + rng.normal(0, noise, len(X))], -1).astype(np.float32)
    return LaneLine(side, 0.95, np.zeros_like(points), points, np.full(len(X), 0.1, np.float32))


def heading(s: float) -> float:
    """Rad left of the road that the car looks after `s` m."""
    return 0.02 * np.sin(s / 8)


def drive(off, radius: float = 1e6, sides: tuple[int, ...] = (-1, 1)) -> list[AimState]:
    """Every state; `off(s)` is what the assumed yaw is wrong by after `s` m. Whoever looks turns the camera back by what was told."""
    rng, state, out, s, aside = np.random.default_rng(0), AimState(), [], 0.0, 0.3
    while s < 60.0:
        ds = SPEED * DT
        turn = ds / (radius - aside) + heading(s + ds) - heading(s)
        motion = Motion(DT, ds * np.cos(turn / 2), ds * np.sin(turn / 2), turn, ds, 0.0, 0.0)
        aside += ds * np.sin(heading(s + ds / 2))
        s += ds
        lines = tuple(line(side, radius, s, aside, heading(s), off(s) + state.yaw, 0.02, rng) for side in sides)
        state = aim.step(state, motion, lines, CONFIG)
        out.append(state)
    return out


@pytest.mark.parametrize("radius", [1e6, 60.0, -60.0])
@pytest.mark.parametrize("degrees", [4.0, -4.0, 2.5])
def test_a_turned_camera_is_found_and_then_left_alone(radius, degrees):
    states = drive(lambda s: radians(degrees), radius)
    assert states[-1].yaw == pytest.approx(-radians(degrees), abs=radians(0.5))
    found = next(k for k, s in enumerate(states) if s.yaw)
    assert SPEED * DT * found < 12.0 and {s.yaw for s in states[found:]} == {states[-1].yaw}
    assert bool(aim.concern(states[-1], CONFIG)) == (abs(degrees) == 4.0)


@pytest.mark.parametrize("radius", [1e6, 60.0, -60.0])
@pytest.mark.parametrize("degrees", [0.0, 1.0, -1.0])
def test_little_is_left_alone_however_one_swerves(radius, degrees):
    assert all(s.yaw == 0.0 and abs(s.seems + radians(degrees)) < radians(0.4) for s in drive(lambda s: radians(degrees), radius)[40:])


def test_a_blow_while_driving_is_found_once_old_looks_are_gone():
    states = drive(lambda s: radians(4.0) if s > 30 else 0.0)
    found = next(k for k, s in enumerate(states) if s.yaw) * SPEED * DT
    assert 34.0 < found < 42.0 and states[-1].yaw == pytest.approx(-radians(4.0), abs=radians(0.5))


def test_another_line_is_no_turned_camera():
    """At 30 m the lines of the lane beside are taken for ours, as in a lane change."""
    rng, state = np.random.default_rng(0), AimState()
    for k in range(120):
        s = k * SPEED * DT
        lines = [line(side, 1e6, s, 0.0 if s < 30 else -3.5, 0.0, 0.0, 0.02, rng) for side in (-1, 1)]
        state = aim.step(state, Motion(DT, 0.5, 0.0, 0.0, 0.5, 0.0, 0.0), tuple(lines), CONFIG)
        assert state.yaw == 0.0


def test_nothing_is_told_without_lines_of_one_s_own_or_while_standing():
    assert all(s.yaw == 0.0 and s.weight == 0.0 for s in drive(lambda s: radians(4.0), sides=()))
    assert all(s.yaw == 0.0 and s.weight == 0.0 for s in drive(lambda s: radians(4.0), sides=(-2, 2)))
    standing, rng = AimState(), np.random.default_rng(0)
    for _ in range(200):
        standing = aim.step(standing, Motion(DT, 0, 0, 0, 0, 0, 0), (line(-1, 1e6, 0, 0, 0, 0.07, 0.1, rng),), CONFIG)
    assert standing.yaw == 0.0 and len(standing.looks) == 1


def test_doubtful_short_and_steep_lines_are_not_compared():
    rng = np.random.default_rng(0)
    good = line(1, 1e6, 0, 0, 0, 0, 0, rng)
    assert aim._lines((good,), CONFIG).keys() == {1}
    short = replace(good, points=good.points[:3], y_std=good.y_std[:3])
    for bad in (short, replace(good, probability=0.4), replace(good, y_std=np.full(len(X), 1.0)), replace(good, side=2)):
        assert not aim._lines((bad,), CONFIG)
    x = np.arange(3.0, 20.0)
    assert aim._compared(np.stack([x, 0.6 * x], -1), np.stack([x, 0.6 * x], -1), 5.0, CONFIG) is None
    assert aim._compared(np.stack([x[:3], x[:3]], -1), np.stack([x, x], -1), 5.0, CONFIG) is None


def test_what_was_found_outlives_a_gap_and_little_is_kept():
    config = world.Config()
    state = replace(world.initial(config), aim=AimState(yaw=0.07))
    for t in (0.0, 5.0):
        state, seen = world.step(state, Observation(t, (), CarState(t, 10.0, 0.0, 0.0, 0.0), None, None), None, config)
    assert state.reset and seen.camera_yaw == 0.07 and seen.concern == "blind"
    assert max(len(s.looks) for s in drive(lambda s: 0.0)) <= 16
