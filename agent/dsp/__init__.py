"""Streaming signal processing: every stage has the one shape of stream.py.

Importing this costs a second and 50 MiB (scipy): the agent does it after READY, in a thread.
"""

from agent.dsp import light_scipy as light_scipy
from agent.dsp.auscultation import AuscultationDenoiser, HeartSounds
from agent.dsp.ecg import EcgFilter
from agent.dsp.oximetry import Oximeter
from agent.dsp.pleth import PlethSmoother, PulseDetector
from agent.dsp.quality import EcgQuality, PlethQuality
from agent.dsp.rpeaks import RPeakDetector

__all__ = [
    "AuscultationDenoiser",
    "EcgFilter",
    "EcgQuality",
    "HeartSounds",
    "Oximeter",
    "PlethQuality",
    "PlethSmoother",
    "PulseDetector",
    "RPeakDetector",
]
