"""Rows and domain values: one typed function per query, no rules."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from services.incidents.domain.model import (
    Counts,
    Decision,
    Incident,
    IncidentId,
    Severity,
    State,
    Transition,
)
from shared.postgres import load_queries

queries = load_queries(Path(__file__).parent / "queries.sql")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident with what only the database and the edges care about."""

    incident: Incident
    public_text: Mapping[str, Any] | None = None
    traceparent: str | None = None


def incident_from_row(row: Row) -> Incident:
    """The domain's view of one row of ``incident``."""
    return Incident(
        id=IncidentId(row["id"]),
        title=row["title"],
        state=State(row["state"]),
        service=row["service"],
        cause=row["cause"],
        cause_decided=row["cause_decided"],
        first_seen_at=row["first_seen_at"],
        last_seen_at=row["last_seen_at"],
        counts=Counts(row["count_report"], row["count_error"], row["count_heat"], row["count_alert"]),
        offices=tuple(row["offices"]),
        langs=tuple(row["langs"]),
        drivers=row["drivers"],
        severity=Severity(row["severity"]),
        owner=row["owner"],
        merged_into=row["merged_into"],
        transitions=tuple(
            Transition(State(step["state"]), datetime.fromisoformat(step["at"])) for step in row["transitions"]
        ),
        version=row["version"],
    )


def stored_from_row(row: Row) -> StoredIncident:
    """One row of ``incident`` with its edges."""
    return StoredIncident(incident_from_row(row), row["public_text"], row["traceparent"])


def incident_to_row(incident: Incident, *, traceparent: str | None, announced: bool) -> dict[str, object]:
    """The JSON record that ``insert_incidents`` and ``update_incidents`` read."""
    return {
        "id": str(incident.id),
        "title": incident.title,
        "state": incident.state,
        "merged_into": None if incident.merged_into is None else str(incident.merged_into),
        "cause": incident.cause,
        "cause_decided": incident.cause_decided,
        "service": incident.service,
        "severity": incident.severity,
        "owner": incident.owner,
        "offices": incident.offices,
        "langs": incident.langs,
        "drivers": incident.drivers,
        "count_report": incident.counts.report,
        "count_error": incident.counts.error,
        "count_heat": incident.counts.heat,
        "count_alert": incident.counts.alert,
        "first_seen_at": incident.first_seen_at.isoformat(),
        "last_seen_at": incident.last_seen_at.isoformat(),
        "transitions": [{"state": step.state, "at": step.at.isoformat()} for step in incident.transitions],
        "state_since": incident.transitions[-1].at.isoformat(),
        "version": incident.version,
        "traceparent": traceparent,
        "announced": announced,
    }


def decision_to_row(decision_id: UUID, decision: Decision) -> dict[str, object]:
    """The JSON record that ``insert_decisions`` reads."""
    return {
        "id": str(decision_id),
        "incident_id": str(decision.incident),
        "at": decision.at.isoformat(),
        "actor": decision.actor,
        "kind": decision.kind,
        "reason": decision.reason,
        "before": dict(decision.before),
        "after": dict(decision.after),
        "version": decision.version,
    }


async def insert_incidents(
    connection: asyncpg.Connection, incidents: Iterable[tuple[Incident, str | None]], now: datetime
) -> None:
    """Writes new incidents, each with the traceparent of its cause; they count as announced at ``now``."""
    rows = [incident_to_row(incident, traceparent=trace, announced=True) for incident, trace in incidents]
    if rows:
        await queries.insert_incidents(connection, rows=rows, now=now)


async def update_incidents(
    connection: asyncpg.Connection, incidents: Iterable[tuple[Incident, str | None, bool]], now: datetime
) -> None:
    """Writes locked incidents; the flag tells whether this transaction announces them."""
    rows = [
        incident_to_row(incident, traceparent=trace, announced=announced) for incident, trace, announced in incidents
    ]
    if rows:
        await queries.update_incidents(connection, rows=rows, now=now)


async def insert_decisions(connection: asyncpg.Connection, decisions: Sequence[tuple[UUID, Decision]]) -> None:
    """Appends to the decision log."""
    if decisions:
        rows = [decision_to_row(decision_id, decision) for decision_id, decision in decisions]
        await queries.insert_decisions(connection, rows=rows)


async def take_title_numbers(connection: asyncpg.Connection, titles: Sequence[str]) -> dict[str, list[int]]:
    """One number for each wanted title; several, in order, for a title wanted several times."""
    wanted = sorted(Counter(titles).items())
    if not wanted:
        return {}
    amounts = dict(wanted)
    rows = queries.take_title_numbers(connection, titles=list(amounts), amounts=list(amounts.values()))
    return {row["title"]: list(range(row["last"] - amounts[row["title"]] + 1, row["last"] + 1)) async for row in rows}


async def get_named_incident(connection: asyncpg.Connection, incident: UUID) -> Incident | None:
    """The incident that somebody named, or what it was merged into in the end; None when there is none."""
    row = await queries.get_named_incident(connection, id=incident)
    return None if row is None else incident_from_row(row)


async def lock_incidents(connection: asyncpg.Connection, ids: Iterable[UUID]) -> dict[IncidentId, StoredIncident]:
    """Locks these incidents in one order for all processes and returns those that exist."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = queries.lock_incidents(connection, ids=wanted)
    return {IncidentId(row["id"]): stored_from_row(row) async for row in rows}
