"""Finds IBANs of all countries, German tax ids and German pension insurance numbers."""

import re
from typing import Final

from stdnum import numdb
from stdnum.de import idnr, stnr
from stdnum.exceptions import ValidationError

from shared.text.masking_spans import Span

IBAN: Final = "[IBAN]"
TAX_ID: Final = "[TAX_ID]"
PENSION_NUMBER: Final = "[PENSION_NUMBER]"

_SEPARATOR: Final = r"[\s.\-‐‑‒–—−/:]{0,2}"

# An IBAN: country, two check digits, at least 11 characters more; where it ends, the country tells. On a word it hangs
# only without a gap ("IBANDE89"): otherwise any word that ends like a country ("Kunde 12 …") would begin one.
_IBAN_START: Final = re.compile(
    rf"(?:(?<![^\W_])([A-Za-z]{{2}}){_SEPARATOR}|([A-Za-z]{{2}}))\d{_SEPARATOR}\d(?={_SEPARATOR}[A-Za-z0-9])"
)
_IBAN_CHARACTER: Final = re.compile(rf"{_SEPARATOR}([A-Za-z0-9])")
_BBAN_PART: Final = re.compile(r"(\d+)!([nac])")
_FEWEST_DIGITS_OF_IBAN: Final = 8

_ELEVEN_DIGITS: Final = re.compile(r"(?<![\d])[1-9](?:[\s./-]?\d){10}(?![\d])")
_TAX_WORD: Final = re.compile(
    r"(?:steuer|identifikationsn|id-?nr|tax|vergi|инн\b|налог|податков|іпн\b|ضريب)[^\d\x01\n]{0,30}"
    r"(\d(?:[\s./-]{0,2}\d){9,12})(?![\s./-]?\d)",
    re.IGNORECASE,
)
_TAX_NUMBER: Final = re.compile(r"(?<![\d/])\d{2,3}\s?/\s?\d{3,4}\s?/\s?\d{4,5}(?![\d/])")

# Area (2), date of birth (6), initial of the name at birth, serial (2), check digit (Anlage zu VKVV section 2).
_PENSION: Final = re.compile(
    r"(?<!\d)\d{2}[\s./-]{0,2}(?:\d{2}[\s./-]?){2}\d{2}[\s./-]{0,2}[^\W\d_][\s./-]{0,2}\d{2}[\s./-]?\d(?!\d)"
)


def _bban_lengths() -> dict[str, int]:
    """Length of the national part by country, out of stdnum's copy of SWIFT's registry."""
    registry = numdb.get("iban")
    lengths: dict[str, int] = {}
    letters = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    for country in (first + second for first in letters for second in letters):
        bban = registry.info(country)[0][1].get("bban")
        if bban:
            lengths[country] = sum(int(count) for count, _ in _BBAN_PART.findall(bban))
    return lengths


_BBAN_LENGTHS: Final = _bban_lengths()


def find_ibans(text: str) -> list[Span]:
    """Spans of all IBANs. The check digit is not asked: a mistyped IBAN is as private as a right one."""
    spans: list[Span] = []
    at = 0
    while start := _IBAN_START.search(text, at):
        at = start.end()
        length = _BBAN_LENGTHS.get((start[1] or start[2]).upper())
        end = _end_of_iban(text, at, length) if length else None
        if end:
            spans.append((start.start(), end, IBAN))
            at = end
    return spans


def _end_of_iban(text: str, at: int, length: int) -> int | None:
    """Where the IBAN ends whose national part of ``length`` begins at ``at``; None when there is none.

    A number that is too short still counts when it is long enough to be a mistyped one.
    """
    end, digits, last_digit, digits_until_then = at, 0, at, 0
    for _ in range(length):
        found = _IBAN_CHARACTER.match(text, end)
        if not found:
            break
        end = found.end()
        if found[1].isdigit():
            digits += 1
            last_digit, digits_until_then = end, digits
    else:
        if digits >= _FEWEST_DIGITS_OF_IBAN:
            while text[end : end + 1].isdigit():
                end += 1
            return end
    return last_digit if digits_until_then >= _FEWEST_DIGITS_OF_IBAN + 3 else None


def find_tax_ids(text: str) -> list[Span]:
    """Spans of tax ids (11 digits, checksum), of tax numbers as they are written, of what a tax word announces."""
    spans: list[Span] = []
    for pattern, group, is_one in ((_TAX_WORD, 1, None), (_ELEVEN_DIGITS, 0, idnr), (_TAX_NUMBER, 0, stnr)):
        for found in pattern.finditer(text):
            start, end = found.span(group)
            if any(start < known_end and end > known_start for known_start, known_end, _ in spans):
                continue
            if is_one is None or _passes(is_one.validate, found[group]):
                spans.append((start, end, TAX_ID))
    return spans


def _passes(validate: object, number: str) -> bool:
    assert callable(validate)
    try:
        validate(number)
    except ValidationError:
        return False
    return True


def find_pension_numbers(text: str) -> list[Span]:
    """Spans of German pension insurance numbers, by their form alone: no other number looks like this."""
    return [(found.start(), found.end(), PENSION_NUMBER) for found in _PENSION.finditer(text)]
