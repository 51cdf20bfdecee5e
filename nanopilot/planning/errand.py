"""What somebody asks for in plain English -> an Errand: a task and its particulars.

In: a line such as "bring the red box to the blue table", "follow the person", "explore the room" or "go to 3.5 -1". Out: an Errand, or
a ValueError that says which word was not understood and what could have been said. The grammar, in which a word in brackets may be missing
and everything else is as written, whatever its case:

    bring | fetch | take | carry | get   [the | a | any] [COLOUR] box   [to | onto | on   [the | a | any] [COLOUR] table]
    follow   [the | a] person | me | somebody
    explore | map   [the | this] [room]
    go | walk   [to] X [,] Y          metres ahead and to the left of where the robot starts

It is no language model: it knows these sentences and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

Task = Literal["walk", "fetch", "explore", "follow"]
COLOURS = ("red", "yellow", "green", "blue")
ARTICLES = ("the", "a", "any", "this")
SAYINGS = 'say "bring the red box to the blue table", "follow the person", "explore the room" or "go to 3.5 -1"'


@dataclass(frozen=True)
class Errand:
    """`box` and `table` are names of colours, "" where any will do; `goal` is in metres, of a walk."""

    task: Task
    box: str = ""
    table: str = ""
    goal: tuple[float, float] | None = None


def parse(line: str) -> Errand:
    """The errand that a line asks for. Raises ValueError."""
    words = line.lower().replace(",", " ").rstrip(" .!?").split()
    if not words:
        raise ValueError(f"nothing was asked for: {SAYINGS}")
    verb, rest = words[0], words[1:]
    if verb in ("bring", "fetch", "take", "carry", "get"):
        return _fetch(rest)
    if verb == "follow":
        _one(rest, verb, ("person", "me", "somebody"))
        return Errand("follow")
    if verb in ("explore", "map"):
        rest = rest or ["room"]
        _one(rest, verb, ("room",))
        return Errand("explore")
    if verb in ("go", "walk"):
        return _go(rest, verb)
    raise ValueError(f"{verb!r} is not understood: {SAYINGS}")


def _fetch(words: list[str]) -> Errand:
    box, words = _named(words, "box")
    if not words:
        return Errand("fetch", box)
    if words[0] not in ("to", "onto", "on"):
        raise ValueError(f"after the box comes where to bring it, not {words[0]!r}: {SAYINGS}")
    table, words = _named(words[1:], "table")
    if words:
        raise ValueError(f"{' '.join(words)!r} after the table is not understood: {SAYINGS}")
    return Errand("fetch", box, table)


def _named(words: list[str], thing: str) -> tuple[str, list[str]]:
    """The colour of a thing that is named next, and the words after it."""
    words = words[1:] if words and words[0] in ARTICLES else words
    colour = ""
    if words and words[0] != thing:
        colour, words = words[0], words[1:]
        if colour not in COLOURS:
            raise ValueError(f"{colour!r} is no colour known here, they are {', '.join(COLOURS)}: {SAYINGS}")
    if not words or words[0] != thing:
        found = repr(words[0]) if words else "nothing"
        raise ValueError(f"a {thing} is expected, and {found} is there: {SAYINGS}")
    return colour, words[1:]


def _one(words: list[str], verb: str, known: tuple[str, ...]) -> str:
    words = words[1:] if words and words[0] in ARTICLES else words
    if len(words) != 1 or words[0] not in known:
        raise ValueError(f"{verb} what? {' '.join(words)!r} is not understood: {SAYINGS}")
    return words[0]


def _go(words: list[str], verb: str) -> Errand:
    words = words[1:] if words and words[0] == "to" else words
    try:
        x, y = (float(word) for word in words)
    except ValueError:
        raise ValueError(f"{verb} where? Two numbers are expected, not {' '.join(words)!r}: {SAYINGS}") from None
    if not (isfinite(x) and isfinite(y)):
        raise ValueError(f"{verb} where? {' '.join(words)!r} is no place: {SAYINGS}")
    return Errand("walk", goal=(x, y))
