"""Revocation carried out: the broker's user list follows the authority's journal within a second.

NATS knows no CRL. A revoked bag is taken off the user list: written beside, checked by `nats-server -t`, moved into
place, SIGHUP. The server ends that bag's session and touches no other. For mosquitto the CRL is what counts, a command
that makes it read a new one (`reload`) and one that ends the session that is open (`kick`); the CRL is signed anew at
half its life, long before it would lock everybody out, and the card list daily.
"""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ProvisioningError, StateError
from hub.enrolment import Enrolment
from hub.nats import binary, users, write_users
from provisioning.revoke import CRL_DAYS, card_list, crl, crl_alarm

log = logging.getLogger(__name__)

FOLLOW_S = 1.0
LISTS_EVERY_S = 3600.0
CARD_LIST_S = 86_400
COMMAND_S = 4.0


def apply_users(folder: Path, devices: Sequence[str]) -> bool:
    """Make the running broker know these devices and no others; False when it already does.

    Raises StateError, and changes nothing, when the broker would not accept the new list.
    """
    listed = folder / "users.conf"
    if listed.exists() and listed.read_text() == users(devices):
        return False
    _check(folder, devices)
    write_users(folder, devices)
    _tell(folder)
    return True


def _tell(folder: Path) -> None:
    """SIGHUP the running broker; one that does not run reads the list when it starts."""
    try:
        pid = int((folder / "nats.pid").read_text())
        if "nats-server" in Path(f"/proc/{pid}/comm").read_text():  # a pid file outlives a crash, its number goes on
            os.kill(pid, signal.SIGHUP)
            return
    except (OSError, ValueError):
        pass
    log.warning("broker_users=written broker=not_running folder=%s", folder)


def _check(folder: Path, devices: Sequence[str]) -> None:
    """Let the server read the configuration with the new list, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="besace-users-") as trial:
        shutil.copy(folder / "nats.conf", Path(trial) / "nats.conf")
        write_users(Path(trial), devices)
        done = subprocess.run(  # noqa: S603 - a fixed command on our own files
            [binary(), "-t", "-c", str(Path(trial) / "nats.conf")],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
    if done.returncode:
        why = done.stderr.strip().replace(trial, str(folder))[-300:]
        raise StateError(f"the broker refuses the new user list: {why}\nNext: see {folder}")


def _run(what: str, command: Sequence[str]) -> None:
    """Let the operator's command do its part; a failure is logged as an error, since a revoked bag may still be in."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("command=%r done=0 why=%r", what, str(error))
        return
    if done.returncode:
        log.error("command=%r done=0 why=%r", what, (done.stderr or done.stdout).strip()[-300:])
    else:
        log.info("command=%r done=1", what)


class Follower(threading.Thread):
    """Carries out the journal's revocations and enrolments while the enrolment server runs."""

    def __init__(
        self,
        enrolment: Enrolment,
        cards: Ed25519PrivateKey,
        nats: Path | None,
        kick: Sequence[str] = (),
        reload: Sequence[str] = (),
    ) -> None:
        super().__init__(name="revocation", daemon=True)
        self._enrolment = enrolment
        self._cards = cards
        self._nats = nats
        self._kick, self._reload = tuple(kick), tuple(reload)
        self._revoked: set[str] | None = None
        self._ending = threading.Event()
        self._seen = -1
        self._failing = ""

    def stop(self) -> None:
        """End within a second."""
        self._ending.set()

    def run(self) -> None:
        """Look at the journal every second, at the lists' ages every hour; a fault is logged and tried again."""
        waited_s = LISTS_EVERY_S
        while True:
            failing = ""
            try:
                self.follow()
                if waited_s >= LISTS_EVERY_S:
                    self.refresh_lists()
                    waited_s = 0.0
            except (ProvisioningError, StateError, OSError) as error:
                failing = str(error)
            if failing and failing != self._failing:
                log.error("revocation=failing error=%r", failing)
            elif self._failing and not failing:
                log.info("revocation=well")
            self._failing = failing
            if self._ending.wait(FOLLOW_S):
                return
            waited_s += FOLLOW_S

    def follow(self) -> None:
        """Bring the brokers up to the journal, when the journal has grown."""
        journal = self._enrolment.office.folder / "journal.jsonl"
        size = journal.stat().st_size
        if size == self._seen:
            return
        register = self._enrolment.office.journal.read()
        if self._nats is not None and apply_users(self._nats, register.active_devices):
            log.info("broker_users=rewritten")
        revoked = {name for name, device in register.devices.items() if device.revoked_s is not None}
        news = revoked - (self._revoked or set())
        if news and (self._kick or self._reload):
            if self._revoked is not None:  # at the start the CRL that the revoking command signed is there
                self._sign_crl()
            elif self._reload:
                _run("reload", self._reload)
            for name in sorted(news) if self._kick else ():  # at the start too: nobody did while we were down
                _run(f"kick of {name}", [*self._kick, name])
        self._revoked, self._seen = revoked, size  # what was written meanwhile is looked at next time

    def _sign_crl(self) -> None:
        crl(self._enrolment.office, self._enrolment.issuing, now=self._enrolment.now())
        if self._reload:
            _run("reload", self._reload)

    def refresh_lists(self) -> None:
        """Sign the CRL anew at half its life and the card list when it is a day old; warn of what is near its end."""
        enrolment, now = self._enrolment, self._enrolment.now()
        path = enrolment.office.hub / "crl.pem"
        if path.exists():
            left = (x509.load_pem_x509_crl(path.read_bytes()).next_update_utc or now) - now
            if left < timedelta(days=CRL_DAYS / 2):
                self._sign_crl()
            if alarm := crl_alarm(path.read_bytes(), now):
                log.error("crl=%r", alarm)
        cards = enrolment.office.hub / "revoked.cose"
        if not cards.exists() or now.timestamp() - cards.stat().st_mtime > CARD_LIST_S:
            card_list(enrolment.office, self._cards, now=now)
