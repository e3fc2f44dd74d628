# Ref: Masimo, Rad-5/Rad-8/SET MS board serial interface, ASCII 1 output (9600 8N1, a line a second).
"""Masimo oximeters: a line of text a second, e.g. `… SPO2=098% BPM=097 PI=03.60% … EXC=000800`; `---` is no value."""

import re

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.readings import Readings
from agent.model import Kind, NoValue, ReadingQuality, Stream

LONGEST = 256
FIELD = re.compile(rb"\b(SPO2|BPM|PI|EXC)=([0-9A-Fa-f.-]+)")
NUMBER = re.compile(rb"(\d{1,4})(?:\.(\d{1,3}))?")
EXCEPTION_BITS = re.compile(rb"[0-9A-Fa-f]{1,8}")
NUMBERS = ((Kind.SPO2, b"SPO2"), (Kind.PULSE_RATE, b"BPM"), (Kind.PERFUSION_INDEX, b"PI"))
EXCEPTIONS = {
    0: "no_sensor",
    1: "defective_sensor",
    2: "low_perfusion",
    3: "pulse_search",
    4: "interference",
    5: "sensor_off",
    6: "ambient_light",
    7: "unrecognized_sensor",
    10: "low_signal_iq",
    11: "masimo_set",
}
PROBE_OFF = {"no_sensor", "sensor_off", "defective_sensor", "unrecognized_sensor"}
QUIET = {"masimo_set"}  # says which algorithm works, nothing about the patient


class MasimoDecoder:
    """SpO2, pulse rate and perfusion index of each line."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._readings = Readings(instrument, self.counters)
        self._line = bytearray()
        self._too_long = False
        self._exceptions = b"", *meaning(b"")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """None: ASCII 1 carries no waveform."""
        return ()

    def resume(self) -> None:
        """Forget the cut line."""
        self._line.clear()
        self._too_long = False

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the port."""
        del channel
        items: list[Item] = []
        *ended, rest = data.replace(b"\r", b"\n").split(b"\n")
        for piece in ended:
            self._extend(piece)
            line, too_long = bytes(self._line), self._too_long
            self.resume()
            if too_long:
                self.counters.damaged += 1
            elif line.strip():
                items += self._numbers(line, t_ns)
        self._extend(rest)
        return items

    def _extend(self, piece: bytes) -> None:
        if len(self._line) + len(piece) > LONGEST:
            self._too_long = True
            self.counters.skipped_bytes += len(piece)
        else:
            self._line += piece

    def _numbers(self, line: bytes, t_ns: int) -> list[Item]:
        fields = dict(FIELD.findall(line))
        if b"SPO2" not in fields or b"BPM" not in fields:
            self.counters.damaged += 1
            self.counters.skipped_bytes += len(line)
            return []
        self.counters.frames += 1
        exceptions = fields.get(b"EXC", b"")
        if exceptions != self._exceptions[0]:
            self._exceptions = exceptions, *meaning(exceptions)
        _, words, reason, quality = self._exceptions
        items: list[Item] = []
        for kind, name in NUMBERS:
            text = fields.get(name)
            if text is None:
                continue
            found = NUMBER.fullmatch(text)
            if found is None:
                items.append(self._readings.missing(kind, t_ns, reason, site="doigt", flags=words))
                continue
            number, decimals = found.groups(b"")
            items.append(
                self._readings.value(
                    kind, t_ns, int(number + decimals), -len(decimals), quality=quality, site="doigt", flags=words
                )
            )
        return items


def meaning(exceptions: bytes) -> tuple[tuple[str, ...], NoValue, ReadingQuality]:
    """What the bits of EXC (hex) say: words, why there would be no value, and what a value is worth."""
    bits = int(exceptions, 16) if EXCEPTION_BITS.fullmatch(exceptions) else 0
    words = tuple(word for bit, word in EXCEPTIONS.items() if bits >> bit & 1 and word not in QUIET)
    reason = (
        NoValue.PROBE_OFF
        if PROBE_OFF & set(words)
        else NoValue.STARTING
        if "pulse_search" in words
        else NoValue.AMBIENT_LIGHT
        if "ambient_light" in words
        else NoValue.INSTRUMENT
    )
    doubtful = {"interference", "low_signal_iq", "low_perfusion"} & set(words)
    return words, reason, ReadingQuality.QUESTIONABLE if doubtful else ReadingQuality.GOOD
