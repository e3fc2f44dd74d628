"""Which stages a stream goes through: one chain per signal, the same on the bag and at the hub.

On the bag a chain gives the trace for screens and the analysis; at the hub, which receives the analysis, the trace
alone. What is stored and sent is never what a chain gives: it is the instrument's own integers.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agent.dsp import (
    AuscultationDenoiser,
    EcgFilter,
    EcgQuality,
    HeartSounds,
    RPeakDetector,
)
from agent.dsp.chain import Chain, Shape, Shown, as_stage
from agent.dsp.pleth_chain import OximetryPair, PlethChain
from agent.dsp.pulse_deficit import RatesBesideEachOther
from agent.model import (
    Analysis,
    ChainStage,
    Floats,
    Happening,
    Reading,
    SampleBlock,
    Signal,
    StageEvent,
    Stream,
)
from agent.standing import stands_for

MAINS_HZ = 50.0
MV_PER = {"V": 1e3, "mV": 1.0, "uV": 1e-3}


class EcgChain(Shape):
    """Monitor filter for screens; R-peaks, rate and quality from the unfiltered signal."""

    def __init__(self, stream: Stream, *, analyse: bool) -> None:
        self._filter = EcgFilter(fs_hz=stream.fs_hz, mode="monitor", mains_hz=MAINS_HZ)
        super().__init__(stream, self._filter.delay_s, analyse=analyse)
        self._rpeaks = RPeakDetector(fs_hz=stream.fs_hz)
        self._quality = EcgQuality(fs_hz=stream.fs_hz)
        self._mv = MV_PER[stream.unit]  # the stages think in mV, an instrument may count in uV

    @staticmethod
    def describe(stream: Stream) -> tuple[ChainStage, ...]:
        """As the birth record says it."""
        ours = EcgFilter(fs_hz=stream.fs_hz, mode="monitor", mains_hz=MAINS_HZ)
        low, high = ours.band_hz
        return (as_stage("EcgFilter", f"mode=monitor band_hz={low:g}-{high:g} mains_hz={MAINS_HZ:g}", ours.delay_s),)

    def push(self, x: Floats, t_ns: int) -> list[Shown]:
        """See Chain."""
        mv = x * self._mv
        shown = self.trace(self._filter.push(mv) / self._mv, x.size, t_ns)
        if self._analyse:
            beats = self._rpeaks.push(mv)
            quality = self._quality.push(mv)
            events = [*self._rpeaks.events(), *self._quality.events()]
            shown.append(
                Analysis(
                    self._stream.name,
                    self.end_ns(x.size, t_ns),
                    beats=tuple(beats),
                    quality=tuple(quality),
                    events=tuple(events),
                    rate=self._rpeaks.rate(),
                )
            )
        return shown

    def gap(self, n: int) -> None:
        """See Chain."""
        self._index += n
        for stage in (self._filter, self._rpeaks, self._quality):
            stage.gap(n)


class _Through:
    """A mask that takes nothing away: the denoiser's watch over the microphone without its cost."""

    trained = True

    def gains(self, spectra: NDArray[np.complex128]) -> Floats:
        return np.ones(spectra.shape)

    def reset(self) -> None:
        """Nothing is kept."""


class SoundChain(Shape):
    """The sound itself for screens, its offset removed; heart sounds through their own mask.

    Whoever listens chooses raw or treated for the ear; a trace is drawn of what the microphone heard.
    """

    def __init__(self, stream: Stream, *, analyse: bool) -> None:
        self._denoiser = AuscultationDenoiser(fs_hz=stream.fs_hz, mask=_Through())
        super().__init__(stream, self._denoiser.delay_s, analyse=analyse)
        self._sounds = HeartSounds(fs_hz=stream.fs_hz)

    @staticmethod
    def describe(stream: Stream) -> tuple[ChainStage, ...]:
        """As the birth record says it."""
        return (as_stage("AuscultationDenoiser", "mode=raw", AuscultationDenoiser(fs_hz=stream.fs_hz).delay_s),)

    def push(self, x: Floats, t_ns: int) -> list[Shown]:
        """See Chain."""
        shown = self.trace(self._denoiser.push(x), x.size, t_ns)
        if self._analyse:
            sounds = self._sounds.push(x)
            events = [*self._denoiser.events(), *self._sounds.events()]
            found = Analysis(
                self._stream.name,
                self.end_ns(x.size, t_ns),
                sounds=tuple(sounds),
                events=tuple(events),
                rate=self._sounds.rate(),
            )
            shown.append(found)
        return shown

    def gap(self, n: int) -> None:
        """See Chain."""
        self._index += n
        self._denoiser.gap(n)
        self._sounds.gap(n)


_CHAINS: dict[Signal, type[EcgChain] | type[PlethChain] | type[SoundChain]] = {
    Signal.ECG: EcgChain,
    Signal.PLETH: PlethChain,
    Signal.INFRARED: PlethChain,
    Signal.SOUND: SoundChain,
}


def describe(stream: Stream) -> tuple[ChainStage, ...]:
    """The stages between a stream's samples and the screen, for its birth record."""
    chain = _CHAINS.get(stream.signal)
    return chain.describe(stream) if chain else ()


def _joined(run: list[SampleBlock]) -> SampleBlock:
    if len(run) == 1:
        return run[0]
    return replace(run[0], samples=np.concatenate([block.samples for block in run]))


class Chains:
    """The chains of every stream of one bag."""

    def __init__(self, streams: Iterable[Stream] = (), *, analyse: bool = True) -> None:
        self._analyse = analyse
        self._streams: dict[str, Stream] = {}
        self._ecg: Stream | None = None
        self._pleth: Stream | None = None
        self._heard: set[str] = set()
        self._chains: dict[str, Chain] = {}
        self._pairs: dict[str, OximetryPair] = {}
        self._next: dict[str, int] = {}
        self._late: dict[str, tuple[Chain, int]] = {}
        self._rates = RatesBesideEachOther()
        self.add(streams)

    def add(self, streams: Iterable[Stream]) -> None:
        """Begin chains for streams; one already known begins anew."""
        for stream in streams:
            self._streams[stream.name] = stream
            self._next.pop(stream.name, None)
            self._late.pop(stream.name, None)
            if stream.signal in _CHAINS:
                self._chains[stream.name] = _CHAINS[stream.signal](stream, analyse=self._analyse)
        self._choose()
        if self._analyse:
            self._pair_colours()

    def _choose(self) -> None:
        """As on the pages."""
        streams = self._streams.values()
        self._ecg = stands_for(Signal.ECG, streams, self._heard)
        self._pleth = stands_for(Signal.PLETH, streams, self._heard)

    def _pair_colours(self) -> None:
        reds = {s.instrument: s for s in self._streams.values() if s.signal is Signal.RED}
        for infrared in self._streams.values():
            red = reds.get(infrared.instrument)
            if infrared.signal is Signal.INFRARED and red is not None:
                pair = OximetryPair(red, infrared)
                self._pairs[red.name] = self._pairs[infrared.name] = pair

    def push_all(self, blocks: Iterable[SampleBlock]) -> list[Shown]:
        """Take what came since the last time: blocks that follow each other go through their chain as one.

        Instruments speak in blocks of a few samples; a filter's call costs as much for two samples as for a hundred.
        """
        runs: list[list[SampleBlock]] = []
        last: dict[str, int] = {}
        for block in blocks:
            run = runs[last[block.stream]] if block.stream in last else None
            if run is None or run[-1].index + len(run[-1].samples) != block.index:
                last[block.stream] = len(runs)
                runs.append([block])
            else:
                run.append(block)
        return [shown for run in runs for shown in self.push(_joined(run))]

    def push(self, block: SampleBlock) -> list[Shown]:
        """Take one block; a jump in its index is a gap of the stages, an earlier index is late data.

        Late data (an outage filled in) go through a chain of their own, traces only: the live one is not disturbed.
        """
        stream = self._streams[block.stream]
        missing = block.index - self._next.get(block.stream, block.index)
        x: Floats = block.samples.astype(np.float64) * stream.gain
        if missing < 0:
            return self._push_late(stream, block, x)
        self._next[block.stream] = block.index + len(block.samples)
        if block.stream not in self._heard:
            self._heard.add(block.stream)
            self._choose()
        unseen = stream.signal is Signal.INFRARED and stream is not self._pleth
        chain = None if unseen else self._chains.get(block.stream)
        pair = self._pairs.get(block.stream)
        shown: list[Shown] = []
        if chain is not None:
            if missing > 0:
                chain.gap(missing)
            shown += chain.push(x, block.t_ns)
        if pair is not None:
            if missing > 0:
                pair.gap(block.stream, missing)
            shown += pair.push(block.stream, block.samples.astype(np.float64), block.t_ns)
        return [self._compared(one) if isinstance(one, Analysis) else one for one in shown]

    def read(self, reading: Reading) -> None:
        """Take an instrument's own number: its pulse rate stands beside the ECG's heart rate."""
        self._rates.read(reading)

    def _compared(self, found: Analysis) -> Analysis:
        """`found`, with the pulse deficit that it completes: an event at the ECG's newest sample."""
        if found.rate is None:
            return found
        stream = self._streams[found.stream]
        if stream is self._pleth:
            self._rates.pulse(found.rate, found.t_ns)
        elif stream is self._ecg and self._rates.heart(found.rate, found.t_ns):
            index = self._next[found.stream] - 1
            time_s = index / stream.fs_hz
            return replace(found, events=(*found.events, StageEvent(index, time_s, Happening.PULSE_DEFICIT)))
        return found

    def _push_late(self, stream: Stream, block: SampleBlock, x: Floats) -> list[Shown]:
        if stream.name not in self._chains:
            return []
        chain, expected = self._late.get(stream.name, (None, 0))
        if chain is None or block.index < expected:
            chain, expected = _CHAINS[stream.signal](stream, analyse=False), block.index
        if block.index > expected:
            chain.gap(block.index - expected)
        self._late[stream.name] = (chain, block.index + len(block.samples))
        return chain.push(x, block.t_ns)
