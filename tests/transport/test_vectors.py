"""The vectors of tests/vectors, read by somebody who has only docs/wire.md, and by the project."""

import json
from pathlib import Path

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import tests.transport.independent_reader as independent
from agent.transport import seal, sequence, topics, wire
from agent.transport.epoch import open_header
from tests.vectors.make import PATH, vectors

VECTORS = json.loads(PATH.read_text())
ROOT = x509.load_pem_x509_certificate(VECTORS["root_pem"].encode())
HUB_KEY = X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["hub_private_x25519"]))
MESSAGES = VECTORS["messages"]
IDS = [message["topic"].split("/", 3)[3] for message in MESSAGES]


def reader():
    made = independent.Reader(VECTORS["device"], ROOT, HUB_KEY)
    made.message(MESSAGES[0]["topic"], bytes.fromhex(MESSAGES[0]["payload"]))
    return made


@pytest.mark.parametrize("message", MESSAGES, ids=IDS)
def test_an_independent_reader_gets_the_plaintexts(message):
    found = reader().message(message["topic"], bytes.fromhex(message["payload"]))
    assert [plaintext.hex() for plaintext in found] == message["rows"]
    for plaintext in filter(None, found):
        item = cbor2.loads(plaintext)
        assert cbor2.dumps(item, canonical=True) == plaintext


def test_it_is_small_and_owes_nothing_to_the_project():
    text = Path(independent.__file__).read_text()
    assert len(text.splitlines()) <= 60
    assert "import agent" not in text
    assert "from agent" not in text
    assert "from hub" not in text


@pytest.mark.parametrize("message", MESSAGES, ids=IDS)
def test_the_project_reads_them_alike(message):
    topic, payload = topics.parse(message["topic"]), bytes.fromhex(message["payload"])
    single = topic.name in {topics.Up.LIVE, *topics.Down}
    key = bytes.fromhex(VECTORS["epoch_key"])
    epoch = bytes.fromhex(VECTORS["epoch"])
    for row, plaintext in zip([payload] if single else sequence.split(payload), message["rows"], strict=True):
        if not plaintext:
            opened = open_header(row, device=VECTORS["device"], root=ROOT, hub_key=HUB_KEY)
            assert opened.key == key
            continue
        if isinstance(topic.name, topics.Down):
            _, found = seal.DownOpener(epoch, key, VECTORS["device"]).open(row)
        else:
            _, found = seal.UpKeys(epoch, key, VECTORS["device"]).open(row)
        assert found.hex() == plaintext
        assert wire.encode(wire.decode(found)) == found


def test_they_are_what_the_project_writes_today():
    """When this fails on purpose (a new field, another codec), make them anew: python -m tests.vectors.make."""
    for old, new in zip(MESSAGES, vectors()["messages"], strict=True):
        assert (old["topic"], old["rows"]) == (new["topic"], new["rows"])
        if "" not in new["rows"]:  # headers are signed, and no signature is like another
            assert old["payload"] == new["payload"]
