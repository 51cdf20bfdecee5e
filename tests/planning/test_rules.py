"""The rules of the road, as sentences."""

from dataclasses import replace

import numpy as np
import pytest
from closed_loop import CAR

from nanopilot.geometry import model_camera
from nanopilot.messages import PATH_ARC, Curve, Kind, Light, RoadSignal, Track, Turn, World
from nanopilot.planning import planner, rules
from nanopilot.planning.longitudinal import LongitudinalConfig
from nanopilot.planning.rules import RulesConfig, RulesState

C = RulesConfig()
NOSE = CAR.length - CAR.rear_overhang


def world(speed: float, *signals: RoadSignal) -> World:
    return World(
        t=0.0, speed=speed, yaw_rate=0.0, acceleration=0.0, path=None, left=None, right=None, lane_width=3.5, lane_left=0.0, lane_right=0.0,
        tracks=(), route_line=np.zeros((0, 2)), route_std=1.0, next_turn=Turn.STRAIGHT, next_turn_distance=50.0, goal_distance=500.0,
        speed_limit=14.0, localisation_std=1.0, blind=0.0, signals=signals,
    )  # fmt: skip


def light(state: Light, line: float, std: float = 0.0) -> RoadSignal:
    return RoadSignal("light", state, line + NOSE, std, 0.0, 1.0, 0.0)


def ask(speed: float, *signals: RoadSignal, state: RulesState = RulesState(), dt: float = 0.1):
    return rules.step(state, world(speed, *signals), dt, CAR, C)


def test_without_signals_nothing_is_asked():
    assert ask(10.0)[1] == rules.Rule()


def test_red_stops_before_the_line_farther_the_less_we_know_where_it_is():
    sure, unsure = ask(10.0, light(Light.RED, 30.0))[1], ask(10.0, light(Light.RED, 30.0, 2.0))[1]
    assert sure.stop == pytest.approx(30.0 - C.light_margin) and unsure.stop == pytest.approx(30.0 - C.margin - 2 * C.margin_stds)


def test_who_waits_at_a_red_line_still_sees_the_light_beside_it():
    camera = model_camera()
    nose_from_post = ask(10.0, light(Light.RED, 30.0))[1].stop  # of 30 m to the line, behind which the post stands 1.2 m
    ahead_of_camera = 30.0 - nose_from_post + 1.2 + NOSE - camera.x
    assert camera.cy - camera.fy * (3.6 - camera.z) / ahead_of_camera > 0


def test_green_goes():
    assert not np.isfinite(ask(10.0, light(Light.GREEN, 30.0))[1].stop)


@pytest.mark.parametrize(("line", "stops"), [(30.0, True), (12.0, False)])  # 10 m/s needs 20 m at 2.5 m/s²
def test_amber_stops_where_comfortable_braking_suffices(line, stops):
    assert np.isfinite(ask(10.0, light(Light.YELLOW, line))[1].stop) == stops


def test_who_went_on_amber_goes_on_when_it_turns_red():
    state, _ = ask(10.0, light(Light.YELLOW, 12.0))
    assert not np.isfinite(ask(10.0, light(Light.RED, 10.0), state=state)[1].stop)


def test_who_is_about_to_cross_the_line_on_amber_does_not_stop_on_it():
    assert not np.isfinite(ask(2.0, light(Light.YELLOW, 1.5))[1].stop) and np.isfinite(ask(2.0, light(Light.YELLOW, 4.0))[1].stop)


@pytest.mark.parametrize(("unseen", "line", "goes"), [(C.light_lost + 1, 0.5, True), (20.0, 0.5, False), (C.light_lost + 1, 25.0, False)])
def test_a_light_lost_for_a_cycle_by_who_stands_at_its_line_holds_no_more(unseen, line, goes):
    state, _ = ask(0.0, replace(light(Light.RED, line), unseen=unseen))
    assert state.going == goes


def test_who_is_past_the_line_leaves_the_junction():
    state, rule = ask(5.0, light(Light.RED, -2.0))
    assert state.going and not np.isfinite(rule.stop)


def test_a_stop_sign_holds_until_we_have_stood_and_then_lets_go():
    sign = RoadSignal("stop", Light.OFF, NOSE + 2.0, 0.0, 0.0, 1.0, 0.0)
    state, rule = ask(0.0, sign)
    assert np.isfinite(rule.stop)
    for _ in range(12):
        state, rule = ask(0.0, sign, state=state)
    assert not np.isfinite(rule.stop) and rule.speed == C.yield_speed
    again = replace(sign, distance=NOSE + 60.0)  # the next junction's
    assert np.isfinite(ask(10.0, again, state=state)[1].stop)


def test_who_comes_to_a_stop_sign_too_fast_stops_a_little_beyond_the_line():
    over = RoadSignal("stop", Light.OFF, NOSE - 1.5, 0.0, 0.0, 1.0, 0.0)
    state, rule = ask(2.0, over)
    assert not state.going and rule.stop == 0.0
    for _ in range(12):
        state, rule = ask(0.0, over, state=state)
    assert not np.isfinite(rule.stop)
    assert ask(2.0, replace(over, distance=NOSE - 3.5))[0].going  # no standing where others cross


def test_a_stop_sign_read_only_20_m_before_its_line_can_still_be_stopped_for():
    town = replace(C, unsigned=True)
    _, rule = rules.step(RulesState(), replace(world(10.0), next_turn_distance=20.0 + NOSE), 0.1, CAR, town)
    fastest = np.sqrt(rule.speed**2 + 2 * LongitudinalConfig().comfort_deceleration * rule.at)
    assert rule.at == pytest.approx(20.0) and fastest**2 / (2 * (rule.at - C.margin)) < 3.1
    assert rules.step(RulesState(), world(10.0), 0.1, CAR, C)[1] == rules.Rule()  # not in MetaDrive's maps


def test_rolling_slowly_over_a_stop_line_is_no_stop():
    sign = RoadSignal("stop", Light.OFF, NOSE + 2.0, 0.0, 0.0, 1.0, 0.0)
    state = RulesState()
    for _ in range(50):
        state, rule = ask(0.5, sign, state=state)
    assert np.isfinite(rule.stop)


def test_a_yield_sign_is_come_to_slowly():
    rule = ask(10.0, RoadSignal("yield", Light.OFF, NOSE + 20.0, 0.0, 0.0, 1.0, 0.0))[1]
    assert rule.speed == C.yield_speed and rule.at == pytest.approx(20.0) and not np.isfinite(rule.stop)


def test_a_seen_limit_holds():
    assert ask(10.0, RoadSignal("limit", Light.OFF, 0.0, 0.0, 8.3, 1.0, 0.0))[1].limit == 8.3


def blocked(rule, room: float, lead_speed: float, state: RulesState = RulesState()):
    return rules.blocked(state, rule, room, lead_speed, C)


def test_a_queue_behind_the_junction_is_waited_for_before_it():
    rule = ask(8.0, light(Light.GREEN, 20.0))[1]
    assert blocked(rule, 30.0, 0.0)[1].stop == rule.hold
    assert blocked(rule, 30.0, 5.0)[1] == rule  # the queue moves
    assert blocked(rule, 20.0 + C.junction_length + 1.0, 0.0)[1] == rule  # there is room behind it


def test_a_queue_that_is_waited_for_must_have_moved_off_before_we_follow():
    rule = ask(0.0, light(Light.GREEN, 2.0))[1]
    waits, _ = blocked(rule, 15.0, 0.0)
    assert blocked(rule, 15.0, 1.5)[1] == rule and not blocked(rule, 15.0, 1.5)[0].waits  # who did not wait drives behind it
    assert blocked(rule, 15.0, 1.5, waits)[1].stop == rule.hold and blocked(rule, 15.0, 1.5, waits)[0].waits
    assert blocked(rule, 15.0, 3.0, waits)[1] == rule and not blocked(rule, 15.0, 3.0, waits)[0].waits


def test_a_junction_without_a_sign_is_kept_free_too_in_towns_alone():
    towns = replace(C, unsigned=True)
    near = replace(world(8.0), next_turn_distance=NOSE + 20.0, localisation_std=0.0)
    rule = rules.step(RulesState(), near, 0.1, CAR, towns)[1]
    assert not np.isfinite(rule.stop) and rule.line == pytest.approx(20.0)  # nothing is asked but to keep it free
    assert blocked(rule, 30.0, 0.0)[1].stop == pytest.approx(20.0 - C.margin)
    assert blocked(rule, 30.0, 0.0)[1].reason == "junction blocked"
    assert rules.step(RulesState(), near, 0.1, CAR, C)[1] == rules.Rule()
    arriving = replace(near, next_turn=Turn.ARRIVE)
    assert rules.step(RulesState(), arriving, 0.1, CAR, towns)[1] == rules.Rule()


def test_who_is_inside_a_junction_without_a_sign_drives_up_to_the_queue():
    inside = replace(world(4.0), next_turn_distance=NOSE - 2.0, localisation_std=0.0)
    state, rule = rules.step(RulesState(), inside, 0.1, CAR, replace(C, unsigned=True))
    assert state.going and blocked(rule, 10.0, 0.0, state)[1] == rule


@pytest.mark.parametrize(("kind", "waits"), [(Kind.VEHICLE, True), (Kind.PERSON, False)])
def test_a_person_standing_behind_the_junction_is_no_queue(kind, waits):
    stands = Track(1, kind, 26.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 0.6, 0.6, 3.0, 0.0, 1.0)
    path = Curve(np.stack([PATH_ARC, 0 * PATH_ARC], -1), np.full(len(PATH_ARC), 0.1), 1.0)
    seen = replace(world(4.0, light(Light.GREEN, 8.0)), path=path, tracks=(stands,))
    state, plan = planner.step(planner.initial(), seen, CAR)
    assert state.rules.waits == waits and ("junction blocked" in plan.reason or "follow" in plan.reason)


def test_a_green_light_holds_through_the_junction_as_the_direction_we_came_from_and_not_before_it_once_it_is_amber():
    config, green, amber = planner.Config(), world(5.0, light(Light.GREEN, 3.0)), world(5.0, light(Light.YELLOW, 3.0))
    assert planner._green(None, green, False, 0.1, config) == 0.0
    assert planner._green(0.0, amber, False, 0.1, config) is None
    assert planner._green(0.0, replace(world(5.0), yaw_rate=0.5), True, 0.1, config) == pytest.approx(-0.05)
    assert planner._green(None, green, True, 0.1, config) is None  # the next junction's
    assert planner._green(None, world(5.0, replace(light(Light.GREEN, 3.0), unseen=6.0)), False, 0.1, config) is None
