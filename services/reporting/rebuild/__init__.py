"""All figures anew from the beginning of the log, beside the live ones, then swapped: ``make rebuild``."""
