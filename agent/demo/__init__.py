"""A whole bag, its broker and its hub on one machine; everything is real except the patient and the radio."""

from agent.demo.show import demo

__all__ = ["demo"]
