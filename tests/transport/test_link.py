"""One connection to the broker. On real brokers: tests/hub/test_service.py."""

import asyncio
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import paho.mqtt.client as paho
import pytest

from agent.errors import HubError
from agent.transport.link import KEEPALIVE_S, PING_ANSWERED_S, Broker, Link, UnreachedError, _unreached, connect


class TestUnreached:
    """Nobody there is one thing, a broker that is slow, unwilling or another's is another."""

    def error(self, port, tls=None):
        async def once():
            async with connect(Broker("127.0.0.1", port, tls), name="sac-04"):
                pass

        with pytest.raises(HubError) as raised:
            asyncio.run(once())
        return type(raised.value)

    def test_nobody_listens(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        assert self.error(port) is UnreachedError

    def test_somebody_listens_who_speaks_no_tls(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def answer():
                with server.accept()[0] as sock:
                    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            assert self.error(port, ssl.create_default_context()) is HubError
            thread.join()

    @pytest.mark.parametrize(
        ("cause", "unreached"),
        [
            (TimeoutError("timed out"), True),
            (OSError(101, "Network is unreachable"), True),
            (socket.gaierror(-3, "Temporary failure in name resolution"), True),
            (TimeoutError("_ssl.c:989: The handshake operation timed out"), False),
            (ConnectionResetError(104, "Connection reset by peer"), False),
            (ssl.SSLCertVerificationError(1, "certificate verify failed"), False),
            (None, False),
        ],
    )
    def test_by_what_the_library_met(self, cause, unreached):
        assert _unreached(cause) is unreached


class TestPings:
    """What Link tells paho, and how soon a ping must be answered; over a TCP connection that is there."""

    def link(self, sock):
        mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2)
        assert mqtt._ping_t == 0, "paho knows when it pinged"
        mqtt.socket = lambda: sock
        mqtt._last_msg_out = 0.0
        return mqtt, Link(SimpleNamespace(_client=mqtt), "broker:8883")

    @pytest.fixture
    def sock(self):
        server = socket.create_server(("127.0.0.1", 0))
        with server, socket.create_connection(server.getsockname()) as sock:
            yield sock

    def test_what_was_sent_counts_so_that_a_visit_needs_none(self, sock):
        mqtt, link = self.link(sock)
        sock.send(b"a row")
        link.check_pings()
        assert 0 <= time.monotonic() - mqtt._last_msg_out < KEEPALIVE_S

    def test_one_that_is_not_answered_soon_ends_the_connection(self, sock):
        mqtt, link = self.link(sock)
        mqtt._ping_t = time.monotonic() - PING_ANSWERED_S / 2
        link.check_pings()
        mqtt._ping_t = time.monotonic() - PING_ANSWERED_S - 0.1
        with pytest.raises(HubError, match="without answer"):
            link.check_pings()
