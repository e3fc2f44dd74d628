"""Virtual instruments for demo and tests: recorded signals in the instruments' own bytes."""
