"""Use cases of reporting: one batch of one topic, inside one transaction: lock -> load -> decide -> save.

Invariant: after any sequence of batches, in any order and with any repetition, the tables are a function of the set of
events seen. Every effect is an upsert by id and version, and every figure moves by the difference between what a report
contributed before and what it contributes now.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Any
from uuid import UUID

import asyncpg

from services.reporting import store, wire
from services.reporting.domain.cause import cause_in_force, incident_cause
from services.reporting.domain.incident import Incident, Timing, timings
from services.reporting.domain.link import Link
from services.reporting.domain.rollup import CAUSES, Contribution, Deltas
from services.reporting.store import HeldIncident
from shared.batches import Received
from shared.events import FeedbackSubmittedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1
from shared.events.vocabulary import Cause, IncidentState


async def on_feedback_submitted(
    conn: asyncpg.Connection, batch: Sequence[Received[FeedbackSubmittedV1]], zones: Mapping[str, tzinfo]
) -> None:
    """Counts reports that are new; their links and incidents may have arrived before them. ``zones`` by office."""
    events = {received.event.report_id: received.event for received in reversed(batch)}
    await store.lock_figures(conn)
    held = await store.load_reports(conn, list(events))
    deltas = Deltas()
    reports: dict[UUID, Contribution] = {}
    for report_id, event in events.items():
        if held[report_id].known:
            continue
        cause = cause_in_force(event.cause, held[report_id].of_incident)
        reports[report_id] = Contribution(wire.cell_of(event, zones), event.rating, event.cause, cause)
        deltas.add(reports[report_id])
    await store.insert_reports(conn, reports)
    await store.add_deltas(conn, deltas)
    await _touch_freshness(conn, batch)


async def on_signal_linked(conn: asyncpg.Connection, batch: Sequence[Received[SignalLinkedV1]]) -> None:
    """Keeps the newest link of each report and moves the report to the cause of its new incident.

    Raises ``ValueError`` when the link of a report names no report.
    """
    newest: dict[UUID, Link] = {}
    for received in batch:
        link = wire.link_of(received.event)
        if link is not None and (link.report_id not in newest or link.rank() > newest[link.report_id].rank()):
            newest[link.report_id] = link
    await store.lock_figures(conn)
    held = await store.load_links(conn, newest.values()) if newest else {}
    deltas = Deltas()
    newer: list[Link] = []
    causes: dict[UUID, Cause] = {}
    for report_id, link in newest.items():
        before = held[report_id]
        if before.held is not None and before.held.rank() >= link.rank():
            continue
        newer.append(link)
        if before.cell is None or before.judged is None or before.cause is None:
            continue
        cause = cause_in_force(before.judged, before.of_new_incident)
        if cause is not before.cause:
            causes[report_id] = cause
            deltas.move(before.cell, before.cause, cause)
    await store.upsert_links(conn, newer)
    await store.update_causes(conn, causes)
    await store.add_deltas(conn, deltas)
    await _touch_freshness(conn, batch)


async def on_incident_changed(conn: asyncpg.Connection, batch: Sequence[Received[IncidentChangedV1]]) -> None:
    """Keeps the newest version of each incident; when what it gives to its reports changes, they all move.

    That includes the reports of incidents that were merged into it, over any number of steps.
    """
    announced: dict[UUID, Incident] = {}
    for received in batch:
        incident = wire.incident_of(received.event)
        known = announced.get(incident.incident_id)
        if known is None or incident.rank() > known.rank():
            announced[incident.incident_id] = incident
    await store.lock_figures(conn)
    targets = {incident.merged_into for incident in announced.values() if incident.merged_into is not None}
    held = await store.load_incidents(conn, announced, targets)
    newer = {
        incident_id: incident
        for incident_id, incident in announced.items()
        if incident_id not in held or incident.rank() > held[incident_id].incident.rank()
    }
    in_force = _causes_in_force(held, newer)
    before = {incident_id: entry.cause_in_force for incident_id, entry in held.items()}
    changed = {incident_id: cause for incident_id, cause in in_force.items() if before.get(incident_id) is not cause}
    await store.upsert_incidents(conn, [HeldIncident(incident, in_force[key]) for key, incident in newer.items()])
    await store.update_incident_causes(conn, {key: cause for key, cause in changed.items() if key not in newer})
    await _move_reports(conn, changed)
    await _count_incidents(conn, [held[key].incident for key in newer if key in held], list(newer.values()))
    await _touch_freshness(conn, batch)


async def on_heat_reported(conn: asyncpg.Connection, batch: Sequence[Received[HeatReportedV1]]) -> None:
    """Counts presses of the heat button, each id once."""
    await store.lock_figures(conn)
    await store.count_heat(conn, {received.event.heat_id: received.event.service for received in batch})
    await _touch_freshness(conn, batch)


def _causes_in_force(held: Mapping[UUID, HeldIncident], newer: Mapping[UUID, Incident]) -> dict[UUID, Cause | None]:
    """What each loaded incident gives to its reports once the newer versions stand."""
    verdicts = {incident_id: entry.incident.verdict() for incident_id, entry in held.items()}
    verdicts.update((incident_id, incident.verdict()) for incident_id, incident in newer.items())
    return {incident_id: incident_cause(incident_id, verdicts) for incident_id in verdicts}


async def _move_reports(conn: asyncpg.Connection, changed: Mapping[UUID, Cause | None]) -> None:
    causes = {
        incident_id: {judged: cause_in_force(judged, cause) for judged in CAUSES}
        for incident_id, cause in changed.items()
    }
    deltas = Deltas()
    for moved in await store.move_reports(conn, causes):
        deltas.move(moved.cell, moved.before, moved.after, moved.reports)
    await store.add_deltas(conn, deltas)


async def _count_incidents(conn: asyncpg.Connection, before: Sequence[Incident], after: Sequence[Incident]) -> None:
    """Moves incidents between states and between the buckets of the times they took."""
    states: Counter[IncidentState] = Counter(incident.state for incident in after)
    states.subtract(incident.state for incident in before)
    await store.add_incident_states(conn, states)
    await store.add_timings(conn, added=_timings(after), removed=_timings(before))


def _timings(incidents: Sequence[Incident]) -> list[Timing]:
    return [timing for incident in incidents for timing in timings(incident.milestones)]


async def _touch_freshness(conn: asyncpg.Connection, batch: Sequence[Received[Any]]) -> None:
    if batch:
        newest_at = max(received.envelope.time for received in batch)
        await store.touch_freshness(conn, batch[0].event.topic, newest_at)
