"""Private keys at rest: sealed under a passphrase, in files nobody else can read.

A vault file is JSON: scrypt's cost and salt, and the secret under ChaCha20-Poly1305 with the key scrypt gives. The
file's own name is authenticated with it, so one key cannot be passed off as another. PKCS 8 encryption is not used
because the library offers it with PBKDF2 only, which a graphics card tries out a million times faster than scrypt.
"""

import getpass
import json
import os
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.errors import ProvisioningError
from provisioning.authority import write_private

COST = 2**17  # scrypt n with r = 8: 128 MiB and about 0.4 s a try
_HIGHEST_COST = 2**20
_SHORTEST_PASSPHRASE = 12

PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | X25519PrivateKey


def read_passphrase(file: Path | None, *, twice: bool = False) -> str:
    """The passphrase from the first line of a file, or asked for on a terminal; ProvisioningError without either."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ProvisioningError(f"cannot read the passphrase file {file}: {error}\nNext: check its path") from None
        given = lines[0] if lines else ""
    elif sys.stdin.isatty():
        given = getpass.getpass("Passphrase of the authority: ")
        if twice and getpass.getpass("Once more: ") != given:
            raise ProvisioningError("the two passphrases differ\nNext: try again")
    else:
        raise ProvisioningError("no terminal to ask for the passphrase\nNext: give --passphrase-file FILE")
    if len(given) < _SHORTEST_PASSPHRASE:
        raise ProvisioningError(
            f"the passphrase has {len(given)} characters, at least {_SHORTEST_PASSPHRASE} are needed\n"
            "Next: take five random words"
        )
    return given


def put(path: Path, key: PrivateKey, passphrase: str) -> None:
    """Seal a private key into a vault file (mode 0600, whole or absent)."""
    secret = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = os.urandom(16), os.urandom(12)
    sealed = ChaCha20Poly1305(_derive(passphrase, salt, COST)).encrypt(nonce, secret, path.name.encode())
    content = {"scrypt_n": COST, "salt": salt.hex(), "nonce": nonce.hex(), "sealed": sealed.hex()}
    write_private(path, json.dumps(content).encode() + b"\n")


def take(path: Path, passphrase: str) -> PrivateKey:
    """Open a vault file; ProvisioningError says whether it is the passphrase or the file."""
    try:
        content = json.loads(path.read_bytes())
        cost = int(content["scrypt_n"])
        salt, nonce, sealed = (bytes.fromhex(content[name]) for name in ("salt", "nonce", "sealed"))
        if not 2 <= cost <= _HIGHEST_COST:
            raise ValueError("an impossible cost")  # noqa: TRY301 - one end for every damaged file
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProvisioningError(f"cannot use the vault {path}: {error}\nNext: restore it from its backup") from None
    try:
        secret = ChaCha20Poly1305(_derive(passphrase, salt, cost)).decrypt(nonce, sealed, path.name.encode())
    except InvalidTag:
        raise ProvisioningError(f"{path} does not open: wrong passphrase, or a damaged file\nNext: try again") from None
    key = serialization.load_der_private_key(secret, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | Ed25519PrivateKey | X25519PrivateKey):
        raise ProvisioningError(f"{path} holds a key of another kind\nNext: restore it from its backup")
    return key


def _derive(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase.encode())
