"""Calibration curves of raw red/infrared sensors: SpO2 as a polynomial of the ratio of ratios, as data.

A curve belongs to one sensor model with its LEDs and its site. Only a curve established on people, against blood
gases, for that very model is `validated`; with any other one screens show «Capteur non étalonné», never a number.
No sensor the bag knows today has a validated curve in public.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Curve:
    """SpO2 in % = polynomial of the ratio R = (red AC/DC) / (infrared AC/DC), highest power first."""

    name: str
    coefficients: tuple[float, ...]
    validated: bool
    source: str

    def __call__(self, ratio: float) -> float:
        """SpO2 in % of a ratio of ratios, not limited to 100."""
        pct = 0.0
        for coefficient in self.coefficients:
            pct = pct * ratio + coefficient
        return pct


_TABLE = (
    Curve(
        "default",
        (-30.7, 109.1),
        validated=False,
        source="a line through fingertip recordings in induced hypoxia (OxiWear, one subject, 70 to 98 %), and below "
        "the textbook line everywhere: for tests and research",
    ),
    Curve(
        "linear",
        (-25.0, 110.0),
        validated=False,
        source="the textbook line (Webster, Design of Pulse Oximeters, 1997): reads high, which hides hypoxia",
    ),
    Curve(
        "quad",
        (-45.060, 30.354, 94.845),
        validated=False,
        source="Maxim Integrated, MAX30102 example code: for its evaluation board, reads high elsewhere",
    ),
)

#: By name; a sensor model with a validated curve gets a row here under the model name its driver reports.
CURVES: Mapping[str, Curve] = MappingProxyType({curve.name: curve for curve in _TABLE})


def curve_for(model: str | None) -> Curve:
    """Return the sensor model's curve, or the default one, which is not validated."""
    return CURVES.get(model or "default", CURVES["default"])
