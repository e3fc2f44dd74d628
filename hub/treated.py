"""The stethoscope's sound without the room, for a doctor who asks to hear it so: denoised here, never on the wire."""

from collections.abc import Callable

import numpy as np

from agent.dsp import AuscultationDenoiser
from agent.listening import mode_at
from agent.model import Floats, SampleBlock, Stream

Out = Callable[[int, float, Floats], None]
"""Takes the time of the first sample, the rate and the samples."""


class Treated:
    """One stream's denoiser; its mode follows where the bell lies. `out` hears what comes out."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._stream: Stream | None = None
        self._denoiser: AuscultationDenoiser | None = None
        self._next = 0

    def push(self, stream: Stream, block: SampleBlock) -> None:
        """Take the next sound; a jump of the index is a gap, what is older than the newest is not heard."""
        if self._denoiser is None or stream != self._stream:
            self._stream, self._next = stream, block.index
            self._denoiser = AuscultationDenoiser(stream.fs_hz, mode_at(stream.lead))
        if block.index < self._next:
            return
        if block.index > self._next:
            self._denoiser.gap(block.index - self._next)
        self._next = block.index + len(block.samples)
        values = self._denoiser.push(np.multiply(block.samples, stream.gain, dtype=np.float64))
        self._denoiser.events()  # the bag says what the microphone did
        late_s = self._denoiser.delay_s + (len(values) - len(block.samples)) / stream.fs_hz
        self._out(block.t_ns - round(1e9 * late_s), stream.fs_hz, values)
