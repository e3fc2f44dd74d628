"""An authority in a folder, made cheap: scrypt at its lowest cost, a clock of its own."""

import datetime as dt
import os
import threading
from contextlib import contextmanager

from agent.transport import identity
from hub.enrolment import Enrolment, EnrolmentServer
from provisioning import issue, office, vault
from provisioning.enrol import Address, Place

PASSPHRASE = "five random words are enough"
NOW = dt.datetime(2026, 11, 20, 8, 0, tzinfo=dt.UTC)


def make_office(folder, monkeypatch, now=NOW):
    monkeypatch.setattr(vault, "COST", 2)
    monkeypatch.setattr(office, "HUB_DAYS", 7000)  # one server lives through years of bags' renewals
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # kills are tried here, not power cuts
    return office.init(folder, "CPTS test", PASSPHRASE, ["127.0.0.1", "localhost"], now=now)


class Hand:
    """A clock set by hand."""

    def __init__(self, now=NOW):
        self.now = now

    def __call__(self):
        return self.now


@contextmanager
def enrolment_server(here, clock, heads=None, port=0):
    """The hub's enrolment server on a free port; gives its address."""
    enrolment = Enrolment(here, here.issuing(PASSPHRASE), ("broker.example", 8883), heads, clock)
    server = EnrolmentServer(enrolment, "127.0.0.1", port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def token_for(here, name="sac-04", now=NOW):
    return issue.new_token(here, name, now=now)


def bag_place(tmp_path, name="etc"):
    return Place(tmp_path / name)


def loaded(place):
    """The identity as the agent loads it."""
    return identity.load(place.link / "device.pem", place.link / "device.key", place.link / "hub.pub")
