"""Everything the authority has done: an append-only, readable journal, and what it adds up to.

One JSON object a line, in order: `no`, `at` (UTC), `what`, what it is about, and `before`, the SHA-256 of the line
before, so that a line taken out or changed is found. It holds no secret: of a token only its hash. There is no other
database: the register of devices, cards and tokens is this journal read from its beginning.
"""

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.errors import ProvisioningError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST = "0" * 64


@dataclass(slots=True)
class Certificate:
    """A certificate that was issued."""

    serial: int
    fingerprint: str
    not_after_s: int
    public_key: str
    pem: str


@dataclass(slots=True)
class Device:
    """A bag: its certificates, oldest first, and whether it was revoked or retired for good."""

    certificates: list[Certificate] = field(default_factory=list)
    revoked_s: int | None = None
    why: str = ""

    @property
    def active(self) -> bool:
        """Whether the broker should know it."""
        return self.revoked_s is None and bool(self.certificates)


@dataclass(slots=True)
class Card:
    """A card that was issued."""

    role: str
    label: str
    ends_s: int
    revoked_s: int | None = None


@dataclass(slots=True)
class Token:
    """An enrolment token: for which bag, until when, and the public key that used it."""

    name: str
    expires_s: int
    used_by: str = ""


@dataclass(slots=True)
class Register:
    """What the journal adds up to."""

    devices: dict[str, Device] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    list_number: int = 0
    crl_number: int = 0

    def take(self, line: dict[str, Any], at_s: int) -> None:
        """Add one line."""
        name = line.get("name", "")
        match line["what"]:
            case "token":
                self.tokens[line["hash"]] = Token(name, line["expires_s"])
            case "certificate":
                issued = Certificate(
                    int(line["serial"], 16), line["fingerprint"], line["not_after_s"], line["public_key"], line["pem"]
                )
                self.devices.setdefault(name, Device()).certificates.append(issued)
                if line.get("token"):
                    self.tokens[line["token"]].used_by = line["public_key"]
            case "revoked":
                device = self.devices.setdefault(name, Device())
                device.revoked_s, device.why = at_s, line["why"]
            case "card":
                self.cards[line["id"]] = Card(line["role"], line["label"], line["ends_s"])
            case "card_revoked":
                self.cards[line["id"]].revoked_s = at_s
            case "card_list":
                self.list_number = line["number"]
            case "crl":
                self.crl_number = line["number"]
            case _:
                pass  # init, hub: for people to read

    @property
    def active_devices(self) -> list[str]:
        """The bags the broker should know."""
        return sorted(name for name, device in self.devices.items() if device.active)


class Journal:
    """The journal file; one writer at a time, every line on disk before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Register:
        """The register; ProvisioningError when a line was changed, removed or added by hand."""
        try:
            with self._path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return _replay(self._path, file.read())[0]
        except OSError as error:
            raise ProvisioningError(
                f"cannot read the journal {self._path}: {error.strerror}\nNext: besace-provision init, or check --dir"
            ) from None

    @contextmanager
    def writing(self, now: datetime) -> "Iterator[Entry]":
        """Alone with the register: decide, then write lines; what raises writes nothing."""
        with self._path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            data = file.read()
            register, last, number = _replay(self._path, data)
            # A last line without its end is one that a power cut kept from counting.
            whole = data.rfind(b"\n") + 1
            entry = Entry(register, now, last, number)
            yield entry
            if entry.lines:
                file.truncate(whole)
                file.seek(0, os.SEEK_END)
                file.write(b"".join(entry.lines))
                file.flush()
                os.fsync(file.fileno())


class Entry:
    """Lines to be written together, and the register as it stands with them."""

    def __init__(self, register: Register, now: datetime, last: str, number: int) -> None:
        self.register = register
        self.lines: list[bytes] = []
        self._now = now.astimezone(UTC).replace(microsecond=0)
        self._last = last
        self._number = number

    def add(self, what: str, **about: object) -> None:
        """Add one line."""
        self._number += 1
        line = {"no": self._number, "at": self._now.isoformat(), "what": what, **about, "before": self._last}
        data = json.dumps(line, ensure_ascii=False).encode()
        self._last = sha256(data).hexdigest()
        self.register.take(line, int(self._now.timestamp()))
        self.lines.append(data + b"\n")


def _replay(path: Path, data: bytes) -> tuple[Register, str, int]:
    register, last, number = Register(), _FIRST, 0
    for raw in data.split(b"\n")[:-1]:
        number += 1
        try:
            line = json.loads(raw)
            if line["before"] != last or line["no"] != number:
                raise ValueError("it does not follow the line before")  # noqa: TRY301 - one end for every fault
            register.take(line, int(datetime.fromisoformat(line["at"]).timestamp()))
        except (ValueError, KeyError, TypeError) as error:
            raise ProvisioningError(
                f"line {number} of {path} is not what the authority wrote: {error}\nNext: restore it from its backup"
            ) from None
        last = sha256(raw).hexdigest()
    return register, last, number
