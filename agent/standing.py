"""Which stream stands for a signal: one rule, for the sweeps of the pages and for the stages behind them."""

from collections.abc import Container, Iterable

from agent.model import Signal, Stream

STAND_INS = {Signal.PLETH: (Signal.INFRARED,)}
"""What is shown in a signal's place where it does not come: infrared light falls and rises with the pulse too."""


def stands_for(signal: Signal, streams: Iterable[Stream], came: Container[str]) -> Stream | None:
    """Of the streams that can stand for `signal`, itself preferred, the first that came; before any came, the first.

    `came` has the names of those that gave something. A pleth that is described and never comes (a HealthyPi 5, by its
    firmware) is none.
    """
    streams = tuple(streams)
    fitting = [one for kind in (signal, *STAND_INS.get(signal, ())) for one in streams if one.signal is kind]
    return next((one for one in fitting if one.name in came), fitting[0] if fitting else None)
