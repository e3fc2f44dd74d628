"""The hub's enrolment server: EST (RFC 7030) over TLS 1.3, by the standard library's http.server.

    GET  /.well-known/est/cacerts           the authority's certificates
    POST /.well-known/est/simpleenroll      a first certificate, for a one-time token (HTTP Basic: name and token)
    POST /.well-known/est/simplereenroll    the next one, for the certificate shown, expired or not
    GET  /besace/settings                   what an enrolled bag needs: broker, keys, revoked cards, its ledger's head

uvicorn hands no client certificate to an application, hence http.server. Certificates' dates are not checked by TLS:
a shelved bag must be able to come back; what is revoked is refused by the register. Run as a process of its own
(`besace-hub enrolment`), it alone holds the issuing key; it keeps the broker's user list and the revocation lists up
to date beside that (hub/revocation.py).
"""

import base64
import json
import logging
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.errors import ProvisioningError
from agent.transport.identity import X509_V_FLAG_NO_CHECK_TIME, common_name
from provisioning import issue
from provisioning.authority import Authority
from provisioning.office import ENROLMENT, Office, utc_now

log = logging.getLogger(__name__)

EST = "/.well-known/est"
LONGEST_BODY = 16_384
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the server needs: the folder, the opened issuing key, where bags find the broker, and the time."""

    office: Office
    issuing: Authority
    broker: tuple[str, int]
    heads: Path | None = None
    now: Callable[[], datetime] = utc_now

    def settings(self, device: str) -> dict[str, Any]:
        """What an enrolled bag is told."""
        folder = self.office.hub
        head = self.heads / f"{device}.head" if self.heads is not None else None
        return {
            "broker": list(self.broker),
            "sealing_key": (folder / "sealing.pub").read_text(),
            "cards": (self.office.folder / "cards.pem").read_text(),
            "revoked": _b64(folder / "revoked.cose"),
            "ledger_head": _b64(head) if head is not None else "",
        }


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode() if path.exists() else ""


class _Handler(BaseHTTPRequestHandler):
    """One connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    server_version = "besace"
    sys_version = ""
    timeout = TIMEOUT_S
    wbufsize = 1 << 16
    disable_nagle_algorithm = True  # behind TLS's session tickets an answer would wait 40 ms for an acknowledgement
    server: "EnrolmentServer"

    def setup(self) -> None:
        """Shake hands here, not in the accepting thread: a silent peer holds up nobody else."""
        self.request.settimeout(TIMEOUT_S)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        """Say goodbye in TLS too."""
        super().finish()
        self.request.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """One line a request; no token is ever in it."""
        log.info("enrolment=%s peer=%s", format % args, self.client_address[0])

    def do_GET(self) -> None:
        """Certificates of the authority; settings."""
        enrolment = self.server.enrolment
        if self.path == f"{EST}/cacerts":
            self._certificates([enrolment.issuing.certificate, enrolment.office.root])
        elif self.path == "/besace/settings":
            self._guarded(self._settings)
        else:
            self._say(HTTPStatus.NOT_FOUND, "no such resource")

    def do_POST(self) -> None:
        """Enrol and renew."""
        verbs = {f"{EST}/simpleenroll": self._enrol, f"{EST}/simplereenroll": self._renew}
        verb = verbs.get(self.path)
        if verb is None:
            self._drop_body()
            self._say(HTTPStatus.NOT_FOUND, "no such resource")
        else:
            self._guarded(verb)

    def _guarded(self, verb: Callable[[], None]) -> None:
        try:
            verb()
        except issue.RefusedError as error:
            log.warning("enrolment=refused why=%r peer=%s", str(error).splitlines()[0], self.client_address[0])
            self._say(HTTPStatus.FORBIDDEN, str(error))
        except ProvisioningError as error:
            log.error("enrolment=failing error=%r", str(error))
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "the authority cannot work; see the hub's log")

    def _enrol(self) -> None:
        request = self._request()
        kind, _, credentials = self.headers.get("Authorization", "").partition(" ")
        try:
            _, _, token = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            token = ""
        if kind != "Basic" or not token:
            self._say(HTTPStatus.UNAUTHORIZED, "a one-time token is needed", {"WWW-Authenticate": "Basic realm=besace"})
            return
        enrolment = self.server.enrolment
        leaf = issue.enrol(enrolment.office, enrolment.issuing, request, token, now=enrolment.now())
        self._certificates([leaf])

    def _renew(self) -> None:
        request, peer = self._request(), self._peer()
        enrolment = self.server.enrolment
        leaf = issue.renew(enrolment.office, enrolment.issuing, request, peer, now=enrolment.now())
        self._certificates([leaf])

    def _settings(self) -> None:
        device = common_name(self._peer())
        enrolment = self.server.enrolment
        if device not in enrolment.office.journal.read().active_devices:
            raise issue.RefusedError(f"{device!r} is no enrolled bag\nNext: besace-provision new NAME")
        self._answer(json.dumps(enrolment.settings(device)).encode(), "application/json")

    def _peer(self) -> x509.Certificate:
        """The certificate shown; TLS has checked that the authority signed it and that its key is there."""
        shown = self.request.getpeercert(binary_form=True)
        if not shown:
            raise issue.RefusedError("no certificate was shown\nNext: besace-provision enrol")
        return x509.load_der_x509_certificate(shown)

    def _request(self) -> x509.CertificateSigningRequest:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LONGEST_BODY:
            self.close_connection = True
            self._drop_body()
            raise issue.RefusedError(f"a request has a length, at most {LONGEST_BODY} bytes")
        try:
            return issue.read_request(base64.b64decode(self.rfile.read(int(length))))
        except ValueError:
            raise issue.RefusedError("a request is base64 of PKCS 10") from None

    def _drop_body(self) -> None:
        """Read what is not wanted, within reason: closing before would reset the connection under our answer."""
        length = self.headers.get("Content-Length", "")
        self.rfile.read(min(int(length), 4 * LONGEST_BODY) if length.isdigit() else 0)

    def _certificates(self, certificates: list[x509.Certificate]) -> None:
        body = base64.encodebytes(pkcs7.serialize_certificates(certificates, serialization.Encoding.DER))
        self._answer(body, "application/pkcs7-mime; smime-type=certs-only", {"Content-Transfer-Encoding": "base64"})

    def _say(self, status: HTTPStatus, why: str, headers: dict[str, str] | None = None) -> None:
        self.close_connection = True
        self._answer(why.encode(), "text/plain; charset=utf-8", headers, status)

    def _answer(
        self, body: bytes, kind: str, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class EnrolmentServer(ThreadingHTTPServer):
    """The listening socket; `serve_forever` in a thread, `shutdown` to end."""

    daemon_threads = True

    def __init__(self, enrolment: Enrolment, host: str, port: int) -> None:
        self.enrolment = enrolment
        folder = enrolment.office.hub
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.tls.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
        try:
            self.tls.load_verify_locations(enrolment.office.folder / "authority.pem")
            self.tls.load_cert_chain(folder / f"{ENROLMENT}.pem", folder / f"{ENROLMENT}.key")
            super().__init__((host, port), _Handler)
        except (OSError, ssl.SSLError) as error:
            raise ProvisioningError(
                f"the enrolment server cannot listen on {host}:{port}: {error}\nNext: besace-provision hub, or --listen"
            ) from None

    def handle_error(self, request: object, client_address: object) -> None:
        """A peer's broken handshake or line is one log line, no traceback."""
        del request
        log.info("enrolment=dropped peer=%s why=%r", client_address, str(sys.exc_info()[1]))
