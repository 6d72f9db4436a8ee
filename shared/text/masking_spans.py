"""What the detectors of masking share: a span and the sign for characters that are masked already."""

from typing import Final

Span = tuple[int, int, str]
"""Start and end (exclusive) in code points, and the placeholder to put there."""

MASKED: Final = "\x01"
"""Stands for a masked character in the working copy: no word, no digit, no separator."""
