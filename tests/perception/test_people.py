"""Low scores that the scene supports: made-up boxes and scenes whose right answers are plain."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.messages import Detection, Kind, SceneClass
from nanopilot.perception.people import PeopleConfig
from nanopilot.perception.people import believed as split

CONFIG = PeopleConfig()
LINE = 0.4  # score from which on somebody is believed without being asked for
BOX = np.array([200, 80, 220, 140], np.float32)


def believed(*args):
    kept, doubtful = split(*args)
    assert all(d in args[0] and d.score <= LINE and d.kind != Kind.VEHICLE for d in doubtful)
    return kept


def test_who_is_neither_believed_nor_somebody_elses_body_is_doubtful():
    high, low, same = somebody(0.5), somebody(0.3, BOX + np.array([100, 0, 100, 0], np.float32)), somebody(0.3, BOX + np.float32(4))
    assert split((high, low, same), scene(0.0), LINE, CONFIG) == ((high,), (low,))


def somebody(score: float, box: np.ndarray = BOX, kind: Kind = Kind.PERSON) -> Detection:
    return Detection(kind, score, box, np.array([10.0, 0.0], np.float32), 0.0, 0.5, 0.5, 8.7, 1.0, 0.02)


def scene(share: float, kind: int = SceneClass.PERSON) -> np.ndarray:
    """Of BOX's cells so many, from its top on, are body."""
    out = np.full((64, 128), SceneClass.ROAD, np.uint8)
    out[20 : 20 + round(15 * share), 50:55] = kind
    return out


@pytest.mark.parametrize("kind", [SceneClass.PERSON, SceneClass.CYCLIST])
def test_a_low_score_is_believed_where_the_box_is_a_body(kind):
    low = somebody(0.25)
    assert believed((low,), scene(0.6, kind), LINE, CONFIG) == (replace(low, score=CONFIG.told),)
    assert believed((low,), scene(0.0), LINE, CONFIG) == ()
    assert believed((low,), scene(0.6, SceneClass.VEHICLE), LINE, CONFIG) == ()
    assert believed((low,), scene(CONFIG.share - 0.07), LINE, CONFIG) == ()


def test_high_scores_need_no_scene_and_keep_theirs():
    high, car = somebody(0.41), somebody(0.9, kind=Kind.VEHICLE)
    assert believed((high, car), scene(0.0), LINE, CONFIG) == (car, high)


def test_a_vehicle_is_never_believed_for_a_body_in_its_box():
    assert believed((somebody(0.3, kind=Kind.VEHICLE),), scene(0.6), LINE, CONFIG) == ()


def test_small_boxes_have_too_few_cells():
    small = somebody(0.3, np.array([200, 80, 208, 80 + CONFIG.tall - 1], np.float32))
    assert believed((small,), scene(1.0), LINE, CONFIG) == ()


def test_where_somebody_was_found_nobody_is_believed_beside_him():
    high, low = somebody(0.5), somebody(0.3, BOX + np.float32(4), Kind.CYCLIST)
    assert believed((low, high), scene(1.0), LINE, CONFIG) == (high,)
    lower = somebody(0.25, BOX + np.float32(2))
    assert believed((lower, low), scene(1.0), LINE, CONFIG) == (replace(low, score=CONFIG.told),)  # the surer of two low ones
    car = somebody(0.9, kind=Kind.VEHICLE)  # who stands before a car is in its box
    assert len(believed((car, low), scene(1.0), LINE, CONFIG)) == 2
    away = somebody(0.3, BOX + np.array([100, 0, 100, 0], np.float32))
    both = scene(1.0)
    both[:, 75:80] = SceneClass.PERSON
    assert len(believed((high, away), both, LINE, CONFIG)) == 2


def test_a_box_beyond_the_picture_is_nobody():
    assert believed((somebody(0.3, BOX + np.float32(600)),), scene(1.0), LINE, CONFIG) == ()
