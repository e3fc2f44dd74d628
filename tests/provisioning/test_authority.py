"""The authority: what it certifies, for whom, and how its files are written."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from agent.errors import ProvisioningError
from provisioning.authority import Authority, certificate_pem, key_pem, write_private
from tests.peers.cpts import authority

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind).value


def test_the_root_signs_leaves_and_nothing_below_them():
    root = authority().certificate
    assert extension(root, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    assert extension(root, x509.KeyUsage).key_cert_sign
    root.verify_directly_issued_by(root)


def test_a_device_is_a_client_of_this_name_for_ninety_days():
    leaf = authority().issue_client("sac-04", KEY.public_key(), now=NOW)
    leaf.verify_directly_issued_by(authority().certificate)
    assert leaf.subject.rfc4514_string() == "CN=sac-04"
    assert list(extension(leaf, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert extension(leaf, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)
    assert not extension(leaf, x509.KeyUsage).key_cert_sign
    assert leaf.not_valid_before_utc == NOW - dt.timedelta(minutes=5)
    assert leaf.not_valid_after_utc == NOW + dt.timedelta(days=90)
    with pytest.raises(x509.ExtensionNotFound):  # no DNS name: the broker goes by the common name
        extension(leaf, x509.SubjectAlternativeName)


def test_the_broker_carries_the_names_it_is_reached_by():
    leaf = authority().issue_server("broker", KEY.public_key(), ["hub", "192.0.2.1"])
    names = extension(leaf, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["hub"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1"]
    assert list(extension(leaf, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.SERVER_AUTH]
    verifier = PolicyBuilder().store(Store([authority().certificate])).build_server_verifier(x509.DNSName("hub"))
    assert verifier.verify(leaf, [])
    foreign = Authority.new("foreign").issue_server("broker", KEY.public_key(), ["hub"])
    with pytest.raises(VerificationError):
        verifier.verify(foreign, [])


def test_another_authority_of_the_same_name_is_not_this_one():
    leaf = Authority.new("CPTS").issue_client("sac-04", KEY.public_key())
    with pytest.raises(InvalidSignature):
        leaf.verify_directly_issued_by(authority().certificate)


def test_serial_numbers_do_not_repeat():
    assert len({authority().issue_client("sac-04", KEY.public_key()).serial_number for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", "SAC", "a b", "sac/04", "sac.04", "*", 'a"', "a" * 33, "CN=hub"])
def test_a_name_that_could_reach_beyond_its_topic_is_refused(name):
    with pytest.raises(ProvisioningError, match="no certificate for .*\nNext: "):
        authority().issue_client(name, KEY.public_key())


def test_only_p_256():
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ProvisioningError, match="is not P-256\nNext: "):
        authority().issue_client("sac-04", other)


class TestFiles:
    def test_a_private_file_is_nobody_else_s_from_its_first_byte(self, tmp_path):
        path = tmp_path / "key"
        write_private(path, b"secret")
        assert path.read_bytes() == b"secret"
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]

    def test_it_replaces_whole_and_survives_what_a_crash_left(self, tmp_path):
        path = tmp_path / "key"
        path.write_bytes(b"old")
        (tmp_path / "key.part").write_bytes(b"half")
        write_private(path, b"new")
        assert path.read_bytes() == b"new"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("key", [KEY, X25519PrivateKey.generate()], ids=["P-256", "X25519"])
    def test_keys_as_pem(self, key):
        read = serialization.load_pem_private_key(key_pem(key), None)
        assert (
            read.private_bytes_raw() == key.private_bytes_raw()
            if isinstance(key, X25519PrivateKey)
            else (read.private_numbers() == key.private_numbers())
        )

    def test_certificates_as_pem(self):
        assert x509.load_pem_x509_certificate(certificate_pem(authority().certificate)) == authority().certificate
