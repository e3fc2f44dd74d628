"""Virtual instruments for demo and tests: recorded signals in the instruments' own bytes.

`python -m agent.drivers.simulated --dir DIR [--seed N]` runs them all in one process; `where(DIR)` says where each
is found once DIR/ready exists, `transport(DIR)` how a Radio reaches the virtual Bluetooth controller.
"""

from pathlib import Path

BLE_ADDRESSES = {
    "berry-bm1000": "C0:BE:55:00:10:01",
    "and-ua651ble": "C0:BE:55:00:10:02",
    "and-ut201ble": "C0:BE:55:00:10:03",
}


def where(directory: Path) -> dict[str, str]:
    """Catalogue key to the place of each virtual instrument in `directory`, as open_driver takes it."""
    return {
        "healthypi-4": str(directory / "healthypi"),
        "badge-scanner": str(directory / "scanner"),
        "stethoscope": f"pcm:{directory / 'stethoscope.sock'}",
        **BLE_ADDRESSES,
    }


def transport(directory: Path) -> str:
    """The transport to give to simulated.radio.radio."""
    return f"tcp-client:127.0.0.1:{(directory / 'hci.port').read_text().strip()}"
