"""What the benchmarks of delivery feed: an ECG, a pleth, respiration, two oximeter readings a second, a stethoscope."""

from collections.abc import Sequence

from agent.drivers.simulated.patient import Signal as Made
from agent.drivers.simulated.patient import auscultation, breathing, recording
from agent.dsp.chains import Chains
from agent.model import Analysis, Instrument, Kind, Reading, SampleBlock, Signal, Stream, Unit

OXIMETER = Instrument("berry-bm1000", "BM1000")
ECG = Stream("polar-h10.ecg", Signal.ECG, "polar-h10", 130.0, 0.001, "mV", "I", resolution_bits=24)
PLETH = Stream("berry-bm1000.pleth", Signal.PLETH, "berry-bm1000", 100.0, 1.0, "1", resolution_bits=8)
BREATH = Stream("healthypi-4.respiration", Signal.RESPIRATION, "healthypi-4", 62.5, 1.0, "1", resolution_bits=16)
SOUND = Stream("stethoscope.sound", Signal.SOUND, "stethoscope", 4000.0, 1.0, "1", resolution_bits=16)
VITALS = (ECG, PLETH, BREATH)


def readings(t_ns: int) -> list[Reading]:
    """What the oximeter says of itself."""
    return [
        Reading(OXIMETER.key, kind, unit, t_ns, value)
        for kind, unit, value in ((Kind.SPO2, Unit.PERCENT, 97), (Kind.PULSE_RATE, Unit.PER_MIN, 72))
    ]


class Instruments:
    """Simulated signals of streams that began `since_s` ago, and the stages that look at them."""

    def __init__(self, streams: Sequence[Stream], *, since_s: float = 0.0) -> None:
        self.streams = streams
        self._made = {
            ECG.name: Made(recording("ecg", 130.0), 1, 0, 2, (-(2**23), 2**23 - 1), 1),
            PLETH.name: Made(recording("pleth", 100.0) / 20000, 80, 45, 1, (1, 100), 2),
            BREATH.name: Made(breathing(62.5), 3000, 0, 4, (-(2**15), 2**15 - 1), 3),
            SOUND.name: Made(auscultation(4000.0), 1, 0, 2, (-(2**15), 2**15 - 1), 4),
        }
        self._given_s = dict.fromkeys((stream.name for stream in streams), since_s)
        self._chains = Chains(streams)
        self.unseen: list[SampleBlock] = []

    def give(self, t_ns: int, seconds: float, *, sound: bool = True) -> list[SampleBlock]:
        """What came in a stretch of time that ends at `t_ns`, without the stethoscope where it rests."""
        blocks = []
        for stream in self.streams:
            if stream is SOUND and not sound:
                continue
            given_s = self._given_s[stream.name]
            first, end = (int(at_s * stream.fs_hz + 1e-6) for at_s in (given_s, given_s + seconds))
            self._given_s[stream.name] = given_s + seconds
            samples = self._made[stream.name].take(end - first)
            blocks.append(SampleBlock(stream.name, first, t_ns - round(seconds * 1e9), samples))
        self.unseen += blocks
        return blocks

    def found(self) -> list[Analysis]:
        """What the stages find in what came since the last time."""
        blocks, self.unseen = self.unseen, []
        return [shown for shown in self._chains.push_all(blocks) if isinstance(shown, Analysis)]
