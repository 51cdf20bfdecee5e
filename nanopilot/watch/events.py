"""Events: warnings as things that begin, rise and end, written one JSON line each, at once.

In: each step's Warnings. Out: lines in a file, flushed so that a kill loses none, and `Event`s for the report. A line has "event": "begin",
"rise" or "end" and, of the first two, the whole Warning as the log has it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanopilot.assist import is_event
from nanopilot.log import to_json
from nanopilot.messages import OwnMotion, Warning, WarningKind, WarningLevel, Warnings

GAP = 1.0  # s for which a warning may pause and still be the same event
LEVELS = list(WarningLevel)


@dataclass
class Event:
    first: Warning  # as it began
    worst: Warning  # at its highest level, the most urgent value of which isn't sought
    end: float
    speed: float | None  # own, m/s
    picture: str = ""  # file name


class EventBook:
    """Opens and closes events; `finished` holds all so far (they are few)."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w")
        self.open: dict[tuple[WarningKind, int], Event] = {}
        self.all: list[Event] = []

    def step(self, warnings: Warnings, motion: OwnMotion, known: bool) -> list[Event]:
        """Events that begin or rise in this step."""
        fresh = []
        for w in warnings.active:
            if not is_event(w):
                continue
            key = (w.kind, w.side)
            event = self.open.get(key)
            if event is None:
                event = self.open[key] = Event(w, w, w.t, motion.speed if known else None)
                self.all.append(event)
                self._write("begin", w, event)
                fresh.append(event)
            elif LEVELS.index(w.level) > LEVELS.index(event.worst.level):
                event.worst = w
                self._write("rise", w, event)
                fresh.append(event)
            event.end = warnings.t  # not w.t: a notice keeps the moment it was first given
        for key, event in list(self.open.items()):
            if warnings.t - event.end > GAP:
                self._end(key)
        return fresh

    def close(self) -> None:
        """End what is open."""
        for key in list(self.open):
            self._end(key)
        self.file.close()

    def _end(self, key: tuple[WarningKind, int]) -> None:
        event = self.open.pop(key)
        first = event.first
        self._line({"event": "end", "t": event.end, "kind": first.kind, "side": first.side, "level": event.worst.level,
                    "seconds": event.end - first.t})  # fmt: skip

    def _write(self, what: str, w: Warning, event: Event) -> None:
        self._line({"event": what, **to_json(w), "speed": event.speed})

    def _line(self, data: dict[str, Any]) -> None:
        self.file.write(json.dumps(data) + "\n")
        self.file.flush()
