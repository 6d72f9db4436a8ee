"""Accepting: what the edge takes is in the outbox, committed, before it is answered; a repeated event changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from services.incidents import wire
from services.incidents.store import queries
from shared.events import ErrorReportedV1, EventId, HeatReportedV1
from shared.groupcommit import GroupCommit
from shared.outbox import Announcement, announce

ACCEPTED_FOR = timedelta(days=7)
"""How long a repeated event is recognised at the edge; afterwards its signal's id still is."""
FORGET_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Offer:
    """The events of one request with the trace that they belong to."""

    events: tuple[ErrorReportedV1 | HeatReportedV1, ...]
    traceparent: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """How many events of one request were new."""

    accepted: int
    duplicate: int


Intake = GroupCommit[Offer, Receipt]


async def accept_offers(connection: asyncpg.Connection, offers: Sequence[Offer]) -> list[Receipt | Exception]:
    """Writes the new events of several requests into the outbox, in the caller's transaction, two statements."""
    now = datetime.now(UTC)
    ids = {_id(event) for offer in offers for event in offer.events}
    new = {EventId(row["id"]) async for row in queries.accept_events(connection, ids=list(ids), now=now)} if ids else set()
    announcements: list[Announcement] = []
    receipts: list[Receipt | Exception] = []
    for offer in offers:
        accepted = 0
        for event in offer.events:
            event_id = _id(event)
            if event_id in new:
                new.discard(event_id)
                accepted += 1
                announcements.append(Announcement(event, event_id, offer.traceparent))
        receipts.append(Receipt(accepted, len(offer.events) - accepted))
    await announce(connection, announcements, wire.SOURCE)
    return receipts


async def forget_accepted(pool: asyncpg.Pool, now: datetime) -> None:
    """Deletes a bounded number of ids that are old enough."""
    await queries.forget_accepted_events(pool, before=now - ACCEPTED_FOR, max_rows=FORGET_ROWS)


def _id(event: ErrorReportedV1 | HeatReportedV1) -> EventId:
    return EventId(event.error_id if isinstance(event, ErrorReportedV1) else event.heat_id)
