"""The signal processing at work: loaded after READY, run over what came in between, more often while somebody looks.

What is stored and sent does not depend on it: when it breaks, its supervisor starts it anew and numbers go stale.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from agent.model import Analysis, ChainStage, Reading, SampleBlock, Signal, Stream, Trace

if TYPE_CHECKING:
    from agent.dsp.chains import Chains

EVERY_S = 1.0
WATCHED_EVERY_S = 0.25  # while somebody looks: a sweep must move
LOADING_SWITCH_S = 0.0005
LATE_S = 4 * EVERY_S + 2


def _load() -> "Chains":
    from agent.dsp.chains import Chains  # noqa: PLC0415 - scipy costs a second: never on the way to READY

    return Chains()


class Signals:
    """Every stream's chain. `described` hears of a stream's stages once they are known, `found` of what they give.

    `watched` says whether somebody looks: a stage costs nearly as much for a quarter of a second as for a whole one.
    """

    def __init__(
        self,
        *,
        described: Callable[[Stream, tuple[ChainStage, ...]], None],
        found: Callable[[Trace | Analysis], None],
        watched: Callable[[], bool] = lambda: True,
    ) -> None:
        self._described = described
        self._found = found
        self._watched = watched
        self._streams: dict[str, Stream] = {}
        self._stages: dict[str, tuple[ChainStage, ...]] = {}
        self._blocks: list[SampleBlock] = []
        self._chains: Chains | None = None
        self._progress_s = time.monotonic()

    def add(self, streams: Iterable[Stream]) -> None:
        """Take on streams; their stages are told now, or when the signal processing is loaded."""
        for stream in streams:
            self._streams[stream.name] = stream
            if self._chains is not None:
                self._begin(stream)

    def signal(self, stream: str) -> Signal:
        """What a stream carries."""
        return self._streams[stream].signal

    def stages(self, stream: str) -> tuple[ChainStage, ...]:
        """What a stream goes through, as far as it is known."""
        return self._stages.get(stream, ())

    def take(self, block: SampleBlock) -> None:
        """Keep a block for the next turn."""
        self._blocks.append(block)

    def read(self, reading: Reading) -> None:
        """Take an instrument's own number, to compare the pulse rate it shows with the heart rate."""
        if self._chains is not None:
            self._chains.read(reading)

    def failed(self, _: Exception) -> None:
        """Begin anew at the next run."""
        self._chains = None

    def late(self) -> bool:
        """Whether turns have stopped coming: the loop, or a stage, hangs."""
        return time.monotonic() - self._progress_s > LATE_S

    async def run(self) -> None:
        """Load, then work until cancelled."""
        usual_s = sys.getswitchinterval()
        sys.setswitchinterval(LOADING_SWITCH_S)  # the import holds the interpreter: let the loop in often
        try:
            self._chains = await asyncio.to_thread(_load)
        finally:
            sys.setswitchinterval(usual_s)
        for stream in tuple(self._streams.values()):
            self._begin(stream)
            await asyncio.sleep(0)  # on a busy machine all this takes long, and a cut may be due
        gc.collect()
        gc.freeze()  # a full collection would cost 40 ms of silence
        while True:
            await asyncio.sleep(WATCHED_EVERY_S if self._watched() else EVERY_S)
            blocks, self._blocks = self._blocks, []
            for shown in self._chains.push_all(blocks):
                self._found(shown)
            self._progress_s = time.monotonic()

    def _begin(self, stream: Stream) -> None:
        from agent.dsp.chains import describe  # noqa: PLC0415 - loaded by now

        assert self._chains is not None
        self._chains.add([stream])
        stages = self._stages[stream.name] = describe(stream)
        self._described(stream, stages)
