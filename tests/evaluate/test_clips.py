"""The timing table's truth against itself: windows by numbers from the drawn places, and what counts as in time."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from nanopilot.evaluate.clips import FRONT, LANE, OWN_Y, Clip, ClipBody, Expectation, clips, judged, placed, road
from nanopilot.evaluate.watch import Row, summary
from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import SPEED_KNOWN_STD, WarningKind

LEADS = [c for c in clips() if c.expected and "cuts in" not in c.name and c.expected.kinds[0] == WarningKind.FORWARD_COLLISION]
DRIFTS = [c for c in clips() if "drifts" in c.name]


def gap(clip: Clip, t: float) -> float:
    """Between the bumpers."""
    (actor,) = clip.actors(t, clip.speed * t)
    return actor.x - actor.size[0] / 2 - clip.speed * t - FRONT


@pytest.mark.parametrize("clip", LEADS, ids=lambda c: c.name)
def test_the_latest_time_has_the_time_to_collision_that_the_standard_asks(clip):
    t, dt = clip.expected.latest, 1e-3
    closing = (gap(clip, t - dt) - gap(clip, t + dt)) / (2 * dt)
    wanted = 2.4 if "0.3 g" in clip.name else 2.0 if "32" in clip.name or "0.5 g" in clip.name else 2.1
    assert gap(clip, t) / closing == pytest.approx(wanted, abs=0.02)
    assert gap(clip, clip.seconds) > 0 and clip.expected.earliest < t < clip.seconds


@pytest.mark.parametrize("clip", DRIFTS, ids=lambda c: c.name)
def test_a_drift_reaches_its_lateral_speed_and_the_latest_line_when_it_says(clip):
    t, side, rate = clip.expected.latest, clip.expected.side, float(clip.name.split()[3])
    lateral = (clip.lateral(t + 0.01) - clip.lateral(t - 0.01)) / 0.02
    assert lateral == pytest.approx(-side * rate, rel=1e-3)
    wheel = -side * clip.lateral(t) + 1.8 / 2  # of the middle of the lane, towards the line's inner edge
    assert wheel - (LANE / 2 - 0.06) == pytest.approx(0.3, abs=0.01)


def test_who_crosses_is_in_front_of_our_middle_when_we_come():
    for clip in (c for c in clips() if "crosses" in c.name):
        hit = clip.seconds + 0.3
        (actor,) = clip.actors(hit, clip.speed * hit)
        assert actor.y == pytest.approx(OWN_Y) and actor.x == pytest.approx(clip.speed * hit + FRONT)
        assert abs(clip.actors(hit - 4, 0.0)[0].y - OWN_Y) > 2  # and beside us when the test begins
        assert clip.actors(clip.expected.latest - 1.0, 0.0)[0].speed > 0  # nobody need be warned of before he has moved for a second


def test_a_clips_body_tells_pictures_only():
    clip = clips()[0]
    body = ClipBody(clip, road(), 20.0)
    first, second = body.observe(), body.observe()
    assert second.t == 0.05 and first.frames[0].image.shape == (body.cameras[0].height, body.cameras[0].width, 3)
    assert first.car.speed_std > SPEED_KNOWN_STD and body.cameras[0].pitch == 0.0 != body.true.pitch
    assert np.abs(first.frames[0].image.astype(int) - second.frames[0].image).mean() > 0.5  # it moves


def test_a_warning_is_judged_by_how_far_it_lies_outside_its_window():
    e = Expectation((WarningKind.HEADWAY,), 2.0, 3.0, "")
    assert [judged(e, t) for t in (2.5, 1.5, 3.25, None)] == [0.0, -0.5, 0.25, inf]


def test_the_summary_counts_what_came_in_time_never_and_falsely():
    def row(warned, error, false=()):
        metres, told = None if error is None else 20 * error, "" if warned is None else "headway" if error == 0.0 else "red_light"
        return Row("x", 1800.0, "headway", 2.0, 3.0, warned, error, error == 0.0, false, 0.01, metres, 0, told)

    s = summary([row(2.5, 0.0), row(3.5, 0.5), row(None, None, ("red_light at 2.00 s: x",))])
    assert s["headway"] == {"clips": 3, "in_time": 1, "never": 1, "other_kind": 1, "worst_error_s": 0.5, "worst_error_m": 10.0,
                            "false_per_hour": 0.0}  # fmt: skip
    assert s["red_light"]["false_per_hour"] == pytest.approx(1 / 1.5) and s["red_light"]["clips"] == 0


def test_who_cuts_in_overlaps_us_from_the_earliest_time_and_is_hit_when_it_says():
    clip, faster = (c for c in clips() if "cuts in" in c.name)
    (actor,) = clip.actors(clip.expected.earliest, clip.speed * clip.expected.earliest)
    assert OWN_Y - actor.y == pytest.approx((1.8 + actor.size[1]) / 2, abs=1e-6)
    t, dt = clip.expected.latest, 1e-3
    assert gap(clip, t) / ((gap(clip, t - dt) - gap(clip, t + dt)) / (2 * dt)) == pytest.approx(1.2, abs=0.01)
    assert faster.expected.kinds == (WarningKind.CUT_IN,) and gap(faster, 9.5) == pytest.approx(18.0) and gap(faster, 11.0) > 18.0


@pytest.mark.parametrize("curvature", [0.0, 1 / 400, -1 / 400])
def test_a_bend_keeps_distances_beside_the_road_and_turns_as_its_radius_says(curvature):
    x, dx = 260.0, 0.01
    (ax, ay, heading), (bx, by, _) = placed(x, 0.0, curvature), placed(x + dx, 0.0, curvature)
    assert np.hypot(bx - ax, by - ay) == pytest.approx(dx, rel=1e-4) and np.arctan2(by - ay, bx - ax) == pytest.approx(heading, abs=1e-4)
    assert heading == pytest.approx(160.0 * curvature)
    lx, ly, _ = placed(x, LANE, curvature)
    assert np.hypot(lx - ax, ly - ay) == pytest.approx(LANE)


def test_a_seed_changes_the_pictures_and_never_the_truth():
    for a, b in zip(clips(0), clips(101), strict=True):
        assert (a.name, a.speed, a.seconds, a.expected) == (b.name, b.speed, b.seconds, b.expected)
        assert b.weather != a.weather and b.pitch != a.pitch
    assert clips(101)[5].weather == clips(101)[5].weather and clips(102)[0].pitch != clips(101)[0].pitch


def test_a_plate_lies_on_the_road_where_it_is_said_to():
    (clip,) = (c for c in clips() if "steel" in c.name)
    body = ClipBody(clip, road(), 20.0)
    bare = ClipBody(replace(clip, patches=()), road(), 20.0)
    body.step = bare.step = 140  # at 140 m; the first plate begins 10 m ahead
    changed = np.argwhere((body.observe().frames[0].image != bare.observe().frames[0].image).any(2))
    nearest, _ = image_from_vehicle(body.true, np.array([[10.0, 0.0, 0.0], [14.0, 0.0, 0.0]]))
    assert changed[:, 0].max() == pytest.approx(nearest[0, 1], abs=1.5) and len(changed) > 500
