"""What `besace wipe` does: erase from a bag that is not at work what the hub does not have of its visits."""

from agent.config import Config
from agent.errors import StateError
from agent.outbox import Lock, Outbox


def wipe(config: Config, *, sure: bool) -> str:
    """Erase every unsent record; what was done, in words. StateError while the agent runs, or when nobody is `sure`.

    Identity, configuration and custody log stay (`besace-provision retire` erases a bag for good).
    """
    lock = Lock(config.bag.state_dir)
    try:
        box = Outbox(config.bag.state_dir / "outbox.sqlite")
        try:
            counts, headers = box.counts(), sum(first == 0 for _, first, _ in box.unreceipted())
            rows = counts.rows - headers
            if rows and not sure:
                raise StateError(
                    f"{rows} rows are on board that the hub does not have: patients' measurements, and entries of the "
                    "custody log that only this bag then keeps\n"
                    "Next: let the bag send (sudo systemctl start besace), or besace wipe --unsent"
                )
            box.wipe()
        finally:
            box.close()
    finally:
        lock.release()
    return f"{rows} rows erased" if rows else "nothing was on board"
