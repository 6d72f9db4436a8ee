"""Use cases: take in a report, tell a receipt's story, take over what incidents announces."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final
from uuid import UUID

import asyncpg
import uuid_utils.compat as uuids

from services.feedback import store, wire
from services.feedback.desk import Desk
from services.feedback.domain.incidents import follow_merges
from services.feedback.domain.judgement import judge_blame, judge_cause
from services.feedback.domain.receipts import format_receipt, parse_receipt
from services.feedback.domain.report import Report, Submission, canonical_body, kind_of, language_of
from services.feedback.domain.story import Link, Story, tell
from services.feedback.store import NewReport
from shared.catalogue import Catalogue
from shared.events import IncidentChangedV1, SignalLinkedV1
from shared.events.vocabulary import Language
from shared.failpoints import reach
from shared.postgres import DatabaseBusy, transaction
from shared.text.cleaning import clean
from shared.text.masking import mask
from shared.tracing import current_traceparent

_ALLOWED_SHOWN: Final = 100


class Refused(ValueError):
    """A report that can't be taken: which field, why, and what would be."""

    def __init__(self, field: str, message: str, allowed: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.allowed = allowed


class KeyReused(Exception):
    """The idempotency key was used for another body before."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A report that is stored. ``receipt`` is the code to show, once."""

    receipt: str
    report: Report


def random_key() -> bytes:
    """An idempotency key for those who sent none."""
    return secrets.token_bytes(16)


async def submit_report(desk: Desk, submission: Submission, idempotency_key: bytes, now: datetime) -> Accepted:
    """Stores and announces one report, and returns after the commit.

    The same key with the same body gives the same receipt and report. Raises ``Refused``, ``KeyReused``,
    ``Overloaded`` or ``DatabaseBusy``.
    """
    text = clean(submission.text)
    _check(desk.catalogue.current, submission, text, now.date())
    report = _judge(submission, text, now)
    receipt = desk.keys.receipt_for(idempotency_key)
    facts, words = wire.announced(report, uuids.uuid7(), uuids.uuid7(), current_traceparent())
    item = NewReport(
        report=report,
        receipt_hash=desk.keys.lookup_hash(receipt),
        body_hash=desk.keys.body_hash(canonical_body(report, submission.lang, text)),
        facts=facts,
        words=words,
    )
    if await _joins_nothing_public(desk, report.joins_incident, now):
        report_id = await _known_retry(desk, item)
    else:
        report_id = await desk.commits.submit(item)
    reach("feedback-committed")
    stored = report if report_id == report.report_id else replace(report, report_id=report_id)
    return Accepted(format_receipt(receipt), stored)


def _judge(submission: Submission, text: str, now: datetime) -> Report:
    """The report as it is kept. ``text`` is the cleaned original; only its masked form goes on."""
    drivers = tuple(dict.fromkeys(submission.drivers))
    kind = kind_of(submission.kind, submission.rating, has_text=bool(text))
    return Report(
        report_id=uuids.uuid7(),
        office=submission.office,
        service=submission.service,
        channel=submission.channel,
        lang=language_of(submission.lang, submission.accept_language),
        kind=kind,
        rating=submission.rating,
        drivers=drivers,
        text=mask(text),
        joins_incident=submission.joins_incident,
        cause=judge_cause(drivers, kind),
        blames_person=judge_blame(drivers, kind, submission.rating),
        submitted_at=now,
    )


def _check(catalogue: Catalogue, submission: Submission, text: str, today: date) -> None:
    office = catalogue.offices.get(submission.office)
    if office is None or not office.is_valid_on(today):
        raise Refused("office", "There is no such office", _one_of(catalogue.offices))
    if submission.service not in catalogue.services:
        raise Refused("service", "There is no such service", _one_of(catalogue.services))
    if submission.rating is None and not text:
        raise Refused("text", "There is neither a rating nor a text", "a rating from 1 to 5, or a text, or both")


def _one_of(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:_ALLOWED_SHOWN]) + (", …" if len(known) > _ALLOWED_SHOWN else "")


async def _joins_nothing_public(desk: Desk, incident_id: UUID | None, now: datetime) -> bool:
    """Whether the report wants to join an incident that is not public; news of the last moments are asked for."""
    if incident_id is None or desk.incidents.find(incident_id) is not None:
        return False
    await desk.incidents.look_again(now)
    return desk.incidents.find(incident_id) is None


async def _known_retry(desk: Desk, item: NewReport) -> UUID:
    """The id of the same report stored earlier, when its incident was public. Raises ``Refused`` for a new one."""
    async with transaction(desk.pool) as connection:
        stored = await store.list_by_receipt_hashes(connection, [item.receipt_hash])
    known = stored.get(item.receipt_hash)
    if known is None:
        raise Refused("joins_incident", "There is no such public incident", "the incident_id of a known fault")
    if known.body_hash != item.body_hash:
        raise KeyReused
    return known.report_id


async def store_reports(connection: asyncpg.Connection, items: Sequence[NewReport]) -> list[UUID | Exception]:
    """The write of the group commit: one statement for all, a second one only when some are retries."""
    new = await store.insert_reports(connection, items)
    reach("feedback-stored")
    if len(new) == len(items):
        return [item.report.report_id for item in items]
    retries = [item for item in items if item.report.report_id not in new]
    stored = await store.list_by_receipt_hashes(connection, [item.receipt_hash for item in retries])
    results: list[UUID | Exception] = []
    for item in items:
        known = stored.get(item.receipt_hash)
        if item.report.report_id in new:
            results.append(item.report.report_id)
        elif known is None:
            results.append(DatabaseBusy("the report under this key was deleted at this moment"))
        else:
            results.append(known.report_id if known.body_hash == item.body_hash else KeyReused())
    return results


@dataclass(frozen=True, slots=True)
class ToldStory:
    """A receipt's story and the language its writer used."""

    story: Story
    lang: Language


async def tell_receipt(desk: Desk, code: str) -> ToldStory | None:
    """The story behind a receipt; None when there is none. Raises ``MistypedReceipt`` before any look-up."""
    receipt_hash = desk.keys.lookup_hash(parse_receipt(code))
    async with transaction(desk.pool) as connection:
        record = await store.get_by_receipt_hash(connection, receipt_hash)
        if record is None:
            return None
        link = None
        if record.incident_id is not None and record.linked_at is not None:
            chain = await store.list_merge_chain(connection, record.incident_id)
            incident = follow_merges(record.incident_id, chain)
            link = Link(incident, record.linked_at) if incident else None
    return ToldStory(tell(record.submitted_at, link), record.lang)


async def keep_links(connection: asyncpg.Connection, events: Sequence[SignalLinkedV1]) -> None:
    """Keeps where reports belong. Raises ``ValueError`` for a report whose ``source_id`` is no id."""
    links = [link for event in events if (link := wire.link_of(event)) is not None]
    if links:
        await store.upsert_links(connection, links)


async def keep_incidents(connection: asyncpg.Connection, events: Sequence[IncidentChangedV1]) -> None:
    """Keeps the latest version of each incident."""
    await store.upsert_incidents(connection, [wire.incident_of(event) for event in events])
