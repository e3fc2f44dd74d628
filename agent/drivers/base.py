"""What every instrument's decoder and driver offers.

A decoder is pure: bytes and their arrival time in, model objects out. A driver is the coroutine that owns a
transport (serial port, radio link, sound card), feeds a decoder and hands what comes out to its sink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.model import Gap, Instrument, InstrumentEvent, Reading, SampleBlock, Scan, Stream

Item = SampleBlock | Gap | Reading | InstrumentEvent | Scan
Sink = Callable[[Item], None]


@dataclass(slots=True)
class DecoderCounters:
    """What a decoder saw: exported, logged at most once a minute, never fatal."""

    frames: int = 0
    damaged: int = 0
    skipped_bytes: int = 0
    implausible: int = 0


class Decoder(Protocol):
    """A pure decoder of one instrument's protocol."""

    counters: DecoderCounters

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The waveform streams this instrument gives, as its birth record describes them."""

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes that arrived on `channel` at `t_ns`; never raises on their content."""


class Driver(Protocol):
    """An instrument at work: runs until cancelled; raises InstrumentError when its link is gone."""

    instrument: Instrument

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The waveform streams this driver will give."""

    async def run(self, sink: Sink) -> None:
        """Connect, then hand everything to `sink` until the link is lost or the task is cancelled."""
