"""Load scipy.signal without scipy.stats: a third of its import time and 19 MiB less.

scipy.signal imports scipy.stats for one function, `scoreatpercentile`, in its wavelet peak finder, which no stage uses.
While scipy.signal is imported, a stand-in answers for scipy.stats; it is gone right after, and the one function handed
out by it loads the real one when called. Where either is loaded already, nothing is done.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def _scoreatpercentile(*args: Any, **kwargs: Any) -> Any:
    return import_module("scipy.stats").scoreatpercentile(*args, **kwargs)


def load() -> None:
    """Import scipy.signal, light where possible."""
    if "scipy.stats" in sys.modules or "scipy.signal" in sys.modules:
        return
    stand_in = ModuleType("scipy.stats")
    stand_in.scoreatpercentile = _scoreatpercentile  # type: ignore[attr-defined]
    sys.modules["scipy.stats"] = stand_in
    try:
        import_module("scipy.signal")
    except ImportError:  # another scipy, that wants more of scipy.stats: it gets it
        for name in [name for name in sys.modules if name.startswith("scipy.signal")]:
            del sys.modules[name]
    finally:
        del sys.modules["scipy.stats"]
    import_module("scipy.signal")


load()
