"""The hub's sealing keys: one kind or both, in one file; what is sealed to both opens only to who has both."""

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from agent.transport import hubkeys
from agent.transport.hubkeys import HybridPrivate, HybridPublic

HYBRID = hubkeys.generate()
OTHER = hubkeys.generate()
CLASSIC = X25519PrivateKey.generate()


@pytest.mark.parametrize("key", [CLASSIC, HYBRID], ids=["X25519", "hybrid"])
def test_what_is_sealed_to_a_key_opens_with_its_file(key):
    public = hubkeys.load_public(hubkeys.public_pem(key.public_key()))
    private = hubkeys.load_private(hubkeys.private_pem(key))
    assert public.public_bytes_raw() == key.public_key().public_bytes_raw()
    sealed = hubkeys.seal(bytes(32), public, b"info")
    assert len(sealed) == (80 if key is CLASSIC else 1168)
    assert hubkeys.open_sealed(sealed, private, b"info") == bytes(32)
    with pytest.raises((InvalidTag, ValueError)):
        hubkeys.open_sealed(sealed, private, b"other")


@pytest.mark.parametrize(
    "who",
    [
        HybridPrivate(HYBRID.x25519, OTHER.mlkem), HybridPrivate(OTHER.x25519, HYBRID.mlkem), OTHER, HYBRID.x25519,
    ],
    ids=["X25519 alone is right", "ML-KEM alone is right", "neither", "the classic half"],
)  # fmt: skip
def test_half_a_key_opens_nothing(who):
    sealed = hubkeys.seal(bytes(32), HYBRID.public_key(), b"info")
    with pytest.raises((InvalidTag, ValueError)):
        hubkeys.open_sealed(sealed, who, b"info")


def test_a_bag_of_before_reads_the_first_key_of_the_file():
    first = serialization.load_pem_public_key(hubkeys.public_pem(HYBRID.public_key()))
    assert isinstance(first, X25519PublicKey)
    assert first == HYBRID.x25519.public_key()


def test_anything_else_is_refused():
    p256 = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    other = p256.private_bytes(*form)
    swapped = b"".join(reversed([key.private_bytes(*form) for key in (HYBRID.x25519, HYBRID.mlkem)]))
    for pem in (b"", b"-----BEGIN PRIVATE KEY-----\n", other, swapped, hubkeys.private_pem(HYBRID) + other):
        with pytest.raises(ValueError):
            hubkeys.load_private(pem)
        with pytest.raises(ValueError):
            hubkeys.load_public(pem)
    assert isinstance(hubkeys.load_public(hubkeys.public_pem(HYBRID.public_key())), HybridPublic)
