"""One form of text: composed, visible, with plain line ends."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text.cleaning import clean


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Gr\u0075\u0308\u00dfe  ", "Grüße"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("017\u200b0 12\u00ad345\u206067", "0170 1234567"),
        ("a\x07b\x1bc\x7fd\x9fe\tf", "abcde\tf"),
        ("\ufeffمرحبا\u200f", "مرحبا"),
        ("x\U000e0041y\ufe0f", "xy"),
        ("kein \u200b", "kein"),
    ],
)
def test_cleaning(raw: str, expected: str) -> None:
    """Composes letters, unifies line ends, removes what is not seen."""
    assert clean(raw) == expected


@given(st.text())
def test_cleaning_is_idempotent_and_leaves_nothing_invisible(text: str) -> None:
    """A second cleaning changes nothing, and no control character but tab and line feed is left."""
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not {c for c in cleaned if unicodedata.category(c) == "Cc"} - {"\n", "\t"}
    assert not set(cleaned) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200e\u200f")
