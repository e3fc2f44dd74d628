"""What the chains of all signals share."""

from typing import Protocol

from agent.model import Analysis, ChainStage, Floats, Stream, Trace

Shown = Trace | Analysis


class Chain(Protocol):
    """The stages of one stream."""

    def push(self, x: Floats, t_ns: int) -> list[Shown]:
        """Take samples in the stream's unit; `t_ns` is the boot time of the first."""

    def gap(self, n: int) -> None:
        """Skip `n` lost samples."""


class Shape:
    """What the chains share: a trace carries the time its samples were taken, not when a filter let go of them."""

    def __init__(self, stream: Stream, delay_s: float, *, analyse: bool) -> None:
        self._stream = stream
        self._delay_s = delay_s
        self._analyse = analyse
        self._index = 0

    def trace(self, values: Floats, n: int, t_ns: int) -> list[Shown]:
        """`values` came out for the `n` samples whose first was taken at `t_ns`."""
        index, self._index = self._index, self._index + n
        if not values.size:
            return []
        shift_s = self._delay_s + (values.size - n) / self._stream.fs_hz
        return [Trace(self._stream.name, index, t_ns - round(1e9 * shift_s), self._stream.fs_hz, values)]

    def end_ns(self, n: int, t_ns: int) -> int:
        """The time after `n` samples of which the first was taken at `t_ns`."""
        return t_ns + round(1e9 * n / self._stream.fs_hz)


def as_stage(name: str, settings: str, delay_s: float) -> ChainStage:
    """A stage as a birth record says it."""
    return ChainStage(name, settings, round(1e6 * delay_s))
