"""How far behind the heart the doctor hears it: the whole demonstration, a real browser, its own clock.

    python -m benchmarks.listening [--seconds 20]

The doctor's page says what it plays now (the board's time of the sample that leaves the sound card's buffer); the lag
is the board's present minus that. It holds the instrument's read, the batch, TLS, the broker, the hub's commit (fsync),
the page's stream and the player's own reserve. The bag's and the hub's clock are one here, as they are on one machine.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from agent.demo.world import World
from tests.peers.chromium import Chromium, chromium

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "listening.md"
SETTLE_S, TARGET_MS = 6.0, 600.0
NURSE, DOCTOR = 8190, 8191


def _hear(browser: Chromium, code: str, seconds: float) -> dict[str, list[float]]:
    page = browser.page()
    page.size(1280, 800)
    page.open(f"http://127.0.0.1:{DOCTOR}/")
    page.run(f"document.querySelector('input[name=code]').value='{code}'")
    page.run("document.querySelector('form').submit()")
    page.until("document.getElementById('link')?.innerText.includes('En direct du sac')")
    page.press("#hear")
    heard = {}
    for mode, words in (("raw", "Son brut"), ("treated", "Son traité")):
        page.until(f"document.getElementById('heard').innerText.startsWith('{words}')", seconds=30)
        time.sleep(SETTLE_S)
        heard[mode] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.5)
            heard[mode].append(1000 * float(page.run("document.getElementById('heard').dataset.lag")))
        page.press("#treated")
    page.close()
    return heard


async def _measure(folder: Path, seconds: float) -> dict[str, list[float]]:
    world = World(folder, nurse_port=NURSE, doctor_port=DOCTOR)
    try:
        await world.start()
        code = (await world.tell_agent("new_visit"))["code"]
        await asyncio.sleep(SETTLE_S)
        with chromium() as browser:
            return await asyncio.to_thread(_hear, browser, code, seconds)
    finally:
        await world.stop()


def main() -> None:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="besace-bench-") as folder:
        heard = asyncio.run(_measure(Path(folder), args.seconds))
    lines = [
        "# The stethoscope, from the chest to the doctor's ear",
        "",
        "Made by `python -m benchmarks.listening`; how it is measured stands at the top of that file.",
        "",
        "| sound | p50 | p95 | asked | met |",
        "|---|---|---|---|---|",
    ]
    for mode, lags in heard.items():
        p95 = statistics.quantiles(lags, n=20)[-1]
        met = "yes" if p95 <= TARGET_MS else "**no**"
        lines.append(f"| {mode} | {statistics.median(lags):.0f} ms | {p95:.0f} ms | p95 {TARGET_MS:.0f} ms | {met} |")
    REPORT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
