"""Training of what ships as weights: reproducible, on data whose licences allow it. Not installed with the agent."""
