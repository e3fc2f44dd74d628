"""The authority's folder and journal: readable, append-only, whole after a crash; keys sealed and private."""

import io
import json
import ssl
from datetime import timedelta

import pytest
from authority_office import NOW, PASSPHRASE, make_office
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.badges import Utc, key_ring, read_list, verify
from agent.errors import ProvisioningError
from agent.ledger import certified
from provisioning import cli, issue, office, revoke, vault


@pytest.fixture
def here(tmp_path, monkeypatch):
    return make_office(tmp_path / "authority", monkeypatch)


@pytest.fixture
def run(here, tmp_path, capsys):
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE + "\n")

    def run(*args, secret_needed=True):
        more = ["--passphrase-file", str(secret)] if secret_needed else []
        code = cli.main([args[0], "--dir", str(here.folder), *more, *map(str, args[1:])])
        out, err = capsys.readouterr()
        return code, out, err

    return run


# --- vault -------------------------------------------------------------------------------------------------------


def test_a_key_comes_out_with_the_passphrase_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "COST", 2)
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "cards.vault"
    vault.put(path, key, PASSPHRASE)
    assert vault.take(path, PASSPHRASE).private_bytes_raw() == key.private_bytes_raw()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ProvisioningError, match="wrong passphrase"):
        vault.take(path, PASSPHRASE + "x")
    renamed = path.rename(tmp_path / "root.vault")
    with pytest.raises(ProvisioningError, match="wrong passphrase"):
        vault.take(renamed, PASSPHRASE)


def test_every_flipped_bit_of_a_vault_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "COST", 2)
    path = tmp_path / "cards.vault"
    vault.put(path, Ed25519PrivateKey.generate(), PASSPHRASE)
    content = json.loads(path.read_text())
    for name in ("salt", "nonce", "sealed"):
        data = bytes.fromhex(content[name])
        for bit in range(8 * len(data)):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_text(json.dumps(content | {name: changed.hex()}))
            with pytest.raises(ProvisioningError):
                vault.take(path, PASSPHRASE)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"scrypt_n": 4294967296, "salt": "", "nonce": "", "sealed": ""}'])
def test_a_damaged_vault_is_said_so(tmp_path, text):
    path = tmp_path / "root.vault"
    path.write_text(text)
    with pytest.raises(ProvisioningError, match="Next: restore"):
        vault.take(path, PASSPHRASE)


@pytest.mark.parametrize("text", ["", "short\n"])
def test_a_weak_passphrase_is_refused(tmp_path, text):
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ProvisioningError, match="at least 12"):
        vault.read_passphrase(path)


def test_no_prompt_without_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    with pytest.raises(ProvisioningError, match="--passphrase-file"):
        vault.read_passphrase(None)


# --- folder ------------------------------------------------------------------------------------------------------


def test_init_leaves_nothing_that_others_can_read_and_no_open_key(here):
    for path in here.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (here.folder / "keys").iterdir():
        assert "PRIVATE KEY" not in path.read_text()
    open_keys = sorted(p.name for p in here.folder.rglob("*") if p.is_file() and "PRIVATE KEY" in p.read_text())
    assert open_keys == ["broker.key", "enrolment.key", "hub.key", "sealing.key"]  # the hub's own, for the hub


def test_init_never_overwrites(here):
    with pytest.raises(ProvisioningError, match="already has an authority"):
        office.init(here.folder, "Other", PASSPHRASE, [], now=NOW)


def test_the_hub_is_certified_under_the_pinned_root(here):
    for name in ("hub", "broker", "enrolment"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(here.hub / f"{name}.pem", here.hub / f"{name}.key")
    assert certified(here.issuing_certificate.public_bytes(Encoding.DER), "CPTS test issuing", [here.root])


def test_the_sealing_key_is_rotated_and_the_old_one_kept(here):
    first = (here.hub / "sealing.key").read_bytes()
    office.new_sealing_key(here, now=NOW)
    assert (here.hub / "sealing.key").read_bytes() != first
    assert (here.hub / "sealing-1.key").read_bytes() == first


# --- journal -----------------------------------------------------------------------------------------------------


def test_the_journal_is_readable_chained_and_holds_no_secret(here):
    token = issue.new_token(here, "sac-04", now=NOW)
    text = (here.folder / "journal.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["what"] for line in lines] == ["init", "sealing_key", "hub", "hub", "hub", "token"]
    assert all(line["at"] == "2026-11-20T08:00:00+00:00" for line in lines)
    assert token.token not in text


def test_every_changed_removed_or_swapped_line_is_found(here):
    issue.new_token(here, "sac-04", now=NOW)
    path = here.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines) - 1):
        for wrong in (
            lines[:at] + lines[at + 1 :],
            [*lines[:at], lines[at].replace(b"2026", b"2025"), *lines[at + 1 :]],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        ):
            path.write_bytes(b"".join(wrong))
            with pytest.raises(ProvisioningError, match="not what the authority wrote"):
                here.journal.read()


def test_a_line_cut_by_a_crash_never_counted_and_is_written_over(here):
    path = here.folder / "journal.jsonl"
    whole = path.read_bytes()
    issue.new_token(here, "sac-04", now=NOW)
    full = path.read_bytes()
    for end in range(len(whole), len(full)):
        path.write_bytes(full[:end])
        assert here.journal.read().tokens == {}
    issue.new_token(here, "sac-05", now=NOW)
    assert [token.name for token in here.journal.read().tokens.values()] == ["sac-05"]
    assert path.read_bytes().startswith(whole)


def test_what_is_refused_writes_nothing(here):
    before = (here.folder / "journal.jsonl").read_bytes()
    for name in ("", "SAC", "a/b", "hub", "x" * 33):
        with pytest.raises(issue.RefusedError):
            issue.new_token(here, name, now=NOW)
    assert (here.folder / "journal.jsonl").read_bytes() == before


# --- commands ----------------------------------------------------------------------------------------------------


def test_a_badge_is_made_listed_revoked_and_refused(here, run):
    code, text, _ = run("badge", "nurse", "Mme D.")
    assert code == 0
    ring = key_ring(here.card_keys)
    now = Utc(int(office.utc_now().timestamp()))
    badge = verify(text.strip(), ring, now).badge
    assert badge.label == "Mme D."
    assert run("badge", "nurse", "Mme D.")[0] == 3  # two valid cards of one label cannot be told apart on a screen
    assert run("revoke", "Mme D.", "--why", "lost")[0] == 0
    revoked = read_list((here.hub / "revoked.cose").read_bytes(), ring)
    assert (revoked.number, revoked.ids) == (1, {badge.id})
    assert run("badge", "nurse", "Mme D.")[0] == 0
    listed = json.loads(run("list", "--json", secret_needed=False)[1])
    assert [(card["label"], card["revoked"] is not None) for card in listed["cards"]] == [
        ("Mme D.", True), ("Mme D.", False)
    ]  # fmt: skip


def test_a_new_sheet_revokes_the_old_one(here, run, tmp_path):
    pytest.importorskip("segno", reason="printing cards needs segno")
    for _ in range(2):
        assert run("sheet", "-o", tmp_path / "sheet.pdf")[0] == 0
    cards = here.journal.read().cards.values()
    assert [sum(card.revoked_s is gone for card in cards) for gone in (None,)] == [7]
    assert len(read_list((here.hub / "revoked.cose").read_bytes(), key_ring(here.card_keys)).ids) == 7


def test_a_token_file_is_made_and_its_name_only_printed(here, run, tmp_path):
    out = tmp_path / "sac-04.token"
    code, said, _ = run("new", "sac-04", "-o", out, secret_needed=False)
    token = issue.read_token_file(out.read_text())
    assert (code, said.strip(), token.name) == (0, str(out), "sac-04")
    assert out.stat().st_mode & 0o777 == 0o600
    assert token.root == here.root


def test_wrong_calls_say_what_next_and_how_they_ended(here, run, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase\n")
    code = cli.main(["crl", "--dir", str(here.folder), "--passphrase-file", str(wrong)])
    assert code == 3
    code, _, err = run("revoke", "sac-99")
    assert (code, "Next:" in err) == (3, True)
    code, _, err = run("crl", "--check")
    assert (code, "Next:" in err) == (1, True)


# --- the CRL -----------------------------------------------------------------------------------------------------


def test_a_crl_near_its_end_is_an_alarm_well_before(here):
    data = revoke.crl(here, here.issuing(PASSPHRASE), now=NOW)
    assert revoke.crl_alarm(data, NOW + timedelta(days=19)) is None
    assert "ends in 9.0 days" in revoke.crl_alarm(data, NOW + timedelta(days=21))
    assert "has ended" in revoke.crl_alarm(data, NOW + timedelta(days=31))
