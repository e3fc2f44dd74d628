"""What is shown now: one Board feeds the nurse's page on the bag, another the doctor's page at the hub.

Pure and synchronous. Model objects are fed in; `messages()` gives JSON-ready dicts:

- `birth`: bag, demonstration flag, visit, and per sweep (`ecg`, `pleth`, `sound`) its stream's captions. Sent first,
  and again whenever one of these changes; another `base` (a board's life) or `epoch` (a visit) means: forget every
  trace.
- `wave`: `stream`, `t` of the first point (seconds of the board's time), `fs`, `q`, `y`: point i is `y[i] * q` at
  `t + i / fs`; null is no sample.
- `vitals`: the big numbers, the tiles, the link, visit, battery, notices: a full picture each time.

Times: every `t_ns` fed in and `now_ns` are of one clock. On the bag that is CLOCK_BOOTTIME; the hub must bring the
bag's times onto its own clock before feeding them. `wall` turns such a time into local time of day, or None while
the clock is not anchored: ages are then written instead of hours.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np

from agent.display.picture import Card, Link, LinkState, Picture, Scene, Status, StreamView, card_for
from agent.display.sound import Sound
from agent.display.sweeps import Piece, Sweep
from agent.display.vitals import vitals
from agent.display.words import Words, number
from agent.model import Analysis, Floats, Gap, InstrumentEvent, Reading, SampleBlock, Signal, Stream, Trace, Visit
from agent.standing import stands_for

__all__ = [
    "START",
    "Board",
    "Card",
    "Cursor",
    "Item",
    "LinkState",
    "Message",
    "StreamView",
    "VisitState",
    "card_for",
]

Message = dict[str, Any]
Item = Trace | Analysis | Reading | InstrumentEvent | Gap | SampleBlock

LOOKED_AT_S = 2.0
"""How long after a page's last question somebody is taken to look."""
KEEP_S = 8.0
"""Traces kept for a page that connects or falls behind: one sweep and a little more."""
NON_STANDARD_LEAD = 131072
"""MDC_ECG_LEAD_CONFIG: unspecified, a chest strap."""
SLOTS = {"ecg": Signal.ECG, "pleth": Signal.PLETH, "sound": Signal.SOUND}
"""The three sweeps."""


class VisitState(Enum):
    """The states of a visit that a page tells apart; the values are those of the visit's transition table."""

    IDLE = "idle"
    READY = "ready"
    VISIT = "visit"
    CLOSING = "closing"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far one page has read."""

    birth: int = 0
    wave: int = 0


START = Cursor()


class Board:
    """The state behind one pair of eyes. `remote` is the hub's side: it judges the bag's silence by the data's age."""

    def __init__(
        self,
        words: Words,
        *,
        demo: bool,
        bag: str,
        now_ns: Callable[[], int],
        wall: Callable[[int], datetime | None] = lambda _t_ns: None,
        remote: bool = False,
        keep_s: float = KEEP_S,
    ) -> None:
        self.words = words
        self.bag = bag
        self.demo = demo
        self.remote = remote
        self._now_ns = now_ns
        self._wall = wall
        self._keep_s = keep_s
        self._t0_ns = now_ns()
        self._sweeps: dict[str, Sweep] = {}
        self._drawn: set[str] = set()
        self._views: dict[str, StreamView] = {}
        self._birth_number = 1
        self._epoch = 1
        self._wave_number = 0
        self._looked_ns: int | None = None
        self._pieces: deque[tuple[int, int, Piece]] = deque()  # (number, arrival, piece)
        self.sounds = {"raw": Sound(), "treated": Sound()}
        self._picture = Picture()
        self.camera = False  # whether the bag has one
        self.beside: Callable[[], Message] = dict
        """More fields for each `vitals`: the loan desk and «Silence», on the bag."""

    # --- what is fed in ---------------------------------------------------------------------------------------

    def describe(
        self, streams: Iterable[Stream], views: Mapping[str, StreamView] | None = None, cards: Iterable[Card] = ()
    ) -> None:
        """Add or change streams, how each is filtered for screens (by stream name), and instruments' tiles.

        Raises ValueError for an ECG that is not in a voltage, KeyError for a card whose words fr.toml lacks.
        """
        changed = False
        for stream in streams:
            known = self._sweeps.get(stream.name)
            if known is None or known.stream != stream:
                self._sweeps[stream.name] = Sweep(stream)
                self._picture.described[stream.name] = stream
                self._picture.status.setdefault(stream.instrument, Status())
                changed = True
        for name, view in (views or {}).items():
            changed = changed or self._views.get(name) != view
            self._views[name] = view
        for card in cards:
            self.words(f"instrument.{card.kind}.name")
            self.words(card.tip or f"instrument.{card.kind}.tip")
            self._picture.status.setdefault(card.key, Status()).card = card
        if changed:
            self._birth_number += 1

    def feed(self, item: Item) -> None:
        """Take one model object; what belongs to no described stream is remembered but not drawn.

        Samples as the instrument gave them are wanted for the stethoscope alone: the doctor hears those. Blocks of
        other streams may be fed and are ignored.
        """
        now = self._now_ns()
        self._picture.heard_ns = now
        match item:
            case Trace():
                sweep = self._sweeps.get(item.stream)
                if sweep is not None and (piece := sweep.push(item, self._t0_ns)) is not None:
                    self._draw(piece, now)
                self._picture.saw(item.stream, item.t_ns + int(item.values.shape[0] / item.fs_hz * 1e9))
            case SampleBlock():
                sweep = self._sweeps.get(item.stream)
                if sweep is not None and sweep.stream.signal is Signal.SOUND:
                    values = np.multiply(item.samples, sweep.stream.gain, dtype=np.float64)
                    self.sounds["raw"].push((item.t_ns - self._t0_ns) / 1e9, sweep.stream.fs_hz, values)
            case Analysis():
                self._picture.analysed(item)
            case Reading():
                self._picture.read(item)
            case InstrumentEvent():
                self._picture.happened(item)
            case Gap():
                self._picture.lost(item)

    def heard(self) -> None:
        """Note a sign of life of the bag that is no data (remote boards)."""
        self._picture.heard_ns = self._now_ns()

    def visit(self, visit: Visit | None, state: VisitState | str) -> None:
        """Show the visit; another visit wipes every value and trace: they belong to the patient before."""
        state = VisitState(state)
        if visit is not None and visit.id != self._picture.visit_id:
            self._picture.forget_values()
            self._picture.visit_id = visit.id
            self._pieces.clear()
            self._epoch += 1
            self._birth_number += 1
        code = visit.code if visit is not None else None
        if (code, state.value) != (self._picture.code, self._picture.visit_state):
            self._picture.code, self._picture.visit_state = code, state.value
            self._birth_number += 1

    def link(self, state: LinkState, until_ns: int | None = None) -> None:
        """Show the way to the hub: what it has receipted `until_ns`."""
        self._picture.link = Link(state, until_ns)

    def battery(self, *, minutes: int | None = None, percent: int | None = None) -> None:
        """Show what is left in the bag's battery: time when known, else per cent."""
        self._picture.battery = (minutes, percent)

    def listening(self, on: bool, site: str | None = None) -> None:
        """Show whether the microphone is open, and where the bell is said to lie."""
        self._picture.listening, self._picture.site = on, site

    def treated(self, t_ns: int, fs_hz: float, values: Floats) -> None:
        """Take sound that a denoiser has been through, for those who ask to hear it so."""
        self.sounds["treated"].push((t_ns - self._t0_ns) / 1e9, fs_hz, values)

    def identify(self) -> None:
        """Somebody asks which bag this is: say it for a while."""
        self._picture.called_ns = self._now_ns()

    def void(self, reading: Reading) -> None:
        """Strike a value through: it was cancelled."""
        self._picture.voided.add((reading.instrument, reading.kind, reading.t_ns))

    def _draw(self, piece: Piece, now: int) -> None:
        if piece.stream not in self._drawn:
            before = self._slots()
            self._drawn.add(piece.stream)
            if self._slots() != before:
                self._birth_number += 1
        self._wave_number += 1
        self._pieces.append((self._wave_number, now, piece))
        while self._pieces and now - self._pieces[0][1] > self._keep_s * 1e9:
            self._pieces.popleft()

    # --- what is shown ----------------------------------------------------------------------------------------

    def messages(self, since: Cursor = START) -> tuple[list[Message], Cursor]:
        """Return what a page that has read up to `since` still misses, and its new cursor.

        A page that fell behind by more than KEEP_S misses the traces in between; it never holds anything up.
        """
        self._looked_ns = self._now_ns()
        out: list[Message] = []
        if since.birth != self._birth_number:
            out.append(self._birth())
        shown = {stream.name for stream in self._slots().values()}
        joined: list[Piece] = []
        last: dict[str, int] = {}
        for number_, _, piece in self._pieces:
            if number_ <= since.wave or piece.stream not in shown:
                continue
            at = last.get(piece.stream)
            if at is not None and joined[at].followed_by(piece):
                joined[at] = replace(joined[at], y=joined[at].y + piece.y)
            else:
                last[piece.stream] = len(joined)
                joined.append(piece)
        out += [{"kind": "wave", "stream": p.stream, "t": p.t, "fs": p.fs, "q": p.q, "y": p.y} for p in joined]
        out.append(self._vitals())
        return out, Cursor(self._birth_number, self._wave_number)

    def looked_at(self) -> bool:
        """Whether a page has asked within LOOKED_AT_S."""
        return self._looked_ns is not None and self._now_ns() - self._looked_ns < LOOKED_AT_S * 1e9

    def _slots(self) -> dict[str, Stream]:
        """The stream in each sweep."""
        streams = [sweep.stream for sweep in self._sweeps.values()]
        found = {slot: stands_for(signal, streams, self._drawn) for slot, signal in SLOTS.items()}
        return {slot: stream for slot, stream in found.items() if stream is not None}

    def _birth(self) -> Message:
        return {
            "kind": "birth",
            "base": str(self._t0_ns),
            "epoch": self._epoch,
            "bag": self.bag,
            "demo": self.demo,
            "code": self._picture.code,
            "visit_state": self._picture.visit_state,
            "streams": {slot: self._captions(slot, stream) for slot, stream in self._slots().items()},
        }

    def _captions(self, slot: str, stream: Stream) -> Message:
        """What stands over a sweep: for an ECG its lead, gain, speed, grid, band and mode, always."""
        words, view = self.words, self._views.get(stream.name, StreamView())
        about: list[str] = []
        warning = None
        if slot == "ecg":
            standard = stream.lead is not None and stream.mdc != NON_STANDARD_LEAD
            about.append(words("sweep.lead", lead=stream.lead) if standard else words("sweep.non_standard"))
            about += [words("sweep.gain"), words("sweep.speed"), words("sweep.grid")]
        elif slot == "sound" and stream.lead:
            about.append(words.or_given("site", stream.lead))
        if view.band_hz is not None:
            low, high = view.band_hz
            about.append(words("sweep.band", low=_hz(low), high=_hz(high)))
        if f"sweep.mode_{view.mode}" in words:
            about.append(words(f"sweep.mode_{view.mode}"))
        if slot == "ecg" and view.mode != "diagnostic":
            warning = words("sweep.monitor")
        if slot == "sound" and view.treated:
            warning = words("sweep.treated")
        return {
            "name": stream.name,
            "signal": stream.signal.value,
            "title": words(f"sweep.{slot}"),
            "about": about,
            "warning": warning,
            "fs": stream.fs_hz,
            "unit": "mV" if slot == "ecg" else stream.unit,
        }

    def _vitals(self) -> Message:
        now = self._now_ns()
        slots = {slot: stream.name for slot, stream in self._slots().items()}
        scene = Scene(self._picture, self.words, now, self._wall, slots, self._views, self.remote)
        now_s = round((now - self._t0_ns) / 1e9, 4)
        return {"kind": "vitals", "now": now_s, "camera": self.camera, **vitals(scene), **self.beside()}


def _hz(value: float) -> str:
    """Write a band edge: 0,05 · 0,5 · 40 · 150."""
    for decimals in (0, 1):
        if abs(value * 10**decimals - round(value * 10**decimals)) < 1e-9:
            return number(value, decimals)
    return number(value, 2)
