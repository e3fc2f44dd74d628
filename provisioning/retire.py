"""The end of a bag: recorded at the hub first, then erased; whole after a kill, when it is called again."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agent.config import load
from agent.control import ask
from agent.errors import ProvisioningError
from provisioning.enrol import Place

FAREWELL_WITHIN_S = 60.0


def bid_farewell(place: Place, *, say: Callable[[str], None]) -> None:
    """Let the running agent record that this bag is retired, and wait until the hub has that and all before it.

    StateError when the bag may not be retired now; ProvisioningError when the hub does not receipt in time.
    """
    control = load(place.config).bag.control_socket
    ask(control, {"do": "retire"})
    say("  retired in the custody log")
    deadline = time.monotonic() + FAREWELL_WITHIN_S
    while ask(control, {"do": "status"})["unreceipted"]:
        if time.monotonic() > deadline:
            raise ProvisioningError(
                "the hub has not yet received everything that is on board; nothing is erased\n"
                "Next: bring the bag near its network and call again, or --force to lose what is not received"
            )
        time.sleep(0.2)
    say("  the hub has everything")


def erase(place: Place, state_dir: Path) -> None:
    """Erase this bag: first its keys, without which what is on board stays sealed for ever, then everything else.

    The configuration goes last: until then, called again after a kill, it goes on.
    """
    place.link.unlink(missing_ok=True)
    for folder in (place.etc / "identity.a", place.etc / "identity.b"):
        for key in folder.glob("device.key*"):
            size = key.stat().st_size
            with key.open("r+b") as file:
                file.write(os.urandom(size))
                file.flush()
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(state_dir, ignore_errors=True)
    for path in (place.etc / "revoked.cose", place.etc / "ledger.head", place.config):
        path.unlink(missing_ok=True)
