"""Accepting: what the edge takes is committed to the outbox before it is answered; a repeated event changes nothing."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from services.incidents import wire
from services.incidents.desk import Offer, Receipt
from services.incidents.store import queries
from shared.events import ErrorReportedV1, EventId, HeatReportedV1
from shared.outbox import Announcement, announce
from shared.postgres import transaction
from shared.repeating import repeat

ACCEPTED_FOR = timedelta(days=7)
"""How long a repeated event is recognised at the edge; afterwards its signal's id still is."""
FORGET_ROWS = 10_000
FORGET_SECONDS = 60.0


async def accept_offers(connection: asyncpg.Connection, offers: Sequence[Offer]) -> list[Receipt | Exception]:
    """Writes the new events of several requests into the outbox, in the caller's transaction, two statements."""
    now = datetime.now(UTC)
    ids = {_id(event) for offer in offers for event in offer.events}
    new = {EventId(row["id"]) async for row in queries.accept_events(connection, ids=list(ids), now=now)}
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


async def keep_forgetting(pool: asyncpg.Pool, clock: Callable[[], datetime], stop: asyncio.Event) -> None:
    """Every minute deletes the ids that are old enough, a bounded number in each transaction, until ``stop``."""

    async def forget() -> None:
        forgotten = FORGET_ROWS
        while forgotten == FORGET_ROWS and not stop.is_set():
            before = clock() - ACCEPTED_FOR
            async with transaction(pool) as connection:
                forgotten = await queries.forget_accepted_events(connection, before=before, max_rows=FORGET_ROWS)

    await repeat("forgetting accepted events", forget, stop, FORGET_SECONDS)


def _id(event: ErrorReportedV1 | HeatReportedV1) -> EventId:
    return EventId(event.error_id if isinstance(event, ErrorReportedV1) else event.heat_id)
