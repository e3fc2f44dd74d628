"""The probe: a row of its own, and the receipt for exactly that row."""

import asyncio

import pytest

from agent.errors import StateError
from agent.probe import probe_hub


class Bag:
    """A recorder that marks row 7, and the receipts that have come."""

    def __init__(self, receipted=()):
        self.rows = set(receipted)

    async def mark(self):
        return b"epoch!", 7

    def is_receipted(self, epoch, seq):
        return (epoch, seq) in self.rows


def test_the_receipt_of_its_own_row_is_waited_for():
    bag = Bag({(b"epoch!", 6)})

    async def run():
        asyncio.get_running_loop().call_later(0.1, bag.rows.add, (b"epoch!", 7))
        return await probe_hub(bag, bag, lambda: "")

    assert 0.05 < asyncio.run(run()) < 5


@pytest.mark.parametrize(("error", "said"), [("no route", "no route"), ("", "the hub does not")])
def test_no_receipt_says_why(error, said):
    bag = Bag({(b"epoch!", 6), (b"other!", 7)})
    with pytest.raises(StateError, match=said):
        asyncio.run(probe_hub(bag, bag, lambda: error, within_s=0.1))
