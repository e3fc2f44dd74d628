"""sd_notify: ten lines of our own, so that systemd knows READY, WATCHDOG and STOPPING."""

import os
import socket


def notify(state: str) -> None:
    """Tell systemd a state such as "READY=1"; nothing happens without it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(state.encode())


def watchdog_s() -> float | None:
    """How often systemd wants to hear from us at least; None when it does not watch."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdigit() else None
