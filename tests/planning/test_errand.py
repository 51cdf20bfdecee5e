"""Sentences and what they ask for; and those that are refused, with the word that was not understood."""

import pytest

from nanopilot.planning.errand import Errand, parse


@pytest.mark.parametrize(
    ("line", "errand"),
    [
        ("bring the red box to the blue table", Errand("fetch", "red", "blue")),
        ("Fetch a box.", Errand("fetch")),
        ("take any green box onto the table", Errand("fetch", "green", "")),
        ("carry box on yellow table", Errand("fetch", "", "yellow")),
        ("follow the person", Errand("follow")),
        ("follow me!", Errand("follow")),
        ("explore the room", Errand("explore")),
        ("explore", Errand("explore")),
        ("go to 3.5 -1", Errand("walk", goal=(3.5, -1.0))),
        ("Walk to 3.5, -1", Errand("walk", goal=(3.5, -1.0))),
    ],
)
def test_what_is_asked_for(line, errand):
    assert parse(line) == errand


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "nothing was asked"),
        ("dance", "'dance'"),
        ("bring the purple box to the blue table", "'purple'"),
        ("bring the red box to the blue chair", "'chair'"),
        ("bring the red box under the table", "'under'"),
        ("bring the red", "nothing"),
        ("bring the red box to the blue table quickly", "'quickly'"),
        ("follow the cat", "'cat'"),
        ("explore the sea", "'sea'"),
        ("go to three two", "'three two'"),
        ("go to 1", "'1'"),
        ("go to nan 2", "'nan 2'"),
    ],
)
def test_what_is_not_understood_is_said(line, word):
    with pytest.raises(ValueError, match=r"say \"bring") as error:
        parse(line)
    assert word in str(error.value)
