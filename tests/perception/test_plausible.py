"""Plausibility of pictures and answers: on pictures spoilt by hand, and on good ones."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.messages import Frame, Percept
from nanopilot.perception import plausible

RNG = np.random.default_rng(0)


def picture(k: int = 0) -> np.ndarray:
    """Smooth bands that move, darker below, with a little grain."""
    v, u = np.mgrid[:240, :480]
    image = 120 + 60 * np.sin((u + 7 * k) / 40) - v / 8 + RNG.normal(0, 2, v.shape)
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, 2)


PICTURE = picture()


def percept(t: float, scene: np.ndarray) -> Percept:
    return Percept(t, "front", (), None, (), scene, np.zeros(4, np.float32), 1.0, True)


def look(images, scenes=None, speed=5.0, dt=0.05):
    """The complaint at each step."""
    state, out = plausible.State(), []
    for k, image in enumerate(images):
        t = dt * k
        answer = None if scenes is None else percept(t, scenes[k])
        state, complaint = plausible.step(state, Frame(t, "front", image), answer, speed)
        out.append(complaint)
    return out


def dark(rows=slice(None), columns=slice(None), value=0):
    image = picture()
    image[rows, columns] = value
    return image


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (picture(), ""),
        (dark(), "camera: dark"),
        (dark(value=19), "camera: dark"),
        (dark(value=20), ""),
        (dark(value=(75, 9, 9)), ""),  # a red wall close by
        (dark(slice(120, None)), "camera: dark"),
        (dark(columns=slice(240)), "camera: dark"),
        (dark(columns=slice(240, None)), "camera: dark"),
        (dark(slice(120)), ""),  # a dark sky is night
        (dark(columns=slice(100)), ""),
        (dark(value=255), "camera: over-exposed"),
        (dark(slice(120, None), value=250), "camera: over-exposed"),
        (dark(slice(160, 200), value=255), ""),  # a wet road in the sun
        (np.clip(picture() + RNG.normal(0, 30, (240, 480, 3)), 0, 255).astype(np.uint8), "camera: noise"),
        (np.clip(picture() + RNG.normal(0, 5, (240, 480, 3)), 0, 255).astype(np.uint8), ""),
    ],
)
def test_one_picture(image, complaint):
    assert look([image]) == [complaint]


def test_a_picture_that_comes_again_while_we_move_is_told_at_once():
    one, told = picture(), "camera: the picture stands still"
    assert look([one] * 3) == ["", told, told]
    assert set(look([one] * 5, speed=0.5)) == {""}
    assert look([one, one, picture(1), picture(2)]) == ["", told, "", ""]


def test_a_complaint_stays_while_the_car_stops_because_of_it():
    state = plausible.State()
    for k, speed in enumerate([5.0] * 5 + [0.5] * 5 + [0.0] * 5):
        state, complaint = plausible.step(state, Frame(0.05 * k, "front", PICTURE), None, speed)
    assert complaint == "camera: the picture stands still"
    assert plausible.step(state, Frame(1.0, "front", picture(3)), None, 0.0)[1] == ""
    assert set(look([PICTURE] * 9, speed=0.0)) == {""}


def test_an_answer_that_stays_while_the_picture_changes_is_told():
    pictures = [picture(k) for k in range(6)]
    same = [np.ones((4, 8), np.uint8)] * 6
    other = [np.full((4, 8), k, np.uint8) for k in range(6)]
    assert look(pictures, same) == [""] + ["network: the answer stands still"] * 5
    assert set(look(pictures, other)) == {""}
    assert set(look(pictures, same, speed=0.5)) == {""}
    assert set(look(pictures, [np.zeros((1, 1), np.uint8)] * 6)) == {""}  # no scene was looked at
    assert set(look(pictures, None)) == {""}


def test_an_answer_without_any_order_is_told():
    smooth = np.repeat(np.repeat(RNG.integers(0, 13, (8, 16)), 8, 0), 8, 1).astype(np.uint8)
    shuffled = RNG.permutation(smooth.ravel()).reshape(smooth.shape)
    assert look([picture()], [smooth]) == [""] and look([picture()], [shuffled]) == ["network: the answer is no scene"]


def test_time_that_runs_back_is_no_standing_still():
    state, _ = plausible.step(plausible.State(t=9.0), Frame(0.0, "front", picture()), None, 5.0)
    assert state.frozen == 0.0 and state.t == 0.0
    state = replace(state, frozen=1.0)
    assert plausible.step(state, Frame(0.05, "front", picture(3)), None, 5.0)[0].frozen == 0.0
