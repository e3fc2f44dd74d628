"""«Écoute»: whether the microphone is open, where the bell lies, and when it closes by itself.

Pure. Sites are the four places of the heart's valves and four fields of the lungs, by the names that fr.toml knows;
a stream of sound carries its site as its `lead`, so that whoever hears it knows what it is and how to treat it.
"""

from dataclasses import replace

from agent.model import Analysis, Signal, Stream

CLOSES_AFTER_S = 120.0
MODE_AT = dict.fromkeys(("aortic", "pulmonary", "tricuspid", "mitral"), "heart") | dict.fromkeys(
    ("lung_right_apex", "lung_left_apex", "lung_right_base", "lung_left_base"), "lung"
)
ANYWHERE = "wide"  # the mode when nobody has said where


class Listening:
    """The microphone is open from `open` to `close`, or until 2 min have passed without a body sound or a gesture.

    A body sound is one in which heart sounds are found. (Deviation: breath alone, without any heart sound under the
    bell, is not told from a room; choosing the next site, as one does on a chest, goes on for another 2 min.)
    """

    def __init__(self) -> None:
        self.on = False
        self.site: str | None = None
        self._sign_ns = 0

    def open(self, now_ns: int) -> None:
        """Open it; where the bell lies is not known yet."""
        self.on, self.site, self._sign_ns = True, None, now_ns

    def close(self) -> None:
        """Close it; the next patient's bell may lie anywhere."""
        self.on, self.site = False, None

    def at(self, site: str, now_ns: int) -> None:
        """The bell lies at `site` now. Raises ValueError for an unknown site."""
        if site not in MODE_AT:
            raise ValueError(f"unknown site {site!r}; known: {', '.join(MODE_AT)}")
        self.site, self._sign_ns = site, now_ns

    def heard(self, found: Analysis, now_ns: int) -> None:
        """Take what the signal processing found in the sound."""
        if found.sounds:
            self._sign_ns = now_ns

    def due(self, now_ns: int) -> bool:
        """Whether it is open for nothing."""
        return self.on and now_ns - self._sign_ns > CLOSES_AFTER_S * 1e9

    def placed(self, stream: Stream) -> Stream:
        """Give the stream as it is now: sound with its site."""
        return replace(stream, lead=self.site) if stream.signal is Signal.SOUND else stream


def mode_at(site: str | None) -> str:
    """How sound from a site is treated: "heart", "lung" or "wide"."""
    return MODE_AT.get(site or "", ANYWHERE)
