"""Streaming signal processing: every stage has the one shape of stream.py.

Names are loaded when first used: scipy costs a second and 60 MiB at import and must stay off the way to READY.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.dsp.auscultation import AuscultationDenoiser as AuscultationDenoiser
    from agent.dsp.auscultation import HeartSounds as HeartSounds
    from agent.dsp.ecg import EcgFilter as EcgFilter
    from agent.dsp.oximetry import Oximeter as Oximeter
    from agent.dsp.pleth import PlethSmoother as PlethSmoother
    from agent.dsp.pleth import PulseDetector as PulseDetector
    from agent.dsp.quality import EcgQuality as EcgQuality
    from agent.dsp.quality import PlethQuality as PlethQuality
    from agent.dsp.rpeaks import RPeakDetector as RPeakDetector

_HOME = {
    "AuscultationDenoiser": "auscultation",
    "EcgFilter": "ecg",
    "EcgQuality": "quality",
    "HeartSounds": "auscultation",
    "Oximeter": "oximetry",
    "PlethQuality": "quality",
    "PlethSmoother": "pleth",
    "PulseDetector": "pleth",
    "RPeakDetector": "rpeaks",
}
__all__ = [  # noqa: PLE0604 - the names of the table
    *_HOME,
]


def __getattr__(name: str) -> Any:
    """Load a stage's module when its name is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
