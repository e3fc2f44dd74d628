"""Besace: the agent inside a connected medical backpack."""

__version__ = "0.1.0"
