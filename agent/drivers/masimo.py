# Ref: Masimo, Rad-5/Rad-8/SET MS board serial interface, ASCII 1 output (9600 8N1, a line a second).
"""Masimo oximeters: a line of text a second, e.g. `… SPO2=098% BPM=097 PI=03.60% … EXC=000800`; `---` is no value."""

import re
from functools import lru_cache
from typing import NamedTuple

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.readings import Readings, namer
from agent.model import Kind, NoValue, ReadingQuality, Stream

LONGEST = 256
FIELDS = re.compile(rb"SPO2=([0-9.-]+)%? +BPM=([0-9.-]+)(?:.*?\bPI=([0-9.-]+))?(?:.*?\bEXC=([0-9A-Fa-f]{1,8})\b)?")
NUMBER = re.compile(rb"(\d{1,4})(?:\.(\d{1,3}))?")
SPO2, RATE, PERFUSION = Kind.SPO2, Kind.PULSE_RATE, Kind.PERFUSION_INDEX
# Bit 11, MASIMO SET, says which algorithm works, nothing about the patient.
NAMED = namer(
    {
        0: "no_sensor",
        1: "defective_sensor",
        2: "low_perfusion",
        3: "pulse_search",
        4: "interference",
        5: "sensor_off",
        6: "ambient_light",
        7: "unrecognized_sensor",
        10: "low_signal_iq",
    }
)
PROBE_OFF = {"no_sensor", "sensor_off", "defective_sensor", "unrecognized_sensor"}
DOUBTFUL = {"interference", "low_signal_iq", "low_perfusion"}


class Meaning(NamedTuple):
    """The instrument's words, why there would be no value, and what a value is worth."""

    words: tuple[str, ...]
    reason: NoValue
    quality: ReadingQuality


class MasimoDecoder:
    """SpO2, pulse rate and perfusion index of each line."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._line = b""
        self._too_long = False

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None: ASCII 1 carries no waveform."""
        return ()

    def resume(self) -> None:
        """Forget the cut line."""
        self._line = b""
        self._too_long = False

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        items: list[Item] = []
        *ended, self._line = (self._line + data.replace(b"\r", b"\n")).split(b"\n")
        for line in ended:
            if self._too_long or len(line) > LONGEST:
                self._too_long = False
                self.counters.damaged += 1
                self.counters.skipped_bytes += len(line)
            elif line:
                items += self._numbers(line, t_ns)
        if len(self._line) > LONGEST:
            self._too_long = True
            self.counters.skipped_bytes += len(self._line)
            self._line = b""
        return items

    def _numbers(self, line: bytes, t_ns: int) -> list[Item]:
        found = FIELDS.search(line)
        if found is None:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(line)
            return []
        self.counters.frames += 1
        spo2, rate, perfusion, exceptions = found.groups()
        said = meaning(exceptions)
        items: list[Item] = []
        for kind, text in ((SPO2, spo2), (RATE, rate), (PERFUSION, perfusion)):
            if text is None:
                continue
            if (number := decimal(text)) is None:
                items.append(self._readings.missing(kind, t_ns, said.reason, "doigt", flags=said.words))
                continue
            value, exponent = number
            items.append(self._readings.value(kind, t_ns, value, exponent, said.quality, "doigt", flags=said.words))
        return items


@lru_cache(maxsize=256)
def decimal(text: bytes) -> tuple[int, int] | None:
    """Value and exponent of a number, as many digits as the instrument gives; None for dashes and anything else."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    whole, decimals = found.groups(b"")
    return int(whole + decimals), -len(decimals)


@lru_cache(maxsize=64)
def meaning(exceptions: bytes | None) -> Meaning:
    """What the bits of EXC (hex) say."""
    words = NAMED(int(exceptions or b"0", 16))
    reason = (
        NoValue.PROBE_OFF
        if not PROBE_OFF.isdisjoint(words)
        else NoValue.STARTING
        if "pulse_search" in words
        else NoValue.AMBIENT_LIGHT
        if "ambient_light" in words
        else NoValue.INSTRUMENT
    )
    quality = ReadingQuality.GOOD if DOUBTFUL.isdisjoint(words) else ReadingQuality.QUESTIONABLE
    return Meaning(words, reason, quality)
