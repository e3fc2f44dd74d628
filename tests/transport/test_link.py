"""One connection to the broker. On real brokers: tests/hub/test_service.py."""

import socket
import time
from types import SimpleNamespace

import paho.mqtt.client as paho
import pytest

from agent.errors import HubError
from agent.transport.link import KEEPALIVE_S, PING_ANSWERED_S, Link


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
