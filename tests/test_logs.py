"""What a log may say: one line of key=value per change, of keys known here, and never what a person or a body said.

Read from the source, so that a line no test runs is seen too. What goes through a whole bag in a visit is searched for
markers in test_card_image.py, what a loan writes in test_wiring.py.
"""

import ast
import re

import pytest

from tests.test_architecture import SOURCES

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
KEYS = {
    # parts and what became of them
    "part", "failed", "on_failure", "ready", "stopped", "version", "since_exec_s", "page_refused", "last", "record",
    "kind", "total", "room", "shown", "why", "refused", "command", "done", "identify",
    # links, epochs, disks: numbers and ids of ours
    "link", "broker", "session", "down", "error", "epoch", "number", "reason", "outbox", "rows_given_way", "rows",
    "waiting_rows", "unreceipted", "commit", "from",
    # the loan: states and reasons, no card's name
    "desk", "card", "custody", "state", "entry", "self_test", "findings",
    # the authority's side: which client, what was refused
    "enrolment", "peer", "listen", "broker_users", "folder", "revocation", "crl",
}  # fmt: skip
PERSONAL = {"label", "holder", "code", "text", "site", "flags", "detail", "sentence", "plaintext"}
"""Attributes and names whose content is a person's, a patient's or a card's."""


def log_calls():
    for name, tree in SOURCES.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and ast.unparse(node.func.value) == "log"
            ):
                yield pytest.param(node, id=f"{name}:{node.lineno}")


def names_in(node):
    return {
        n.attr if isinstance(n, ast.Attribute) else n.id
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute | ast.Name)
    }


@pytest.mark.parametrize("call", log_calls())
def test_a_line_is_known_keys_with_nobody_s_data(call):
    form, *values = call.args
    assert isinstance(form, ast.Constant), "a log line is written out, its values apart from it"
    for word in form.value.split():
        assert re.fullmatch(r"\w+=\S+", word), f"{word!r} is no key=value"
    assert set(re.findall(r"(\w+)=", form.value)) <= KEYS
    for value in values:
        assert not names_in(value) & PERSONAL, ast.unparse(value)


def test_there_are_lines_to_read():
    assert len(list(log_calls())) > 30


@pytest.mark.parametrize(
    "line", ['log.info("card=%s", badge.label)', 'log.info(f"visit={code}")', 'log.info("hello %s", x)']
)
def test_negative_control(line):
    with pytest.raises(AssertionError):
        test_a_line_is_known_keys_with_nobody_s_data(ast.parse(line).body[0].value)
