"""SpO2 from the raw red and infrared light of one sensor.

The two lights are compared in two bands: the pulse band, and a narrow low one that keeps only the pulse's
fundamental, so that tapping at 2 to 4 Hz falls outside it. A value is given only while red and infrared move
together as one arterial pulse does and its size is the usual one; otherwise the last one is held for at most 10 s,
with its age, and then there is none, with the reason.
"""

import math
from collections import deque
from dataclasses import dataclass
from functools import reduce
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from agent.dsp.calibration import CURVES, Curve
from agent.dsp.filters import filtered_sections
from agent.dsp.stream import as_samples, check_rate
from agent.dsp.trailing import shifted
from agent.model import Happening, NoValue, Spo2, StageEvent

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Band:
    """One of the two bands: its Butterworth order and edges, and what a window must show to count."""

    order: int
    low_hz: float
    high_hz: float
    coherence: float
    size_tolerance: float


PULSE: Final = Band(2, 0.7, 4.0, coherence=0.99, size_tolerance=0.35)
FUNDAMENTAL: Final = Band(4, 0.6, 1.7, coherence=0.995, size_tolerance=0.30)

WINDOW_S: Final = 4  # what one value rests on
HOLD_S: Final = 10.0  # nothing older is ever shown as current
NOISE_S: Final = 8  # the quietest of these seconds is the sensor's noise
USUAL_S: Final = 12  # the pulse's usual size is the median over this long
SETTLE_S: Final = 2  # after a disturbance of the light level the filters need this long
RED, IR, AMBIENT = 0, 1, 2

OFF_SHARE: Final = 0.2  # net infrared below this share of its usual level: nothing reflects it
JUMP: Final = 0.6  # a change of light by more than this within a second (log): probe moved
STEP: Final = 8.0  # one second moving this many times as much as another: a step of light, not pulses
FULL_SCALE: Final = frozenset(2.0**bits - 1.0 for bits in range(12, 33))  # an ADC's highest codes
STUCK_SHARE: Final = 0.2  # this share of a second at one extreme code: saturated
SWAP_PCT: Final = 65.0  # below what a sensor can be calibrated for: the colours are exchanged
SWAP_S: Final = 8
FLICKER: Final = 0.5  # ambient in the pulse band against the pulse itself
SAME: Final = 0.05  # two lights with the same number of counts
PURE_TONE: Final = 0.12  # skewness of the slope below which a wave is a lamp's, not a pulse's
TINY: Final = 1e-30

_EVENT: Final = {
    NoValue.PROBE_OFF: Happening.PROBE_OFF,
    NoValue.SATURATED: Happening.SATURATED,
    NoValue.SWAPPED: Happening.SWAPPED,
    NoValue.AMBIENT_LIGHT: Happening.AMBIENT_LIGHT,
    NoValue.DISCONNECTED: Happening.DISCONNECTED,
}


class _Second(NamedTuple):
    """What the window ending with one second says, per band: ratio, coherence and size of the pulse."""

    ratio: list[float]
    coherence: list[float]
    size: list[float]
    quiet: bool  # the pulse stands out of the noise
    flicker: bool  # the ambient light moves as much as the pulse
    skewness: float  # of the infrared's slope: a pulse rises faster than it falls
    level_red: float  # mean net light, logarithm
    level_ir: float
    jump: float  # range of the infrared's logarithm
    fault: NoValue | None


class Oximeter:
    """SpO2 of one raw sensor: red, infrared and ambient (n,) in the sensor's own units in, one Spo2 a second out.

    `curve` is a Curve, a name in CURVES, or polynomial coefficients of the ratio (highest first). Sources: the
    ratio of ratios is Aoyagi's (1974); the ratio is taken by Deming regression of the logarithms (Beer-Lambert)
    weighted with each light's own noise, not from peak heights. The ambient light is subtracted slowly (0.5 Hz) so
    that its noise stays out, and what of it remains in the pulse band is regressed out.
    Raises ValueError for blocks of different lengths.
    """

    def __init__(self, fs_hz: float, curve: Curve | str | tuple[float, ...] = "default") -> None:
        self.fs_hz = check_rate(fs_hz, 20.0, 1000.0)
        if isinstance(curve, str):
            curve = CURVES[curve]
        self.curve = (
            curve if isinstance(curve, Curve) else Curve("given", tuple(curve), validated=False, source="the caller")
        )
        self._hop = round(self.fs_hz)
        nyquist = self.fs_hz / 2
        self._slow = signal.butter(2, 0.5, fs=self.fs_hz, output="sos")
        self._bands = [
            signal.butter(b.order, [b.low_hz, b.high_hz], btype="band", fs=self.fs_hz, output="sos")
            for b in (PULSE, FUNDAMENTAL)
        ]
        self._high = signal.butter(2, min(8.0, 0.6 * nyquist), btype="high", fs=self.fs_hz, output="sos")
        impulse = np.zeros(12 * self._hop)
        impulse[0] = 1.0
        power = [float(np.sum(signal.sosfilt(sos, impulse) ** 2)) for sos in (*self._bands, self._high)]
        self._noise_share = np.array(power[:-1])[:, None] / power[-1]
        self.reset()

    @property
    def delay_s(self) -> float:
        """A value rests on the 4 s before it: half of that, and the filters' own delay."""
        return WINDOW_S / 2 + 0.2

    def reset(self) -> None:
        """Forget everything; the next sample is index 0."""
        self._n = 0
        self._events: list[StageEvent] = []
        self._value: float | None = None
        self._value_age = 0.0
        self._state: NoValue | None = None
        self._low_seconds = 0
        self._flicker = False
        self._usual_level = math.nan
        self._begin()

    def _begin(self) -> None:
        """Start the filters and the window anew at the next sample."""
        self._open: Floats = np.empty((3, 0))
        self._last: Floats | None = None
        self._first: Floats | None = None
        self._z: list[Floats] = []
        self._z_slow: Floats = np.empty(0)
        # Per second: products of the lights in each band, then squares and cubes of the infrared's slope.
        self._sums: Floats = np.zeros((WINDOW_S - 1, len(self._bands) * 9 + 2))
        self._powers: Floats = np.full((NOISE_S - 1, 2), np.inf)
        self._seconds = 0
        self._jumps: deque[float] = deque(maxlen=WINDOW_S + SETTLE_S)
        self._sizes: tuple[deque[float], deque[float]] = (deque(maxlen=USUAL_S), deque(maxlen=USUAL_S))
        self._unsettled = 0

    def gap(self, n: int) -> None:
        """Skip `n` lost samples: the filters and the 4 s window begin anew, the last value ages."""
        if n <= 0:
            return
        lost = self._open.shape[1] + n
        self._n += lost
        self._value_age += lost / self.fs_hz
        self._begin()

    def events(self) -> list[StageEvent]:
        """Take what happened since the last call: probe off and on, saturation, swap, lamp light, dead sensor."""
        taken, self._events = self._events, []
        return taken

    def push(self, red: ArrayLike, ir: ArrayLike, ambient: ArrayLike | None = None) -> list[Spo2]:
        """Take samples of one length, give one Spo2 for each second they complete."""
        r, i = as_samples(red), as_samples(ir)
        a = np.zeros(r.size) if ambient is None else as_samples(ambient)
        if not r.size == i.size == a.size:
            raise ValueError(f"red, infrared and ambient have {r.size}, {i.size} and {a.size} samples")
        if not r.size:
            return []
        self._open = np.concatenate((self._open, (r, i, a)), axis=1)
        hops = self._open.shape[1] // self._hop
        if not hops:
            return []
        raw, self._open = self._open[:, : hops * self._hop], self._open[:, hops * self._hop :]
        return [self._judge(second) for second in self._measure(hops, raw)]

    def _filter(self, raw: Floats) -> list[Floats]:
        """Return the lights' logarithms and the ambient (3, n) in each band, and the lights' noise (2, n)."""
        finite = np.isfinite(raw)
        if not finite.all():
            raw = self._held(raw, ~finite)
        self._last = raw[:, -1]
        start = self._first is None
        if start:
            self._z_slow = signal.sosfilt_zi(self._slow)[None] * raw[AMBIENT, 0]
        slow, self._z_slow = filtered_sections(self._slow, raw[AMBIENT:], self._z_slow)
        net = np.maximum(raw[:AMBIENT] - slow, 1.0)
        y = np.concatenate((np.log(net), (raw[AMBIENT:] - slow) / net[IR]))
        if start:
            self._first = y[:, :1].copy()
            self._z = [np.zeros((3, sos.shape[0], 2)) for sos in self._bands]
            self._z.append(np.zeros((2, self._high.shape[0], 2)))
        y -= self._first
        out = []
        for k, (sos, x) in enumerate(zip((*self._bands, self._high), (y, y, y[:AMBIENT]), strict=True)):
            filtered, self._z[k] = filtered_sections(sos, x, self._z[k])
            out.append(filtered)
        return out

    def _held(self, raw: Floats, bad: NDArray[np.bool_]) -> Floats:
        """Hold the last finite sample of each light in place of missing ones (the second they fall in is refused)."""
        before = np.ones(3) if self._last is None else self._last
        held = np.concatenate((before[:, None], raw), axis=1)
        index = np.where(bad, 0, np.arange(1, raw.shape[1] + 1))
        return np.asarray(np.take_along_axis(held, np.maximum.accumulate(index, axis=1), axis=1))

    def _measure(self, hops: int, raw: Floats) -> list[_Second]:
        """Describe the window that ends with each second of `raw`."""
        *bands, high = (filtered.reshape(-1, hops, self._hop) for filtered in self._filter(raw))
        slope = bands[0][IR, :, 1:] - bands[0][IR, :, :-1]
        square = slope * slope
        sums = [np.einsum("ahn,bhn->hab", lights, lights).reshape(hops, 9) for lights in bands]
        slopes = np.add.reduce(square, axis=1)[:, None], np.einsum("hn,hn->h", square, slope)[:, None]
        self._sums = np.concatenate((self._sums[1 - WINDOW_S :], np.concatenate((*sums, *slopes), axis=1)))
        self._powers = np.concatenate((self._powers[1 - NOISE_S :], np.einsum("lhn,lhn->hl", high, high)))
        window = reduce(np.add, shifted(self._sums, WINDOW_S))
        products = window[:, :-2].reshape(hops, -1, 3, 3)
        # The quietest second stands for the sensor's own noise: movement reaches above the pulse band too.
        noise = WINDOW_S * reduce(np.minimum, shifted(self._powers, NOISE_S))[:, None] * self._noise_share
        squares, cubes = window[:, -2:].T / (WINDOW_S * self._hop)

        pulse, ambient = products[:, 0, IR, IR], products[:, 0, AMBIENT, AMBIENT]
        raw = raw.reshape(3, hops, self._hop)
        lights, dark = raw[:AMBIENT], raw[AMBIENT].mean(axis=1)
        top, bottom = lights.max(axis=2), lights.min(axis=2)
        columns = (
            *_compare(products, noise),
            pulse > 4.0 * noise[:, 0, IR],
            ambient > FLICKER**2 * pulse,
            cubes / np.maximum(squares, TINY) ** 1.5,
            *np.log(np.add.reduce(np.maximum(lights - dark[:, None], 1.0), axis=2) / self._hop),
            np.log(np.maximum(top[IR] - dark, 1.0) / np.maximum(bottom[IR] - dark, 1.0)),
        )
        rows = zip(*(column.tolist() for column in columns), _faults(lights, top, bottom), strict=True)
        return [_Second._make(row) for row in rows]

    def _judge(self, second: _Second) -> Spo2:
        """Decide one second: a new value, the held one, or none with the reason."""
        self._n += self._hop
        self._value_age += self._hop / self.fs_hz
        self._seconds += 1
        reason = second.fault or self._light(second)
        if reason is not None:
            self._unsettled = WINDOW_S + SETTLE_S
        elif self._unsettled:
            self._unsettled -= 1
            reason = NoValue.MOTION if self._value is not None else NoValue.STARTING
        elif self._seconds < WINDOW_S:
            reason = NoValue.STARTING
        elif max(self._jumps) > STEP * min(self._jumps):
            reason = NoValue.MOTION
        else:
            reason = self._compare(second)
        self._say(reason)
        return self._answer(reason)

    def _light(self, second: _Second) -> NoValue | None:
        """Judge the light level of a second: gone, jumping, or usual."""
        if second.level_ir < self._usual_level + math.log(OFF_SHARE):
            return NoValue.PROBE_OFF
        if not second.jump <= JUMP:
            return NoValue.MOTION
        self._jumps.append(second.jump)
        if math.isnan(self._usual_level):
            self._usual_level = second.level_ir
        self._usual_level += 0.1 * (second.level_ir - self._usual_level)
        return None

    def _compare(self, second: _Second) -> NoValue | None:
        """Take the value of the first band in which red and infrared agree, else say why there is none."""
        usual = False
        for b, band in enumerate((PULSE, FUNDAMENTAL)):
            sizes, size = self._sizes[b], second.size[b]
            median = sorted(sizes)[len(sizes) // 2] if sizes else size
            coherent = second.coherence[b] >= band.coherence
            fits = coherent and abs(size - median) <= band.size_tolerance * median
            if b == 0:
                usual = fits
            if coherent and (b == 0 or usual):
                sizes.append(size)
            if fits:
                return self._accept(second, second.ratio[b])
        return NoValue.MOTION if second.quiet else NoValue.LOW_PERFUSION

    def _accept(self, second: _Second, ratio: float) -> NoValue | None:
        pct = self.curve(ratio)
        self._low_seconds = self._low_seconds + 1 if pct < SWAP_PCT else 0
        if self._low_seconds >= SWAP_S:
            return NoValue.SWAPPED
        # Lamp light seen by both: a pure tone of the same number of counts in each.
        same_counts = abs(ratio * math.exp(second.level_red - second.level_ir) - 1.0) < SAME
        if same_counts and abs(second.skewness) < PURE_TONE:
            return NoValue.AMBIENT_LIGHT
        if pct < SWAP_PCT:
            return NoValue.UNSURE
        if second.flicker and not self._flicker:
            self._note(Happening.AMBIENT_LIGHT)
        self._flicker = second.flicker
        self._value, self._value_age = min(pct, 100.0), 0.0
        return None

    def _note(self, kind: Happening) -> None:
        self._events.append(StageEvent(self._n, self._n / self.fs_hz, kind))

    def _say(self, reason: NoValue | None) -> None:
        """Report the changes of state that have a name."""
        if reason is self._state:
            return
        if reason in _EVENT:
            self._note(_EVENT[reason])
        if self._state is NoValue.PROBE_OFF:
            self._note(Happening.PROBE_ON)
        self._state = reason

    def _answer(self, reason: NoValue | None) -> Spo2:
        time_s = self._n / self.fs_hz
        if reason in _EVENT:
            self._value = None
        if self._value is None:
            return Spo2(time_s, None, reason or NoValue.STARTING)
        if self._value_age > HOLD_S:
            return Spo2(time_s, None, reason or NoValue.STALE)
        return Spo2(time_s, self._value, None, self._value_age)


def _compare(products: Floats, noise: Floats) -> tuple[Floats, Floats, Floats]:
    """Return ratio, coherence and size of the pulse (...) of windows.

    `products` (..., 3, 3) of red, infrared, ambient; `noise` (..., 2) their noise power in the same band.
    """
    red_ambient, ir_ambient = products[..., RED, AMBIENT], products[..., IR, AMBIENT]
    ambient = products[..., AMBIENT, AMBIENT] + TINY
    red = products[..., RED, RED] - red_ambient * red_ambient / ambient
    ir = products[..., IR, IR] - ir_ambient * ir_ambient / ambient
    both = products[..., RED, IR] - red_ambient * ir_ambient / ambient
    red_noise, ir_noise = noise[..., RED], noise[..., IR]
    clean = np.maximum(red - red_noise, 0.1 * red) * np.maximum(ir - ir_noise, 0.1 * ir)
    coherence = np.minimum(both / (np.sqrt(clean) + TINY), 1.0)
    weight = np.minimum(np.maximum((red_noise + TINY) / (ir_noise + TINY), 0.1), 10.0)
    spread = red - weight * ir
    root = np.sqrt(spread * spread + 4.0 * weight * both * both)
    ratio = (spread + root) / (2.0 * np.where(both > 0.0, both, np.inf) + TINY)
    return ratio, coherence, np.sqrt(np.maximum(ir, 0.0))


def _faults(raw: Floats, top: Floats, bottom: Floats) -> list[NoValue | None]:
    """Name what is wrong with each second of red and infrared samples (2, hops, n), `top` and `bottom` their edges."""
    least = STUCK_SHARE * raw.shape[2]
    stuck = [np.add.reduce(raw == edge[:, :, None], axis=2) >= least for edge in (top, bottom)]
    finite = np.isfinite(top) & np.isfinite(bottom)
    wrong = (stuck[0] | stuck[1] | ~finite).any(axis=0)
    return [_fault(raw[:, k]) if flag else None for k, flag in enumerate(wrong.tolist())]


def _fault(second: Floats) -> NoValue:
    """Name what is wrong with a second (2, n) of red and infrared: samples that are none, or too many at an edge."""
    finite = np.isfinite(second)
    if not finite.all():
        return NoValue.POOR_SIGNAL if finite.any() else NoValue.DISCONNECTED
    top = second.max(axis=1)
    dead = (top == second.min(axis=1)).all() and FULL_SCALE.isdisjoint(top.tolist())
    return NoValue.DISCONNECTED if dead else NoValue.SATURATED
