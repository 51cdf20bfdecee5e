"""Assistants and guardian of a body that has none: they say nothing and ask for nothing.

In: anything. Out: (None, None). A humanoid's second opinion is `safety.keep_out`.
"""

from typing import Any


def initial() -> None:
    return None


def step(state: None, *seen: Any) -> tuple[None, None]:
    return None, None
