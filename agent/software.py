"""What this bag runs: the version and a digest of the agent's own files, told to the hub with every epoch.

The device signs it with the epoch's header, so that each record can be held against the release it should come from:
a file that was changed on the card changes the digest. It is the agent's own word: who has root on a bag can make it
say anything, and the packages beneath are not in it (`make sbom` lists those).
"""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

from agent import __version__

DIGITS = 32
HERE = Path(__file__).parent
PACKAGES = (HERE, HERE.parent / "provisioning")


def digest(folders: Iterable[Path]) -> str:
    """Hash the names and bytes of all files below these folders, what Python compiled from them left out."""
    whole = sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
                whole.update(sha256(name.encode()).digest() + sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:DIGITS]


@cache
def software() -> str:
    """Such as `0.1.0+5bb2a98e…`: 128 bits of digest, as the files were at the first call; takes some 20 ms."""
    return f"{__version__}+{digest(PACKAGES)}"
