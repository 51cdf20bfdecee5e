"""What a humanoid's world keeps of people and tables, told by percepts made by hand, in a robot that stands at the origin."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.messages import CameraModel, CarState, Detection, Kind, Observation, Percept, Reach, RoomClass, Thing, WalkerState
from nanopilot.world import things, walker
from nanopilot.world.things import remembered

CAMERA = CameraModel("head", 320, 240, 120.0, 120.0, 159.5, 119.5, x=0.05, z=1.3, pitch=0.52)
CONFIG = walker.Config()


def person(x, y, std=None):
    away = float(np.hypot(x, y))
    std = 0.05 * away if std is None else std
    return Detection(Kind.PERSON, 0.9, np.zeros(4, np.float32), np.array([x, y], np.float32), 0.0, 0.5, 0.5, away, std, 0.02)


def table(x, y, yaw, width):
    return Thing("table", "blue", x, y, 0.0, yaw, width, 1.0)


def told(looks, free=0.0, until=0.0, reach=None):
    """The world after looks at (time, objects, things), each with `free` metres of floor at all bearings, and then none."""
    state, out = walker.initial(CONFIG), None
    times = [t for t, *_ in looks] + list(np.arange(looks[-1][0] + 0.1, until + 1e-6, 0.1))
    for k, t in enumerate(times):
        body = WalkerState(t, 0.0, 0.0, 0.0, 0.0, 0.0, 0.78, 0.0, 0.0, 0.0, CAMERA, np.zeros(29), reach)
        percept = None
        if k < len(looks):
            _, objects, things = looks[k]
            distance = np.full(len(CONFIG.bearings), free, np.float32)
            scene = np.zeros((36, 48), np.uint8)
            percept = Percept(t, "head", (), None, tuple(objects), scene, distance, 1.0, True, things=tuple(things))
        observation = Observation(t, (), CarState(t, 0.0, 0.0, 0.0, 0.0), None, None, body)
        state, out = walker.step(state, observation, percept, CONFIG)
    return out


def walking(n):
    return [(0.2 * k, [person(2.0, -1.0 + 0.1 * k)], []) for k in range(n)]  # 0.5 m/s to the left


def test_who_is_out_of_sight_walks_on_for_a_moment_and_then_stands():
    seen = told(walking(30)).tracks[0]
    assert seen.vy == pytest.approx(0.5, abs=0.1)
    lost = told(walking(30), until=5.8 + 3.0).tracks[0]
    assert lost.y == pytest.approx(seen.y + seen.vy * CONFIG.people.coast, abs=0.02) and lost.vy == 0.0
    assert not told(walking(30), until=5.8 + CONFIG.people.forget + 0.2).tracks


def test_whose_feet_are_out_of_the_picture_is_where_he_was_unless_that_is_too_far():
    feet = [(0.2 * k, [person(0.9, 0.0)], []) for k in range(10)]
    cut = [(2.0 + 0.2 * k, [person(0.7, 0.0, 0.25)], []) for k in range(10)]
    assert told(feet + cut).tracks[0].x == pytest.approx(0.9, abs=0.03)
    nearer = [(t, [person(0.5, 0.0, 0.25)], []) for t, *_ in cut]
    assert told(feet + nearer).tracks[0].x == pytest.approx(0.7, abs=0.06)  # as far as the doubt of it goes
    assert told(feet + [(t, [person(0.5, 0.0)], []) for t, *_ in cut]).tracks[0].x == pytest.approx(0.5, abs=0.03)
    walks = [(0.2 * k, [person(2.0 - 0.1 * k, 0.0)], []) for k in range(12)]  # 0.5 m/s towards us, then he stops, his feet cut
    stops = [(2.4 + 0.2 * k, [person(0.75, 0.0, 0.25)], []) for k in range(10)]
    assert told(walks + stops).tracks[0].x == pytest.approx(0.75, abs=0.2) and abs(told(walks + stops).tracks[0].vx) < 0.05


def test_who_never_moved_may_be_a_thing():
    still = told([(0.2 * k, [person(2.0 + 0.1 * (-1) ** k, 0.0)], []) for k in range(20)]).tracks[0]
    assert still.probability == CONFIG.people.doubt and told(walking(20)).tracks[0].probability == 1.0


def test_who_should_be_in_the_picture_and_is_not_is_gone():
    looks = [(0.2 * k, [person(2.0, 0.0)], []) for k in range(5)]
    missed = CONFIG.people.missed
    assert told([*looks, *((1.0 + 0.2 * k, [], []) for k in range(missed - 1))]).tracks
    assert not told([*looks, *((1.0 + 0.2 * k, [], []) for k in range(missed))]).tracks
    beside = [(0.2 * k, [person(0.3, 1.0)], []) for k in range(5)]  # the picture doesn't show that
    assert told([*beside, *((1.0 + 0.2 * k, [], []) for k in range(missed))]).tracks


def test_where_free_floor_is_seen_nobody_stands():
    looks = [(0.2 * k, [person(2.0, 0.0)], []) for k in range(5)]
    assert not told([*looks, (1.2, [], [])], free=4.0).tracks
    assert told([*looks, (1.2, [], [])], free=2.1).tracks  # something ends the floor there


def test_a_tables_side_hardly_turns_its_front():
    front, side = table(2.0, 0.0, np.pi, 0.7), table(2.2, 0.4, np.pi / 2, 0.3)
    seen = told([(0.0, [], [front]), (0.2, [], [side]), (0.4, [], [side])]).things[0]
    assert np.hypot(seen.x - 2.0, seen.y) < 0.15 and abs(seen.yaw) > np.pi - 0.35


def test_a_shorter_side_seen_from_near_neither_turns_nor_moves_its_front():
    front, side = table(2.0, 0.0, np.pi, 0.7), replace(table(2.2, 0.4, np.pi / 2, 0.3), weight=40.0)
    seen = told([(0.0, [], [front]), *((0.2 * k, [], [side]) for k in range(1, 20))]).things[0]
    assert (seen.x, seen.y) == pytest.approx((2.0, 0.0)) and abs(seen.yaw) == pytest.approx(np.pi)


def test_a_longer_side_seen_later_is_the_front():
    front, side = table(2.0, 0.0, np.pi, 0.7), table(2.2, 0.4, np.pi / 2, 0.3)
    seen = told([(0.0, [], [side]), (0.2, [], [front])]).things
    assert len(seen) == 1 and (seen[0].x, seen[0].y, abs(seen[0].yaw)) == pytest.approx((2.0, 0.0, np.pi))


def test_a_part_of_a_front_hardly_moves_its_middle():
    front, part, whole = table(2.0, 0.0, np.pi, 0.7), table(2.0, 0.3, np.pi, 0.2), table(2.0, 0.3, np.pi, 0.7)
    hidden, shown = (told([(0.0, [], [front]), (0.2, [], [look])]).things[0].y for look in (part, whole))
    assert hidden < 0.05 and shown == pytest.approx(0.3 / 1.95)


def test_who_is_near_is_kept_longer_after_one_look():
    assert told([(0.0, [person(0.8, 0.5)], [])], until=1.5).tracks and not told([(0.0, [person(2.5, 0.5)], [])], until=1.5).tracks


def test_what_is_held_hides_tables_up_to_where_the_floor_is_seen_over_it():
    first, later = table(2.0, 0.0, np.pi, 0.7), (table(2.0, 0.3, 2.4, 1.2), table(-2.0, 0.0, 0.0, 0.7))
    known = remembered((), (first,), (0.0, 0.0, 0.0), 0.0, CONFIG.things)
    free, near, far = (remembered(known, later, (0.0, 0.0, 0.0), 0.2, CONFIG.things, hidden) for hidden in (0.0, 1.9, 2.1))
    assert len(free) == 2 and free[0].at[1] > 0.1 and len(near) == 2 and near[0].at[1] > 0.1 and far == known
    high, low = Reach((0.34, 0.12, 0.96), (0.34, -0.12, 0.96)), Reach((0.34, 0.12, 0.72), (0.34, -0.12, 0.72))
    assert told([(0.0, [], [first])]).things and told([(0.0, [], [first])], reach=low).things
    assert not told([(0.0, [], [first])], reach=high).things


def test_how_far_the_floor_is_hidden_is_where_the_ray_over_what_is_held_meets_it():
    def hidden(z, half=0.12, x=0.34):
        reach = Reach((x, half, z), (x, -half, z))
        body = WalkerState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.78, 0.0, 0.0, 0.0, CAMERA, np.zeros(29), reach)
        return things.hidden(body, CONFIG.things)

    forward, up = CONFIG.things.half
    at = hidden(0.72)
    assert (CAMERA.z - 0.72 - up) / (0.34 + forward - CAMERA.x) == pytest.approx(CAMERA.z / (at - CAMERA.x)) and 1.0 < at < 1.4
    assert hidden(1.2) == np.inf and hidden(0.72, half=0.25) == 0.0 and hidden(0.72, x=0.1) == 0.0


def test_a_longer_side_seen_from_beside_is_not_the_front():
    known = remembered((), (table(2.0, 0.0, np.pi, 0.5),), (0.0, 0.0, 0.0), 0.0, CONFIG.things)
    square, beside = (remembered(known, (table(2.3, 0.4, yaw, 0.9),), (0.0, 0.0, 0.0), 0.2, CONFIG.things)[0] for yaw in (-2.2, np.pi / 2))
    assert square.at == pytest.approx([2.3, 0.4]) and square.width == 0.9
    assert beside.at[0] < 2.1 and beside.width < 0.5


def test_who_stands_near_is_taken_to_wait_until_we_have_gone():
    near, far = ([(0.2 * k, [person(x, -0.7)], []) for k in range(5)] for x in (0.5, 2.5))
    assert told(near, until=20.0).tracks and not told(far, until=20.0).tracks


def test_a_floor_that_may_be_none_stands_in_the_way_less_than_what_is_likelier_a_thing():
    def edge(seen_as):
        """Percent of the cell straight ahead where the floor ended after one look."""
        body = WalkerState(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.78, 0.0, 0.0, 0.0, CAMERA, np.zeros(29), None)
        distance = np.full(len(CONFIG.bearings), 2.0, np.float32)
        seen = Percept(0.0, "head", (), None, (), np.full((36, 48), seen_as, np.uint8), distance, 1.0, True)
        out = walker.step(walker.initial(CONFIG), Observation(0.0, (), CarState(0.0, 0.0, 0.0, 0.0, 0.0), None, None, body), seen, CONFIG)[
            1
        ]
        row, column = ((np.array([0.0, CAMERA.x + 2.0]) - out.room.origin[::-1]) / out.room.cell).astype(int)
        return out.room.occupancy[row, column]

    thing, doubtful = edge(RoomClass.OBSTACLE), edge(RoomClass.FLOOR)
    assert thing == round(100 / (1 + np.exp(-CONFIG.hit))) and doubtful == round(100 / (1 + np.exp(-CONFIG.doubted))) < thing
