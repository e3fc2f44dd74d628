"""`python -m agent.drivers.simulated --dir DIR [--seed N]`: every virtual instrument in one process.

Listens on DIR/control.sock for lines, each answered by one line ("ok ..." or "error ..."):
`scan TEXT` · `bp SYS DIA MEAN [PULSE]` · `temperature DEGC` · `quiet` · `plug KEY` · `unplug KEY` · `quit`.
DIR/ready appears when everything listens; DIR/samples.log is described in samplelog.py.
"""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from agent.drivers.simulated.rig import Rig


async def serve(directory: Path, seed: int) -> None:
    """Run the rig until told to quit."""
    rig = Rig(directory, seed)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, rig.quit)
    await rig.run()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m agent.drivers.simulated", description="virtual instruments")
    parser.add_argument("--dir", type=Path, required=True, help="where ports, sockets and the log are put")
    parser.add_argument("--seed", type=int, default=1, help="of the noise on every sample")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    arguments.dir.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(arguments.dir.resolve(), arguments.seed))


if __name__ == "__main__":
    main()
