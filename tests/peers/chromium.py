"""A headless Chromium, driven over its DevTools websocket: open a page, run JavaScript in it, look at its pixels."""

import base64
import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-default-apps",
    "--disable-dev-shm-usage", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
]  # fmt: skip


def executable() -> str | None:
    """Where Chromium is, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab. `errors` collects what the page itself complained about: exceptions and refused content."""

    def __init__(self, url: str) -> None:
        from websockets.sync.client import connect

        self._socket = connect(url, max_size=64 * 2**20)
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Send one DevTools command and wait for its answer."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression (a promise is awaited)."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", script))
        return answer["result"].get("value")

    def until(self, script: str, *, seconds: float = 20.0) -> Any:
        """Wait until a JavaScript expression is truthy and return it; AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(RuntimeError):  # the page may be between two documents
                if value := self.run(script):
                    return value
            time.sleep(0.05)
        raise AssertionError(f"never true within {seconds} s: {script}; the page says {self.errors}")

    def size(self, width: int, height: int, *, scale: float = 1.0, touch: bool = False) -> None:
        """Give the page a screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """Save a screenshot; `whole` takes what must be scrolled to as well."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def press(self, selector: str, *, hold_s: float = 0.0, until: str = "true") -> None:
        """Press the mouse on an element, hold it so long and until an expression is truthy, release."""
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        common = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", **common)
        time.sleep(hold_s)
        self.until(until)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **common)

    def close(self) -> None:
        """Close the tab: its connections count against the six a browser opens to one address."""
        self._socket.send(json.dumps({"id": next(self._ids), "method": "Page.close"}))
        self._socket.close()


class Chromium:
    """A browser of its own: new profile, own process group, gone when closed."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="besace-chromium-")
        self._process = subprocess.Popen(
            [executable() or "chromium", *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._port = self._wait_for_port()
        except BaseException:
            self.close()
            raise

    def _wait_for_port(self) -> int:
        told = Path(self._profile) / "DevToolsActivePort"
        end = time.monotonic() + 30
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError, IndexError):
                return int(told.read_text().splitlines()[0])
            time.sleep(0.05)
        raise RuntimeError(f"Chromium did not start (exit code {self._process.poll()})")

    def page(self) -> Page:
        """Open a tab."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        connection.request("PUT", "/json/new?about:blank")
        target = json.loads(connection.getresponse().read())
        connection.close()
        return Page(target["webSocketDebuggerUrl"])

    def close(self) -> None:
        """End the browser and all its children, and remove its profile."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        shutil.rmtree(self._profile, ignore_errors=True)


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser for a test; the test skips with a reason where there is none."""
    if executable() is None:
        pytest.skip("no Chromium on this machine (apt install chromium)")
    pytest.importorskip("websockets", reason="websockets is not installed (it comes with the demo extra)")
    browser = Chromium()
    try:
        yield browser
    finally:
        browser.close()
