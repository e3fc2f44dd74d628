"""Both pages over synthetic signals, without an agent: for tests, and for a look by a person.

    python -m tests.display.preview

prints two addresses and runs until Ctrl-C; the doctor's code is 4821.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from agent.display.board import Board, Card, LinkState, StreamView
from agent.display.page import serve_nurse
from agent.display.words import Words
from agent.drivers.camera import Viewfinder
from agent.model import (
    Analysis,
    InstrumentEvent,
    InstrumentState,
    Kind,
    NoValue,
    Quality,
    Rate,
    Reading,
    SampleBlock,
    Signal,
    Stream,
    Trace,
    Unit,
    Visit,
)
from agent.transport.files import WholeFile
from hub.page import same_code, serve_doctor
from tests.peers.pages import Ready, serving

CODE = "4821"
STREAMS = (
    Stream("ecg", Signal.ECG, "healthypi", 125.0, 0.001, "mV", lead="DII", mdc=131330),
    Stream("pleth", Signal.PLETH, "berry", 100.0, 1.0, "1"),
    Stream("sound", Signal.SOUND, "stethoscope", 4000.0, 1 / 32768, "1", lead="aortic"),
)
VIEWS = {
    "ecg": StreamView(mode="monitor", band_hz=(0.5, 40.0)),
    "sound": StreamView(mode="heart"),
}
CARDS = (
    Card("healthypi", "ecg", clinical=False),
    Card("berry", "oximeter"),
    Card("cuff", "pressure"),
    Card("thermometer", "thermometer"),
    Card("stethoscope", "stethoscope"),
    Card("meter", "glucose"),
)
BEAT_S = 60 / 72


def bump(phase: np.ndarray, at: float, width: float, height: float) -> np.ndarray:
    return height * np.exp(-(((phase - at) / width) ** 2))


def signal(stream: str, t: np.ndarray) -> np.ndarray:
    """A plausible shape at the times `t`, in the stream's unit."""
    p = t % BEAT_S
    if stream == "ecg":
        waves = (
            (0.16, 0.025, 0.12),
            (0.265, 0.009, -0.12),
            (0.29, 0.010, 1.15),
            (0.315, 0.010, -0.25),
            (0.52, 0.05, 0.28),
        )
        return sum(bump(p, *w) for w in waves)
    if stream == "pleth":
        return 40 + bump(p, 0.25, 0.085, 34) + bump(p, 0.48, 0.11, 14) + 2 * np.sin(2 * math.pi * t / 4)
    tone = np.sin(2 * math.pi * 55 * t) + 0.6 * np.sin(2 * math.pi * 83 * t)
    return 0.15 * tone * (bump(p, 0.34, 0.035, 1.0) + bump(p, 0.62, 0.025, 0.7)) + 0.002 * np.sin(911 * t)


@dataclass
class Patient:
    """Feeds a board with blocks of 50 ms; `silent` stops everything, `asystole` the heart alone."""

    board: Board
    now_ns: Callable[[], int] = time.monotonic_ns
    silent: bool = False
    asystole: bool = False
    index: dict[str, int] = field(default_factory=dict)
    begun_ns: int = 0

    def begin(self) -> None:
        self.begun_ns = self.now_ns()
        self.board.describe(STREAMS, VIEWS, CARDS)
        for key, state in (
            ("healthypi", InstrumentState.MEASURING), ("berry", InstrumentState.MEASURING),
            ("cuff", InstrumentState.READY), ("thermometer", InstrumentState.READY),
            ("stethoscope", InstrumentState.MEASURING), ("meter", InstrumentState.OFF),
        ):  # fmt: skip
            self.board.feed(InstrumentEvent(key, self.begun_ns, state))

    def readings(self) -> None:
        """The spot values of a visit, and the oximeter's own numbers."""
        now = self.now_ns()
        for kind, unit, value in (
            (Kind.PRESSURE_SYSTOLIC, Unit.MMHG, 128), (Kind.PRESSURE_DIASTOLIC, Unit.MMHG, 76),
        ):  # fmt: skip
            self.board.feed(Reading("cuff", kind, unit, now, value, site="left_arm · seated · cuff_m", group=1))
        self.board.feed(
            Reading("thermometer", Kind.TEMPERATURE, Unit.DEGC, now - 720 * 10**9, 371, -1, site="tympanum")
        )

    def step(self) -> None:
        """Feed everything up to now."""
        now = self.now_ns()
        if self.silent:
            return
        for stream in STREAMS:
            first = self.index.get(stream.name, 0)
            last = int((now - self.begun_ns) / 1e9 * stream.fs_hz)
            if last <= first:
                continue
            t = np.arange(first, last) / stream.fs_hz
            values = signal(stream.name, t)
            if self.asystole and stream.name == "ecg":
                values = 0 * values
            t_ns = self.begun_ns + int(first / stream.fs_hz * 1e9)
            self.board.feed(Trace(stream.name, first, t_ns, stream.fs_hz, values))
            if stream.signal is Signal.SOUND:
                self.board.feed(SampleBlock(stream.name, first, t_ns, np.rint(values / stream.gain).astype(np.int32)))
                self.board.treated(t_ns, stream.fs_hz, 0.5 * values)
            self.index[stream.name] = last
        heart = Rate(None, NoValue.NO_BEATS) if self.asystole else Rate(72.0)
        self.board.feed(Analysis("ecg", now, rate=heart, quality=(Quality(0, 0.95),)))
        self.board.feed(Analysis("pleth", now, rate=Rate(72.0), quality=(Quality(0, 0.9),)))
        for kind, unit, value, exponent in (
            (Kind.SPO2, Unit.PERCENT, 97, 0), (Kind.PULSE_RATE, Unit.PER_MIN, 72, 0),
            (Kind.PERFUSION_INDEX, Unit.PERCENT, 24, -1),
        ):  # fmt: skip
            self.board.feed(Reading("berry", kind, unit, now, value, exponent))

    async def live(self) -> None:
        while True:
            self.step()
            await asyncio.sleep(0.05)


def wall(t_ns: int) -> datetime:
    return datetime.fromtimestamp(time.time() + (t_ns - time.monotonic_ns()) / 1e9)  # noqa: DTZ006 - local time of day


def new_board(*, remote: bool = False, demo: bool = True) -> Board:
    return Board(Words.load(), demo=demo, bag="Sac 04", now_ns=time.monotonic_ns, wall=wall, remote=remote)


@dataclass
class Gestures:
    """The nurse's actions, on the board alone."""

    board: Board
    done: list[str] = field(default_factory=list)
    codes: Iterator[int] = field(default_factory=lambda: iter(range(4822, 9999)))

    async def new_visit(self) -> None:
        self.done.append("new")
        code = str(next(self.codes))
        self.board.visit(Visit(code.encode(), code, time.monotonic_ns()), "visit")

    async def end_visit(self) -> None:
        self.done.append("end")
        self.board.visit(None, "idle")

    async def set_site(self, site: str, /) -> None:
        self.done.append(f"at {site}")
        self.board.listening(True, site)

    async def set_listening(self, on: bool, /) -> None:
        self.done.append(f"listen {on}")
        self.board.listening(on)

    async def silence(self, on: bool, /) -> None:
        self.done.append(f"silence {on}")


@dataclass
class Room:
    board: Board
    title: str = "Sac 04"
    open: bool = True
    watched: list[bool] = field(default_factory=list)
    files: list[WholeFile] = field(default_factory=list)
    viewfinder: Viewfinder | None = None

    def documents(self) -> list[WholeFile]:
        return self.files

    async def watch(self, on: bool, /) -> None:
        self.watched.append(on)


class Preview:
    """Both pages with their boards, patients and gestures; `nurse` and `doctor` are the addresses once up."""

    def __init__(self) -> None:
        near, far = new_board(), new_board(remote=True)
        self.bag, self.far = Patient(near), Patient(far)
        self.gestures, self.room = Gestures(near), Room(far)
        self.nurse = self.doctor = ""
        visit = Visit(b"v" * 16, CODE, time.monotonic_ns())
        for patient in (self.bag, self.far):
            patient.begin()
            patient.board.visit(visit, "visit")
            patient.board.listening(on=True)
            patient.board.camera = True  # the fullest pages there are
            patient.readings()
        near.link(LinkState.WATCHED, time.monotonic_ns())
        near.battery(minutes=190)

    def find(self, code: str) -> Room | None:
        return same_code([(CODE, self.room)], code)

    async def serve_nurse(self, ready: Ready) -> None:
        await serve_nurse(
            self.bag.board, self.gestures, silence=self.gestures.silence, host="127.0.0.1", port=0, ready=ready
        )

    async def serve_doctor(self, ready: Ready) -> None:
        await serve_doctor(self, host="127.0.0.1", port=0, demo=True, ready=ready)


@contextlib.contextmanager
def preview() -> Iterator[Preview]:
    """Both pages, served from a thread."""
    show = Preview()
    with serving(show.serve_nurse, show.serve_doctor, beside=(show.bag.live, show.far.live)) as (nurse, doctor):
        show.nurse, show.doctor = nurse, doctor
        yield show


if __name__ == "__main__":
    with preview() as show, contextlib.suppress(KeyboardInterrupt):
        print(f"nurse  {show.nurse}\ndoctor {show.doctor}  code {CODE}", flush=True)
        while True:
            time.sleep(1)
