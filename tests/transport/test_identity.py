"""Identity: certificate, keys, signatures, and the TLS context made of them."""

import datetime as dt
import ssl
from socket import socketpair
from threading import Thread

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.errors import ProvisioningError
from agent.transport.identity import X509_V_FLAG_NO_CHECK_TIME, client_context, common_name, load, verify
from provisioning.authority import certificate_pem, key_pem
from tests.peers.cpts import authority, bit_flips, identity, write_identity


@pytest.fixture
def files(tmp_path):
    write_identity(tmp_path)
    return tmp_path


def load_from(files):
    return load(files / "sac-04.pem", files / "sac-04.key", files / "hub.pub")


def test_an_identity_is_three_files(files):
    me = load_from(files)
    assert me.name == "sac-04"
    assert len(me.fingerprint) == 32
    assert me.certificate_der == identity().certificate_der
    assert abs(me.not_before_us / 1e6 - dt.datetime.now(dt.UTC).timestamp()) < 3600


@pytest.mark.parametrize("name", ["sac-04.pem", "sac-04.key", "hub.pub"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_missing_or_broken_file_is_named_with_what_to_do(files, name, content):
    (files / name).unlink()
    if content is not None:
        (files / name).write_bytes(content)
    with pytest.raises(ProvisioningError, match=rf"cannot use .*{name}: .*\nNext: sudo besace-provision enrol"):
        load_from(files)


@pytest.mark.parametrize("other", [ed25519.Ed25519PrivateKey.generate(), X25519PrivateKey.generate()])
def test_keys_of_another_kind_are_refused(files, other):
    (files / "sac-04.key").write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(ProvisioningError, match="must be P-256"):
        load_from(files)


def test_a_signature_is_64_bytes_by_this_key_over_this_message():
    me = identity()
    signature = me.sign(b"message")
    assert len(signature) == 64
    assert verify(me.certificate, signature, b"message")
    assert not verify(me.certificate, signature, b"another")
    assert not verify(identity("sac-05").certificate, signature, b"message")
    assert not verify(me.certificate, b"", b"message")
    assert not verify(me.certificate, bytes(64), b"message")
    assert not verify(me.certificate, signature[:-1], b"message")
    assert not any(verify(me.certificate, flipped, b"message") for flipped in bit_flips(signature[:4] + signature[4:]))


def test_common_name():
    assert common_name(identity().certificate) == "sac-04"


class TestClientContext:
    def context(self, files, **settings):
        return client_context(files / "root.pem", files / "sac-04.pem", files / "sac-04.key", "hub", **settings)

    def test_tls_1_3_a_pinned_root_and_no_dates(self, files):
        context = self.context(files)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.verify_flags & X509_V_FLAG_NO_CHECK_TIME
        assert len(context.get_ca_certs()) == 1

    def test_our_own_certificate_s_beginning_is_the_earliest_time(self, files):
        assert self.context(files).earliest_s() == identity().not_before_us / 1e6

    @pytest.mark.parametrize("name", ["root.pem", "sac-04.pem", "sac-04.key"])
    def test_a_broken_file(self, files, name):
        (files / name).write_bytes(b"")
        with pytest.raises(ProvisioningError, match="\nNext: "):
            self.context(files)

    def test_a_key_that_is_not_the_certificate_s(self, files):
        (files / "sac-04.key").write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
        with pytest.raises(ProvisioningError):
            self.context(files)


class TestHandshake:
    """Both ends in memory: what the bag accepts of a broker."""

    def shake(self, files, *, name="hub", days=1, age_days=0, by="CPTS", version=None, **settings):
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC) - dt.timedelta(days=age_days)
        leaf = authority(by).issue_server("broker", key.public_key(), [name], days=days, now=now)
        (files / "broker.pem").write_bytes(certificate_pem(leaf))
        (files / "broker.key").write_bytes(key_pem(key))
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(files / "broker.pem", files / "broker.key")
        if version:
            server.maximum_version = version
        context = client_context(files / "root.pem", files / "sac-04.pem", files / "sac-04.key", "hub", **settings)
        ours, theirs = socketpair()
        with ours, theirs:
            served = server.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False)
            client = context.wrap_socket(ours, server_hostname="127.0.0.1", do_handshake_on_connect=False)
            thread = Thread(target=self.serve, args=(served,))
            thread.start()
            try:
                client.do_handshake()
                return client.version()
            finally:
                client.close()
                thread.join()
                served.close()

    @staticmethod
    def serve(served):
        try:
            served.do_handshake()
            served.recv(1)
        except OSError:
            pass

    def test_the_hub_s_broker(self, files):
        assert self.shake(files) == "TLSv1.3"

    def test_another_name(self, files):
        with pytest.raises(ssl.SSLCertVerificationError, match="hub"):
            self.shake(files, name="elsewhere")

    def test_a_foreign_authority(self, files):
        with pytest.raises(ssl.SSLCertVerificationError):
            self.shake(files, by="another CPTS")

    def test_tls_1_2(self, files):
        with pytest.raises(ssl.SSLError):
            self.shake(files, version=ssl.TLSVersion.TLSv1_2)

    def test_a_certificate_that_ended_before_ours_began(self, files):
        with pytest.raises(ssl.SSLCertVerificationError, match="ended on"):
            self.shake(files, days=1, age_days=30)

    def test_a_certificate_that_ended_by_a_better_clock(self, files):
        later_s = dt.datetime.now(dt.UTC).timestamp() + 3 * 86400
        assert self.shake(files, days=1, earliest_s=lambda: 0.0) == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError, match="ended on"):
            self.shake(files, days=1, earliest_s=lambda: later_s)

    def test_a_certificate_of_tomorrow_is_accepted_by_a_bag_without_a_clock(self, files):
        assert self.shake(files, age_days=-300) == "TLSv1.3"
