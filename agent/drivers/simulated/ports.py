"""A serial instrument at the far end of a pseudo-terminal: it writes whether or not somebody reads."""

import os
import select
import tty
from pathlib import Path


class Pty:
    """A pseudo-terminal whose other end is the symbolic link `link`; bytes that nobody takes are dropped."""

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        fresh = link.with_name(f"{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(slave))
        os.close(slave)  # from here on POLLHUP says that nobody has it open
        fresh.replace(link)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLOUT)
        self._carried = b""

    @property
    def open_elsewhere(self) -> bool:
        """Whether somebody has the port open."""
        return not any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def write(self, frame: bytes) -> bool:
        """Write a frame whole, or drop it whole and return False."""
        if not self.open_elsewhere:
            self._carried = b""
            return False
        if self._carried:
            self._carried = self._carried[self._put(self._carried) :]
            if self._carried:
                return False
        written = self._put(frame)
        if not written:
            return False
        self._carried = frame[written:]
        return True

    def _put(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Unplug."""
        self._link.unlink(missing_ok=True)
        os.close(self._master)
