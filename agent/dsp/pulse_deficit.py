"""Pulse deficit: the heart beats more often than the pulse arrives."""

from typing import Final

from agent.model import Happening, Kind, NoValue, Rate, Reading, ReadingQuality, StageEvent

DEFICIT_PER_MIN: Final = 10.0  # the two rates' own errors and their different windows stay below this
HOLD_S: Final = 10.0  # both windows are then of the same 10 s
CURRENT_S: Final = 5.0  # an older rate is not compared
SILENT: Final = Rate(None, NoValue.STALE)


class PulseDeficit:
    """Compares the heart rate with the pulse rate; both are shown, and a lasting difference is an event.

    Early beats that eject too little to be felt (atrial fibrillation, extrasystoles) count in the ECG and not in the
    pleth. `push` takes both rates as they are shown. A difference of 10/min or more for 10 s of uninterrupted rates is
    PULSE_DEFICIT, told again every 10 s while it lasts: who looks later, and the next patient's record, miss nothing.
    A pulse faster than the heart is no deficit: one of the two is wrong, and neither is corrected by the other.
    """

    def __init__(self, *, threshold_per_min: float = DEFICIT_PER_MIN, hold_s: float = HOLD_S) -> None:
        self._threshold = threshold_per_min
        self._hold_s = hold_s
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._since_s: float | None = None
        self._events: list[StageEvent] = []

    def push(self, time_s: float, heart: Rate, pulse: Rate) -> float | None:
        """Take both rates at `time_s` (any clock that does not go back); give their difference per minute, if any."""
        if heart.bpm is None or pulse.bpm is None:
            self._since_s = None
            return None
        deficit = heart.bpm - pulse.bpm
        if deficit < self._threshold:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time_s
        elif time_s - self._since_s >= self._hold_s:
            self._since_s = time_s
            self._events.append(StageEvent(0, time_s, Happening.PULSE_DEFICIT))
        return deficit

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call: PULSE_DEFICIT (its index is 0: it belongs to two streams)."""
        taken, self._events = self._events, []
        return taken


class RatesBesideEachOther:
    """Heart rate and pulse rate of one bag, each from the source whose number is shown, compared as the ECG goes on.

    The heart rate is the ECG's. The pulse rate is the oximeter's own number where it gives one it does not doubt, else
    what our chain finds in the pleth. A cuff's pulse is of one measurement and a strap's rate may be an optical one:
    neither is compared. All times are boot times in nanoseconds.
    """

    def __init__(self) -> None:
        self._deficit = PulseDeficit()
        self._oximeters: set[str] = set()
        self._own: tuple[Rate, int] | None = None
        self._found: tuple[Rate, int] | None = None

    def read(self, reading: Reading) -> None:
        """Take an instrument's reading; what gives SpO2 is an oximeter, and its pulse rate counts from then on."""
        if reading.kind is Kind.SPO2:
            self._oximeters.add(reading.instrument)
        elif reading.kind is Kind.PULSE_RATE and reading.instrument in self._oximeters:
            sure = reading.quality is ReadingQuality.GOOD
            self._own = (Rate(reading.number) if sure else SILENT), reading.t_ns

    def pulse(self, rate: Rate, t_ns: int) -> None:
        """Take what our chain found in the pleth."""
        self._found = rate, t_ns

    def heart(self, rate: Rate, t_ns: int) -> bool:
        """Take what our chain found in the ECG; tell whether a deficit has lasted for ten more seconds."""
        self._deficit.push(t_ns / 1e9, rate, self._current(t_ns))
        return bool(self._deficit.events())

    def _current(self, t_ns: int) -> Rate:
        for said in (self._own, self._found):
            if said is not None and t_ns - said[1] <= CURRENT_S * 1e9:
                return said[0]
        return SILENT
