"""The chain of a pleth, from an oximeter or from raw infrared light, and of the two lights that give SpO2."""

import numpy as np

from agent.dsp.calibration import curve_for
from agent.dsp.chain import Shape, Shown, as_stage
from agent.dsp.oximetry import Oximeter
from agent.dsp.pleth import PlethSmoother, PulseDetector
from agent.dsp.pleth_quality import PlethQuality
from agent.model import Analysis, ChainStage, Floats, Pulse, Quality, Signal, Stream

ANALYSE_S = 0.5  # of a pleth: as often as its quality is judged; a call costs as much for a quarter of a second


class PlethChain(Shape):
    """Smoothed wave for screens; pulses, rate and quality from the unsmoothed one.

    Infrared light falls with the pulse: it is drawn upside down, as every pleth is, and gives the perfusion index.
    """

    def __init__(self, stream: Stream, *, analyse: bool) -> None:
        light = stream.signal is Signal.INFRARED
        self._upright = -1.0 if light else 1.0
        self._smoother = PlethSmoother(fs_hz=stream.fs_hz)
        super().__init__(stream, self._smoother.delay_s, analyse=analyse)
        self._detector = PulseDetector(fs_hz=stream.fs_hz, inverted=light, light=light)
        self._judge = PlethQuality(fs_hz=stream.fs_hz)
        self._enough = round(ANALYSE_S * stream.fs_hz)
        self._waiting: Floats = np.empty(0)
        self._pulses: list[Pulse] = []
        self._quality: list[Quality] = []

    @staticmethod
    def describe(stream: Stream) -> tuple[ChainStage, ...]:
        """As the birth record says it; of infrared light also by which curve its SpO2 is found."""
        smoother = PlethSmoother(fs_hz=stream.fs_hz)
        if stream.signal is Signal.PLETH:
            return (as_stage("PlethSmoother", "", smoother.delay_s),)
        oximeter = Oximeter(fs_hz=stream.fs_hz, curve=curve_for(stream.instrument))
        known = "yes" if oximeter.curve.validated else "no"
        settings = f"curve={oximeter.curve.name} calibrated={known}"
        return (
            as_stage("PlethSmoother", "inverted=yes", smoother.delay_s),
            as_stage("Oximeter", settings, oximeter.delay_s),
        )

    def push(self, x: Floats, t_ns: int) -> list[Shown]:
        """See Chain."""
        shown = self.trace(self._upright * self._smoother.push(x), x.size, t_ns)
        if self._analyse:
            self._waiting = np.concatenate((self._waiting, x))
            if self._waiting.size >= self._enough:
                shown.append(self._found(self.end_ns(x.size, t_ns)))
        return shown

    def _work(self) -> None:
        waiting, self._waiting = self._waiting, np.empty(0)
        self._pulses += self._detector.push(waiting)
        self._quality += self._judge.push(waiting)

    def _found(self, t_ns: int) -> Analysis:
        self._work()
        pulses, self._pulses = tuple(self._pulses), []
        quality, self._quality = tuple(self._quality), []
        events = (*self._detector.events(), *self._judge.events())
        return Analysis(
            self._stream.name, t_ns, pulses=pulses, quality=quality, events=events, rate=self._detector.rate()
        )

    def gap(self, n: int) -> None:
        """See Chain."""
        self._index += n
        self._work()
        for stage in (self._smoother, self._detector, self._judge):
            stage.gap(n)


class OximetryPair:
    """Red and infrared of one sensor, brought together by index; SpO2 rides on the infrared stream."""

    def __init__(self, red: Stream, infrared: Stream) -> None:
        self._infrared = infrared
        self._oximeter = Oximeter(fs_hz=infrared.fs_hz, curve=curve_for(infrared.instrument))
        self._waiting: dict[str, Floats] = {red.name: np.empty(0), infrared.name: np.empty(0)}
        self._red = red.name

    def push(self, stream: str, x: Floats, t_ns: int) -> list[Shown]:
        """Take counts of either stream (a full scale is known as one); give an Analysis when both have come."""
        self._waiting[stream] = np.concatenate([self._waiting[stream], x])
        red, infrared = self._waiting[self._red], self._waiting[self._infrared.name]
        n = min(red.size, infrared.size)
        if not n:
            return []
        found = self._oximeter.push(red[:n], infrared[:n])
        self._waiting[self._red], self._waiting[self._infrared.name] = red[n:], infrared[n:]
        events = tuple(self._oximeter.events())
        if not found and not events:
            return []
        end_ns = t_ns + round(1e9 * x.size / self._infrared.fs_hz)
        return [Analysis(self._infrared.name, end_ns, events=events, spo2=found[-1] if found else None)]

    def gap(self, stream: str, n: int) -> None:
        """Skip lost samples: both colours come from one frame, so the red stream's gap tells for both."""
        if stream == self._red:
            self._waiting = {name: np.empty(0) for name in self._waiting}
            self._oximeter.gap(n)
