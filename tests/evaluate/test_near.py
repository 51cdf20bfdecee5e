"""Near misses, judged from the truth: by the paper's distances, once for each time, and never of who stands in a queue."""

import numpy as np
import pytest

from nanopilot.evaluate.near import CAR, exact_world, near_misses
from nanopilot.safety import rss
from nanopilot.sim.truth import SimTruth, TrueActor

STRAIGHT = np.stack([np.arange(0.0, 61.0), np.zeros(61)], -1)
NOSE = CAR.length - CAR.rear_overhang


def truth(t: float, *actors: TrueActor, speed: float = 10.0) -> SimTruth:
    false = dict.fromkeys(("crash_vehicle", "crash_object", "crash_person", "out_of_road", "arrived"), False)
    return SimTruth(t=t, x=0.0, y=0.0, yaw=0.0, speed=speed, lane_offset=0.0, lane_width=3.5, lane_heading_error=0.0, lane_index=0,
                    lane_count=1, wheels_in_lane=True, lane_path=STRAIGHT, actors=actors, route_completion=0.0, **false)  # fmt: skip


def car(gap: float, y: float = 0.0, speed: float = 10.0) -> TrueActor:
    """Its rear bumper `gap` metres before our nose."""
    return TrueActor(1, "vehicle", NOSE + gap + 2.2, y, 0.0, speed, 4.4, 1.8, 1.5)


def drive(*gaps: float, **changes) -> list[SimTruth]:
    """Half a second at each gap."""
    return [truth(0.1 * k, car(gaps[k // 5], **changes.get("car", {})), speed=changes.get("speed", 10.0)) for k in range(5 * len(gaps))]


@pytest.mark.parametrize("beyond, times", [(0.5, 0), (-0.5, 1)])
def test_the_safe_distance_is_the_papers(beyond, times):
    safe = rss.following_distance(10.0, 10.0, rss.RssConfig())
    assert near_misses(drive(safe + beyond, safe + beyond))[0] == times


def test_two_times_too_near_are_two_and_a_flicker_is_one():
    assert near_misses(drive(40, 5, 5, 40, 40, 40, 5))[0] == 2
    assert near_misses(drive(40, 5, 40, 5))[0] == 1
    assert near_misses(drive(40, 5, 40, 40))[1] == pytest.approx(5 / 20)


def test_nobody_is_missed_beside_us_in_a_queue_or_on_an_empty_road():
    assert near_misses(drive(5, 5, car={"y": 3.5})) == (0, 0.0)
    assert near_misses(drive(2, 2, speed=0.0, car={"speed": 0.0})) == (0, 0.0)
    assert near_misses([truth(0.1 * k) for k in range(9)]) == (0, 0.0)
    assert near_misses([]) == (0, 0.0)


def test_places_are_those_of_our_frame():
    (track,) = exact_world(truth(0.0, car(10.0, y=1.0))).tracks
    assert (track.x, track.y, track.vx, track.vy) == pytest.approx((NOSE + 12.2, 1.0, 10.0, 0.0))
