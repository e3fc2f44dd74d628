"""From model objects to the hub: wire format, sealing, delivery."""
