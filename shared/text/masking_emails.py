"""Finds e-mail addresses: as written, and as spoken ("lena punkt hoffmann at gmx punkt de", "l.h(at)posteo.de")."""

import re
from typing import Final

from shared.text.masking_spans import Span

PLACEHOLDER: Final = "[EMAIL]"

_SPOKEN_DOT: Final = r"(?:punkt|dot|point|nokta|точка|крапка|نقطة)"
_SPOKEN_AT: Final = r"(?:at|ät|et|klammeraffe|собака|равлик|آت)"
_BRACKETED_AT: Final = r"\s?[(\[{<]\s?(?:at|ät|@)\s?[)\]}>]\s?"
_BRACKETED_DOT: Final = rf"\s?[(\[{{<]\s?(?:{_SPOKEN_DOT}|\.)\s?[)\]}}>]\s?"
_LOCAL: Final = r"[\w.!#$%&'*+/=?^`{|}~-]+"
_DOT: Final = rf"(?:\.|{_BRACKETED_DOT}|\s{_SPOKEN_DOT}\s)"

# Fails closed: whatever stands on both sides of an @ is taken, even when the domain is not well formed. Every pattern
# begins only where a word begins: otherwise a long word would be tried from each of its letters.
_WORD: Final = r"[^\s@<>()\[\],;:\"]"
_WRITTEN: Final = re.compile(
    rf"(?<!{_WORD})(?:{_WORD}+\s?@\s?[\w-]+(?:\.[\w-]+)+|{_WORD}+@(?:{_WORD}*[^\s@<>()\[\],;:\".!?])?)"
)
_BRACKETED: Final = re.compile(
    rf"(?<![\w.!#$%&'*+/=?^`{{|}}~-]){_LOCAL}{_BRACKETED_AT}[\w-]+(?:{_DOT}[\w-]+)*", re.IGNORECASE
)
# Bounded: from each of many words "a dot b dot …" would be followed to the end.
_SPOKEN: Final = re.compile(
    rf"(?<![\w.+-])\w[\w+-]*(?:(?:\s{_SPOKEN_DOT}\s|\.|\s(?:minus|unterstrich|underscore|dash)\s)[\w+-]+){{0,6}}"
    rf"\s{_SPOKEN_AT}\s[\w-]+(?:\s{_SPOKEN_DOT}\s[\w-]+){{1,6}}",
    re.IGNORECASE,
)
_HINT: Final = re.compile(rf"[(\[{{<]\s?(?:at|ät)\s?[)\]}}>]|\s{_SPOKEN_AT}\s", re.IGNORECASE)


def find_emails(text: str) -> list[Span]:
    """Spans of all addresses in ``text``, without overlap."""
    spans: list[Span] = []
    if "@" in text:
        spans += ((found.start(), found.end(), PLACEHOLDER) for found in _WRITTEN.finditer(text))
    if _HINT.search(text):
        for pattern in (_BRACKETED, _SPOKEN):
            for found in pattern.finditer(text):
                if all(found.end() <= start or found.start() >= end for start, end, _ in spans):
                    spans.append((found.start(), found.end(), PLACEHOLDER))
    return spans
