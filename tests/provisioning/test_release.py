"""A release is installed as it was signed, or not at all."""

import pytest
from authority_office import PASSPHRASE, make_office
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ProvisioningError
from provisioning import cli, release

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = [Ed25519PrivateKey.generate().public_key(), KEY.public_key()]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "besace-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    (folder / "numpy-2.4.6-cp311.whl").write_bytes(bytes(1000))
    assert release.sign(folder, KEY) == 2
    return folder


def test_what_was_signed_is_believed(folder):
    assert release.check(folder, KEYS) == 2
    assert (folder / "RELEASE").read_text().splitlines()[0] == "besace release 1"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: (f / "numpy-2.4.6-cp311.whl").write_bytes(bytes(999) + b"\1"),
        lambda f: (f / "numpy-2.4.6-cp311.whl").unlink(),
        lambda f: (f / "numpy-2.4.6-cp311.whl").rename(f / "numpy-2.4.7-cp311.whl"),
        lambda f: (f / "besace-9.9.9-py3-none-any.whl").write_bytes(b"another"),
        lambda f: (f / "besace").mkdir(),
        lambda f: (f / "RELEASE").write_text((f / "RELEASE").read_text() + "\n"),
        lambda f: (f / "RELEASE.sig").write_bytes(bytes(64)),
        lambda f: (f / "RELEASE.sig").write_bytes(b""),
        lambda f: (f / "RELEASE.sig").unlink(),
        lambda f: (f / "RELEASE").unlink(),
    ],
)
def test_anything_else_is_refused_and_says_what_next(folder, spoil):
    spoil(folder)
    with pytest.raises(ProvisioningError, match="\nNext: "):
        release.check(folder, KEYS)


def test_every_flipped_bit_of_the_list_is_found(folder):
    text = (folder / "RELEASE").read_bytes()
    for at in range(0, len(text) * 8, 7):
        spoilt = bytearray(text)
        spoilt[at // 8] ^= 1 << at % 8
        (folder / "RELEASE").write_bytes(spoilt)
        with pytest.raises(ProvisioningError):
            release.check(folder, KEYS)


def test_another_authority_s_is_refused(folder):
    with pytest.raises(ProvisioningError, match="not signed by this bag's authority"):
        release.check(folder, KEYS[:1])


def test_an_empty_folder_is_no_release(tmp_path):
    with pytest.raises(ProvisioningError, match="no wheel"):
        release.sign(tmp_path, KEY)
    with pytest.raises(ProvisioningError, match="cannot read"):
        release.sign(tmp_path / "none", KEY)


def test_signed_at_the_authority_and_checked_on_the_bag(folder, tmp_path, monkeypatch, capsys):
    here = make_office(tmp_path / "authority", monkeypatch)
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    assert (
        cli.main(["release", str(folder), "--dir", str(here.folder), "--passphrase-file", str(tmp_path / "passphrase")])
        == 0
    )
    identity = tmp_path / "etc" / "identity"
    identity.mkdir(parents=True)
    (identity / "cards.pem").write_bytes((here.folder / "cards.pem").read_bytes())
    assert cli.main(["check", str(folder), "--etc", str(tmp_path / "etc")]) == 0
    (folder / "more").write_text("")
    assert cli.main(["check", str(folder), "--etc", str(tmp_path / "etc")]) == 3
    assert "not what was signed" in capsys.readouterr().err
