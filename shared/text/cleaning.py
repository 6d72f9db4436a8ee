"""Brings free text into one form: NFC, plain line ends, no character that is not seen.

Invisible characters are removed, not refused: they come with copied text, and they would hide identifiers from masking
and turn the reading direction of a page.
"""

import re
import unicodedata
from typing import Final


def _character_class(*ranges: tuple[int, int]) -> str:
    return "[" + "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges) + "]"


_LINE_END: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_INVISIBLE: Final = re.compile(
    _character_class(
        (0x00, 0x08),  # C0 controls but tab and line feed
        (0x0E, 0x1F),
        (0x7F, 0x9F),  # delete and C1 controls
        (0xAD, 0xAD),  # soft hyphen
        (0x034F, 0x034F),  # grapheme joiner
        (0x061C, 0x061C),  # Arabic letter mark
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),  # Mongolian selectors
        (0x200B, 0x200F),  # zero width, left-to-right and right-to-left marks
        (0x202A, 0x202E),  # bidi embeddings and overrides
        (0x2060, 0x206F),  # word joiner, bidi isolates, deprecated format characters
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFEFF, 0xFEFF),  # byte order mark
        (0xFFA0, 0xFFA0),
        (0xFFF0, 0xFFFB),  # unassigned and interlinear annotation
        (0xFFFE, 0xFFFF),
        (0xE0000, 0xE0FFF),  # tags and further variation selectors
    )
)


def clean(text: str) -> str:
    """``text`` in NFC without invisible characters and outer white space; line ends become ``\\n``. Idempotent."""
    if text.isascii() and text.isprintable():
        return text.strip()
    visible = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    return unicodedata.normalize("NFC", visible).strip()
