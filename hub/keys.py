"""The hub's keys: what opens epoch headers, and each device's open epochs.

The epoch keys themselves are never stored: a header that was stored is opened again with the hub's sealing key.
"""

import os
from dataclasses import dataclass, field

from cryptography import x509

from agent.transport import seal
from agent.transport.epoch import OpenedHeader, open_header
from agent.transport.hubkeys import HubPrivate, HybridPrivate
from agent.transport.messages import EpochReason


@dataclass(slots=True)
class OpenEpoch:
    """One epoch of one device: its header, its lanes."""

    opened: OpenedHeader
    up: seal.UpKeys
    down: seal.DownSealer


@dataclass(slots=True)
class Device:
    """What the hub can open of one device.

    `newest` is the epoch with the highest number of the outbox heard of last, `present` the one under which the bag
    last said that it is there, `highest` the highest number of each outbox.
    """

    epochs: dict[bytes, OpenEpoch] = field(default_factory=dict)
    newest: bytes | None = None
    present: bytes | None = None
    highest: dict[bytes, int] = field(default_factory=dict)


class Keyring:
    """Opens what devices of one authority seal to this hub: to its key, or to one it had before."""

    def __init__(self, root: x509.Certificate, hub_key: HubPrivate, *older: HubPrivate) -> None:
        self._root = root
        self._hub_keys = [half for key in (hub_key, *older) for half in _halves(key)]
        self._session = os.urandom(seal.SESSION_BYTES)
        self.devices: dict[str, Device] = {}

    def admit(self, device: str, payload: bytes) -> OpenEpoch:
        """Open an epoch by its header row; SealError or WireError when it is not to be believed.

        A header already admitted is given back unchanged; another header under the same epoch id is refused. An old
        header that arrives late (backlog, a replay) never becomes the newest: its outbox has begun later epochs.
        """
        opened = self._open(device, payload)
        known = self.devices.setdefault(device, Device())
        header = opened.header
        epoch = header.epoch
        if epoch in known.epochs:
            if known.epochs[epoch].opened.header != header:
                raise seal.SealError("another header under a known epoch")
            return known.epochs[epoch]
        entry = OpenEpoch(
            opened,
            seal.UpKeys(epoch, opened.key, device),
            seal.DownSealer(epoch, opened.key, device, self._session),
        )
        known.epochs[epoch] = entry
        if header.number >= known.highest.get(header.chain, 0):
            known.highest[header.chain] = header.number
            known.newest = epoch
        return entry

    def _open(self, device: str, payload: bytes) -> OpenedHeader:
        """Open a header with the key it names; with the newest where that is none of ours, for the reason."""
        refused: seal.SealError | None = None
        for key in self._hub_keys:
            try:
                return open_header(payload, device=device, root=self._root, hub_key=key)
            except seal.SealError as error:
                refused = refused or error
        assert refused is not None
        raise refused

    def find(self, device: str, epoch: bytes) -> OpenEpoch | None:
        """An epoch that was admitted."""
        known = self.devices.get(device)
        return known.epochs.get(epoch) if known else None

    def present(self, device: str, epoch: bytes) -> None:
        """The bag has said under this epoch that it is there."""
        self.devices[device].present = epoch

    def same_process(self, device: str, one: bytes, other: bytes) -> bool:
        """Whether two admitted epochs are of one process of the bag: the later goes back to the earlier unbroken."""
        epochs = self.devices[device].epochs
        earlier, later = sorted((one, other), key=lambda epoch: epochs[epoch].opened.header.number)
        while later != earlier:
            header = epochs[later].opened.header
            before = header.previous.epoch if header.previous is not None else b""
            if header.reason is EpochReason.START or before not in epochs:
                return False
            if epochs[before].opened.header.number >= header.number:
                return False  # no bag numbers so: it would go round for ever
            later = before
        return True

    def listening(self, device: str) -> list[OpenEpoch]:
        """The epochs under which this device may listen.

        As a rule one: the newest. A bag whose state was restored from an older copy counts its epochs from there
        again, so the one it is present under is told the same; replaying an old presence thus silences nobody.
        """
        known = self.devices.get(device)
        if known is None:
            return []
        return [known.epochs[epoch] for epoch in dict.fromkeys((known.newest, known.present)) if epoch is not None]


def _halves(key: HubPrivate) -> tuple[HubPrivate, ...]:
    """A key, and its X25519 half: a bag that knows no other seals to that."""
    return (key, key.x25519) if isinstance(key, HybridPrivate) else (key,)
