"""Figures counted by hand: people found, missed and claimed."""

import numpy as np

from nanopilot.messages import Detection, Kind, Percept
from nanopilot.perception.labels import MAX_OBJECTS, OBJECT_FIELDS
from nanopilot.perception.metrics import Score, matched

AT = {name: k for k, name in enumerate(OBJECT_FIELDS)}


def truth(*rows: tuple[int, float, float, bool]) -> np.ndarray:
    """Rows of (kind, left edge in px, metres ahead, ignore), each 20 px wide and 40 high."""
    out = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    for k, (kind, left, ahead, ignore) in enumerate(rows):
        out[k] = 0.0
        for name, value in {"kind": kind, "u0": left, "u1": left + 20, "v0": 80, "v1": 120, "x": ahead, "ignore": ignore}.items():
            out[k, AT[name]] = value
    return out


def percept(*found: tuple[Kind, float]) -> Percept:
    boxes = [(kind, np.array([left, 80, left + 20, 120], np.float32)) for kind, left in found]
    at = np.zeros(2, np.float32)
    seen = tuple(Detection(kind, 0.9 - 0.01 * k, box, at, 0.0, 0.6, 0.6, 10.0, 1.0, 0.01) for k, (kind, box) in enumerate(boxes))
    return Percept(0.0, "front", (), None, seen, np.zeros((64, 128), np.uint8), np.zeros(128, np.float32), 1.0, True)


def test_people_are_counted_by_kind_to_40_m_and_what_is_ignored_counts_for_nothing() -> None:
    score = Score()
    there = truth((1, 0, 10.0, False), (1, 50, 20.0, False), (1, 100, 60.0, False), (1, 150, 10.0, True), (2, 200, 10.0, False))
    said = percept((Kind.PERSON, 2), (Kind.PERSON, 100), (Kind.PERSON, 150), (Kind.PERSON, 300), (Kind.PERSON, 200))
    score._people(said, there[np.isfinite(there[:, 0])])
    assert score.people.tolist() == [[2, 1, 4, 2], [1, 0, 0, 0]]  # the third is far, the fourth ignored, the cyclist was called a person
    figures = score.summary()
    assert figures["person_recall_40m"] == 0.5 and figures["person_precision"] == 0.5 and figures["cyclist_recall_40m"] == 0.0


def test_two_claims_of_one_are_one_right_and_one_wrong() -> None:
    there = truth((1, 0, 10.0, False))
    _, pairs = matched(percept((Kind.PERSON, 0), (Kind.PERSON, 1)), there[:1], Kind.PERSON)
    assert [j for _, j in pairs] == [0, None]
