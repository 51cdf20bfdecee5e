"""What happened, as a list to jump to: warnings, what safety changed, changes of behaviour, faults, the judge's verdict.

In: a log's messages as JSON objects, topic by topic. Out: events with a beginning and an end. What holds now is a fact;
a fact said again within HOLD is the same event going on. Warnings are found by their form: a message, or a list in
one, whose schema has the fields `kind` and `level`. It knows no message class, so it reads logs of other versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

HOLD = 1.0  # s: a gap shorter than this does not end an event, guess
CRITICAL = ("critical", "emergency", "alarm", "late", "brake", "red", "acute")
QUIET = ("info", "notice", "hint")
SILENT = (None, 0, "", "none", "off", "silent")  # levels that say that nothing is the matter
SIDES = {-1: "left", 1: "right"}  # as LaneLine.side
SENTENCES = ("text", "message", "reason", "detail")  # where a warning may say itself in words
JUDGED = ("crash_vehicle", "crash_object", "crash_person", "out_of_road", "arrived")  # of a simulator's judge, in /truth


@dataclass(frozen=True)
class Fact:
    """Something that holds at one moment. `severity` is info, notice, warning or critical."""

    source: str  # warning, safety, behaviour, fault or judge
    kind: str
    severity: str
    text: str
    level: str = ""


@dataclass
class Event:
    """A fact from `t` to `end`, the last time that it was said."""

    id: int
    t: float
    end: float
    source: str
    kind: str
    severity: str
    text: str
    level: str


Facts = Callable[[dict[str, Any]], Iterable[Fact]]


class Events:
    """Facts in order of time, merged into events."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._open: dict[tuple[str, str, str], Event] = {}

    def add(self, t: float, facts: Iterable[Fact]) -> None:
        """What one message says at `t`."""
        for fact in facts:
            key = (fact.source, fact.kind, fact.level)
            event = self._open.get(key)
            if event is not None and t - event.end <= HOLD:
                event.end = max(event.end, t)
                continue
            event = Event(len(self.all), t, t, fact.source, fact.kind, fact.severity, fact.text, fact.level)
            self._open[key] = event
            self.all.append(event)

    def since(self, t: float) -> list[dict[str, Any]]:
        """Those that may have changed after `t`, as JSON."""
        return [asdict(e) for e in self.all if e.end >= t - HOLD]


def watcher(topic: str, schema: dict[str, Any]) -> Facts | None:
    """What to look for in a topic's messages; None where there is nothing, so that they need not be parsed."""
    known = {"/plan": _plan, "/safe": _safe, "/step": _step, "/truth": _truth}
    if topic in known:
        return known[topic]
    fields = schema.get("properties", {})
    if {"kind", "level"} <= fields.keys():
        return lambda message: _warnings([message])
    lists = [name for name, part in fields.items() if {"kind", "level"} <= part.get("items", {}).get("properties", {}).keys()]
    if lists:
        return lambda message: _warnings([w for name in lists for w in message.get(name) or ()])
    return None


def _plan(message: dict[str, Any]) -> Iterable[Fact]:
    behaviour, reason = str(message.get("behaviour", "")), str(message.get("reason", ""))
    if behaviour:
        name = _words(behaviour)
        yield Fact("behaviour", behaviour, "info", (reason or name) if reason.startswith(name) or not reason else f"{name}: {reason}")


def _safe(message: dict[str, Any]) -> Iterable[Fact]:
    for reason in message.get("reasons") or ():
        yield Fact("safety", str(reason), "critical" if str(reason).startswith("emergency") else "notice", str(reason))
    if message.get("engaged") is False:
        yield Fact("safety", "not engaged", "notice", "not engaged")


def _step(message: dict[str, Any]) -> Iterable[Fact]:
    if message.get("fault"):
        yield Fact("fault", "fault", "critical", str(message["fault"]))


def _truth(message: dict[str, Any]) -> Iterable[Fact]:
    for name in JUDGED:
        if message.get(name) is True:
            yield Fact("judge", name, "info" if name == "arrived" else "critical", _words(name).replace("crash ", "crash with "))


def _warnings(messages: list[Any]) -> Iterable[Fact]:
    for message in messages:
        level = message.get("level")
        if level in SILENT or message.get("active") is False:
            continue
        kind, side = str(message.get("kind")), message.get("side")
        side = _words(SIDES.get(side, "") if isinstance(side, int) else str(side or ""))
        said = next((str(message[name]) for name in SENTENCES if message.get(name)), "")
        name = f"{_words(kind)} {side}".strip()
        yield Fact("warning", f"{kind} {side}".strip(), _severity(level), f"{name}: {said}" if said else name, str(level))


def _severity(level: Any) -> str:
    if isinstance(level, (int, float)):
        return "critical" if level >= 2 else "warning"
    return "critical" if level in CRITICAL else "notice" if level in QUIET else "warning"


def _words(name: str) -> str:
    return name.replace("_", " ")
