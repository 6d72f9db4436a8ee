"""Every sentence in both languages."""

import re
from dataclasses import fields
from string import Formatter

import pytest

from services.feedback.domain.story import Moment, ReceiptState
from services.feedback.texts import ENGLISH, GERMAN, Texts, texts_accepted
from shared.events.vocabulary import Driver


def sentences(texts: Texts) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields(texts):
        value = getattr(texts, field.name)
        parts = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, tuple)
            else [("", value)]
        )
        found |= {f"{field.name}.{key}": text for key, text in parts}
    return found


def test_both_languages_say_the_same_things() -> None:
    """No sentence is missing or empty, and placeholders are the same on both sides."""
    german, english = sentences(GERMAN), sentences(ENGLISH)
    assert german.keys() == english.keys()
    for key, text in german.items():
        assert text.strip()
        assert english[key].strip()
        if not key.startswith("instant"):
            assert _placeholders(text) == _placeholders(english[key]), key


@pytest.mark.parametrize("texts", [GERMAN, ENGLISH])
def test_every_word_of_the_contract_has_a_sentence(texts: Texts) -> None:
    """Drivers, states and moments are complete."""
    assert set(texts.driver_names) == set(Driver)
    assert set(texts.states) == set(ReceiptState)
    assert set(texts.moments) == set(Moment)


@pytest.mark.parametrize(
    ("header", "lang"),
    [
        (None, "de"),
        ("en", "en"),
        ("en-GB,de;q=0.5", "en"),
        ("tr,de;q=0.8,en;q=0.9", "en"),
        ("tr", "de"),
        ("de;q=0,en;q=0.1", "en"),
        ("en;q=nonsense", "de"),
        (",;,", "de"),
    ],
)
def test_the_language_of_a_page(header: str | None, lang: str) -> None:
    """The best weight among the languages we have; German when there is none."""
    assert texts_accepted(header).lang == lang


def _placeholders(text: str) -> set[str | None]:
    assert not re.search(r"%[a-zA-Z]", text)
    return {name for _, name, _, _ in Formatter().parse(text) if name}
