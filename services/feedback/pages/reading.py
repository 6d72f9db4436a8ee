"""What a form sends, read forgivingly: whatever is wrong is shown again, nothing written is lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from services.feedback.domain.receipts import is_idempotency_key
from services.feedback.domain.report import LONGEST_TEXT, Submission
from services.feedback.texts import Texts
from shared.events.vocabulary import Channel, Driver

_MOST_FIELDS: Final = 60
_RATINGS: Final = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5}


@dataclass(frozen=True, slots=True)
class Entered:
    """What stands in the form. ``drivers`` and ``rating`` as sent."""

    office: str = ""
    service: str = "other"
    rating: str = ""
    drivers: tuple[str, ...] = ()
    text: str = ""
    lang: str = ""
    key: str = ""


def fields_of(body: bytes) -> Mapping[str, list[str]]:
    """Fields of an ``application/x-www-form-urlencoded`` body; what is not UTF-8 becomes a replacement character."""
    try:
        return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:  # more fields than any form of ours has
        return {}


def entered_in(fields: Mapping[str, list[str]]) -> Entered:
    """The form as it was sent. NUL, which no keyboard types, is dropped."""

    def first(name: str) -> str:
        return fields.get(name, [""])[0].replace("\x00", "")

    key = first("key")
    return Entered(
        office=first("office"),
        service=first("service") or "other",
        rating=first("rating"),
        drivers=tuple(fields.get("drivers", [])),
        text=first("text"),
        lang=first("lang"),
        key=key if is_idempotency_key(key) else "",
    )


def errors_of(entered: Entered, texts: Texts) -> dict[str, str]:
    """What can't be sent as it is, by field; offices and services are checked against the catalogue later."""
    errors = {}
    if entered.rating and entered.rating not in _RATINGS:
        errors["rating"] = texts.error_rating
    if len(entered.text) > LONGEST_TEXT:
        errors["text"] = texts.error_text
    if not set(entered.drivers).issubset(Driver):
        errors["drivers"] = texts.error_drivers
    return errors


def submission_of(entered: Entered, texts: Texts, accept_language: str | None) -> Submission:
    """The report that the form asks for; only for a form without errors."""
    return Submission(
        office=entered.office,
        service=entered.service,
        channel=Channel.WEB,
        kind=None,
        lang=entered.lang or (None if accept_language else texts.lang),
        accept_language=accept_language,
        rating=_RATINGS.get(entered.rating),
        drivers=tuple(Driver(driver) for driver in entered.drivers),
        text=entered.text,
        joins_incident=None,
    )
