"""What people look at: incidents by filter, their signals and their decision log, page by page."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from services.incidents.domain.model import IncidentId, State
from services.incidents.store import Row, StoredIncident, queries, stored_from_row


class Sort(StrEnum):
    """Orders of the list, each descending."""

    LAST_SEEN = "last_seen"
    FIRST_SEEN = "first_seen"
    SIGNALS = "signals"


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """None leaves all. ``seen_by``: the offices of whoever asks; ``fixed_since``: older fixed ones are left out."""

    states: Sequence[State] | None = None
    service: str | None = None
    office: str | None = None
    seen_by: frozenset[str] | None = None
    words: str | None = None
    fixed_since: datetime | None = None

    def parameters(self) -> dict[str, Any]:
        """As the queries name them."""
        return {
            "states": None if self.states is None else [state.value for state in self.states],
            "service": self.service,
            "office": self.office,
            "seen_by": None if self.seen_by is None else sorted(self.seen_by),
            "words": self.words,
            "fixed_since": self.fixed_since,
        }


_LISTS: dict[Sort, Callable[..., AsyncIterator[Row]]] = {
    Sort.LAST_SEEN: queries.list_incidents_by_last_seen,
    Sort.FIRST_SEEN: queries.list_incidents_by_first_seen,
    Sort.SIGNALS: queries.list_incidents_by_signals,
}


async def list_incidents(
    connection: asyncpg.Connection,
    wanted: IncidentFilter,
    sort: Sort,
    *,
    after: tuple[datetime | int, UUID] | None,
    max_rows: int,
) -> list[StoredIncident]:
    """Up to ``max_rows`` incidents after the given place."""
    value, last_id = after if after is not None else (None, None)
    rows = _LISTS[sort](connection, **wanted.parameters(), after_value=value, after_id=last_id, max_rows=max_rows)
    return [stored_from_row(row) async for row in rows]


async def count_incidents(connection: asyncpg.Connection, wanted: IncidentFilter) -> int:
    """How many incidents the filters leave."""
    return int(await queries.count_incidents(connection, **wanted.parameters()))


async def get_incident(connection: asyncpg.Connection, incident: UUID, *, lock: bool = False) -> StoredIncident | None:
    """One incident, held until the end of the transaction when ``lock`` says so."""
    query = queries.lock_incident if lock else queries.get_incident
    row = await query(connection, id=incident)
    return None if row is None else stored_from_row(row)


async def list_signals(
    connection: asyncpg.Connection,
    incident: IncidentId,
    offices: frozenset[str] | None,
    *,
    after: tuple[datetime, UUID] | None,
    max_rows: int,
) -> list[Row]:
    """Rows of ``signal``, newest first, of these offices or of none (None: all)."""
    at, last_id = after if after is not None else (None, None)
    seen_by = None if offices is None else sorted(offices)
    rows = queries.list_signals(
        connection, incident_id=incident, offices=seen_by, after_at=at, after_id=last_id, max_rows=max_rows
    )
    return [row async for row in rows]


async def count_signals(connection: asyncpg.Connection, incident: IncidentId, offices: frozenset[str] | None) -> int:
    """How many signals ``list_signals`` has in all."""
    seen_by = None if offices is None else sorted(offices)
    return int(await queries.count_signals(connection, incident_id=incident, offices=seen_by))


async def list_decisions(
    connection: asyncpg.Connection, incident: IncidentId, *, after: int, max_rows: int
) -> list[Row]:
    """Rows of ``decision``, oldest first, after the given sequence."""
    rows = queries.list_decisions(connection, incident_id=incident, after=after, max_rows=max_rows)
    return [row async for row in rows]


async def count_decisions(connection: asyncpg.Connection, incident: IncidentId) -> int:
    """How many decisions there are about one incident."""
    return int(await queries.count_decisions(connection, incident_id=incident))


async def list_decisions_after_version(connection: asyncpg.Connection, incident: IncidentId, version: int) -> list[Row]:
    """What was decided since ``version``; counts that moved are no decisions."""
    rows = queries.list_decisions_after_version(connection, incident_id=incident, version=version)
    return [row async for row in rows]
