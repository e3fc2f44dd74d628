"""Opens COSE_Encrypt0 messages with python-cwt; runs in that library's own environment, knows nothing of this project.

Reads JSON lines {key, base_iv, device, message} (hex) and writes each plaintext as hex, or "refused". python-cwt 3.3
has no partial IV (RFC 9052, 3.1), so the nonce is worked out here and put in as the IV; all else is the library's.
"""

import json
import sys

import cbor2
from cwt import COSE, COSEKey

for line in sys.stdin:
    asked = {name: bytes.fromhex(value) for name, value in json.loads(line).items()}
    protected, unprotected, ciphertext = cbor2.loads(asked["message"]).value
    partial = unprotected.pop(6).rjust(12, b"\0")
    unprotected[5] = bytes(a ^ b for a, b in zip(asked["base_iv"], partial, strict=True))
    message = cbor2.dumps(cbor2.CBORTag(16, [protected, unprotected, ciphertext]))
    key = COSEKey.from_symmetric_key(asked["key"], alg="ChaCha20/Poly1305")
    try:
        print(COSE.new().decode(message, key, external_aad=asked["device"]).hex())
    except Exception:  # noqa: BLE001 - the library raises many kinds
        print("refused")
