# Ref: arrival times bound sample times from above; their lower envelope dates the samples (cf. RFC 5905, 10: the
# clock filter trusts the least delayed of recent exchanges). ADS1292R data sheet SBAS502: internal clock within 2 %.
"""Numbers and dates the samples of a stream whose instrument sends no time and no sequence number.

Samples come in bursts, late by an unknown and varying delay, never early. `ArrivalClock` keeps the least delayed
arrival as the stream's time line; `Track` gives blocks their index and time and turns losses into Gaps.
"""

import math
from dataclasses import dataclass

import numpy as np

from agent.model import Gap, GapReason, SampleBlock, Samples, Stream

DRIFT_WINDOW_NS = 4_000_000_000  # its drift is how the least delay changes from one such window to the next, averaged
DRIFT_WEIGHT = 0.25
DRIFT_MARGIN = 0.002  # once known, the time line still rises faster than the drift by this share, to find its error
SLEW = 0.1  # and is corrected downwards by at most this share of the time passed, so that it never runs backwards


@dataclass(frozen=True, slots=True)
class Steadiness:
    """What a source's clock and its way here may do before samples are taken as lost.

    Its clock may be wrong by the share `drift_most`; samples later than `late_s` without a break for `late_for_s` mean
    that what lies between was lost without a trace.
    """

    drift_most: float = 0.02  # the ADS1292R's own oscillator's
    late_s: float = 0.4
    late_for_s: float = 4.0


SERIAL = Steadiness()
SOUND_CARD = Steadiness(drift_most=0.002, late_s=0.03, late_for_s=1.0)  # a crystal, read whole every time


class ArrivalClock:
    """The time line of one stream: index to boot time, from arrivals alone.

    `arrived` must be called before `time_ns` has a meaning. All times are ns, periods float ns.
    """

    def __init__(self, fs_hz: float, source: Steadiness = SERIAL) -> None:
        self._period_ns = 1e9 / fs_hz
        self._drift_most = source.drift_most
        self._late_ns, self._late_for_ns = source.late_s * 1e9, source.late_for_s * 1e9
        self.started = False  # whether anything has arrived yet
        self._offset_ns = math.nan  # time of sample 0 on the line handed out
        self._target_ns = math.nan  # the same on the lower envelope, not slewed
        self._last_ns = 0
        self._rise = source.drift_most
        self._drift: float | None = None
        self._window_ns = 0
        self._window_least_ns = math.inf
        self._window_before_ns = math.nan
        self._late_since_ns: int | None = None
        self._least_late_ns = math.inf

    def time_ns(self, index: int) -> int:
        """When sample `index` was, or will be, taken."""
        return round(self._offset_ns + index * self._period_ns)

    def samples_late(self, last: int, t_ns: int) -> int:
        """How many samples fit between the time line and sample `last` arriving at `t_ns`."""
        return round((t_ns - self._offset_ns) / self._period_ns - last)

    def anchor(self, last: int, t_ns: int) -> None:
        """Begin the envelope anew: sample `last` is the newest one at `t_ns`."""
        seen = t_ns - last * self._period_ns
        if not self.started:
            self.started, self._offset_ns = True, seen
        self._target_ns = seen
        self._last_ns = self._window_ns = t_ns
        self._window_least_ns, self._window_before_ns = math.inf, math.nan
        self._late_since_ns = None

    def arrived(self, last: int, n: int, t_ns: int) -> int:
        """Take note that `n` samples up to `last` have arrived at `t_ns`; return how many were lost unnoticed."""
        if not self.started:
            self.anchor(last, t_ns)
            return 0
        seen = t_ns - last * self._period_ns
        self._target_ns = min(self._target_ns + self._rise * (t_ns - self._last_ns), seen)
        self._last_ns = t_ns
        self._offset_ns = max(self._target_ns, self._offset_ns - SLEW * n * self._period_ns)
        self._window_least_ns = min(self._window_least_ns, seen)
        if t_ns - self._window_ns >= DRIFT_WINDOW_NS:
            self._learn_drift(t_ns)
        late_ns = seen - self._offset_ns
        if late_ns >= self._late_ns:
            return self._lost(late_ns, t_ns)
        self._late_since_ns = None
        return 0

    def _learn_drift(self, t_ns: int) -> None:
        drift = (self._window_least_ns - self._window_before_ns) / (t_ns - self._window_ns)
        if abs(drift) < self._drift_most:  # else a step, or (not a number) the first window
            self._drift = drift if self._drift is None else self._drift + DRIFT_WEIGHT * (drift - self._drift)
            self._rise = self._drift + DRIFT_MARGIN
        self._window_ns = t_ns
        self._window_before_ns, self._window_least_ns = self._window_least_ns, math.inf

    def _lost(self, late_ns: float, t_ns: int) -> int:
        if self._late_since_ns is None:
            self._late_since_ns, self._least_late_ns = t_ns, late_ns
            return 0
        self._least_late_ns = min(self._least_late_ns, late_ns)
        if t_ns - self._late_since_ns < self._late_for_ns:
            return 0
        self._late_since_ns = None
        return round(self._least_late_ns / self._period_ns)


class Track:
    """Index and time of streams that share one sampling clock (the columns of one frame).

    `counted`: the protocol counts its samples, so every loss is known and lateness proves none.
    """

    def __init__(self, *streams: Stream, counted: bool = False, source: Steadiness = SERIAL) -> None:
        self.streams = streams
        self.counted = counted
        self.index = 0
        self._clock = ArrivalClock(streams[0].fs_hz, source)
        self._resumed = False

    def resume(self) -> None:
        """A new link follows a lost one: the next samples open with a Gap of the time that passed."""
        self._resumed = self._clock.started

    def skip(self, n: int, reason: GapReason) -> list[Gap]:
        """Say that the next `n` samples never came (nothing before the first sample)."""
        if n <= 0 or not self._clock.started:
            return []
        t_ns = self._clock.time_ns(self.index)
        gaps = [Gap(stream.name, self.index, n, t_ns, reason) for stream in self.streams]
        self.index += n
        return gaps

    def take(self, samples: Samples, t_ns: int) -> list[SampleBlock | Gap]:
        """Take the newest samples, (n,) or (n, streams) int32, arrived at `t_ns`; give blocks, Gaps before them."""
        n = len(samples)
        if not n:
            return []
        items: list[SampleBlock | Gap] = []
        if self._resumed:
            self._resumed = False
            missed = max(1, self._clock.samples_late(self.index + n - 1, t_ns))
            items += self.skip(missed, GapReason.LINK)
            self._clock.anchor(self.index + n - 1, t_ns)
        lost = self._clock.arrived(self.index + n - 1, n, t_ns)
        if lost and not self.counted:
            items += self.skip(lost, GapReason.OVERRUN)
        t0_ns = self._clock.time_ns(self.index)
        if samples.ndim == 1:
            items.append(SampleBlock(self.streams[0].name, self.index, t0_ns, samples))
        else:
            for stream, column in zip(self.streams, np.ascontiguousarray(samples.T), strict=True):
                items.append(SampleBlock(stream.name, self.index, t0_ns, column))
        self.index += n
        return items
