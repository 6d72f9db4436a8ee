"""Accepting: what the edge takes is committed to the outbox before it is answered; a repeated event changes nothing."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from services.incidents import wire
from services.incidents.desk import Offer, Receipt
from services.incidents.store import queries
from shared.events import ErrorReportedV1, EventId, HeatReportedV1
from shared.outbox import Announcement, announce
from shared.postgres import DatabaseBusy, transaction

ACCEPTED_FOR = timedelta(days=7)
"""How long a repeated event is recognised at the edge; afterwards its signal's id still is."""
FORGET_ROWS = 10_000
FORGET_SECONDS = 60.0

_log = logging.getLogger(__name__)


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
    """Every minute deletes a bounded number of ids that are old enough, until ``stop``."""
    while not stop.is_set():
        try:
            async with transaction(pool) as connection:
                await queries.forget_accepted_events(connection, before=clock() - ACCEPTED_FOR, max_rows=FORGET_ROWS)
        except DatabaseBusy:
            _log.warning("old event ids wait for the database")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), FORGET_SECONDS)


def _id(event: ErrorReportedV1 | HeatReportedV1) -> EventId:
    return EventId(event.error_id if isinstance(event, ErrorReportedV1) else event.heat_id)
