# Ref: our own framing of sound: u64 index of the first sample, u32 count, int16 samples, all little endian.
"""The stethoscope: sound of 16, 44.1 or 48 kHz, brought to 4 kHz in integers.

Two channels: "sound" is a local process at 16 kHz that counts its samples, so that its index says what is missing;
"card@FS" is a sound card at FS Hz, whose samples nobody counts: there a loss shows in the time that passed.
"""

import struct

from agent.drivers.base import DecoderCounters, Item
from agent.drivers.decimate import INT16, OUT_HZ, Decimator
from agent.drivers.pace import SOUND_CARD, Track
from agent.model import GapReason, Signal, Stream

COUNTED = "sound"
CARD = "card@"
COUNTED_FS_HZ = 16_000
HEADER = struct.Struct("<QI")
MOST = 48_000  # samples in a frame: a second; more is damage
FARTHEST_S = 60  # that a jump of the index may mean
FULL_SCALE = 1 / 32768


class StethoscopeDecoder:
    """One stream at 4 kHz, unit 1 = full scale; what the source's index skips is a Gap."""

    def __init__(self, instrument: str) -> None:
        self.counters = DecoderCounters()
        self._track = Track(
            Stream(f"{instrument}.sound", Signal.SOUND, instrument, float(OUT_HZ), FULL_SCALE, "1"),
            counted=True,
            source=SOUND_CARD,
        )
        self._channel = COUNTED
        self._fs_hz = COUNTED_FS_HZ
        self._decimator = Decimator()
        self._buffer = b""
        self._next_out: int | None = None
        self._next_in: int | None = None

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The sound."""
        return self._track.streams

    def resume(self) -> None:
        """Forget the cut frame; the next samples open with a Gap."""
        self._buffer = b""
        self._decimator.reset()
        self._next_in = self._next_out = None
        self._track.resume()

    @property
    def lost_sync(self) -> bool:
        """Whether the bytes are no frames: nothing more will come of this connection."""
        return len(self._buffer) >= HEADER.size and HEADER.unpack_from(self._buffer)[1] > MOST

    def feed(self, channel: str, data: bytes, t_ns: int) -> list[Item]:
        """Take bytes from the socket or frames made of a card's samples."""
        if channel != self._channel:
            self._come_from(channel)
        if self.lost_sync:
            self.counters.skipped_bytes += len(data)
            return []
        data = self._buffer + data
        items: list[Item] = []
        run: list[bytes] = []  # frames that follow each other are taken as one: cheaper
        start = following = -1
        at, header, last = 0, HEADER.size, len(data) - HEADER.size
        while at <= last:
            index, n = HEADER.unpack_from(data, at)
            begin, end = at + header, at + header + INT16.itemsize * n
            if n > MOST or end > len(data):
                break
            at = end
            if index == following:
                run.append(data[begin:end])
                following += n
                continue
            items += self.take(start, run, t_ns)
            run, start, following = [data[begin:end]], index, index + n
            if self._next_in is not None and index < self._next_in:  # repeated: nothing may hang on to it
                items += self.take(start, run, t_ns)
                run, following = [], -1
        self._buffer = data[at:]
        return items + self.take(start, run, t_ns)

    def _come_from(self, channel: str) -> None:
        """A card's rate is known when it was opened."""
        self._channel = channel
        fs_hz = int(channel.removeprefix(CARD)) if channel.startswith(CARD) else COUNTED_FS_HZ
        self._track.counted = channel == COUNTED
        if fs_hz != self._fs_hz:
            self._fs_hz, self._decimator = fs_hz, Decimator(fs_hz)

    def take(self, index: int, frames: list[bytes], t_ns: int) -> list[Item]:
        """Take the samples of frames that follow each other, the first with the source's index `index`."""
        if not frames:
            return []
        data = b"".join(frames)
        n = len(data) // INT16.itemsize
        if self._next_in is not None and index < self._next_in:
            self.counters.damaged += 1  # repeated or from before: the source began anew without saying so
            self.counters.skipped_bytes += len(data)
            return []
        if self._next_in is not None and index - self._next_in > FARTHEST_S * self._fs_hz:
            self.counters.damaged += 1  # no loss is that long: the source counts anew, time says what is missing
            self._decimator.reset()
            self._next_out = None
            self._track.resume()
        self.counters.frames += 1
        self._next_in = index + n
        first, out = self._decimator.push(index, data)
        items: list[Item] = []
        if not len(out):
            return items
        if self._next_out is not None:
            items += self._track.skip(first - self._next_out, GapReason.OVERRUN)
        self._next_out = first + len(out)
        # The last output stands for a sample that is older than the newest input by what the filter looks ahead.
        ahead = (self._next_in - 1) * OUT_HZ - (self._next_out - 1) * self._fs_hz
        ahead_ns = ahead * 1_000_000_000 // (OUT_HZ * self._fs_hz)
        return [*items, *self._track.take(out, t_ns - ahead_ns)]
