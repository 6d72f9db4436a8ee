"""One report as it is kept: facts and masked words, never the original."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.events.vocabulary import Cause, Channel, Driver, Kind, Language

LONGEST_TEXT: Final = 10_000
"""Characters of a report's text, as sent."""
LOWEST_GOOD_RATING: Final = 4


@dataclass(frozen=True, slots=True)
class Submission:
    """A report as it came in, its form already checked. ``text`` is the original and goes no further than this."""

    office: str
    service: str
    channel: Channel
    kind: Kind | None
    lang: str | None
    accept_language: str | None
    rating: int | None
    drivers: tuple[Driver, ...]
    text: str
    joins_incident: UUID | None


@dataclass(frozen=True, slots=True)
class Report:
    """One accepted report. ``text`` is masked and may be empty; ``submitted_at`` is UTC."""

    report_id: UUID
    office: str
    service: str
    channel: Channel
    lang: Language
    kind: Kind
    rating: int | None
    drivers: tuple[Driver, ...]
    text: str
    joins_incident: UUID | None
    cause: Cause
    blames_person: bool
    submitted_at: datetime


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """What is announced about a report, as it will be published: ``headers`` and ``payload`` are ready bytes."""

    event_id: UUID
    headers: bytes
    payload: bytes


def kind_of(kind: Kind | None, rating: int | None, *, has_text: bool) -> Kind:
    """The kind in force: what the sender says; else a rating alone is a rating, and a text is praise beside a good
    rating (4 or 5) and a complaint otherwise."""
    if kind is not None:
        return kind
    if not has_text:
        return Kind.RATING
    return Kind.PRAISE if (rating or 0) >= LOWEST_GOOD_RATING else Kind.COMPLAINT


def language_of(tag: str | None, accept_language: str | None = None) -> Language:
    """The language of a report: by its tag, else by the first choice of ``Accept-Language``; unknown is ``other``.

    ``de-easy`` is itself; of all others the primary subtag counts (``de-AT`` is ``de``), in any case of letters.
    """
    if tag is None:
        first = (accept_language or "").split(",", 1)[0]
        tag = first.split(";", 1)[0]
    return _LANGUAGES.get(tag.strip().lower()) or _LANGUAGES.get(tag.strip().lower().split("-", 1)[0], Language.OTHER)


_LANGUAGES: Final = {language.value: language for language in Language}


def canonical_body(report: Report, lang: str | None, text: str) -> bytes:
    """One byte string for all bodies that say the same, to tell a retry from another report under the same key.

    ``lang`` as sent, as a retry may well come with other headers; ``text`` the original. It stands last and in full,
    so that no separator inside it can make two bodies equal.
    """
    facts = (report.office, report.service, report.channel, report.kind, lang or "", str(report.rating or ""))
    joins = str(report.joins_incident or "")
    return "\x00".join((*facts, ",".join(report.drivers), joins, text)).encode()
