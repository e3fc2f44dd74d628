"""Pulse deficit: the heart beats more often than the pulse arrives."""

from dataclasses import dataclass
from typing import Final

from agent.model import Happening, Rate, StageEvent

DEFICIT_PER_MIN: Final = 10.0  # the two rates' own errors and their different windows stay below this
HOLD_S: Final = 10.0  # both windows are then of the same 10 s


@dataclass(frozen=True, slots=True)
class Comparison:
    """Heart rate (ECG) minus pulse rate (pleth), per minute; None while either is silent."""

    deficit_per_min: float | None
    lasting: bool


class PulseDeficit:
    """Compares the heart rate with the pulse rate; both are shown, and a lasting difference is an event.

    Early beats that eject too little to be felt (atrial fibrillation, extrasystoles) count in the ECG and not in the
    pleth. `push` takes both rates as they are shown. A difference of 10/min or more for 10 s of uninterrupted rates
    is PULSE_DEFICIT, told once until it has been smaller for as long. A pulse faster than the heart is no deficit:
    it is an error of one of the two, and neither is corrected by the other.
    """

    def __init__(self, *, threshold_per_min: float = DEFICIT_PER_MIN, hold_s: float = HOLD_S) -> None:
        self._threshold = threshold_per_min
        self._hold_s = hold_s
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._since_s: float | None = None
        self._lasting = False
        self._events: list[StageEvent] = []

    def push(self, time_s: float, heart: Rate, pulse: Rate) -> Comparison:
        """Take both rates at `time_s` (any clock that does not go back)."""
        if heart.bpm is None or pulse.bpm is None:
            self._since_s = None
            return Comparison(None, self._lasting)
        deficit = heart.bpm - pulse.bpm
        if (deficit >= self._threshold) == self._lasting:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time_s
        elif time_s - self._since_s >= self._hold_s:
            self._lasting, self._since_s = not self._lasting, None
            if self._lasting:
                self._events.append(StageEvent(0, time_s, Happening.PULSE_DEFICIT))
        return Comparison(deficit, self._lasting)

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call: PULSE_DEFICIT (its index is 0: it belongs to two streams)."""
        taken, self._events = self._events, []
        return taken
