"""What a board knows, before it is put in words: the newest of everything heard, and the bag's own state."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from agent.display import freshness
from agent.display.words import Words, age
from agent.errors import InstrumentReason
from agent.model import (
    Analysis,
    Gap,
    Happening,
    InstrumentEvent,
    InstrumentState,
    Kind,
    Quality,
    Rate,
    Reading,
    Signal,
    Spo2,
    Stream,
)

NOW_S = 5.0
RECENT_S = 4.0
"""How long a passing trouble of a signal stays on screen."""


class LinkState(Enum):
    """The way from the bag to the hub."""

    STARTING = "starting"
    CONNECTED = "connected"
    WATCHED = "watched"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Link:
    """The link, and up to when the hub has receipted everything."""

    state: LinkState = LinkState.STARTING
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class StreamView:
    """How a stream's chain prepares it for screens.

    `mode` is monitor or diagnostic (ECG), heart, lung, wide or raw (sound); `treated` says a denoiser was at work;
    `calibrated`, that a validated curve exists for this sensor model: without it our own SpO2 stays hidden.
    """

    mode: str = ""
    band_hz: tuple[float, float] | None = None
    treated: bool = False
    calibrated: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """An instrument's tile: its key in events, its kind in fr.toml, its own name and tip, whether it is clinical.

    `tip` is a key of fr.toml; without one the kind's own tip is shown. An instrument that was never given a card gets
    one by what it gives, see `card_for`.
    """

    key: str
    kind: str
    name: str | None = None
    tip: str | None = None
    clinical: bool = True


_KINDS: Mapping[Signal | Kind, str] = {
    Signal.ECG: "ecg",
    Signal.PLETH: "oximeter",
    Signal.INFRARED: "oximeter",
    Signal.SOUND: "stethoscope",
    Kind.PRESSURE_SYSTOLIC: "pressure",
    Kind.GLUCOSE: "glucose",
    Kind.WEIGHT: "scale",
    Kind.SPO2: "oximeter",
    Kind.TEMPERATURE: "thermometer",
    Kind.HEART_RATE: "strap",
}
"""What an instrument is on its tile, by what it gives: the first that applies."""


def card_for(key: str, gives: Iterable[Signal | Kind], *, tip: str | None = None, clinical: bool = True) -> Card | None:
    """Return the card of an instrument by the signals and kinds it gives; None when nothing tells what it is."""
    given = set(gives)
    kind = next((name for what, name in _KINDS.items() if what in given), None)
    return None if kind is None else Card(key, kind, tip=tip, clinical=clinical)


_REASONS = {reason.value: reason for reason in InstrumentReason}
_HAPPENINGS = {happening.value: happening for happening in Happening}


@dataclass(slots=True)
class Status:
    """What is known of an instrument."""

    card: Card | None = None
    state: InstrumentState | None = None
    why: InstrumentReason | None = None
    read_ns: int | None = None
    said: tuple[str, str, int] | None = None
    """The newest thing it said that is neither state nor value: what, its own word, when."""
    events: dict[Happening, int] = field(default_factory=dict)


@dataclass(slots=True)
class Heard:
    """The newest findings on one stream, each with its time."""

    seen_ns: int | None = None
    rate: tuple[Rate, int] | None = None
    spo2: tuple[Spo2, int] | None = None
    quality: tuple[Quality, int] | None = None
    perfusion: tuple[float, int] | None = None
    gap_ns: int | None = None
    events: dict[Happening, int] = field(default_factory=dict)


@dataclass(slots=True)
class Picture:
    """Everything a board knows, before it is put in words. Late items never replace newer ones."""

    status: dict[str, Status] = field(default_factory=dict)
    streams: dict[str, Heard] = field(default_factory=dict)
    readings: dict[tuple[str, Kind], Reading] = field(default_factory=dict)
    voided: set[tuple[str, Kind, int]] = field(default_factory=set)
    link: Link = field(default_factory=Link)
    battery: tuple[int | None, int | None] = (None, None)
    listening: bool = False
    site: str | None = None
    described: dict[str, Stream] = field(default_factory=dict)
    visit_id: bytes | None = None
    visit_state: str = "idle"
    code: str | None = None
    heard_ns: int | None = None
    called_ns: int | None = None

    def heard(self, stream: str) -> Heard:
        """Return (and begin) what is known of a stream."""
        return self.streams.setdefault(stream, Heard())

    def saw(self, stream: str, t_ns: int) -> None:
        """Note a stretch of samples that ends at `t_ns`."""
        heard = self.heard(stream)
        heard.seen_ns = max(heard.seen_ns or t_ns, t_ns)

    def analysed(self, item: Analysis) -> None:
        """Keep the newest findings on a stream."""
        heard, t = self.heard(item.stream), item.t_ns
        if item.rate is not None and (heard.rate is None or t >= heard.rate[1]):
            heard.rate = (item.rate, t)
        if item.spo2 is not None and (heard.spo2 is None or t >= heard.spo2[1]):
            heard.spo2 = (item.spo2, t)
        if item.quality and (heard.quality is None or t >= heard.quality[1]):
            heard.quality = (item.quality[-1], t)
        perfusion = [p.perfusion_index_pct for p in item.pulses if p.perfusion_index_pct is not None]
        if perfusion and (heard.perfusion is None or t >= heard.perfusion[1]):
            heard.perfusion = (perfusion[-1], t)
        for event in item.events:
            heard.events[event.kind] = max(heard.events.get(event.kind, t), t)

    def read(self, item: Reading) -> None:
        """Keep the newest reading of each kind from each instrument."""
        key = (item.instrument, item.kind)
        known = self.readings.get(key)
        if known is None or item.t_ns >= known.t_ns:
            self.readings[key] = item
        status = self.status.setdefault(item.instrument, Status())
        status.read_ns = max(status.read_ns or item.t_ns, item.t_ns)

    def happened(self, item: InstrumentEvent) -> None:
        """Keep where an instrument stands, and what it said; a reason stands in `what` or `detail`."""
        status = self.status.setdefault(item.instrument, Status())
        if item.state is not None:
            status.state = item.state
            status.why = next((_REASONS[word] for word in (item.what, item.detail) if word in _REASONS), None)
        elif item.what in _HAPPENINGS:
            happening = _HAPPENINGS[item.what]
            status.events[happening] = max(status.events.get(happening, item.t_ns), item.t_ns)
        else:
            status.said = (item.what, item.detail, item.t_ns)

    def lost(self, item: Gap) -> None:
        """Note a hole in a stream."""
        heard = self.heard(item.stream)
        heard.gap_ns = max(heard.gap_ns or item.t_ns, item.t_ns)

    def signals(self, key: str) -> list[Signal]:
        """Return what an instrument's streams carry."""
        return [stream.signal for stream in self.described.values() if stream.instrument == key]

    def card(self, key: str) -> Card | None:
        """Return an instrument's card, its own or by what it gives."""
        status = self.status.get(key)
        if status is not None and status.card is not None:
            return status.card
        return card_for(key, [*self.signals(key), *(kind for instrument, kind in self.readings if instrument == key)])

    def owner(self, stream: str) -> str:
        """Return the instrument of a stream."""
        return self.described[stream].instrument if stream in self.described else ""

    def forget_values(self) -> None:
        """Drop every value: another patient's."""
        self.readings.clear()
        self.voided.clear()
        self.streams.clear()
        for status in self.status.values():
            status.read_ns = None
            status.events.clear()


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture at one moment, with what puts it in words; `slots` names the stream in each sweep."""

    picture: Picture
    words: Words
    now_ns: int
    wall: Callable[[int], datetime | None]
    slots: Mapping[str, str]
    views: Mapping[str, StreamView]
    remote: bool

    def recent(self, t_ns: int | None, seconds: float = RECENT_S) -> bool:
        """Whether something happened within the last `seconds`."""
        return t_ns is not None and freshness.age_s(t_ns, self.now_ns) <= seconds

    def time(self, t_ns: int) -> str:
        """Return the time of day of `t_ns`, or how long ago while the clock is not anchored."""
        at = self.wall(t_ns)
        return self.since(t_ns) if at is None else f"{at:%H:%M}"

    def since(self, t_ns: int) -> str:
        """Return how long ago `t_ns` was."""
        seconds = freshness.age_s(t_ns, self.now_ns)
        return self.words("common.just_now") if seconds < NOW_S else self.words("common.since", age=age(seconds))

    @property
    def listening(self) -> bool:
        """Whether the microphone is open; from afar, whether its sound comes in."""
        sound = self.slots.get("sound")
        return self.picture.listening or (self.remote and sound is not None and self.recent(self.seen(sound)))

    def seen(self, stream: str) -> int | None:
        """Return the time of a stream's newest sample."""
        return self.picture.heard(stream).seen_ns
