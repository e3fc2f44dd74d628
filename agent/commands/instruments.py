"""What `besace watch`, `record` and `replay` do with one instrument.

`watch` asks the running agent, which owns the ports and the radio; where none runs it opens the instrument itself, as
`record` always does. What is said to a person goes to `talk`, data to `out`.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.commands.naming import FAMILIES, FAMILY_KEYS, named
from agent.config import Config, RadioConfig
from agent.control import ask
from agent.drivers.base import Decoder, Item, boot_ns
from agent.drivers.capture import (
    EXPECT,
    CaptureError,
    Recording,
    difference,
    expected,
    instrument_of,
    outcome,
    replay,
)
from agent.drivers.catalogue import CATALOGUE, Row, Transport
from agent.drivers.opening import decoder_for, open_driver
from agent.errors import ConfigError, InstrumentError, InstrumentReason, StateError
from agent.instruments import load_radio
from agent.model import Gap, InstrumentEvent, Reading, SampleBlock, Scan

if TYPE_CHECKING:
    from agent.drivers.ble import Radio

Say = Callable[[str], None]
EVERY_S = 1.0

NEXT = {
    InstrumentReason.NOT_FOUND: "switch it on, bring it near; ls /dev/serial/by-id or besace pair shows what is there",
    InstrumentReason.CANNOT_OPEN: "ls -l the port; the user must be in group dialout",
    InstrumentReason.BUSY: "sudo systemctl stop besace, or end the program that holds the port",
    InstrumentReason.LINK_LOST: "bring it nearer, check its cable and battery, then try again",
    InstrumentReason.SILENT: "wake it (finger in, electrodes moist, START), then try again",
    InstrumentReason.NOT_PAIRED: "besace pair, with the instrument in pairing mode",
    InstrumentReason.UNEXPECTED: "check that the key names this very model",
    InstrumentReason.STACK_DOWN: "systemctl status bluetooth; rfkill list bluetooth",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The instrument that a command is about, and the radio to reach it by."""

    key: str
    where: str
    radio: RadioConfig


def target(word: str, config: Config | None, at: str | None = None) -> Target:
    """What a person means by `word` (a key of the catalogue or a family), reached `at` or as the configuration says."""
    radio = config.radio if config is not None else RadioConfig()
    places = {one.key: one.where for one in config.instrument} if config is not None else {}
    found = named(word, CATALOGUE if at is not None else places)
    if len(found) == 1:
        return Target(found[0], at if at is not None else places[found[0]], radio)
    words = ", ".join((*FAMILIES, *FAMILY_KEYS))
    if found:
        raise ConfigError(f"{word!r} may mean {', '.join(found)}\nNext: name one of them")
    if word in CATALOGUE:
        raise ConfigError(f"this bag's configuration has no {word}\nNext: add it, or say where: --at PORT-OR-ADDRESS")
    known = ", ".join(CATALOGUE if at is not None else places) or "none"
    raise ConfigError(f"no instrument {word!r}; known here: {known}\nNext: one of these, or a family: {words}")


def agent_status(config: Config | None) -> dict[str, Any] | None:
    """The running agent's status; None when none runs."""
    if config is None or not config.bag.control_socket.exists():
        return None
    with contextlib.suppress(StateError):
        return ask(config.bag.control_socket, {"do": "status"})
    return None


def alone(config: Config | None, what: str) -> None:
    """Raise StateError when the agent runs: it owns every port and the radio."""
    if agent_status(config) is not None:
        raise StateError(
            f"cannot {what} while the agent runs: it owns the ports and the radio\n"
            f"Next: sudo systemctl stop besace, {what}, sudo systemctl start besace"
        )


def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, or until Ctrl-C; an instrument's error says what to do next."""
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        pass
    except InstrumentError as error:
        raise StateError(f"{error}\nNext: {NEXT[error.reason]}") from None


@contextlib.asynccontextmanager
async def radio_for(wanted: Target) -> "AsyncIterator[Radio | None]":
    """The radio where the instrument needs one; closed afterwards."""
    if CATALOGUE[wanted.key].transport is not Transport.BLE:
        yield None
        return
    radio = load_radio(wanted.radio)
    try:
        yield radio
    finally:
        await radio.close()


async def _run(
    wanted: Target,
    sink: Callable[[Item], None],
    seconds: float | None,
    tap: Callable[[Decoder], Decoder] = lambda decoder: decoder,
) -> None:
    """Open the instrument and hand on what it gives, for `seconds` or until cancelled."""
    async with radio_for(wanted) as radio:
        driver = open_driver(wanted.key, wanted.where, radio=radio, tap=tap)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await driver.run(sink)


# --- watch -----------------------------------------------------------------------------------------------------------


def watch(wanted: Target, config: Config | None, *, seconds: float | None, as_json: bool, out: Say) -> bool:
    """Show what an instrument gives: through the running agent, or by opening it. Whether it gave anything."""
    if agent_status(config) is not None:
        assert config is not None
        return _watch_agent(config.bag.control_socket, wanted.key, seconds, as_json, out)
    shown = Watched(out, as_json=as_json)
    finish(_run(wanted, shown.take, seconds))
    return shown.heard


class Watched:
    """Items as lines: values and events as they come, samples counted each second. JSON has every sample."""

    def __init__(self, out: Say, *, as_json: bool, began_ns: int | None = None) -> None:
        self._out = out
        self._as_json = as_json
        self._began_ns = boot_ns() if began_ns is None else began_ns
        self._counted: dict[str, tuple[int, int, int]] = {}
        self._said_ns = self._began_ns
        self.heard = False

    def take(self, item: Item) -> None:
        """Show one item."""
        t_s = (item.t_ns - self._began_ns) / 1e9
        self.heard = self.heard or not isinstance(item, InstrumentEvent) or item.state is None
        if self._as_json:
            self._out(json.dumps({"t_s": round(t_s, 3), **as_json_item(item)}, ensure_ascii=False))
        elif isinstance(item, SampleBlock):
            self._count(item)
        else:
            self._out(f"{t_s:8.2f}  {text_of(item)}")

    def _count(self, block: SampleBlock) -> None:
        n, low, high = self._counted.get(block.stream, (0, 2**31, -(2**31)))
        values = block.samples
        self._counted[block.stream] = n + len(values), min(low, int(values.min())), max(high, int(values.max()))
        if block.t_ns - self._said_ns >= EVERY_S * 1e9:
            for name, (count, least, most) in self._counted.items():
                self._out(f"{(block.t_ns - self._began_ns) / 1e9:8.2f}  {name}  {count} samples, {least} to {most}")
            self._counted.clear()
            self._said_ns = block.t_ns


def text_of(item: Reading | Gap | InstrumentEvent | Scan) -> str:
    """One line for a person."""
    match item:
        case Reading():
            number = f"no value: {item.reason.value}" if item.reason else f"{item.number:g} {item.unit.value}"
            words = [item.kind.name.lower(), number]
            words += [] if item.reason else [item.quality.value]
            words += [item.site] if item.site else []
            words += [item.instrument_time.isoformat()] if item.instrument_time else []
            return "  ".join((*words, *item.flags))
        case Gap():
            return f"{item.stream}  gap of {item.n} samples: {item.reason.value}"
        case InstrumentEvent():
            return item.state.value if item.state is not None else f"{item.what} {item.detail}".rstrip()
        case Scan():
            return f"scan {item.text}"


def as_json_item(item: Item) -> dict[str, Any]:
    """The same for programs."""
    match item:
        case SampleBlock():
            return {"stream": item.stream, "index": item.index, "samples": item.samples.tolist()}
        case Gap():
            return {"stream": item.stream, "index": item.index, "gap": item.n, "reason": item.reason.value}
        case Reading():
            return {
                "reading": item.kind.name.lower(),
                "value": item.number,
                "unit": item.unit.value,
                "quality": item.quality.value,
                "reason": item.reason.value if item.reason else None,
                "site": item.site,
                "instrument_time": item.instrument_time.isoformat() if item.instrument_time else None,
                "flags": item.flags,
            }
        case InstrumentEvent():
            if item.state is not None:
                return {"state": item.state.value, "detail": item.detail}
            return {"event": item.what, "detail": item.detail}
        case Scan():
            return {"scan": item.text}


def _watch_agent(socket: Path, key: str, seconds: float | None, as_json: bool, out: Say) -> bool:
    """Ask the running agent each second; a visit need not be open. Whether it measures at the end."""
    kinds = [kind.name.lower() for kind in CATALOGUE[key].kinds]
    before: dict[str, int] = {}
    began = time.monotonic()
    state = "unknown"
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            status = ask(socket, {"do": "status"})
            part = status["instruments"].get(key, {"state": "unknown", "last_error": ""})
            state = part["state"]
            counts = {name: n for name, n in status["samples"].items() if name.partition(".")[0] == key}
            rates = {name: n - before.get(name, n) for name, n in counts.items()}
            values = {kind: status["latest"][kind] for kind in kinds if kind in status["latest"]}
            before = counts
            if as_json:
                out(json.dumps({"state": state, "samples": rates, "latest": values}, ensure_ascii=False))
            else:
                words = [f"{name} {n} samples" for name, n in rates.items()]
                words += [f"{kind} {'no value' if value is None else f'{value:g}'}" for kind, value in values.items()]
                error = [part["last_error"]] if state in {"failed", "silent"} else []
                out("  ".join((state, *words, *error)))
            if seconds is not None and time.monotonic() - began + EVERY_S > seconds:
                break
            time.sleep(EVERY_S)
    return state in {"ready", "measuring"}


# --- record and replay -----------------------------------------------------------------------------------------------


def record(wanted: Target, path: Path, *, seconds: float | None, talk: Say) -> int:
    """Write down what an instrument sends, and what our decoder makes of it; the number of pieces written.

    Never over a file that is there: a capture is a test, its lines are looked at before they change.
    """
    pieces = 0
    items: list[Item] = []
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{path} is there already\nNext: besace replay {path}, or another name") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}\nNext: a folder that you may write to") from None
    recordings: list[Recording] = []

    def write(text: str) -> None:
        nonlocal pieces
        pieces += not text.startswith("#")
        file.write(text)

    def tap(decoder: Decoder) -> Decoder:
        recordings.append(Recording(decoder, wanted.key, write))
        return recordings[0]

    def take(item: Item) -> None:
        items.append(item)
        if isinstance(item, InstrumentEvent) and item.state is not None:
            talk(item.state.value)

    with file:
        try:
            finish(_run(wanted, take, seconds, tap))
        finally:
            if not pieces:
                path.unlink()  # an empty capture would only stand in the way of the next try
            elif recordings:
                file.writelines(f"{EXPECT}{line}\n" for line in outcome(items, recordings[0].streams))
    return pieces


def _row_of(lines: list[str]) -> Row:
    key = instrument_of(lines)
    if key not in CATALOGUE:
        raise CaptureError(f"names the unknown instrument {key!r}")
    return CATALOGUE[key]


def played(path: Path) -> tuple[list[Item], list[str], list[str]]:
    """Feed a capture to its decoder: the items, the outcome's lines, the difference from its `# expect` lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}\nNext: besace record INSTRUMENT -o {path}") from None
    try:
        row = _row_of(lines)
        decoder = decoder_for(row)
        items = [item for piece in replay(lines, decoder) for item in piece]
    except CaptureError as error:
        raise ConfigError(f"{path} is no capture: {error}\nNext: besace record INSTRUMENT -o FILE writes one") from None
    found, wanted = outcome(items, decoder.streams), expected(lines)
    return items, found, difference(found, wanted) if wanted else []


def show_replay(path: Path, *, as_json: bool, out: Say, talk: Say) -> bool:
    """Play a capture back; whether it gave what its `# expect` lines say (true when it has none)."""
    items, found, differing = played(path)
    if as_json:
        shown = Watched(out, as_json=True, began_ns=0)
        for item in items:
            shown.take(item)
    else:
        for line in found:
            out(line)
    for line in differing:
        talk(line)
    return not differing
