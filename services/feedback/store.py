"""Rows and domain: one typed function per query, no rules."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from services.feedback.domain.incidents import Incident, PublicWords, ReportLink
from services.feedback.domain.report import OutgoingEvent, Report
from shared.events.vocabulary import IncidentState, Language
from shared.postgres import load_queries

_queries = load_queries(Path(__file__).parent / "queries.sql")


@dataclass(frozen=True, slots=True)
class NewReport:
    """A report with what is stored beside it and what is announced about it. Hashes have 32 bytes."""

    report: Report
    receipt_hash: bytes
    body_hash: bytes
    facts: OutgoingEvent
    words: OutgoingEvent


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What is stored under a receipt, as far as a retry needs it."""

    report_id: UUID
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """The report behind a receipt and where it belongs."""

    lang: Language
    submitted_at: datetime
    incident_id: UUID | None
    linked_at: datetime | None


async def insert_reports(connection: asyncpg.Connection, items: Sequence[NewReport]) -> set[UUID]:
    """Stores the reports and announces them, in one statement. Returns the ids of those whose receipt was new."""
    reports = [item.report for item in items]
    rows = _queries.insert_reports(
        connection,
        report_ids=[report.report_id for report in reports],
        receipt_hashes=[item.receipt_hash for item in items],
        body_hashes=[item.body_hash for item in items],
        offices=[report.office for report in reports],
        services=[report.service for report in reports],
        channels=[report.channel for report in reports],
        langs=[report.lang for report in reports],
        kinds=[report.kind for report in reports],
        ratings=[report.rating for report in reports],
        drivers=[",".join(report.drivers) for report in reports],
        texts=[report.text for report in reports],
        joins_incidents=[report.joins_incident for report in reports],
        causes=[report.cause for report in reports],
        blame_persons=[report.blames_person for report in reports],
        submitted_ats=[report.submitted_at for report in reports],
        facts_ids=[item.facts.event_id for item in items],
        facts_headers=[item.facts.headers for item in items],
        facts=[item.facts.payload for item in items],
        words_ids=[item.words.event_id for item in items],
        words_headers=[item.words.headers for item in items],
        words=[item.words.payload for item in items],
    )
    return {row["report_id"] async for row in rows}


async def list_by_receipt_hashes(
    connection: asyncpg.Connection, receipt_hashes: Sequence[bytes]
) -> dict[bytes, StoredReport]:
    """What is stored under these hashes."""
    rows = _queries.list_by_receipt_hashes(connection, receipt_hashes=list(receipt_hashes))
    return {row["receipt_hash"]: StoredReport(row["report_id"], row["body_hash"]) async for row in rows}


async def get_by_receipt_hash(connection: asyncpg.Connection, receipt_hash: bytes) -> ReceiptRecord | None:
    """The report of one receipt; None when there is none."""
    row = await _queries.get_by_receipt_hash(connection, receipt_hash=receipt_hash)
    if row is None:
        return None
    return ReceiptRecord(Language(row["lang"]), row["submitted_at"], row["incident_id"], row["linked_at"])


async def upsert_links(connection: asyncpg.Connection, links: Sequence[ReportLink]) -> None:
    """Keeps the highest version of each link."""
    await _queries.upsert_links(
        connection,
        report_ids=[link.report_id for link in links],
        link_versions=[link.link_version for link in links],
        incident_ids=[link.incident_id for link in links],
        linked_ats=[link.linked_at for link in links],
    )


async def upsert_incidents(connection: asyncpg.Connection, incidents: Sequence[Incident]) -> None:
    """Keeps the highest version of each incident."""
    await _queries.upsert_incidents(
        connection,
        incident_ids=[incident.incident_id for incident in incidents],
        versions=[incident.version for incident in incidents],
        states=[incident.state for incident in incidents],
        merged_intos=[incident.merged_into for incident in incidents],
        titles=[incident.title for incident in incidents],
        services=[incident.service for incident in incidents],
        reports=[incident.reports for incident in incidents],
        first_seen_ats=[incident.first_seen_at for incident in incidents],
        # As text: asyncpg takes a list inside a list for a second dimension of the array, not for one JSON value.
        entered=[json.dumps([[state, at.isoformat()] for state, at in incident.entered]) for incident in incidents],
        words=[
            {lang: [words.title, words.text, words.workaround] for lang, words in incident.words.items()}
            for incident in incidents
        ],
    )


async def list_shown_incidents(connection: asyncpg.Connection) -> list[Incident]:
    """The incidents that are or were public."""
    return [_incident(row) async for row in _queries.list_shown_incidents(connection)]


async def measure_incidents(connection: asyncpg.Connection) -> tuple[int, int]:
    """Number and fingerprint of the incidents that are or were public: equal figures mean that none has changed."""
    row = await _queries.measure_incidents(connection)
    return row["incidents"], row["fingerprint"]


async def list_merge_chain(connection: asyncpg.Connection, incident_id: UUID) -> dict[UUID, Incident]:
    """One incident and those that it was merged into, by id; empty when it is not known here."""
    rows = _queries.list_merge_chain(connection, incident_id=incident_id)
    return {row["incident_id"]: _incident(row) async for row in rows}


def _incident(row: Any) -> Incident:
    return Incident(
        incident_id=row["incident_id"],
        version=row["version"],
        state=IncidentState(row["state"]),
        merged_into=row["merged_into"],
        title=row["title"],
        service=row["service"],
        reports=row["reports"],
        first_seen_at=row["first_seen_at"],
        entered=tuple((IncidentState(state), datetime.fromisoformat(at)) for state, at in row["entered"]),
        words={lang: PublicWords(*words) for lang, words in row["words"].items()},
    )
