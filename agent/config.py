"""Configuration: one TOML file into frozen dataclasses; every fault is found and said at once."""

import re
import tomllib
import types
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from agent.errors import ConfigError
from agent.transport.topics import LONGEST_DEVICE, is_device


@dataclass(frozen=True, slots=True)
class BagConfig:
    """Which bag this is, where it keeps what must survive, and how much of the card its records may take."""

    name: str
    state_dir: Path = Path("/var/lib/besace")
    runtime_dir: Path = Path("/run/besace")
    demo: bool = False
    outbox_mb: int = 2048

    @property
    def control_socket(self) -> Path:
        """Where the running agent answers."""
        return self.runtime_dir / "control.sock"


@dataclass(frozen=True, slots=True)
class HubConfig:
    """The hub's broker, the pinned root, this bag's identity and the hub's public sealing key."""

    host: str
    ca: Path
    certificate: Path
    key: Path
    sealing_key: Path
    port: int = 8883
    server_name: str = "hub"


@dataclass(frozen=True, slots=True)
class PageConfig:
    """The nurse's page; off where the bag has no tablet."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8080


@dataclass(frozen=True, slots=True)
class RadioConfig:
    """BlueZ on a bag; bumble's virtual radio in demo and tests, reached over `transport`."""

    backend: str = "bluez"
    transport: str = ""


@dataclass(frozen=True, slots=True)
class PaceConfig:
    """How often samples leave: unwatched, and while a doctor looks."""

    batch_s: float = 1.0
    watched_s: float = 0.25


@dataclass(frozen=True, slots=True)
class LightsConfig:
    """The light window and the buzzer (BCM pin numbers); off where a bag has none."""

    enabled: bool = False
    white: int = 12
    green: int = 5
    amber: int = 6
    red: int = 26
    buzzer: int = 13


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """An instrument of this bag: its key in the catalogue and where it is reached."""

    key: str
    where: str


@dataclass(frozen=True, slots=True)
class LoanConfig:
    """The loan desk: the hour at which a bag is due back, local time."""

    due: str = "19:00"


@dataclass(frozen=True, slots=True)
class PartConfig:
    """Something that belongs to this bag and is counted at check-in; `tag` is on its label, at most 12 characters.

    `instrument` is its key in the catalogue, for parts that can be seen without being counted.
    """

    tag: str
    name: str
    essential: bool = True
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class ConsumableConfig:
    """Something that is used up: its name, how many there should be at least, the last day of its lot (2027-03-31)."""

    tag: str
    name: str
    least: int = 1
    until: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    bag: BagConfig
    hub: HubConfig
    page: PageConfig = field(default_factory=PageConfig)
    radio: RadioConfig = field(default_factory=RadioConfig)
    pace: PaceConfig = field(default_factory=PaceConfig)
    lights: LightsConfig = field(default_factory=LightsConfig)
    loan: LoanConfig = field(default_factory=LoanConfig)
    instrument: tuple[InstrumentConfig, ...] = ()
    part: tuple[PartConfig, ...] = ()
    consumable: tuple[ConsumableConfig, ...] = ()


_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}


def _value(kind: Any, value: object, where: str, faults: list[str]) -> object:
    """Turn one TOML value into `kind`, noting what is wrong with it."""
    if is_dataclass(kind):
        return _table(kind, value, where, faults)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            faults.append(f"{where}: is {value!r}, must be a list of tables, written [[{where}]]")
            return ()
        return tuple(_value(get_args(kind)[0], item, f"{where}[{i}]", faults) for i, item in enumerate(value))
    if get_origin(kind) in {Union, types.UnionType}:
        return _value(get_args(kind)[0], value, where, faults)
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        faults.append(f"{where}: is {value!r}, must be {_WORDS[kind]}")
    return value


def _table(kind: Any, table: object, where: str, faults: list[str]) -> object:
    """Build dataclass `kind` from a TOML table, or note every fault in it."""
    if not isinstance(table, dict):
        faults.append(f"{where}: is {table!r}, must be a table, written [{where}]")
        return None
    known = {f.name: f for f in fields(kind)}
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    faults.extend(
        f"{prefix}{name}: unknown key; known here: {', '.join(sorted(known))}" for name in table if name not in known
    )
    values = {name: _value(hints[name], table[name], prefix + name, faults) for name in known if name in table}
    missing = [n for n, f in known.items() if n not in table and f.default is MISSING and f.default_factory is MISSING]
    faults.extend(f"{prefix}{name}: missing" for name in missing)
    if missing:
        return None
    return kind(**values)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _sense(config: Config) -> list[str]:
    """What types cannot say."""
    faults = []
    if not is_device(config.bag.name):
        must = f"1 to {LONGEST_DEVICE} of a-z, 0-9 and '-' (it is the certificate's name)"
        faults.append(f"bag.name: is {config.bag.name!r}, must be {must}")
    if not 16 <= config.bag.outbox_mb <= 1 << 20:
        faults.append(f"bag.outbox_mb: is {config.bag.outbox_mb}, must be 16 to 1048576 megabytes")
    for name, port in (("hub.port", config.hub.port), ("page.port", config.page.port)):
        if not 0 <= port <= 65535:
            faults.append(f"{name}: is {port}, must be 0 to 65535")
    if config.radio.backend not in {"bluez", "bumble"}:
        faults.append(f"radio.backend: is {config.radio.backend!r}, must be 'bluez' or 'bumble'")
    for name, seconds in (("pace.batch_s", config.pace.batch_s), ("pace.watched_s", config.pace.watched_s)):
        if not 0.05 <= seconds <= 10:
            faults.append(f"{name}: is {seconds}, must be 0.05 to 10 seconds")
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", config.loan.due):
        faults.append(f"loan.due: is {config.loan.due!r}, must be an hour such as 19:00")
    pins = [getattr(config.lights, name) for name in LightsConfig.__slots__ if name != "enabled"]
    if len(set(pins)) < len(pins) or not all(0 <= pin <= 27 for pin in pins):
        faults.append("lights: must be five different pins, 0 to 27")
    tags = [part.tag for part in config.part] + [supply.tag for supply in config.consumable]
    faults.extend(f"part: {tag!r} is listed twice" for tag in sorted({t for t in tags if tags.count(t) > 1}))
    faults.extend(f"part: {tag!r} must have 1 to 12 characters" for tag in tags if not 0 < len(tag) <= 12)
    for supply in config.consumable:
        if not 0 <= supply.least <= 999:
            faults.append(f"consumable {supply.tag!r}: least is {supply.least}, must be 0 to 999")
        if supply.until and not _is_day(supply.until):
            faults.append(f"consumable {supply.tag!r}: until is {supply.until!r}, must be a day such as 2027-03-31")
    keys = [instrument.key for instrument in config.instrument]
    faults.extend(f"instrument: {key!r} is listed twice" for key in sorted({k for k in keys if keys.count(k) > 1}))
    return faults


def parse(text: str, *, source: str = "configuration") -> Config:
    """Read a configuration; raise ConfigError listing every fault at once."""
    faults: list[str] = []
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}\nNext: correct that line, then besace doctor") from None
    config = _table(Config, table, "", faults)
    if not faults and isinstance(config, Config):
        faults = _sense(config)
    if faults or not isinstance(config, Config):
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(f"{source} has {len(faults)} fault(s):\n{listed}\nNext: correct them in {source}")
    return config


def load(path: Path) -> Config:
    """Read the configuration file; raise ConfigError saying what, why and what next."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error}\n"
            "Next: sudo besace-provision enrol NAME --hub HOST --token-file FILE (it writes this file)"
        ) from None
    return parse(text, source=str(path))
