"""The demonstration: real input through the running stack, and what came of it."""
