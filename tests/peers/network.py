"""A network as bad as a test wants it, under real TCP: every packet passes through our hands.

In a network namespace of its own a TUN device takes what is sent to FAR and gives it back as if it came from there, to
NEAR, and the other way round: exchanged addresses leave the checksums as they are. On the way packets wait their turn
on a link of so many bits a second, are late, get lost or vanish. Needs root and /dev/net/tun; skipped without.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

NEAR, FAR = "10.9.0.1", "10.9.0.2"
HEALED = 1e9  # bits a second
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x1, 0x1000
UP, DOWN = "up", "down"


@dataclass
class Network:
    """The link between FAR (where a bag finds its broker) and NEAR (where the broker listens)."""

    port: int = 0  # the broker's: packets to it go up
    bits_per_s: float = HEALED
    queue_bytes: int = 1 << 20
    delay_s: float = 0.0
    loss: float = 0.0
    hole: bool = False  # everything vanishes, and nobody says so
    seed: int = 1
    dropped: int = 0
    carried: Counter[str] = field(default_factory=Counter)  # IP bytes that came through, each way

    def heal(self) -> None:
        """Be as good as a network can be, and let out what waits."""
        self.bits_per_s, self.delay_s, self.loss, self.hole = HEALED, 0.0, 0.0, False

    def run(self, work: Callable[[], None]) -> None:
        """Do some work in a thread that knows no other network; its threads and processes are in it too."""
        failures = []

        def within() -> None:
            stop, stopped = os.pipe()
            try:
                self._open()
                pump = threading.Thread(target=self._pump, args=(stop,), daemon=True)
                pump.start()
                try:
                    work()
                finally:
                    os.close(stopped)
                    pump.join()
                    os.close(self._tun)
            except BaseException as failure:  # noqa: BLE001 - raised again where the test waits
                failures.append(failure)
            finally:
                os.close(stop)

        thread = threading.Thread(target=within)
        thread.start()
        thread.join()
        for failure in failures:
            raise failure

    def _open(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            pytest.skip("a network namespace is not allowed here")
        try:
            self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self._tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
            for command in ("link set lo up", f"addr add {NEAR}/24 dev tun0", "link set tun0 up"):
                subprocess.run(["ip", *command.split()], check=True)
        except OSError as error:
            pytest.skip(f"no TUN device here: {error}")

    def _pump(self, stop: int) -> None:
        chance = random.Random(self.seed)
        ends = socket.inet_aton(NEAR) + socket.inet_aton(FAR)
        free_s = {UP: 0.0, DOWN: 0.0}
        late: list[tuple[float, int, bytes]] = []
        for number in itertools.count():
            wait_s = min(0.05, max(0.0, late[0][0] - time.monotonic())) if late else None
            readable, _, _ = select.select([self._tun, stop], [], [], wait_s)
            if stop in readable:
                return
            now_s = time.monotonic()
            if self.bits_per_s == HEALED:
                free_s = dict.fromkeys(free_s, now_s)
            while late and (late[0][0] <= now_s or self.bits_per_s == HEALED):
                _, _, turned = heapq.heappop(late)
                os.write(self._tun, turned)
                self.carried[self._way(turned)] += len(turned)
            if self._tun not in readable:
                continue
            packet = os.read(self._tun, 65536)
            if packet[12:20] != ends:  # a host's small talk on a new link
                continue
            way = self._way(packet)
            queued = max(0.0, free_s[way] - now_s) * self.bits_per_s / 8
            if self.hole or chance.random() < self.loss or queued + len(packet) > self.queue_bytes:
                self.dropped += 1
                continue
            free_s[way] = max(free_s[way], now_s) + 8 * len(packet) / self.bits_per_s
            turned = packet[:12] + ends[4:] + ends[:4] + packet[20:]
            heapq.heappush(late, (free_s[way] + self.delay_s, number, turned))

    def _way(self, packet: bytes) -> str:
        return UP if int.from_bytes(packet[22:24]) == self.port else DOWN
