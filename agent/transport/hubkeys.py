"""The hub's sealing keys: X25519, and ML-KEM-768 beside it where the hub offers that too.

A file holds one PEM block or two, X25519 first; a bag of before, which reads one, goes on with that. With both, the
epoch key is sealed so that it opens only to who has both: what is recorded today stays closed to a quantum computer of
later (HPKE's MLKEM768_X25519, draft-ietf-hpke-pq, the KEM known as X-Wing).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

_BLOCK = re.compile(rb"-----BEGIN .*?-----END [^\n]*\n?", re.DOTALL)
_CLASSIC = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_HYBRID = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class HybridPublic:
    """What bags seal to."""

    x25519: X25519PublicKey
    mlkem: MLKEM768PublicKey

    def public_bytes_raw(self) -> bytes:
        """ML-KEM's 1,184 bytes, then X25519's 32."""
        return self.mlkem.public_bytes_raw() + self.x25519.public_bytes_raw()


@dataclass(frozen=True, slots=True)
class HybridPrivate:
    """What opens it."""

    x25519: X25519PrivateKey
    mlkem: MLKEM768PrivateKey

    def public_key(self) -> HybridPublic:
        """What bags seal to."""
        return HybridPublic(self.x25519.public_key(), self.mlkem.public_key())


HubPublic = X25519PublicKey | HybridPublic
HubPrivate = X25519PrivateKey | HybridPrivate


def generate() -> HybridPrivate:
    """New keys of both kinds."""
    return HybridPrivate(X25519PrivateKey.generate(), MLKEM768PrivateKey.generate())


def seal(plaintext: bytes, key: HubPublic, info: bytes) -> bytes:
    """HPKE base mode: the encapsulated key (32 bytes; hybrid 1,120), then the ciphertext."""
    if isinstance(key, HybridPublic):
        return bytes(_HYBRID.encrypt(plaintext, MLKEM768X25519PublicKey(key.mlkem, key.x25519), info))
    return bytes(_CLASSIC.encrypt(plaintext, key, info))


def open_sealed(sealed: bytes, key: HubPrivate, info: bytes) -> bytes:
    """Open what `seal` sealed; InvalidTag or ValueError when it was not sealed to this key and info."""
    if isinstance(key, HybridPrivate):
        return bytes(_HYBRID.decrypt(sealed, MLKEM768X25519PrivateKey(key.mlkem, key.x25519), info))
    return bytes(_CLASSIC.decrypt(sealed, key, info))


def private_pem(key: HubPrivate) -> bytes:
    """The hub's file, not encrypted."""
    keys = (key.x25519, key.mlkem) if isinstance(key, HybridPrivate) else (key,)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return b"".join(one.private_bytes(*form) for one in keys)


def public_pem(key: HubPublic) -> bytes:
    """The bags' file."""
    keys = (key.x25519, key.mlkem) if isinstance(key, HybridPublic) else (key,)
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return b"".join(one.public_bytes(*form) for one in keys)


def load_private(pem: bytes) -> HubPrivate:
    """Read the hub's file; ValueError when it is anything else."""
    keys = _load(pem, lambda block: serialization.load_pem_private_key(block, None))
    match keys:
        case [X25519PrivateKey() as x25519]:
            return x25519
        case [X25519PrivateKey() as x25519, MLKEM768PrivateKey() as mlkem]:
            return HybridPrivate(x25519, mlkem)
    raise ValueError("must be X25519, alone or with ML-KEM-768 behind it")


def load_public(pem: bytes) -> HubPublic:
    """Read the bags' file; ValueError when it is anything else."""
    keys = _load(pem, serialization.load_pem_public_key)
    match keys:
        case [X25519PublicKey() as x25519]:
            return x25519
        case [X25519PublicKey() as x25519, MLKEM768PublicKey() as mlkem]:
            return HybridPublic(x25519, mlkem)
    raise ValueError("must be X25519 at the hub, alone or with ML-KEM-768 behind it")


def _load(pem: bytes, load: Callable[[bytes], object]) -> list[object]:
    """Each PEM block by itself: the library reads the first of a file only."""
    blocks = _BLOCK.findall(pem) or [pem]
    try:
        return [load(block) for block in blocks]
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"no key that this machine knows: {error}") from None
