"""A receiver's half of the wire in a few lines: cryptography and cbor2, nothing of the project's. See docs/wire.md."""

from io import BytesIO

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Reader:
    def __init__(self, device: str, root: x509.Certificate, hub_key: X25519PrivateKey) -> None:
        self.device, self.root, self.hub_key = device, root, hub_key
        self.keys: dict[bytes, bytes] = {}

    def header(self, row: bytes) -> dict:
        """Lane 0, epoch, version, then [8, header, signature]: check the signature, take the epoch's key."""
        assert row[7] == 1, "another version of the wire"
        _, signed, signature = cbor2.loads(row[8:])
        _, header = cbor2.loads(signed)
        leaf = x509.load_der_x509_certificate(header[5])
        leaf.verify_directly_issued_by(self.root)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        leaf.public_key().verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
        assert (header[1], header[2]) == (self.device, row[1:7])
        assert leaf.subject.rfc4514_string() == f"CN={self.device}"
        info = cbor2.dumps(["besace/1/epoch", self.device, header[2], leaf.fingerprint(SHA256())])
        suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
        self.keys[header[2]] = suite.decrypt(header[4], self.hub_key, info)
        return header

    def open(self, row: bytes) -> bytes:
        """lane | [session] | epoch | counter | ciphertext: the plaintext, or InvalidTag."""
        lane, at = row[0], 17 if row[0] >= 0x10 else 1
        session, epoch, counter = row[1:at], row[at : at + 6], int.from_bytes(row[at + 6 : at + 10], "big")
        info = b"besace/1/" + bytes([lane]) + session
        made = HKDF(SHA256(), 44, salt=None, info=info).derive(self.keys[epoch])
        nonce = (int.from_bytes(made[32:], "big") ^ counter).to_bytes(12, "big")
        aad = cbor2.dumps(["Encrypt0", cbor2.dumps({1: 24}), self.device.encode()])
        return ChaCha20Poly1305(made[:32]).decrypt(nonce, row[at + 10 :], aad)

    def message(self, topic: str, payload: bytes) -> list[bytes]:
        """The plaintexts of one MQTT message; empty for a header."""
        rows = [payload]
        if topic.endswith(("/up/state", "/up/backlog")):
            stream = BytesIO(payload)
            rows = []
            while stream.tell() < len(payload):
                rows.append(cbor2.load(stream))
        return [b"" if row[0] == 0 and self.header(row) else self.open(row) for row in rows]
