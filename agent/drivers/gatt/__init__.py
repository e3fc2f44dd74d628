"""Decoders of the Bluetooth SIG's health profiles, one file a service."""
