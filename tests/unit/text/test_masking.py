"""Masking of what has a form: found wherever it stands, and nothing else touched."""

import json
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text.cleaning import clean
from shared.text.masking import mask

PRIVATE = Path("tests/data/pii.jsonl")
COMPLAINTS = Path("deploy/demo/complaints.jsonl")
PLACEHOLDERS = {
    "EMAIL": "[EMAIL]",
    "PHONE": "[PHONE]",
    "IBAN": "[IBAN]",
    "TAXID": "[TAX_ID]",
    "PENSIONNO": "[PENSION_NUMBER]",
}


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("identifier", "placeholder"),
    [
        ("lena.hoffmann@gmx.de", "[EMAIL]"),
        ("l.hoffmann(at)posteo.de", "[EMAIL]"),
        ("lena [at] posteo [punkt] de", "[EMAIL]"),
        ("lena punkt hoffmann at gmx punkt de", "[EMAIL]"),
        ("jürgen@müller-straße.de", "[EMAIL]"),
        ("lena @ gmx.de", "[EMAIL]"),
        ("lena＠gmx.de", "[EMAIL]"),
        ("0170 1234567", "[PHONE]"),
        ("0170-123 45 67", "[PHONE]"),
        ("030/4455667", "[PHONE]"),
        ("(089) 23 45 67-12", "[PHONE]"),
        ("+49 (0) 30 901820", "[PHONE]"),
        ("0049 170 1234567", "[PHONE]"),
        ("0532 123 45 67", "[PHONE]"),
        ("8 (912) 345-67-89", "[PHONE]"),
        ("+380 44 123 45 67", "[PHONE]"),
        ("٠١٧٠ ١٢٣٤٥٦٧", "[PHONE]"),
        ("０１７０ １２３４５６７", "[PHONE]"),
        ("0 1 7 0 1 2 3 4 5 6 7", "[PHONE]"),
        ("DE89 3704 0044 0532 0130 00", "[IBAN]"),
        ("DE89370400440532013000", "[IBAN]"),
        ("de89-3704-0044-0532-0130-00", "[IBAN]"),
        ("DE89 3704 0044 0532 0130 01", "[IBAN]"),
        ("TR18 0006 2001 1900 0006 6723 15", "[IBAN]"),
        ("GB29 NWBK 6016 1331 9268 19", "[IBAN]"),
        ("NL91ABNA0417164300", "[IBAN]"),
        ("49729806357", "[TAX_ID]"),
        ("49 729 806 357", "[TAX_ID]"),
        ("21/815/08150", "[TAX_ID]"),
        ("65 170839 J 003", "[PENSION_NUMBER]"),
        ("65170839J003", "[PENSION_NUMBER]"),
    ],
)
@pytest.mark.parametrize("sentence", ["{}", "Bitte {} notieren.", "({})", "Es geht um {}, danke!", "a\n{}\nb"])
def test_identifiers_become_their_placeholder(identifier: str, placeholder: str, sentence: str) -> None:
    """An identifier in any usual spelling and surrounding is replaced as a whole, and only it."""
    assert mask(clean(sentence.format(identifier))) == clean(sentence.format(placeholder))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Tel01712345678", "Tel[PHONE]"),
        ("meine Nummer ist0171 2345678.", "meine Nummer ist[PHONE]."),
        ("Handy-0171 2345678", "Handy-[PHONE]"),
        ("0171_2345678", "[PHONE]"),
        ("unter0171/2345678erreichbar", "unter[PHONE]erreichbar"),
        ("Mobil+491712345678", "Mobil[PHONE]"),
        ("JC-001 0171 2345678", "JC-001 [PHONE]"),
        ("IBANDE89370400440532013000", "IBAN[IBAN]"),
        ("ibande89370400440532013000", "iban[IBAN]"),
        ("RV65170839J003", "RV[PENSION_NUMBER]"),
        ("Rentennummer65 170839 J 003", "Rentennummer[PENSION_NUMBER]"),
    ],
)
def test_identifiers_glued_to_a_word_are_found(text: str, masked: str) -> None:
    """A missing space hides nothing."""
    assert mask(clean(text)) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Raum02.114, Zimmer012.345, Zi.0.123",
        "Version2.3.4567890, v01.02.03, v1.2.3.4, 0x80070005",
        "seit01.02.2026, am01.02.2026um08:30, Antrag20261102",
        "BG-Nr. 31402BG0012345, 12345//0012345, BG-12345//0012345, 12345BG0001234",
        "IMG_20261102_101112.jpg, Screenshot_2026-11-02-101112, Formular_0123456.pdf",
        "Kundennummer 123D456789, ABC-0123456, AZ2026-0012345, S12AS345/26, D-01067 Dresden",
        "JC-001 12 345 678, JC-012 020, Kunde 12 345 678 901 23456",
    ],
)
def test_numbers_glued_to_a_word_that_are_no_identifiers_stay(text: str) -> None:
    """Rooms, versions, dates, files and numbers of offices' own are what staff recognise a fault by."""
    assert mask(clean(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "Termin am 01.02.2026 um 08:30 Uhr in Zimmer 0.123, Raum 02.114",
        "am 1. 2. 2026, am 24/12/2026, am 2026-01-02 10:11:12",
        "Öffnungszeiten 08:00 - 12:30 und 13.00-16.00 Uhr",
        "12.01.-15.02.2026, Seit 01.01.2026 20.02.2026 30.03.2026",
        "1.234.567,89 Euro, 500 000 Euro, 0,50 €, 1200 TL, 12 000 грн",
        "Nach § 31 SGB II wurden 120,50 Euro gekürzt.",
        "Fehler 504 auf Seite 3, Fehler 0x80070005 bei 98 %",
        "PLZ 01067 Dresden, 10969 Berlin",
        "Aktenzeichen S 12 AS 345/26",
        "Team 421 in JC-001, Gebäude 7, 3. Stock",
        "2024/2025 und 2025/2026 wurden 3 / 4 Anträge gestellt",
        "Ich habe @jobcenter geschrieben.",
        "Ich rufe seit 14 Tagen 3 mal am Tag an, um 10.30, 11.45 und 12.15",
        "Rufen Sie bis 31.12.2026 an",
        "DE steht für Deutschland, es 12 Monate dauert",
        "Onlineformularfehler",
    ],
)
def test_dates_money_times_and_short_numbers_stay(text: str) -> None:
    """What carries the sense of a complaint is left alone."""
    assert mask(clean(text)) == text


def test_labelled_sentences() -> None:
    """Every identifier of this issue's types in the labelled sentences is gone, and named by its type."""
    found: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for row in rows(PRIVATE):
        text = str(row["text"])
        masked = mask(clean(text))
        for start, end, kind in row["spans"]:  # type: ignore[attr-defined]
            if kind in PLACEHOLDERS:
                wanted[kind] += 1
                found[kind] += text[start:end] not in masked and PLACEHOLDERS[kind] in masked
    assert wanted == Counter(EMAIL=5, PHONE=6, IBAN=3, TAXID=1, PENSIONNO=1)
    assert found == wanted


def test_complaints_keep_their_words() -> None:
    """In the complaints, nothing but the labelled identifiers is masked."""
    for row in rows(COMPLAINTS):
        text = clean(str(row["text"]))
        masked = mask(text)
        identifiers = [one for one in row["pii"] if re.search(r"\d{4}", one)]  # type: ignore[attr-defined]
        assert masked == text or identifiers
        assert masked.count("[") - text.count("[") <= len(identifiers)


def test_two_neighbours_are_both_masked() -> None:
    """Identifiers that touch do not shield one another."""
    assert mask("0170 1234567 DE89370400440532013000") == "[PHONE] [IBAN]"
    assert mask("a@b.de,c@d.com") == "[EMAIL],[EMAIL]"
    assert (
        mask("Tel 0170 1234567, IBAN DE89 3704 0044 0532 0130 00, lena@gmx.de") == "Tel [PHONE], IBAN [IBAN], [EMAIL]"
    )


digits = st.text("0123456789", min_size=1, max_size=12)
scraps = st.sampled_from(
    [" ", ".", "-", "/", ",", "\n", "@", "+", "(", ")", "DE", " at ", " punkt ", "J", "Tel ", "Euro", "€"]
)
texts = st.lists(st.one_of(digits, scraps, st.text(max_size=8)), max_size=30).map("".join)


@given(texts)
def test_masking_is_idempotent_and_bounded(text: str) -> None:
    """A masked text has nothing left to mask, and is at most four times as long."""
    cleaned = clean(text)
    masked = mask(cleaned)
    assert mask(masked) == masked
    assert len(masked) <= 4 * len(cleaned)


@given(
    before=st.sampled_from(["", "Bitte ", "(", "Meine Nummer: ", "тел ", "am 01.02.2026 "]),
    after=st.sampled_from(["", ".", ", danke", ") und", "\n", " um 10 Uhr"]),
    identifier=st.one_of(
        st.from_regex(r"[a-z]{1,8}\.[a-z]{2,8}@[a-z]{2,8}\.(de|com|org)", fullmatch=True),
        st.from_regex(r"01[567][0-9][ /-]?[0-9]{7,8}", fullmatch=True),
        st.from_regex(r"\+49 [1-9][0-9]{2} [0-9]{6,7}", fullmatch=True),
        st.from_regex(r"DE[0-9]{2}( ?[0-9]{4}){4} ?[0-9]{2}", fullmatch=True),
        st.from_regex(r"[0-9]{2} ?[0-3][0-9][01][0-9][0-9]{2} ?[A-Z] ?[0-9]{3}", fullmatch=True),
    ),
)
def test_the_identifier_is_nowhere_in_the_result(before: str, identifier: str, after: str) -> None:
    """Whatever stands around it, no run of four characters of the identifier's digits survives."""
    masked = mask(clean(before + identifier + after))
    assert identifier not in masked
    assert not re.search(r"\d{4}", masked.replace("2026", ""))


@pytest.mark.parametrize(
    "text",
    [
        *("1" * 10_000, "1 " * 5000, "a@" * 5000, "0" * 10_000, "(" * 10_000, "a.b punkt " * 1000, "DE12 " * 2000),
        *("x" * 9_999 + "@", "x" * 9_990 + "(at)", "a.b-c" * 2000 + " at ", "1" * 9000 + " tel", "1,1 " * 2500),
        *("steuer " * 1400 + "1" * 9, "a at b " * 1400, "Tel " * 2500, "1.1." * 2500, "lena punkt " * 900),
        *("0-" * 5000, "steuer" * 1600, "a dot " * 1600 + " at x", "a.b " * 2500 + " at ", "a0" * 5000),
        *("_0" * 5000, "DE1" * 3300, "IBANDE12 " * 1100, "a at b dot " * 900),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """The longest allowed text in the worst shape costs at most a quarter of a second of the shared loop."""
    started = time.perf_counter()
    mask(text)
    assert time.perf_counter() - started < 0.25


def test_masking_is_fast() -> None:
    """On average 200 characters of a complaint take less than 0.3 ms; ten times less on an idle machine."""
    complaints = [str(row["text"]) for row in rows(COMPLAINTS)]
    best = min(_seconds(complaints) for _ in range(5))
    assert best / sum(map(len, complaints)) * 200 < 0.0003


def _seconds(texts_to_mask: list[str]) -> float:
    started = time.perf_counter()
    for text in texts_to_mask:
        mask(text)
    return time.perf_counter() - started
