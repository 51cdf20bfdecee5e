"""Who drives: the state machine as one table of every mode and event.

In: the mode and what happened. Out: the next mode. Each step has exactly one event, the first of `Event` that applies,
so the driver beats everything but a failure. After UN R157 (second-hand): an unanswered takeover request ends in the minimum
risk manoeuvre, at once where nothing is left to drive by. Leaving a manoeuvre, a standstill or the driver's own driving
takes a fresh request; a takeover request whose cause has gone ends by itself, as control was never given away.
"""

from __future__ import annotations

from enum import Enum, auto

from nanopilot.messages import Mode


class Event(Enum):
    """What a step brought, the strongest first."""

    FAILURE = auto()  # the car does what nobody asked of it
    DRIVER = auto()  # pedal or wheel
    CANCEL = auto()  # the cancel button
    STOPPED = auto()  # the minimum risk manoeuvre has come to a stand
    LOST = auto()  # inputs denied for longer than is forgiven
    BAD = auto()  # inputs denied
    UNANSWERED = auto()  # the takeover request has lasted too long
    CONCERN = auto()  # inputs are good, but the pilot asks for the driver
    ENGAGE = auto()  # a fresh request, with all inputs good
    GOOD = auto()  # all inputs good, nothing else


OFF, READY, ENGAGED, OVERRIDDEN, TAKEOVER, RISK, STAND, FAILED = Mode

# FAILURE, DRIVER, CANCEL, STOPPED, LOST, BAD, UNANSWERED, CONCERN, ENGAGE, GOOD
ROWS = {
    OFF: (FAILED, OFF, OFF, OFF, OFF, OFF, OFF, OFF, READY, READY),
    READY: (FAILED, READY, READY, READY, OFF, OFF, OFF, OFF, ENGAGED, READY),
    ENGAGED: (FAILED, OVERRIDDEN, READY, ENGAGED, RISK, TAKEOVER, TAKEOVER, TAKEOVER, ENGAGED, ENGAGED),
    OVERRIDDEN: (FAILED, OVERRIDDEN, READY, READY, OFF, OVERRIDDEN, OFF, OFF, ENGAGED, READY),
    TAKEOVER: (FAILED, OVERRIDDEN, READY, TAKEOVER, RISK, TAKEOVER, RISK, TAKEOVER, ENGAGED, ENGAGED),
    RISK: (FAILED, OVERRIDDEN, READY, STAND, RISK, RISK, RISK, RISK, ENGAGED, RISK),
    STAND: (FAILED, OVERRIDDEN, READY, STAND, STAND, STAND, STAND, STAND, ENGAGED, RISK),
    FAILED: (FAILED,) * len(Event),
}
TABLE = {(mode, event): after for mode, row in ROWS.items() for event, after in zip(Event, row, strict=True)}
ACTUATING = frozenset({ENGAGED, TAKEOVER, RISK, STAND})  # modes in which the car obeys us
STOPPING = frozenset({RISK, STAND})
