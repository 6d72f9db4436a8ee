"""What people decide about incidents: lock → check → decide → save → outbox, one transaction each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import uuid_utils.compat as uuids

from services.incidents import wire
from services.incidents.domain.lifecycle import Command, Outcome, amend, decide
from services.incidents.domain.model import Incident, Severity
from services.incidents.store import Row, StoredIncident, insert_decisions, update_incidents
from services.incidents.triage.store import get_incident, list_decisions_after_version
from shared.auth import Principal
from shared.outbox import Announcement, announce
from shared.tracing import current_traceparent
from shared.web import Problem

Change = Callable[[Incident], Outcome]


class IncidentMoved(Exception):
    """Somebody has decided since the version that the caller has seen."""

    def __init__(self, version: int, decisions: Sequence[Row]) -> None:
        super().__init__(f"now at version {version}")
        self.version, self.decisions = version, decisions


@dataclass(frozen=True, slots=True)
class Seer:
    """Who acts: an opaque subject, and the offices that are theirs (None: all)."""

    subject: str
    offices: frozenset[str] | None

    def sees(self, incident: Incident) -> bool:
        """An incident is seen by all offices that it touches."""
        return self.offices is None or not self.offices.isdisjoint(incident.offices)


def seer_of(principal: Principal) -> Seer:
    """Who acts, as far as decisions need it."""
    return Seer(principal.subject, principal.offices)


async def read_incident(connection: asyncpg.Connection, incident_id: UUID, seer: Seer) -> StoredIncident:
    """One incident. Raises the problem 404, also for one of foreign offices."""
    stored = await get_incident(connection, incident_id)
    if stored is None or not seer.sees(stored.incident):
        raise Problem(404, "Not found")
    return stored


async def change_incident(
    connection: asyncpg.Connection,
    incident_id: UUID,
    seer: Seer,
    change: Change,
    *,
    seen_version: int | None,
    now: datetime,
) -> StoredIncident:
    """Applies ``change`` and announces it, in the caller's transaction.

    Raises the problem 404, ``IncidentMoved`` when somebody decided after ``seen_version``, and what ``change``
    raises.
    """
    stored = await get_incident(connection, incident_id, lock=True)
    if stored is None or not seer.sees(stored.incident):
        raise Problem(404, "Not found")
    before = stored.incident
    if seen_version is not None and seen_version != before.version:
        decisions = await list_decisions_after_version(connection, before.id, seen_version)
        # Evidence that came in meanwhile is no conflict; a version from the future was never seen.
        if decisions or seen_version > before.version:
            raise IncidentMoved(before.version, decisions)
    outcome = change(before)
    traceparent = current_traceparent()
    await update_incidents(connection, [(outcome.incident, traceparent, True)], now)
    await insert_decisions(connection, [(uuids.uuid7(), decision) for decision in outcome.decisions])
    event = wire.incident_changed(outcome.incident, stored.public_text, now)
    await announce(connection, [Announcement(event, traceparent=traceparent)], wire.SOURCE)
    return StoredIncident(outcome.incident, stored.public_text, traceparent)


def command(name: Command, seer: Seer, reason: str | None, now: datetime) -> Change:
    """A change of state."""
    return lambda incident: decide(incident, name, actor=seer.subject, reason=reason, now=now)


def set_cause(cause: str, seer: Seer, reason: str | None, now: datetime) -> Change:
    """A change of cause: what lies behind the reports of this incident."""
    return lambda incident: amend(incident, kind="cause", actor=seer.subject, reason=reason, now=now, cause=cause)


def set_severity(severity: Severity, seer: Seer, reason: str | None, now: datetime) -> Change:
    """A change of severity."""
    return lambda incident: amend(
        incident, kind="severity", actor=seer.subject, reason=reason, now=now, severity=severity
    )


def assign(owner: str | None, seer: Seer, reason: str | None, now: datetime) -> Change:
    """A change of owner; None takes the owner away."""
    return lambda incident: amend(incident, kind="assign", actor=seer.subject, reason=reason, now=now, owner=owner)


def comment(seer: Seer, reason: str, now: datetime) -> Change:
    """A line in the log; the incident stays as it is."""
    return lambda incident: amend(incident, kind="comment", actor=seer.subject, reason=reason, now=now)
