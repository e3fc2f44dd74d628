"""What of the camera a watching doctor sees: five frames a second, in a visit, while somebody looks."""

import pytest

from agent.drivers.camera import Frame
from agent.model import Visit
from agent.sharing import Sharing
from agent.transport.messages import Preview
from agent.transport.wire import PREVIEW_BYTES

S = 1_000_000_000


class Bag:
    def __init__(self):
        self.visit = Visit(b"v" * 16, "0042", 0)
        self.watched = True
        self.sent = []
        self.sharing = Sharing(
            "camera", visit=lambda: self.visit, watched=lambda: self.watched, show=self.sent.append
        )  # fmt: skip

    def camera(self, seconds, fs_hz=10, jpeg=b"jpeg"):
        for k in range(round(seconds * fs_hz)):
            self.sharing(Frame(S + round(k * S / fs_hz), jpeg))


@pytest.mark.parametrize("fs_hz", [5, 9.7, 10, 15, 30])
def test_a_doctor_sees_at_least_five_frames_a_second_and_no_flood(fs_hz):
    bag = Bag()
    bag.camera(10, fs_hz)
    assert 50 <= len(bag.sent) <= 56


def test_what_is_shared_says_whose_it_is():
    bag = Bag()
    bag.camera(0.1)
    assert bag.sent == [Preview(S // 1000, b"v" * 16, "camera", b"jpeg")]


@pytest.mark.parametrize("missing", ["visit", "doctor"])
def test_nothing_leaves_without_a_visit_or_a_doctor(missing):
    bag = Bag()
    if missing == "visit":
        bag.visit = None
    else:
        bag.watched = False
    bag.camera(5)
    assert bag.sent == []


def test_a_picture_too_big_for_a_message_is_counted():
    bag = Bag()
    bag.camera(0.5, jpeg=bytes(PREVIEW_BYTES + 1))
    assert (bag.sent, bag.sharing.too_big) == ([], 5)
