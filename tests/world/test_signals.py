"""Lights and signs over time, on boxes projected from where they would stand."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import Light, Percept, TrafficLight, TrafficSign, Turn
from nanopilot.world import signals
from nanopilot.world.localise import Ahead
from nanopilot.world.signals import SignalConfig, SignalState

C, CAMERA = SignalConfig(), model_camera()


def box(x: float, y: float, low: float, high: float, half: float) -> np.ndarray:
    pixels, _ = image_from_vehicle(CAMERA, np.array([(x + CAMERA.x, y + half, high), (x + CAMERA.x, y - half, low)]))
    return pixels.ravel().astype(np.float32)


def light(x: float, state: Light, y: float = -2.5) -> TrafficLight:
    return TrafficLight(box(x, y, 2.575, 3.625, 0.18), state, 1.0)


def seen(lights=(), signs=()) -> Percept:
    return Percept(
        0.0, "front", (), None, (), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 1.0, True, (), tuple(signs), tuple(lights)
    )


def ahead(distance: float, turn: Turn = Turn.STRAIGHT) -> Ahead:
    return Ahead(np.zeros((0, 2)), 2.0, turn, distance, 500.0, 14.0, 2.0, 1.5)


def after(n: int, percept: Percept | None, where: Ahead, state: SignalState = SignalState()) -> SignalState:
    for _ in range(n):
        state = signals.step(state, percept, where, 0.0, 0.05, C)
    return state


@pytest.mark.parametrize("x", [10.0, 25.0, 50.0])
def test_how_high_a_light_stands_in_the_picture_tells_how_far_it_is(x):
    distance, left = signals.place(light(x, Light.RED).box, C.light_height, C)
    assert distance == pytest.approx(x, rel=0.02) and left == pytest.approx(-2.5, rel=0.02)


def test_a_light_at_the_next_junction_is_told_with_its_state():
    (signal,) = signals.told(after(10, seen([light(30.0, Light.RED)]), ahead(30.0)), ahead(30.0), C)
    assert signal.kind == "light" and signal.state == Light.RED and signal.distance == 30.0


def test_a_light_or_sign_tells_how_far_the_line_is():
    state = after(1, seen([light(20.0, Light.RED)]), ahead(24.0))  # its post is 21.3 m ahead of the rear axle
    distance, std = state.measured
    assert distance == pytest.approx(21.3 - C.light_behind, abs=0.5) and 1.5 < std < 4.0
    (signal,) = signals.told(after(10, seen([light(20.0, Light.RED)]), ahead(24.0)), ahead(24.0), C)
    assert (signal.distance, signal.distance_std) == (24.0, 1.5)  # as the route has it, which `localise` corrects
    assert after(1, seen(), ahead(24.0), state).measured is None and after(1, None, ahead(24.0), state).measured is None


def test_a_light_of_the_junction_after_is_not_ours():
    assert signals.told(after(10, seen([light(120.0, Light.RED)]), ahead(30.0)), ahead(30.0), C) == ()


def test_a_light_far_aside_is_not_ours():
    assert signals.told(after(10, seen([light(30.0, Light.RED, 20.0)]), ahead(30.0)), ahead(30.0), C) == ()


def test_a_red_light_of_the_street_across_does_not_outvote_our_green_one():
    across, ours = light(10.5, Light.RED, -9.5), light(26.0, Light.GREEN)  # as at the line of tuning town grid 3000, t = 150 s
    (signal,) = signals.told(after(10, seen([across, ours]), ahead(5.0)), ahead(5.0), C)
    assert signal.state == Light.GREEN


def test_the_state_follows_the_light():
    state = after(10, seen([light(30.0, Light.RED)]), ahead(30.0))
    (signal,) = signals.told(after(5, seen([light(30.0, Light.GREEN)]), ahead(30.0), state), ahead(30.0), C)
    assert signal.state == Light.GREEN


def test_a_green_light_above_the_picture_is_not_turned_red_by_another_roads():
    state = after(20, seen([light(12.0, Light.GREEN)]), ahead(10.0))
    crossing = seen([light(25.0, Light.RED, -3.0)])
    (signal,) = signals.told(after(40, crossing, ahead(6.0), state), ahead(6.0), C)
    assert signal.state == Light.GREEN and signal.unseen == pytest.approx(2.0)
    amber = after(20, seen([light(12.0, Light.YELLOW)]), ahead(10.0), state)
    assert signals.told(after(20, crossing, ahead(6.0), amber), ahead(6.0), C)[0].state == Light.RED  # after amber it may be ours
    assert (
        signals.told(after(20, crossing, ahead(10.0), state), ahead(10.0), C)[0].state == Light.RED
    )  # and farther away, where ours is seen


def test_a_light_out_of_sight_is_remembered_until_the_junction_is_behind_us():
    state = after(10, seen([light(30.0, Light.RED)]), ahead(30.0))
    state = after(40, seen(), ahead(30.0), state)
    (signal,) = signals.told(state, ahead(30.0), C)
    assert signal.state == Light.RED and signal.unseen == pytest.approx(2.0)
    assert signals.told(after(1, seen(), ahead(140.0), state), ahead(140.0), C) == ()


def test_a_stop_sign_read_here_outvotes_a_light_that_was_seen_far_away():
    state = after(3, seen([light(70.0, Light.RED)]), ahead(45.0))  # the next junction's
    sign = TrafficSign(box(10.0, -2.5, 1.8, 2.6, 0.4), "stop", 0.95, 0.0)
    state = after(25, seen(signs=[sign]), ahead(12.0), state)
    assert [s.kind for s in signals.told(state, ahead(12.0), C)] == ["stop"]
    state = after(3, seen([light(14.0, Light.RED)], [sign]), ahead(12.0), state)  # a light that stands here, in sight
    assert [s.kind for s in signals.told(state, ahead(12.0), C)] == ["light"]


def test_a_stop_sign_needs_more_than_one_reading_and_must_stand_at_the_junction():
    sign = TrafficSign(box(20.0, -2.5, 1.8, 2.6, 0.4), "stop", 0.99, 0.0)
    assert signals.told(after(1, seen(signs=[sign]), ahead(21.0)), ahead(21.0), C) == ()
    (signal,) = signals.told(after(6, seen(signs=[sign]), ahead(21.0)), ahead(21.0), C)
    assert signal.kind == "stop"
    assert signals.told(after(6, seen(signs=[sign]), ahead(70.0)), ahead(70.0), C) == ()


def test_a_limit_holds_from_its_readings_until_the_next():
    def limit(v: float) -> TrafficSign:
        return TrafficSign(box(15.0, -2.5, 1.8, 2.6, 0.4), "speed limit", 0.95, v)

    state = after(4, seen(signs=[limit(8.3)]), ahead(90.0))
    assert signals.told(state, ahead(90.0), C)[-1].speed_limit == 8.3
    state = after(4, seen(signs=[limit(13.9)]), ahead(60.0), state)
    assert signals.told(state, ahead(60.0), C)[-1].speed_limit == 13.9
    left = replace(limit(8.3), box=box(15.0, 5.0, 1.8, 2.6, 0.4))  # for the other direction
    assert signals.told(after(9, seen(signs=[left]), ahead(50.0), state), ahead(50.0), C)[-1].speed_limit == 13.9
