"""The visit as a pure transition table: (state, event) to (next state, what to do).

What is not in the table is refused and changes nothing.
"""

from enum import Enum


class State(Enum):
    """Where the bag stands between two patients."""

    IDLE = "idle"
    READY = "ready"
    VISIT = "visit"
    CLOSING = "closing"
    SENT = "sent"


class Event(Enum):
    """What can happen to a visit."""

    STARTED = "started"
    RESUMED = "resumed"
    NEW_VISIT = "new_visit"
    END_VISIT = "end_visit"
    DRAINED = "drained"
    HANDED_OVER = "handed_over"


class Action(Enum):
    """What the agent does on a transition, in order."""

    OPEN = "open"
    CLOSE = "close"
    RESUME = "resume"
    SAY_SENT = "say_sent"


TABLE: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (State.IDLE, Event.STARTED): (State.READY, ()),
    (State.IDLE, Event.RESUMED): (State.VISIT, (Action.RESUME,)),
    (State.READY, Event.NEW_VISIT): (State.VISIT, (Action.OPEN,)),
    (State.VISIT, Event.NEW_VISIT): (State.VISIT, (Action.CLOSE, Action.OPEN)),
    (State.VISIT, Event.END_VISIT): (State.CLOSING, (Action.CLOSE,)),
    (State.CLOSING, Event.NEW_VISIT): (State.VISIT, (Action.OPEN,)),
    (State.CLOSING, Event.DRAINED): (State.SENT, (Action.SAY_SENT,)),
    (State.SENT, Event.NEW_VISIT): (State.VISIT, (Action.OPEN,)),
    (State.CLOSING, Event.HANDED_OVER): (State.READY, ()),
    (State.SENT, Event.HANDED_OVER): (State.READY, ()),
}


class VisitMachine:
    """The table and the state it is in."""

    def __init__(self) -> None:
        self.state = State.IDLE

    def on(self, event: Event) -> tuple[Action, ...] | None:
        """Move, and give what to do; None when the event is refused here."""
        found = TABLE.get((self.state, event))
        if found is None:
            return None
        self.state, actions = found
        return actions


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/architecture.md."""
    lines = ["stateDiagram-v2", "    [*] --> idle"]
    for (state, event), (after, actions) in TABLE.items():
        does = f": {event.value}" + (f" / {', '.join(a.value for a in actions)}" if actions else "")
        lines.append(f"    {state.value} --> {after.value}{does}")
    return "\n".join(lines)
