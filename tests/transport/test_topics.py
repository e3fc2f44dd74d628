"""Topics: `besace/v1/<device>/up|down/<name>`, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.transport.topics import UP_FILTER, Down, Topic, Up, down_filter, is_device, parse


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("besace/v1/sac-04/up/live", Topic("sac-04", Up.LIVE)),
        ("besace/v1/sac-04/up/backlog", Topic("sac-04", Up.BACKLOG)),
        ("besace/v1/sac-04/up/state", Topic("sac-04", Up.STATE)),
        ("besace/v1/sac-04/up/time", Topic("sac-04", Up.TIME)),
        ("besace/v1/sac-04/down/receipt", Topic("sac-04", Down.RECEIPT)),
        ("besace/v1/sac-04/down/command", Topic("sac-04", Down.COMMAND)),
        ("besace/v1/sac-04/down/time", Topic("sac-04", Down.TIME)),
    ],
)
def test_every_topic_is_written_and_read(text, topic):
    assert parse(text) == topic
    assert str(topic) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "besace", "besace/v1/sac-04", "besace/v1/sac-04/up", "besace/v1/sac-04/up/live/",
        "besace/v2/sac-04/up/live",
        "besace/v1/sac-04/up/receipt", "besace/v1/sac-04/down/live", "besace/v1/sac-04/side/live",
        "besace/v1/SAC-04/up/live", "besace/v1/sac_04/up/live", "besace/v1//up/live", "besace/v1/+/up/live",
        "besace/v1/" + "a" * 33 + "/up/live", "/besace/v1/sac-04/up/live", "besace/v1/sac-04/up/LIVE",
        "besace/v1/säc/up/live", "besace/v1/١/up/live",
    ],
)  # fmt: skip
def test_what_is_no_topic_of_ours(text):
    assert parse(text) is None


@given(st.text(max_size=60))
def test_any_text_parses_to_itself_or_to_nothing(text):
    topic = parse(text)
    assert topic is None or str(topic) == text


@pytest.mark.parametrize("name", ["a", "sac-04", "0", "-", "a" * 32])
def test_a_device_id_is_one_topic_level(name):
    assert is_device(name)


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "a.b", "*", ">", "#", "+", "a" * 33, "sac\n", 'a"'])
def test_what_could_reach_beyond_its_level_is_no_device_id(name):
    assert not is_device(name)


def test_filters():
    assert down_filter("sac-04") == "besace/v1/sac-04/down/#"
    assert UP_FILTER == "besace/v1/+/up/#"
