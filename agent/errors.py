"""Errors: whose fault it is comes first; each says what, why and what to do next."""

from enum import Enum


class BesaceError(Exception):
    """Base of every error this project raises on purpose."""


class InstrumentReason(Enum):
    """Why an instrument gives nothing; each has a French sentence in display/fr.toml."""

    NOT_FOUND = "not_found"
    CANNOT_OPEN = "cannot_open"
    BUSY = "busy"
    LINK_LOST = "link_lost"
    SILENT = "silent"
    NOT_PAIRED = "not_paired"
    UNEXPECTED = "unexpected"
    STACK_DOWN = "stack_down"


class InstrumentError(BesaceError):
    """An instrument, its cable or its radio link failed."""

    def __init__(self, reason: InstrumentReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class HubError(BesaceError):
    """The hub or the way to it failed."""


class ProvisioningError(BesaceError):
    """Identity, keys or certificates are missing or wrong."""


class ConfigError(BesaceError):
    """The configuration is wrong; the message lists every fault at once."""


class StateError(BesaceError):
    """The state directory cannot be used: locked, unwritable or damaged."""


class WireError(BesaceError):
    """Bytes from a peer that are not what wire.cddl says."""
