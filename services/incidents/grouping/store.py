"""What a batch of signals reads and writes: one statement per table, whatever the size of the batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from services.incidents.domain.grouping import GROUPING_VERSION
from services.incidents.domain.lifecycle import ACTIVE_STATES
from services.incidents.domain.model import GroupId, IncidentId, Placement, Signal, SignalId, State
from services.incidents.store import queries


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group that a batch adds. ``founding``: it made its incident."""

    signal: Signal
    incident: IncidentId
    founding: bool
    representative: bool


async def list_known_signals(connection: asyncpg.Connection, ids: Sequence[SignalId]) -> set[SignalId]:
    """Those of ``ids`` that are stored already."""
    return {SignalId(row["id"]) async for row in queries.list_known_signals(connection, ids=ids)}


async def list_groups(
    connection: asyncpg.Connection, ids: Iterable[GroupId]
) -> dict[GroupId, tuple[IncidentId, State]]:
    """The incident of each known group, with its state."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = queries.list_groups(connection, ids=wanted)
    return {GroupId(row["id"]): (IncidentId(row["incident_id"]), State(row["state"])) async for row in rows}


async def list_incident_states(
    connection: asyncpg.Connection, ids: Iterable[IncidentId]
) -> dict[IncidentId, tuple[State, IncidentId | None]]:
    """State and merge target of those incidents that exist."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = queries.list_incident_states(connection, ids=wanted)
    return {IncidentId(row["id"]): (State(row["state"]), row["merged_into"]) async for row in rows}


async def list_recent_incidents(
    connection: asyncpg.Connection, places: Iterable[tuple[str, str | None]], since: datetime
) -> dict[tuple[str, str | None], IncidentId]:
    """By service and office: the active incident last seen there since ``since``."""
    asked = sorted({(service, office) for service, office in places if office is not None})
    if not asked:
        return {}
    rows = queries.list_recent_incidents(
        connection,
        services=[service for service, _ in asked],
        offices=[office for _, office in asked],
        states=[state.value for state in ACTIVE_STATES],
        since=since,
    )
    return {(row["service"], row["office"]): IncidentId(row["id"]) async for row in rows}


async def insert_groups(connection: asyncpg.Connection, groups: Iterable[NewGroup]) -> None:
    """Adds groups; an existing one is left alone unless the new one founded an incident."""
    rows = [
        {
            "id": str(group.signal.group.id),
            "kind": group.signal.kind,
            "fingerprint": group.signal.group.fingerprint,
            "scope": group.signal.group.scope,
            "incident_id": str(group.incident),
            "founding": group.founding,
            "representative": group.representative,
            "sample": group.signal.text if group.representative else "",
            "service": group.signal.service,
            "office": group.signal.office,
            "last_seen_at": group.signal.at.isoformat(),
        }
        for group in groups
        if group.signal.group is not None
    ]
    if rows:
        await queries.insert_groups(connection, rows=rows, grouping_version=GROUPING_VERSION)


async def insert_signals(
    connection: asyncpg.Connection,
    signals: Sequence[Signal],
    placements: dict[SignalId, Placement],
    decisions: dict[SignalId, UUID],
    linked_at: datetime,
) -> None:
    """Writes signals with their links; one without a placement is stored beside all incidents."""
    rows = [
        _signal_row(signal, placements.get(signal.id), decisions.get(signal.id), linked_at.isoformat())
        for signal in signals
    ]
    if rows:
        await queries.insert_signals(connection, rows=rows)


def _signal_row(
    signal: Signal, placement: Placement | None, decision: UUID | None, linked_at: str
) -> dict[str, object]:
    row: dict[str, object] = {
        "id": str(signal.id),
        "kind": signal.kind,
        "source_id": signal.source_id,
        "group_id": None if signal.group is None else str(signal.group.id),
        "at": signal.at.isoformat(),
        "received_at": signal.received_at.isoformat(),
        "service": signal.service,
        "office": signal.office,
        "lang": signal.lang,
        "text": signal.text,
        "drivers": signal.drivers,
        "terms": (),
        "nearest": (),
        "link_version": 0,
    }
    if placement is not None:
        row |= {
            "incident_id": str(placement.incident),
            "layer": placement.layer,
            "score": placement.score,
            "rule": placement.rule,
            "terms": placement.terms,
            "nearest": [str(group) for group in placement.nearest],
            "grouping_version": GROUPING_VERSION,
            "link_version": 1,
            "decision_id": None if decision is None else str(decision),
            "linked_at": linked_at,
        }
    return row
