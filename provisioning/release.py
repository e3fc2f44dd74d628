"""A release that bags install: a folder of wheels, the list of their hashes, the authority's signature on that list.

    RELEASE       besace release 1
                  <sha256>  <file name>       one line a file, by name
    RELEASE.sig   the cards' key's Ed25519 signature (64 bytes) of RELEASE

Bags have the cards' public keys pinned since their enrolment. What that key signs otherwise begins with a CBOR array,
so neither can be taken for the other.
"""

from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import ProvisioningError

LIST, SIGNATURE = "RELEASE", "RELEASE.sig"
FIRST = "besace release 1"
ANOTHER = "Next: fetch the release again, or sign it at the authority (besace-provision release FOLDER)"


def sign(folder: Path, key: Ed25519PrivateKey) -> int:
    """List and sign what lies in a folder; gives how many files. ProvisioningError when there is no wheel in it."""
    files = _hashes(folder)
    if not any(name.endswith(".whl") for name in files):
        raise ProvisioningError(f"{folder} has no wheel\nNext: make release")
    text = _listed(files)
    (folder / LIST).write_bytes(text)
    (folder / SIGNATURE).write_bytes(key.sign(text))
    return len(files)


def check(folder: Path, keys: Iterable[Ed25519PublicKey]) -> int:
    """How many files a folder has, all as one of `keys` signed them; ProvisioningError says what is wrong."""
    try:
        text, signature = ((folder / name).read_bytes() for name in (LIST, SIGNATURE))
    except OSError as error:
        raise ProvisioningError(f"no signed release: {error.filename}: {error.strerror}\n{ANOTHER}") from None
    if not text.startswith(f"{FIRST}\n".encode()) or not any(_verifies(key, signature, text) for key in keys):
        raise ProvisioningError(f"{folder / LIST} is not signed by this bag's authority\n{ANOTHER}")
    files = _hashes(folder)
    if _listed(files) != text:
        raise ProvisioningError(f"{folder} is not what was signed: a file was changed, added or removed\n{ANOTHER}")
    return len(files)


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by name."""
    found = {}
    try:
        for path in sorted(folder.iterdir()):
            if path.name not in {LIST, SIGNATURE}:
                with path.open("rb") as file:
                    found[path.name] = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ProvisioningError(f"cannot read {error.filename}: {error.strerror}\n{ANOTHER}") from None
    return found


def _listed(files: dict[str, str]) -> bytes:
    return "".join(f"{line}\n" for line in (FIRST, *(f"{digest}  {name}" for name, digest in files.items()))).encode()


def _verifies(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True
