"""Instruments: bytes in, model objects out."""
