"""Receipt codes: derived, readable aloud, forgiving of spelling, unforgiving of typing errors."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.domain.receipts import (
    MistypedReceipt,
    ReceiptKeys,
    format_receipt,
    is_idempotency_key,
    parse_receipt,
)

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
receipts = st.binary(min_size=10, max_size=10)


@given(receipts)
def test_a_code_is_read_back(receipt: bytes) -> None:
    """80 bits, four groups of four and a check character, in Crockford's alphabet."""
    code = format_receipt(receipt)
    assert re.fullmatch(rf"([{ALPHABET}]{{4}}-){{4}}[{ALPHABET}]", code)
    assert parse_receipt(code) == receipt


@given(receipts)
def test_spelling_does_not_matter(receipt: bytes) -> None:
    """Case, hyphens, spaces and the confusable letters O, I and L are forgiven."""
    code = format_receipt(receipt)
    assert parse_receipt(code.lower().replace("-", " ")) == receipt
    assert parse_receipt(f" {code.replace('-', '').replace('0', 'o').replace('1', 'l')}\n") == receipt
    assert parse_receipt(code.replace("1", "I").replace("-", "–")) == receipt


@given(receipts, st.integers(0, 16), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(receipt: bytes, place: int, wrong: str) -> None:
    """Any single substitution, wherever it is, fails the check before any look-up."""
    typed = list(format_receipt(receipt).replace("-", ""))
    if typed[place] == wrong:
        return
    typed[place] = wrong
    with pytest.raises(MistypedReceipt):
        parse_receipt("".join(typed))


@given(receipts, st.integers(0, 16), st.integers(0, 16))
def test_two_swapped_characters_are_noticed(receipt: bytes, first: int, second: int) -> None:
    """Any two different characters that changed places fail the check, neighbours or not."""
    typed = list(format_receipt(receipt).replace("-", ""))
    if typed[first] == typed[second]:
        return
    typed[first], typed[second] = typed[second], typed[first]
    with pytest.raises(MistypedReceipt):
        parse_receipt("".join(typed))


@pytest.mark.parametrize(
    "code", ["", "-", "7Q4M", "U" * 17, "7Q4M-0ZKT-9R2C-XW8H-5-5", "ü" * 17, "７" * 17, "\x00" * 17]
)
def test_what_is_no_code_is_refused(code: str) -> None:
    """Wrong length or foreign letters are typing errors."""
    with pytest.raises(MistypedReceipt):
        parse_receipt(code)


def test_receipts_are_derived_from_key_and_secret() -> None:
    """The same idempotency key gives the same receipt; another key or another secret another one."""
    ours, theirs = ReceiptKeys.derive("a" * 32), ReceiptKeys.derive("b" * 32)
    assert ours.receipt_for(b"one") == ours.receipt_for(b"one")
    assert len({ours.receipt_for(b"one"), ours.receipt_for(b"two"), theirs.receipt_for(b"one")}) == 3


def test_every_purpose_has_a_key_of_its_own() -> None:
    """Nobody can compute one hash from another: all derived keys differ, and none is the secret."""
    keys = ReceiptKeys.derive("a" * 32)
    assert len({keys.codes, keys.lookups, keys.bodies, b"a" * 32}) == 4
    assert keys.lookup_hash(keys.receipt_for(b"one")) != keys.receipt_for(b"one")


@pytest.mark.parametrize(
    ("key", "strong"),
    [
        ("0ca96f23-0d06-4f9f-acea-dd147ee24464", True),
        ("x" * 22, True),
        ("x" * 255, True),
        ("x" * 21, False),
        ("x" * 256, False),
        ("x" * 11 + " " + "x" * 11, False),
        ("ü" * 22, False),
        ("x" * 22 + "\n", False),
    ],
)
def test_idempotency_keys_must_be_long_enough(key: str, strong: bool) -> None:
    """22 to 255 printable ASCII characters can carry 128 bits."""
    assert is_idempotency_key(key) is strong
