"""MQTT topics: `besace/v1/<device>/up/...` from the bag, `.../down/...` to it. The broker's ACL holds them apart."""

from dataclasses import dataclass
from enum import Enum

ROOT = "besace/v1"
_DEVICE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
LONGEST_DEVICE = 32


class Up(Enum):
    """What a bag publishes."""

    LIVE = "live"
    BACKLOG = "backlog"
    STATE = "state"
    TIME = "time"
    PREVIEW = "preview"


class Down(Enum):
    """What the hub publishes to one bag."""

    RECEIPT = "receipt"
    COMMAND = "command"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic: whose, and which."""

    device: str
    name: Up | Down

    def __str__(self) -> str:
        direction = "up" if isinstance(self.name, Up) else "down"
        return f"{ROOT}/{self.device}/{direction}/{self.name.value}"


def is_device(name: str) -> bool:
    """Whether `name` may be a device id: it is a certificate's common name and one topic level."""
    return 0 < len(name) <= LONGEST_DEVICE and set(name) <= _DEVICE


def parse(topic: str) -> Topic | None:
    """Read a topic; None when it is none of ours."""
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT or not is_device(parts[2]):
        return None
    try:
        return Topic(parts[2], Up(parts[4]) if parts[3] == "up" else Down(parts[4]) if parts[3] == "down" else Up(""))
    except ValueError:
        return None


def down_filter(device: str) -> str:
    """What a bag subscribes to."""
    return f"{ROOT}/{device}/down/#"


UP_FILTER = f"{ROOT}/+/up/#"  # what the hub subscribes to
