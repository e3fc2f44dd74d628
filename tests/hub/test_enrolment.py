"""The enrolment server before peers that are wrong, silent, foreign or malicious."""

import base64
import http.client
import socket
import ssl

import pytest
from authority_office import NOW, PASSPHRASE, Hand, bag_place, enrolment_server, make_office, token_for
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.transport.identity import X509_V_FLAG_NO_CHECK_TIME
from provisioning import enrol, issue, office
from provisioning.authority import certificate_pem, key_pem

EST = "/.well-known/est"


@pytest.fixture
def here(tmp_path, monkeypatch):
    return make_office(tmp_path / "authority", monkeypatch)


@pytest.fixture
def hub(here):
    with enrolment_server(here, Hand()) as address:
        yield address


def context(here, certificate=None, version=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.minimum_version = made.maximum_version = version
    made.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
    made.load_verify_locations(here.folder / "root.pem")
    if certificate is not None:
        made.load_cert_chain(*certificate)
    return made


def ask(hub, tls, method, path, body=None, headers=None):
    connection = http.client.HTTPSConnection(hub.host, hub.port, timeout=5, context=tls)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def csr(name, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name is not None else [])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.DER))


def basic(name, token):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()}


def test_the_authority_is_shown_to_anybody(here, hub):
    status, body = ask(hub, context(here), "GET", f"{EST}/cacerts")
    found = pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))
    assert (status, set(found)) == (200, {here.root, here.issuing_certificate})


def test_what_is_asked_wrongly_is_refused_and_noted_nowhere(here, hub):
    token = token_for(here).token
    before = (here.folder / "journal.jsonl").read_bytes()
    good = basic("sac-04", token)
    weak = rsa.generate_private_key(65537, 2048)
    damaged = bytearray(base64.b64decode(csr("sac-04")))
    damaged[-1] ^= 1
    cases = [
        ("GET", "/", None, {}, 404),
        ("GET", "/../journal.jsonl", None, {}, 404),
        ("POST", f"{EST}/fullcmc", b"", {}, 404),
        ("POST", f"{EST}/simpleenroll", csr("sac-04"), {}, 401),
        ("POST", f"{EST}/simpleenroll", csr("sac-04"), {"Authorization": "Bearer x"}, 401),
        ("POST", f"{EST}/simpleenroll", csr("sac-04"), {"Authorization": "Basic ***"}, 401),
        ("POST", f"{EST}/simpleenroll", csr("sac-04"), basic("sac-04", "guessed"), 403),
        ("POST", f"{EST}/simpleenroll", csr("sac-05"), good, 403),
        ("POST", f"{EST}/simpleenroll", csr("hub"), good, 403),
        ("POST", f"{EST}/simpleenroll", csr("SAC 04"), good, 403),
        ("POST", f"{EST}/simpleenroll", csr(None), good, 403),
        ("POST", f"{EST}/simpleenroll", csr("sac-04", weak), good, 403),
        ("POST", f"{EST}/simpleenroll", base64.b64encode(bytes(damaged)), good, 403),
        ("POST", f"{EST}/simpleenroll", b"no base64 at all!", good, 403),
        ("POST", f"{EST}/simpleenroll", b"A" * 20_000, good, 403),
        ("POST", f"{EST}/simplereenroll", csr("sac-04"), {}, 403),
        ("GET", "/besace/settings", None, {}, 403),
    ]  # fmt: skip
    for method, path, body, headers, expected in cases:
        assert ask(hub, context(here), method, path, body, headers)[0] == expected, (path, headers)
    assert (here.folder / "journal.jsonl").read_bytes() == before
    assert ask(hub, context(here), "POST", f"{EST}/simpleenroll", csr("sac-04"), good)[0] == 200


def stranger(tmp_path, monkeypatch, name="sac-04"):
    """A certificate of another authority, for the same name."""
    other = make_office(tmp_path / "other", monkeypatch)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = other.issuing(PASSPHRASE).issue_client(name, key.public_key(), now=NOW)
    files = tmp_path / "stranger.pem", tmp_path / "stranger.key"
    files[0].write_bytes(certificate_pem(leaf) + (other.folder / "issuing.pem").read_bytes())
    files[1].write_bytes(key_pem(key))
    return files


def test_a_certificate_of_another_authority_ends_the_handshake(here, hub, tmp_path, monkeypatch):
    with pytest.raises((ssl.SSLError, OSError)):
        ask(hub, context(here, stranger(tmp_path, monkeypatch)), "GET", "/besace/settings")


def test_tls_1_2_is_refused(here, hub):
    with pytest.raises((ssl.SSLError, OSError)):
        ask(hub, context(here, version=ssl.TLSVersion.TLSv1_2), "GET", f"{EST}/cacerts")


def test_the_hubs_own_certificate_renews_no_bag_and_a_bags_no_other_bag(here, hub, tmp_path):
    enrol.enrol(bag_place(tmp_path), token_for(here), hub)
    bag = bag_place(tmp_path).link
    for files, name in [
        ((here.hub / "hub.pem", here.hub / "hub.key"), "sac-04"),
        ((here.hub / "hub.pem", here.hub / "hub.key"), "hub"),
        ((bag / "device.pem", bag / "device.key"), "sac-05"),
    ]:
        assert ask(hub, context(here, files), "POST", f"{EST}/simplereenroll", csr(name))[0] == 403
    assert ask(hub, context(here, (here.hub / "hub.pem", here.hub / "hub.key")), "GET", "/besace/settings")[0] == 403


def test_one_that_says_nothing_holds_up_nobody(here, hub):
    silent = [socket.create_connection((hub.host, hub.port)) for _ in range(20)]
    try:
        assert ask(hub, context(here), "GET", f"{EST}/cacerts")[0] == 200
    finally:
        for sock in silent:
            sock.close()


def test_hostile_bytes_do_not_end_the_server(here, hub):
    for data in (b"\x00" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"A" * 70_000):
        with socket.create_connection((hub.host, hub.port)) as sock:
            sock.sendall(data)
    assert ask(hub, context(here), "GET", f"{EST}/cacerts")[0] == 200


def test_a_server_that_cannot_start_says_what_to_do(here, hub):
    with pytest.raises(office.ProvisioningError, match="Next:"), enrolment_server(here, Hand(), port=hub.port):
        pass


def test_the_same_key_asking_again_gets_the_same_certificate(here):
    token, issuing = token_for(here), here.issuing(PASSPHRASE)
    request = issue.read_request(base64.b64decode(csr("sac-04")))
    first = issue.enrol(here, issuing, request, token.token, now=NOW)
    assert issue.enrol(here, issuing, request, token.token, now=NOW) == first
    assert len(here.journal.read().devices["sac-04"].certificates) == 1
