"""The humanoid's planner against SciPy's Dijkstra, numerical integration, and rooms made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from nanopilot.messages import Behaviour, Room
from nanopilot.planning import walker
from nanopilot.planning.potential import frontier, spread
from tests.rooms import BODY, person, room


def world(goal=(3.0, 0.0), **more):
    return room(goal=goal, **more)


AWAKE = walker.Config(settles=0.0)  # without the first seconds of standing


def plan(seen, config=AWAKE):
    return walker.step(walker.initial(config), seen, BODY, config)[1]


def test_the_potential_is_dijkstras():
    rng = np.random.default_rng(0)
    cost = rng.uniform(1.0, 8.0, (24, 31)).astype(np.float32)
    h, w = cost.shape
    index = np.arange(h * w).reshape(h, w)
    rows, columns, lengths = [], [], []
    for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for r in range(h - dr):
            for c in range(max(0, -dc), w - max(0, dc)):
                rows.append(index[r, c])
                columns.append(index[r + dr, c + dc])
                lengths.append(0.1 * np.hypot(dr, dc) * 0.5 * (cost[r, c] + cost[r + dr, c + dc]))
    graph = coo_array((lengths, (rows, columns)), shape=(h * w, h * w))
    goals = np.array([[3, 4], [20, 28]])
    exact = dijkstra(graph, directed=False, indices=index[goals[:, 0], goals[:, 1]], min_only=True).reshape(h, w)
    assert spread(cost, goals, 0.1) == pytest.approx(exact, abs=0.01)


def test_arcs_are_what_small_steps_add_up_to():
    speed, turn = np.array([0.5, 0.3, 0.0]), np.array([0.8, -0.4, 0.6])
    end = walker.arcs(speed, turn, 2.0, 0.2)[:, -1]
    n = 20000
    t = (np.arange(n) + 0.5) * 2.0 / n
    x = (speed[:, None] * np.cos(turn[:, None] * t)).mean(1) * 2.0
    y = (speed[:, None] * np.sin(turn[:, None] * t)).mean(1) * 2.0
    assert end == pytest.approx(np.stack([x, y, 2.0 * turn], -1), abs=1e-6)


def test_the_open_way_is_walked_straight_and_fast():
    it = plan(world())
    assert it.speed[0] == pytest.approx(0.6) and abs(it.yaw[-1]) < 0.3


def test_a_goal_behind_is_turned_to():
    it = plan(world(goal=(-3.0, 0.2)))
    assert abs(it.yaw[-1]) > 0.7


def test_a_thing_in_the_way_is_kept_away_from():
    it = plan(world(things=[(1.0, 1.3, -0.6, 0.6)]))
    away = np.maximum(np.abs(it.xy - (1.15, 0.0)) - (0.15, 0.6), 0.0)
    assert np.hypot(*away.T).min() >= 0.3 and it.speed[0] > 0.0


def test_a_person_close_ahead_is_waited_for():
    someone = person(0.85, 0.0, -0.3)
    assert plan(world(tracks=[someone])).speed[0] == 0.0


def test_at_the_goal_it_has_arrived():
    assert plan(world(goal=(0.2, 0.1))).behaviour == Behaviour.ARRIVED


def test_walled_in_it_stays():
    wall = [(1.0, 1.2, -1.2, 1.2), (-1.2, -1.0, -1.2, 1.2), (-1.2, 1.2, 1.0, 1.2), (-1.2, 1.2, -1.2, -1.0)]
    it = plan(world(things=wall))
    assert np.abs(it.xy).max() < 0.8


def test_a_known_room_has_no_edge_and_an_unknown_half_has_one():
    assert len(frontier(world().room)) == 0
    grid = np.full((50, 50), 2, np.uint8)
    grid[:, 25:] = Room.UNKNOWN
    edge = frontier(Room(0.0, 0.0, 0.0, np.zeros(2), 0.1, grid))
    assert len(edge) == 50 and (edge[:, 1] == 24).all()


def test_what_was_seen_free_once_is_an_edge_and_what_was_met_once_is_none():
    grid = np.full((50, 50), 2, np.uint8)
    grid[:, 24], grid[:, 25:] = 41, Room.UNKNOWN  # 100 / (1 + exp(0.35)), one ray's free
    assert len(frontier(Room(0.0, 0.0, 0.0, np.zeros(2), 0.1, grid))) == 50
    grid[:, 24] = 71  # 100 / (1 + exp(-0.9)), one ray's end
    assert len(frontier(Room(0.0, 0.0, 0.0, np.zeros(2), 0.1, grid))) == 0


def filled(seen, rows, columns, value=Room.UNKNOWN):
    """The same world with other percents in some cells."""
    grid = seen.room.occupancy.copy()
    grid[rows, columns] = value
    return replace(seen, room=replace(seen.room, occupancy=grid))


def test_an_edge_that_stays_though_looked_at_and_one_behind_walls_end_exploring():
    config = walker.Config(task="explore")
    behind = filled(world(things=[(2.0, 2.2, -5.0, 5.0)]), slice(None), slice(90, None))  # its edge is on the wall's other side
    assert plan(replace(behind, t=4.0), config).behaviour == Behaviour.ARRIVED
    niche = filled(world(), slice(47, 53), 55)  # 0.5 m ahead
    state, first = walker.step(walker.initial(config), replace(niche, t=4.0), BODY, config)
    assert first.behaviour != Behaviour.ARRIVED
    for k in range(round(config.enough / 0.1) + 2):
        state, last = walker.step(state, replace(niche, t=4.1 + 0.1 * k), BODY, config)
    assert last.behaviour == Behaviour.ARRIVED


def test_nobody_to_follow_yet_is_looked_for_elsewhere_and_once_around_by_turns():
    config, seen = walker.Config(task="follow"), filled(world(), slice(None), slice(75, None))
    whole = config.roam + config.given_up
    for t, turns in ((0.1, False), (config.roam + 0.1, True), (whole - 0.1, True), (whole + 0.1, False)):
        it = walker.step(walker.initial(config), replace(seen, t=t), BODY, config)[1]
        assert (it.reason == walker.LOOKS_AROUND) == turns and (turns or it.reason.startswith("nobody"))
        assert abs(it.yaw[-1]) > 0.9 or not turns
    assert config.given_up * config.look_around > 2 * np.pi


def test_no_step_is_made_nearer_to_any_of_two_who_wait():
    seen = world(tracks=[person(0.75, -0.45), replace(person(-0.1, -0.6), id=1)])
    _, it = later(seen, walker.Config().patience + 1.5)
    assert it.speed[0] == 0.0 or np.hypot(*(it.xy - (0.75, -0.45)).T).min() > np.hypot(0.75, 0.45) - 0.02


def test_no_step_is_made_to_where_somebody_was_who_may_have_come_nearer():
    close, lost = person(0.25, 0.55), replace(person(-0.5, -1.4), unseen=4.0, id=1)
    assert plan(world(tracks=[close])).reason == "gives way"
    assert plan(world(tracks=[close, lost])).reason != "gives way"
    assert plan(world(tracks=[close, replace(lost, x=-0.8, y=-2.5)])).reason == "gives way"


def test_who_was_lost_is_looked_for_where_it_was():
    config = walker.Config(task="follow")
    state, _ = walker.step(walker.initial(config), world(tracks=[person(1.6, 0.0)]), BODY, config)
    _, gone = walker.step(replace(state, last_seen=(0.8, 0.0)), world(), BODY, config)
    assert abs(gone.yaw[-1]) > 0.9 and gone.speed[0] == 0.0
    _, far = walker.step(replace(state, last_seen=(3.0, 0.0)), world(), BODY, config)
    assert far.speed[0] > 0.0


def test_who_never_moved_is_followed_for_some_seconds_only():
    config, still = walker.Config(task="follow"), replace(person(3.0, 0.0), probability=0.7)
    assert plan(world(tracks=[replace(still, age=2.0)]), config).reason.endswith("behind")
    assert plan(world(tracks=[replace(still, age=9.0)]), config).reason.startswith("nobody")
    moved = replace(person(3.0, 2.0), id=1)
    assert plan(world(tracks=[replace(still, age=2.0), moved]), config).reason == "3.6 m behind"


def test_a_step_back_is_made_from_the_followed_who_is_near():
    it = plan(world(tracks=[person(0.9, 0.0)]), walker.Config(task="follow"))
    assert it.xy[-1, 0] < -0.2
    assert plan(world(tracks=[person(1.5, 0.0)]), walker.Config(task="follow")).xy[-1, 0] == 0.0


def test_with_a_thing_behind_the_followed_is_stepped_away_from_askew():
    seen = world(tracks=[person(0.8, 0.0)], things=[(-0.7, -0.5, -0.4, 0.4)])
    it = plan(seen, walker.Config(task="follow"))
    assert it.reason == "gives way" and abs(it.xy[-1, 1]) > 0.1 and np.hypot(*(it.xy[-1] - (0.8, 0.0))) > 0.85
    assert plan(seen).reason != "gives way"


def test_who_stays_lost_is_searched_for_elsewhere():
    config, seen = walker.Config(task="follow"), filled(world(), slice(None), slice(85, None))
    state, _ = walker.step(walker.initial(config), replace(seen, tracks=(person(1.6, 0.0),)), BODY, config)
    state, reasons = replace(state, last_seen=(0.8, 0.0)), []  # turned once around by then
    for t in np.arange(0.1, config.given_up + 0.3, 0.1):
        state, it = walker.step(state, replace(seen, t=float(t)), BODY, config)
        reasons.append(it.reason)
    assert reasons[0] == walker.LOOKS_AROUND and reasons[-1].startswith("nobody") and it.speed[0] > 0.0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_near_goal_beside_is_turned_to_and_not_stood_before(side):
    it = plan(world(goal=(0.0, 0.4 * side)))
    assert it.yaw[-1] * side > 0.3


def test_who_comes_close_beside_is_stepped_away_from():
    it = plan(world(tracks=[person(0.1, 0.6), person(0.85, 0.0)]))
    assert it.reason == "gives way" and it.xy[-1, 1] < -0.1 and it.yaw[-1] == 0.0


def test_with_a_wall_behind_nobody_is_stepped_away_from():
    wall = [(-1.0, 1.0, -0.7, -0.5)]
    assert plan(world(tracks=[person(0.1, 0.6), person(0.85, 0.0)], things=wall)).reason != "gives way"


def later(seen, seconds, config=AWAKE):
    """State and plan after looking at the same for so long."""
    state = walker.initial(config)
    for t in np.arange(0.1, seconds, 0.1):
        state, it = walker.step(state, replace(seen, t=float(t)), BODY, config)
    return state, it


def test_who_waits_for_us_is_not_waited_for_for_ever():
    seen = world(tracks=[person(0.7, -0.5)])
    assert plan(seen).reason == "wait"
    _, it = later(seen, 2 * walker.Config().patience + 1.0)
    assert it.reason == "makes room" and (it.yaw[-1] > 0.3 or it.xy[-1] @ (0.7, -0.5) < 0.0)
    beside = world(tracks=[person(0.0, -0.85)], things=[(-1.2, 1.2, 0.4, 0.6)])  # no room for a step aside: on, no nearer than he is
    assert plan(beside).speed[0] == 0.0 and later(beside, 2 * walker.Config().patience)[1].speed[0] > 0.0


def test_it_makes_room_by_going_to_where_nobody_is():
    state, _ = later(world(tracks=[person(0.7, -0.5)]), 2 * walker.Config().patience + 0.5)
    assert state.retreats > state.t and state.waited < 1.0
    seen = replace(world(tracks=[person(0.7, -0.5)]), t=state.t + 0.1)
    spots = walker._lonely(seen, seen.room, np.full(seen.room.occupancy.shape, 1.0), AWAKE)
    xy = seen.room.origin + (spots[:, ::-1] + 0.5) * seen.room.cell
    assert np.hypot(*(xy - (0.7, -0.5)).T).min() > AWAKE.lonely - seen.room.cell and len(spots) > 8000


def test_where_it_is_stuck_with_nobody_near_it_passes_a_tight_place():
    gate = [(0.3, 0.6, -5.0, -0.3), (0.3, 0.6, 0.4, 5.0)]  # 0.7 m wide
    state, it = later(world(things=gate), AWAKE.stuck - 0.2)
    assert it.speed[0] == 0.0 and state.squeezes < 0.0
    state, it = later(world(things=gate), AWAKE.stuck + 2.5)
    assert state.squeezes > state.t and it.speed[0] > 0.0
    state, _ = later(world(things=gate, tracks=[person(-1.2, 0.0)]), AWAKE.stuck + 2.5)
    assert state.squeezes < 0.0


def test_where_that_does_not_help_it_looks_from_elsewhere():
    wall = [(0.4, 0.7, -8.0, 8.0)]
    stuck = replace(walker.initial(AWAKE), stood=AWAKE.stuck + AWAKE.squeezes + 0.1, t=9.9)
    state, it = walker.step(stuck, replace(world(things=wall), t=10.0), BODY, AWAKE)
    assert state.afresh == 10.0 + AWAKE.afresh and state.stood < 0.2 and it.reason == "looks from elsewhere"
    assert it.speed[0] > 0.0 or abs(it.yaw[-1]) > 0.3
    state, it = walker.step(stuck, replace(world(things=wall, tracks=[person(-1.2, 0.0)]), t=10.0), BODY, AWAKE)
    assert state.afresh < 0.0
    spots = walker._elsewhere(room().room, np.full(room().room.occupancy.shape, 1.0), AWAKE)
    away = np.hypot(*(room().room.origin + (spots[:, ::-1] + 0.5) * room().room.cell).T)
    assert len(spots) and AWAKE.elsewhere[0] - 0.2 < away.min() and away.max() < AWAKE.elsewhere[1] + 0.2


def test_a_walk_begins_with_standing_and_the_other_tasks_do_not():
    assert plan(world(), walker.Config()).reason.startswith("stands") and plan(replace(world(), t=6.1), walker.Config()).speed[0] == 0.6
    assert not plan(world(tracks=[person(3.0, 0.0)]), walker.Config(task="follow")).reason.startswith("stands")


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_it_starts_with_the_foot_that_sways_it_to_where_there_is_more_room(side):
    for seen in (world(things=[(-0.5, 2.0, *sorted((0.5 * side, 0.8 * side)))]), world(tracks=[person(-0.2, 0.8 * side)])):
        assert np.sign(plan(seen).xy[1, 1] - walker.arcs(*(np.array([v]) for v in arc(plan(seen))), 2.0, 0.2)[0, 0, 1]) == -side


def arc(it):
    """Speed and turn of a plan."""
    return it.speed[0], (it.yaw[1] - it.yaw[0]) / (it.times[1] - it.times[0])


def test_a_near_thing_beside_is_walked_away_from():
    seen = world(things=[(-1.0, 3.0, 0.4, 0.6)])
    assert plan(seen).xy[-1, 1] < -0.1
    assert abs(plan(world()).xy[-1, 1]) < 0.05


def test_a_goal_that_things_stand_too_near_to_is_reached_as_near_as_may_be():
    wall = [(0.51, 0.8, -2.0, 2.0)]
    assert plan(world(goal=(0.37, 0.0), things=wall)).behaviour == Behaviour.ARRIVED
    assert plan(world(goal=(0.37, 0.0))).behaviour != Behaviour.ARRIVED
    beside = [(0.9, 1.4, -0.5, -0.1)]  # the goal is 0.2 m from it: it is passed, and come near to
    it = plan(world(goal=(1.1, 0.1), things=beside))
    assert it.speed[0] > 0.0 and it.xy[-1, 1] > 0.1


def test_from_a_thing_at_its_arm_it_steps_to_where_there_is_room():
    it = plan(world(things=[(-0.3, 0.3, 0.3, 0.5)]))
    assert it.reason == "steps off" and it.xy[-1, 1] < -0.2 and it.yaw[-1] == 0.0
    assert plan(world(things=[(-2.0, 2.0, 0.3, 0.5), (-2.0, 2.0, -0.5, -0.3)])).reason != "steps off"
