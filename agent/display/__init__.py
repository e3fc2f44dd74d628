"""What the nurse sees: lights, sounds and the page."""
