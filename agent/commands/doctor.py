"""`besace doctor`: power, disk, clock, identity, radio, each instrument, TLS, and a row with its receipt.

Each line says ok, warn or FAIL, what was found, and the command that repairs it. Readers and judges are health.py's
where it has them; here they are put in English for a technician.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from cryptography import x509

from agent import health
from agent.clock import BootClock, Source, system_anchor
from agent.commands.instruments import NEXT, agent_status
from agent.config import Config, InstrumentConfig
from agent.control import ask
from agent.drivers.catalogue import CATALOGUE, Transport
from agent.errors import BesaceError, ProvisioningError, StateError
from agent.model import InstrumentState
from agent.transport import identity as identities

BLUETOOTH = Path("/sys/class/bluetooth")
CONNECT_S = 5.0
PROBE_S = 15.0
RENEW_SHARE = 1 / 3  # of a certificate's life: with less than that left the renewal timer has been failing


class Level(Enum):
    """What a line means."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; `repair` is a command, or what a person must do."""

    part: str
    level: Level
    found: str
    repair: str = ""


_LEVEL = {
    health.Level.OK: Level.OK,
    health.Level.NOTE: Level.WARN,
    health.Level.CONFIRM: Level.WARN,
    health.Level.UNFIT: Level.FAIL,
}
_WORDS: dict[health.Why, tuple[str, str]] = {
    health.Why.BATTERY_UNKNOWN: ("the kernel knows no battery", "dmesg | grep -i power_supply (the gauge's overlay)"),
    health.Why.BATTERY_LOW: ("{which} %, a loan wants 60", "plug the charger in"),
    health.Why.BATTERY_SHORT: ("lasts {which} min more", "plug the charger in"),
    health.Why.BATTERY_EMPTY: ("{which} %", "plug the charger in"),
    health.Why.DISK_READ_ONLY: ("mounted read-only", "dmesg | grep -i mmc; change the card if it says errors"),
    health.Why.DISK_REFUSES: ("refuses to write: {which}", "ls -ld the state directory; df -h"),
    health.Why.DISK_FULL: ("only {which} MiB free", "df -h; journalctl --vacuum-size=50M"),
    health.Why.DISK_LOW: ("{which} MiB free", "df -h; journalctl --vacuum-size=50M"),
    health.Why.NO_CLOCK: ("earlier than is possible", "timedatectl; is UDP 123 let through?"),
}


def examine(config: Config) -> Iterator[Line]:
    """Every line, each as soon as it is known."""
    status = agent_status(config)
    yield _agent(status)
    yield _power()
    yield _disk(config.bag.state_dir)
    yield from _identity(config)
    if any(row_is_ble(one) for one in config.instrument):
        yield _radio(config)
    for one in config.instrument:
        yield _instrument(one, status)
    yield _tls(config)
    if status is not None:
        yield _receipt(config)


def _agent(status: dict[str, Any] | None) -> Line:
    if status is None:
        return Line("agent", Level.FAIL, "does not answer", "systemctl status besace; sudo systemctl start besace")
    error = status["disk_error"]
    if error:
        return Line("agent", Level.FAIL, f"cannot store: {error}", "df -h")
    return Line("agent", Level.OK, f"version {status['version']}, visit {status['visit']}, up {status['up_s']:.0f} s")


def _judged(part: str, finding: health.Finding, good: str) -> Line:
    found, repair = _WORDS.get(finding.why, (good, ""))
    return Line(part, _LEVEL[finding.level], found.format(which=finding.which), repair)


def _power() -> Line:
    battery = health.read_battery()
    finding = health.judge_battery(battery)
    charging = ", charging" if battery is not None and battery.charging else ""
    return _judged("power", finding, f"{finding.which} %{charging}")


def _disk(state_dir: Path) -> Line:
    try:
        finding = health.judge_disk(health.read_disk(state_dir))
    except OSError as error:
        return Line(
            "disk", Level.FAIL, f"{state_dir}: {error.strerror}", f"ls -ld {state_dir}; sudo besace-provision enrol"
        )
    return _judged("disk", finding, f"{finding.which} MiB free")


def _identity(config: Config) -> Iterator[Line]:
    """The certificate's dates, and the clock, whose floor they are."""
    hub = config.hub
    try:
        identity = identities.load(hub.certificate, hub.key, hub.sealing_key)
    except ProvisioningError as error:
        yield Line("identity", Level.FAIL, str(error).partition("\n")[0], "sudo besace-provision enrol")
        return
    clock = BootClock()
    anchor = system_anchor(clock, floor_us=identity.not_before_us)
    now = datetime.fromtimestamp(anchor.utc_us / 1e6, UTC)
    yield _certificate(identity.certificate, identity.name, config.bag.name, now)
    finding = health.judge_clock(anchor)
    if anchor.source is Source.RTC:
        yield Line(
            "clock", Level.WARN, f"{now:%Y-%m-%d %H:%M} UTC, not synchronised", "timedatectl; is UDP 123 let through?"
        )
    else:
        yield _judged("clock", finding, f"{now:%Y-%m-%d %H:%M} UTC, synchronised")


def _certificate(certificate: x509.Certificate, name: str, bag: str, now: datetime) -> Line:
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if name != bag:
        return Line(
            "identity", Level.FAIL, f"the certificate is {name!r}, the bag {bag!r}", "sudo besace-provision enrol"
        )
    if now > ends:
        return Line("identity", Level.WARN, f"the certificate ended on {ends:%Y-%m-%d}", "sudo besace-provision renew")
    left = (ends - now) / (ends - begins)
    level, repair = (Level.OK, "") if left > RENEW_SHARE else (Level.WARN, "sudo besace-provision renew")
    return Line("identity", level, f"{name}, until {ends:%Y-%m-%d}", repair)


def row_is_ble(one: InstrumentConfig) -> bool:
    """Whether an instrument needs the radio."""
    row = CATALOGUE.get(one.key)
    return row is not None and row.transport is Transport.BLE


def _radio(config: Config) -> Line:
    if config.radio.backend != "bluez":
        return Line("radio", Level.OK, f"virtual ({config.radio.backend})")
    adapters = sorted(path.name for path in BLUETOOTH.glob("hci*")) if BLUETOOTH.is_dir() else []
    if not adapters:
        return Line("radio", Level.FAIL, "no Bluetooth adapter", "rfkill unblock bluetooth; dmesg | grep -i bluetooth")
    return Line("radio", Level.OK, ", ".join(adapters))


_HEALTHY = {InstrumentState.READY, InstrumentState.MEASURING}


def _instrument(one: InstrumentConfig, status: dict[str, Any] | None) -> Line:
    if one.key not in CATALOGUE:
        return Line(one.key, Level.FAIL, "not in the catalogue", "correct its key in the configuration")
    if status is None:
        if CATALOGUE[one.key].transport is Transport.SERIAL and not Path(one.where).exists():
            return Line(one.key, Level.FAIL, f"{one.where} is absent", "plug it in; ls /dev/serial/by-id")
        return Line(one.key, Level.WARN, "not asked: no agent runs", f"besace watch {one.key}")
    part = status["instruments"].get(one.key, {"state": "off", "last_error": ""})
    state, error = InstrumentState(part["state"]), str(part["last_error"])
    if state in _HEALTHY:
        return Line(one.key, Level.OK, state.value)
    repair = next((step for reason, step in NEXT.items() if error.startswith(reason.value)), f"besace watch {one.key}")
    failed = state in {InstrumentState.FAILED, InstrumentState.SILENT}
    return Line(one.key, Level.FAIL if failed else Level.WARN, f"{state.value}  {error}".strip(), repair)


def _tls(config: Config) -> Line:
    """One handshake with the broker, as the agent makes it."""
    hub = config.hub
    where = f"{hub.host}:{hub.port}"
    try:
        context = identities.client_context(hub.ca, hub.certificate, hub.key, hub.server_name)
        with socket.create_connection((hub.host, hub.port), CONNECT_S) as plain, context.wrap_socket(plain) as tls:
            return Line("hub TLS", Level.OK, f"{where}, {tls.version()}")
    except ProvisioningError as error:
        return Line("hub TLS", Level.FAIL, str(error).partition("\n")[0], "sudo besace-provision enrol")
    except ssl.SSLError as error:
        return Line(
            "hub TLS", Level.FAIL, f"{where}: {error.reason or error}", "sudo besace-provision enrol; is this our hub?"
        )
    except OSError as error:
        found = f"{where}: {error.strerror or error}"
        return Line("hub TLS", Level.FAIL, found, f"ping {hub.host}; ip route; is port {hub.port} let through?")


def _receipt(config: Config) -> Line:
    try:
        answer = ask(config.bag.control_socket, {"do": "probe"}, timeout_s=PROBE_S)
    except StateError as error:
        return Line("receipt", Level.FAIL, str(error).partition("\n")[0], "besace status; is the hub running?")
    return Line("receipt", Level.OK, f"a row went and its receipt came in {answer['receipt_s']:.2f} s")


def diagnose(load: Callable[[], Config], say: Callable[[Line], None]) -> bool:
    """Say every line as it comes; whether nothing failed. A configuration that cannot be read is the first line."""
    try:
        config = load()
    except BesaceError as error:
        what, _, then = str(error).rpartition("\nNext: ")
        say(Line("config", Level.FAIL, what, then))
        return False
    well = True
    for line in examine(config):
        say(line)
        well = well and line.level is not Level.FAIL
    return well


def as_dict(line: Line) -> dict[str, str]:
    """For programs."""
    return {**asdict(line), "level": line.level.value}


def as_text(line: Line) -> str:
    """For people: one line of the table, the repair below it."""
    below = f"\n{'':23}Next: {line.repair}" if line.repair else ""
    return f"{line.level.value:5} {line.part:16} {line.found}{below}"
