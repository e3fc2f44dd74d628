"""The hub's keys: what opens epoch headers, and each device's open epochs.

The epoch keys themselves are never stored: a header that was stored is opened again with the hub's sealing key.
"""

import os
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.transport import seal
from agent.transport.epoch import OpenedHeader, open_header


@dataclass(slots=True)
class OpenEpoch:
    """One epoch of one device: its header, its lanes."""

    opened: OpenedHeader
    up: seal.UpKeys
    down: seal.DownSealer


@dataclass(slots=True)
class Device:
    """What the hub can open of one device, and which epoch it speaks to."""

    epochs: dict[bytes, OpenEpoch] = field(default_factory=dict)
    newest: bytes | None = None


class Keyring:
    """Opens what devices of one authority seal to this hub."""

    def __init__(self, root: x509.Certificate, hub_key: X25519PrivateKey) -> None:
        self._root = root
        self._hub_key = hub_key
        self._session = os.urandom(seal.SESSION_BYTES)
        self.devices: dict[str, Device] = {}

    def admit(self, device: str, payload: bytes) -> OpenEpoch:
        """Open an epoch by its header row; SealError or WireError when it is not to be believed.

        A header already admitted is given back unchanged; another header under the same epoch id is refused.
        """
        known = self.devices.setdefault(device, Device())
        opened = open_header(payload, device=device, root=self._root, hub_key=self._hub_key)
        epoch = opened.header.epoch
        if epoch in known.epochs:
            if known.epochs[epoch].opened.header != opened.header:
                raise seal.SealError("another header under a known epoch")
            return known.epochs[epoch]
        entry = OpenEpoch(
            opened,
            seal.UpKeys(epoch, opened.key, device),
            seal.DownSealer(epoch, opened.key, device, self._session),
        )
        known.epochs[epoch] = entry
        if known.newest is None or _later(opened, known.epochs[known.newest].opened):
            known.newest = epoch
        return entry

    def find(self, device: str, epoch: bytes) -> OpenEpoch | None:
        """An epoch that was admitted."""
        known = self.devices.get(device)
        return known.epochs.get(epoch) if known else None

    def newest(self, device: str) -> OpenEpoch | None:
        """The epoch under which this device listens."""
        known = self.devices.get(device)
        return known.epochs[known.newest] if known and known.newest else None


def _later(new: OpenedHeader, old: OpenedHeader) -> bool:
    """Whether `new` is the later of two epochs: by its chain, else by boot time within one boot, else by arrival."""
    if new.header.previous is not None and new.header.previous.epoch == old.header.epoch:
        return True
    if old.header.previous is not None and old.header.previous.epoch == new.header.epoch:
        return False
    if new.header.boot_id == old.header.boot_id:
        return new.header.t_us > old.header.t_us
    return True
