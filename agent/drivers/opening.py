"""From a catalogue row to an instrument's decoder and driver.

Importing this file imports no radio, no port and no sound card: `open_driver` does, for the transport it needs.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from agent.drivers.base import Decoder, Driver, NowNs, WallClock, boot_ns, no_wall_clock
from agent.drivers.catalogue import CATALOGUE, Row, Transport
from agent.errors import InstrumentError, InstrumentReason
from agent.model import Instrument

if TYPE_CHECKING:
    from agent.drivers.ble import Radio
    from agent.drivers.jpeg import FrameDecoder
    from agent.drivers.stethoscope import StethoscopeDecoder


def decoder_for(row: Row) -> Decoder:
    """A new decoder for an instrument of this kind."""
    module, name = row.decoder.split(":")
    return cast("Decoder", getattr(importlib.import_module(module), name)(row.key, **dict(row.options)))


def open_driver(
    key: str,
    where: str,
    *,
    radio: "Radio | None" = None,
    now_ns: NowNs = boot_ns,
    wall: WallClock = no_wall_clock,
    tap: Callable[[Decoder], Decoder] = lambda decoder: decoder,
) -> Driver:
    """A driver for the instrument `key` at `where`.

    `where`: a port's or camera's path, a Bluetooth address, "card:" and a part of a sound card's name, "pcm:" and a
    socket's path, "mjpeg:" and a recording's;
    `wall` gives the local time of day, or None while it is unknown, for instruments whose clock the maker lets us set;
    `tap` is put around the decoder (to write down what it is fed).
    Nothing is opened before its `run`. Raises InstrumentError(NOT_FOUND) for an unknown key, STACK_DOWN when a
    Bluetooth instrument is given no radio.
    """
    row = CATALOGUE.get(key)
    if row is None:
        raise InstrumentError(InstrumentReason.NOT_FOUND, f"no instrument {key!r}; known: {', '.join(CATALOGUE)}")
    instrument = Instrument(row.key, f"{row.maker} {row.model}")
    decoder = tap(decoder_for(row))
    match row.transport:
        case Transport.SERIAL:
            from agent.drivers.serial_port import SerialDriver  # noqa: PLC0415

            return SerialDriver(
                instrument, where, decoder, baud=row.baud, parity=row.parity, period_s=row.period_s, start=row.start,
                repeat=row.repeat, now_ns=now_ns,
            )  # fmt: skip
        case Transport.BLE:
            from agent.drivers.ble_driver import BleDriver, Profile  # noqa: PLC0415

            if radio is None:
                raise InstrumentError(InstrumentReason.STACK_DOWN, f"{key} needs a Bluetooth radio")
            repeat = ((row.write[0][0], row.repeat),) if row.repeat else ()
            profile = Profile(row.notify, row.read, row.write, row.period_s, row.episodic, row.clock, repeat)
            return BleDriver(instrument, where, decoder, profile, radio, now_ns=now_ns, wall=wall)
        case Transport.SOUND:
            from agent.drivers.audio import SoundDriver, source_at  # noqa: PLC0415

            source = source_at(where, now_ns)
            return SoundDriver(instrument, source, cast("StethoscopeDecoder", decoder), now_ns=now_ns)
        case Transport.CAMERA:
            from agent.drivers.camera import RECORDED, CameraDriver, PyAvSource, RecordedSource  # noqa: PLC0415

            camera = RecordedSource if where.startswith(RECORDED) else PyAvSource
            path = where.removeprefix(RECORDED)
            return CameraDriver(instrument, path, cast("FrameDecoder", decoder), source=camera, now_ns=now_ns)
