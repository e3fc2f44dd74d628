"""The camera's way to a watching doctor, through the whole world: frames a second, processor time, bytes.

    python -m benchmarks.camera [--seconds 15] [--kib 80]

A recorded camera gives ten frames a second of the size of 1280 x 720 motion JPEG (the coded part is noise: nothing on
the way decodes it). A browser shows the doctor's page, then another the preview on the nurse's, which switches the
camera on: what it costs is the difference, since to be watched costs something too. Prints a table.
"""

import argparse
import asyncio
import http.client
import itertools
import random
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlencode

from agent.demo.world import World, free_port

CAPTURE = Path(__file__).parent.parent / "tests" / "captures" / "camera.mjpeg"
BOUNDARY = b"--besace-frame"


def recording(path: Path, kib: int) -> None:
    """Four frames of this size, whole to whoever looks at their markers."""
    first = b"\xff\xd8" + CAPTURE.read_bytes().split(b"\xff\xd8")[1]
    head = first[: first.index(b"\xff\xda") + 14]
    rng = random.Random(1)
    with path.open("wb") as file:
        for _ in range(4):
            file.write(head + rng.randbytes(kib * 1024).replace(b"\xff", b"\xff\x00") + b"\xff\xd9")


class Filmed(World):
    """A demonstration with a camera."""

    def _write_config(self) -> None:
        super()._write_config()
        film = self.folder / "film.mjpeg"
        with self.config.open("a") as file:
            file.write(f'[[instrument]]\nkey = "camera"\nwhere = "mjpeg:{film}"\n')


class Browser:
    """Shows a camera; counts the pictures that are big enough to be no grey square."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.times: list[float] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", "/camera/live", headers={"cookie": cookie} if cookie else {})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.status
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            line = self._answer.readline()
            if not line:
                return
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
                self._answer.readline()
                self._answer.read(size)
                if size > 1024:
                    self.times.append(time.monotonic())

    def rate(self, began: float, ended: float) -> float:
        return sum(began <= t <= ended for t in self.times) / (ended - began)

    def longest(self, began: float, ended: float) -> float:
        inside = [began, *(t for t in self.times if began <= t <= ended), ended]
        return max(b - a for a, b in itertools.pairwise(inside))


def enter(port: int, code: str) -> str:
    """The doctor's session."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/code", urlencode({"code": code}), kind)
    answer = connection.getresponse()
    return str(answer.headers["set-cookie"]).split(";")[0]


async def measure(folder: Path, seconds: float, kib: int) -> dict[str, float]:
    recording(folder / "film.mjpeg", kib)
    world = Filmed(folder, nurse_port=free_port(), doctor_port=free_port(), radio=False)
    try:
        await world.start()
        code = (await world.tell_agent("new_visit"))["code"]
        await asyncio.sleep(5)
        before, began = await world.tell_agent("status"), time.monotonic()
        await asyncio.sleep(seconds)
        off, lasted = await world.tell_agent("status"), time.monotonic() - began
        cpu_off = 100 * (off["cpu_s"] - before["cpu_s"]) / lasted
        cookie = await asyncio.to_thread(enter, world.doctor_port, code)
        doctor = await asyncio.to_thread(Browser, world.doctor_port, cookie)
        await asyncio.sleep(2)
        before, began = await world.tell_agent("status"), time.monotonic()
        await asyncio.sleep(seconds)
        watched, lasted = await world.tell_agent("status"), time.monotonic() - began
        cpu_watched = 100 * (watched["cpu_s"] - before["cpu_s"]) / lasted
        nurse = await asyncio.to_thread(Browser, world.nurse_port)
        await asyncio.sleep(4)
        before, began = await world.tell_agent("status"), time.monotonic()
        await asyncio.sleep(seconds)
        last, ended = await world.tell_agent("status"), time.monotonic()
        return {
            "nurse": nurse.rate(began, ended),
            "doctor": doctor.rate(began, ended),
            "longest": doctor.longest(began, ended),
            "cpu_off": cpu_off,
            "cpu_watched": cpu_watched,
            "cpu_on": 100 * (last["cpu_s"] - before["cpu_s"]) / (ended - began),
            "kib": (last["wire_bytes_up"] - before["wire_bytes_up"]) / (ended - began) / 1024,
        }
    finally:
        await world.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--kib", type=int, default=80, help="of a frame")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), arguments.seconds, arguments.kib))
    print(f"frames of {arguments.kib} KiB, for {arguments.seconds:g} s")
    print(f"| nurse's preview | {found['nurse']:.1f} frames/s |")
    print(f"| a watching doctor (target 5) | {found['doctor']:.1f} frames/s, longest pause {found['longest']:.2f} s |")
    processor = " / ".join(f"{found[name]:.1f}" for name in ("cpu_off", "cpu_watched", "cpu_on"))
    print(f"| processor: nobody looks / the doctor looks, no camera / camera shown to both | {processor} % |")
    print(f"| sent | {found['kib']:.0f} KiB/s |")


if __name__ == "__main__":
    main()
