"""Counts that moved are announced at most once a second per incident.

The mark ``pending`` lives in the incident's row, set by the transaction that moved the counts: a killed process
forgets nothing, and several processes share the work because marked rows are taken with ``skip locked``.
"""

import asyncio
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg

from services.incidents import wire
from services.incidents.metrics import IncidentMetrics
from services.incidents.store import queries, stored_from_row
from shared.outbox import Announcement, announce
from shared.postgres import transaction
from shared.repeating import repeat

PAUSE = timedelta(seconds=1)
TICK_SECONDS = 0.25
MAX_INCIDENTS = 500
STATES_EVERY_TICKS = 40


async def announce_pending(connection: asyncpg.Connection, now: datetime) -> int:
    """Announces up to ``MAX_INCIDENTS`` incidents that have waited a second, in the caller's transaction."""
    rows = [row async for row in queries.take_pending_incidents(connection, before=now - PAUSE, max_rows=MAX_INCIDENTS)]
    if not rows:
        return 0
    announcements = []
    for row in rows:
        stored = stored_from_row(row)
        event = wire.incident_changed(stored.incident, stored.public_text, now)
        announcements.append(Announcement(event, traceparent=stored.traceparent))
    await queries.mark_announced(connection, ids=[row["id"] for row in rows], now=now)
    await announce(connection, announcements, wire.SOURCE)
    return len(rows)


async def keep_announcing(
    pool: asyncpg.Pool, metrics: IncidentMetrics, clock: Callable[[], datetime], stop: asyncio.Event
) -> None:
    """Announces until ``stop``, and now and then counts the incidents by state."""
    ticks = itertools.cycle(range(STATES_EVERY_TICKS))

    async def tick() -> None:
        async with transaction(pool) as connection:
            announced = await announce_pending(connection, clock())
            if next(ticks) == 0:
                rows = queries.count_incidents_by_state(connection)
                metrics.set_states({row["state"]: row["incidents"] async for row in rows})
        while announced == MAX_INCIDENTS and not stop.is_set():
            async with transaction(pool) as connection:
                announced = await announce_pending(connection, clock())

    await repeat("announcing incidents", tick, stop, TICK_SECONDS)
