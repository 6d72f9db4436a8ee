"""Finds phone numbers as people write them, and leaves dates, times and amounts of money alone.

A number counts when it is dialled like one (``+``, ``00``, ``0``), when a word announces it, or when it is valid in one
of the countries whose languages our clients speak. Not every run of digits is looked up: that would cost 0.2 ms a text.
"""

import re
from collections.abc import Iterator
from typing import Final

import phonenumbers

from shared.text.masking_spans import MASKED, Span

PLACEHOLDER: Final = "[PHONE]"

_REGIONS: Final = ("DE", "TR", "UA", "RU", "SY")
_FEWEST: Final = 6
_CERTAIN: Final = 9
"""From so many digits on, a number with a leading zero is masked without asking whether it is in service."""
_INTERNATIONAL: Final = range(10, 14)

_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_YEAR: Final = r"(?:19\d{2}|20\d{2}|\d{2})"
_HOUR: Final = r"(?:[01]?\d|2[0-4])[.:][0-5]\d"
_CURRENCY: Final = r"(?:€|euro?s?\b|eur\b|cent\b|usd\b|\$|tl\b|₺|lira\b|грн|гривень|₴|руб|₽|евро|євро|يورو)"
_NO_PHONE: Final = re.compile(
    rf"(?<!\d)(?<!\d[./-])(?:"
    rf"{_DAY}\s?\.\s?{_MONTH}\s?\.\s?{_YEAR}(?!\d)(?![./-]\d)"  # 24.12.2026, 24. 12. 26
    rf"|{_DAY}/{_MONTH}/{_YEAR}(?!\d)(?![./-]\d)"
    rf"|{_DAY}-{_MONTH}-(?:19|20)\d{{2}}(?!\d)(?![./-]\d)"
    rf"|(?:19|20)\d{{2}}[-./_]{_MONTH}[-./_]{_DAY}(?!\d)"  # 2026-12-24
    rf"|{_HOUR}\s?(?:-|–|bis|to)\s?{_HOUR}(?!\d)"  # 08.00-12.00
    rf"|{_HOUR}(?:\s?(?:uhr|h)\b|(?::[0-5]\d)(?!\d))"
    rf"|\d[\d.,\s]{{0,15}}\d\s?{_CURRENCY}"
    rf")",
    re.IGNORECASE,
)
_SEPARATOR: Final = r"(?:\s?[-‐‑‒–—−/()_]{1,2}\s?[(]?|[ \t\u00a0\u2009\u202f\n]{1,2}[(]?|\.(?=\d)|·)"
# Two capitals and a hyphen before it make an office of the catalogue ("JC-001"), never a dialled number.
_RUN: Final = re.compile(rf"(?<![\d+])(?<!\b[A-Z][A-Z]-)(?:\+\s?|\(\s?\+?\s?)?\d(?:{_SEPARATOR}?\d)*")
_GLUED: Final = re.compile(r"(?:[^\W\d]|[A-Za-z]-)\Z")
_ANNOUNCED: Final = re.compile(
    r"(?:tel|fon|phone|handy|mobil|fax|whats|signal|nummer lautet|erreichbar|erreichen|rufen|ruft|anruf|call|reach|"
    r"numara|arayın|cep|тел|номер|звон|дзвон|هاتف|جوال|رقم|اتصل)[^\d\x01.!?\n]{0,25}$",
    re.IGNORECASE,
)
_ANNOUNCED_BEFORE: Final = 40


def find_phones(text: str) -> list[Span]:
    """Spans of all phone numbers in ``text``, without overlap."""
    return [(start, end, PLACEHOLDER) for start, end in _phones(_NO_PHONE.sub(_blank, text))]


def _blank(found: re.Match[str]) -> str:
    return MASKED * len(found[0])


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for run in _RUN.finditer(text):
        digits = "".join(character for character in run[0] if character.isdigit())
        if len(digits) >= _FEWEST and _is_phone(text, run, digits):
            # a bracket that does not close inside the number belongs to the sentence
            is_aside = run[0].startswith("(") and run[0].count("(") > run[0].count(")")
            yield run.start() + is_aside, run.end()


def _is_phone(text: str, run: re.Match[str], digits: str) -> bool:
    if "+" in run[0] or (digits[0] == "0" and len(digits) >= _CERTAIN) or _is_announced(text, run.start()):
        return True
    # What hangs on a word is a number of a client, a version or a file, unless it is dialled or announced.
    if _GLUED.search(text, max(0, run.start() - 2), run.start()):
        return False
    if digits[0] == "0":
        return _is_valid(digits, ("DE",))
    if run[0].strip().isdigit() or len(digits) not in _INTERNATIONAL:
        return False
    return _is_valid("+" + digits, (None,)) or _is_valid(digits, _REGIONS)


def _is_announced(text: str, at: int) -> bool:
    return _ANNOUNCED.search(text, max(0, at - _ANNOUNCED_BEFORE), at) is not None


def _is_valid(digits: str, regions: tuple[str | None, ...]) -> bool:
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(digits, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
