"""What `besace pair` and `unpair` do: bond with an instrument once, by the technician, for good."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.instruments import Say, Target, finish, radio_for, target
from agent.commands.naming import advertises, named
from agent.config import Config, RadioConfig
from agent.drivers.catalogue import CATALOGUE, Transport
from agent.errors import ConfigError, InstrumentError, InstrumentReason, StateError

if TYPE_CHECKING:
    from agent.drivers.ble import Radio

LOOK_S = 10.0
HIGHEST_PASSKEY = 999_999


class Passkey:
    """Where the number that an instrument shows comes from: a file, or the person at the terminal."""

    def __init__(self, file: Path | None = None) -> None:
        self._number = None if file is None else _number(_text_of(file))
        if file is not None and self._number is None:
            raise ConfigError(f"{file} holds no passkey\nNext: write the six digits into it, nothing else")
        self.unheard = False

    async def __call__(self) -> int:
        """The number; InstrumentError(NOT_PAIRED) when there is nobody to ask."""
        if self._number is not None:
            return self._number
        if not sys.stdin.isatty():
            self.unheard = True
            raise InstrumentError(InstrumentReason.NOT_PAIRED, "the instrument shows a passkey and nobody can type it")
        print("the number that the instrument shows: ", end="", file=sys.stderr, flush=True)  # noqa: T201 - a prompt
        loop = asyncio.get_running_loop()
        typed: asyncio.Future[str] = loop.create_future()

        def readable() -> None:
            loop.remove_reader(sys.stdin)
            typed.set_result(sys.stdin.readline())

        loop.add_reader(sys.stdin, readable)
        try:
            number = _number(await typed)
        finally:
            loop.remove_reader(sys.stdin)
        if number is None:
            raise InstrumentError(InstrumentReason.NOT_PAIRED, "that was no number of six digits")
        return number


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}\nNext: a file with the six digits") from None


def _number(text: str) -> int | None:
    digits = text.strip().replace(" ", "")
    return int(digits) if digits.isascii() and digits.isdigit() and int(digits) <= HIGHEST_PASSKEY else None


async def pair_with(wanted: Target, radio: "Radio", passkey: Passkey, talk: Say) -> str:
    """Bond with the instrument, looking for it when its address is not given; the address to configure."""
    from agent.drivers.pairing import pair  # noqa: PLC0415 - D-Bus only where one pairs

    address = wanted.where or await _discovered(wanted.key, radio, talk)
    talk(f"pairing with {address}")
    return await pair(radio, address, passkey)


async def _discovered(key: str, radio: "Radio", talk: Say) -> str:
    row = CATALOGUE[key]
    talk(f"looking for {row.maker} {row.model} for {LOOK_S:g} s: put it in pairing mode")
    near = await radio.nearby(LOOK_S)
    found = [one for one in near if advertises(row, one.name, one.services)]
    if len(found) == 1:
        return found[0].address
    shown = "\n".join(f"  {one.address}  {one.name or ''}" for one in found or near)
    what = "several answer" if found else "none answers; what advertises here"
    raise StateError(f"{what}:\n{shown}\nNext: besace pair {key} ADDRESS")


def pairing_target(word: str, config: Config | None, address: str | None) -> Target:
    """As `target`, for an instrument that need not be configured yet: `where` is empty when it must be looked for."""
    places = {one.key: one.where for one in config.instrument} if config is not None else {}
    found = named(word, CATALOGUE)
    ours = [key for key in found if key in places]
    key = found[0] if len(found) == 1 else ours[0] if len(ours) == 1 else None
    if key is None:
        return target(word, config, address)  # says what is wrong
    if CATALOGUE[key].transport is not Transport.BLE:
        raise ConfigError(f"{key} is no Bluetooth instrument: nothing to pair\nNext: besace watch {key}")
    return Target(key, address or places.get(key, ""), config.radio if config is not None else RadioConfig())


def pair_now(wanted: Target, passkey: Passkey, *, talk: Say) -> str:
    """Pair on the machine's own radio; the address."""
    addresses: list[str] = []

    async def work() -> None:
        async with radio_for(wanted) as radio:
            assert radio is not None
            addresses.append(await pair_with(wanted, radio, passkey, talk))

    try:
        finish(work())
    except StateError:
        if passkey.unheard:
            raise StateError(
                "the instrument shows a passkey and there is no terminal to type it\n"
                "Next: besace pair from a terminal, or with --passkey-file FILE"
            ) from None
        raise
    if not addresses:
        raise StateError("pairing was interrupted\nNext: besace pair again")
    return addresses[0]


def is_address(text: str) -> bool:
    """Whether this is a Bluetooth address: six bytes in hex with colons."""
    parts = text.split(":")
    return len(parts) == 6 and all(len(part) == 2 and set(part.lower()) <= set("0123456789abcdef") for part in parts)


def unpair_now(address: str) -> None:
    """Forget the bond."""
    from agent.drivers.pairing import unpair  # noqa: PLC0415

    finish(unpair(address))


def config_lines(key: str, address: str) -> Iterator[str]:
    """What the configuration must say of a paired instrument."""
    yield from ("[[instrument]]", f'key = "{key}"', f'where = "{address}"')


def configured(config: Config | None, key: str, address: str) -> bool:
    """Whether it says so already."""
    instruments = config.instrument if config is not None else ()
    return any(one.key == key and one.where.upper() == address.upper() for one in instruments)
