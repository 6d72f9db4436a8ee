"""Rows of the figures <-> domain: one typed function per query, no rules.

All functions but the readings for HTTP and Prometheus run inside the transaction of one batch, under ``lock_figures``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg

from services.reporting.domain.incident import Incident, Milestones, Timing
from services.reporting.domain.link import Link
from services.reporting.domain.rollup import CAUSES, RATINGS, Cell, Contribution, Counts, Deltas
from shared.events.vocabulary import Cause, IncidentState
from shared.postgres import load_queries

_queries = load_queries(Path(__file__).parent / "queries.sql")

DAY_COLUMNS = ("n", *(f"rating_{rating}" for rating in RATINGS), *(f"cause_{cause.value}" for cause in CAUSES))
TOTAL_COLUMNS = (*DAY_COLUMNS, *(f"judged_{cause.value}" for cause in CAUSES))
"""The columns of ``Counts``, in its order; the daily rollup leaves out the causes judged on arrival."""


@dataclass(frozen=True, slots=True)
class KnownReport:
    """What is held about a report: is it counted, and what does its incident give?"""

    known: bool
    of_incident: Cause | None


@dataclass(frozen=True, slots=True)
class HeldLink:
    """What is held about a link: the link itself, its report's contribution, the cause of the *new* incident."""

    held: Link | None
    cell: Cell | None
    judged: Cause | None
    cause: Cause | None
    of_new_incident: Cause | None


@dataclass(frozen=True, slots=True)
class HeldIncident:
    """An incident as held, with what it gives to its reports."""

    incident: Incident
    cause_in_force: Cause | None


@dataclass(frozen=True, slots=True)
class Moved:
    """So many reports of one cell changed their cause in force."""

    cell: Cell
    before: Cause
    after: Cause
    reports: int


async def lock_figures(conn: asyncpg.Connection) -> None:
    """Waits until no other batch is writing. Released with the transaction."""
    await _queries.lock_figures(conn)


async def load_reports(conn: asyncpg.Connection, report_ids: Sequence[UUID]) -> dict[UUID, KnownReport]:
    rows = _queries.load_reports(conn, report_ids=report_ids)
    return {row["report_id"]: KnownReport(row["known"], _cause(row["cause_in_force"])) async for row in rows}


async def insert_reports(conn: asyncpg.Connection, reports: Mapping[UUID, Contribution]) -> None:
    """Adds reports that are not held yet."""
    if not reports:
        return
    values = list(reports.values())
    cells = [report.cell for report in values]
    await _queries.insert_reports(
        conn,
        report_ids=list(reports),
        days=[cell.day for cell in cells],
        offices=[cell.office for cell in cells],
        services=[cell.service for cell in cells],
        channels=[cell.channel for cell in cells],
        langs=[cell.lang for cell in cells],
        kinds=[cell.kind for cell in cells],
        ratings=[report.rating for report in values],
        causes_judged=[report.judged for report in values],
        causes=[report.cause for report in values],
    )


async def load_links(conn: asyncpg.Connection, links: Iterable[Link]) -> dict[UUID, HeldLink]:
    """What is held about each link's report, by report id; one link a report."""
    asked = list(links)
    rows = _queries.load_links(
        conn, report_ids=[link.report_id for link in asked], incident_ids=[link.incident_id for link in asked]
    )
    return {row["report_id"]: _held_link(row) async for row in rows}


def _held_link(row: asyncpg.Record) -> HeldLink:
    held = None
    if row["link_version"] is not None:
        held = Link(row["report_id"], row["signal_id"], row["link_version"], row["incident_id"])
    return HeldLink(
        held=held,
        cell=None if row["day"] is None else _cell(row),
        judged=_cause(row["cause_judged"]),
        cause=_cause(row["cause"]),
        of_new_incident=_cause(row["cause_in_force"]),
    )


async def upsert_links(conn: asyncpg.Connection, links: Sequence[Link]) -> None:
    if not links:
        return
    await _queries.upsert_links(
        conn,
        report_ids=[link.report_id for link in links],
        signal_ids=[link.signal_id for link in links],
        link_versions=[link.link_version for link in links],
        incident_ids=[link.incident_id for link in links],
    )


async def update_causes(conn: asyncpg.Connection, causes: Mapping[UUID, Cause]) -> None:
    """Sets the cause in force of single reports."""
    if causes:
        await _queries.update_causes(conn, report_ids=list(causes), causes=list(causes.values()))


async def load_incidents(
    conn: asyncpg.Connection, incident_ids: Iterable[UUID], target_ids: Iterable[UUID]
) -> dict[UUID, HeldIncident]:
    """These incidents, all merged into them, and all that these and ``target_ids`` were merged into; as far as held."""
    rows = _queries.load_incidents(conn, incident_ids=list(incident_ids), target_ids=list(target_ids))
    return {row["incident_id"]: _held_incident(row) async for row in rows}


def _held_incident(row: asyncpg.Record) -> HeldIncident:
    incident = Incident(
        incident_id=row["incident_id"],
        version=row["version"],
        changed_at=row["changed_at"],
        state=IncidentState(row["state"]),
        merged_into=row["merged_into"],
        cause=Cause(row["cause"]),
        offices=tuple(row["offices"]),
        milestones=Milestones(row["started_at"], row["candidate_at"], row["confirmed_at"], row["fixed_at"]),
    )
    return HeldIncident(incident, _cause(row["cause_in_force"]))


async def upsert_incidents(conn: asyncpg.Connection, held: Sequence[HeldIncident]) -> None:
    if not held:
        return
    incidents = [entry.incident for entry in held]
    await _queries.upsert_incidents(
        conn,
        incident_ids=[incident.incident_id for incident in incidents],
        versions=[incident.version for incident in incidents],
        changed_ats=[incident.changed_at for incident in incidents],
        states=[incident.state for incident in incidents],
        merged_intos=[incident.merged_into for incident in incidents],
        causes=[incident.cause for incident in incidents],
        offices=["\n".join(incident.offices) for incident in incidents],
        started_ats=[incident.milestones.started_at for incident in incidents],
        candidate_ats=[incident.milestones.candidate_at for incident in incidents],
        confirmed_ats=[incident.milestones.confirmed_at for incident in incidents],
        fixed_ats=[incident.milestones.fixed_at for incident in incidents],
        causes_in_force=[entry.cause_in_force for entry in held],
    )


async def update_incident_causes(conn: asyncpg.Connection, causes: Mapping[UUID, Cause | None]) -> None:
    """Sets what incidents give to their reports, where nothing else about them changed."""
    if causes:
        await _queries.update_incident_causes(conn, incident_ids=list(causes), causes=list(causes.values()))


async def move_reports(conn: asyncpg.Connection, causes: Mapping[UUID, Mapping[Cause, Cause]]) -> list[Moved]:
    """Gives the reports of incidents a new cause in force, by incident and cause judged; returns what moved."""
    if not causes:
        return []
    columns = {judged.value: [rule[judged] for rule in causes.values()] for judged in CAUSES}
    rows = _queries.move_reports(conn, incident_ids=list(causes), **columns)
    return [
        Moved(_cell(row), Cause(row["cause_before"]), Cause(row["cause_after"]), row["reports"]) async for row in rows
    ]


async def add_deltas(conn: asyncpg.Connection, deltas: Deltas) -> None:
    """Adds the changes of one batch to both rollups, in key order."""
    days = {cell: counts for cell, counts in sorted(deltas.cells.items()) if any(counts)}
    if days:
        await _queries.add_to_rollup_day(
            conn,
            days=[cell.day for cell in days],
            offices=[cell.office for cell in days],
            services=[cell.service for cell in days],
            channels=[cell.channel for cell in days],
            langs=[cell.lang for cell in days],
            kinds=[cell.kind for cell in days],
            **_columns(DAY_COLUMNS, days.values()),
        )
    totals = {total: counts for total, counts in sorted(deltas.totals.items()) if any(counts)}
    if totals:
        await _queries.add_to_rollup_total(
            conn,
            services=[total.service for total in totals],
            channels=[total.channel for total in totals],
            kinds=[total.kind for total in totals],
            **_columns(TOTAL_COLUMNS, totals.values()),
        )


async def add_incident_states(conn: asyncpg.Connection, deltas: Mapping[IncidentState, int]) -> None:
    moved = {state: n for state, n in deltas.items() if n}
    if moved:
        await _queries.add_to_rollup_incident(conn, states=list(moved), n=list(moved.values()))


async def add_timings(conn: asyncpg.Connection, added: Sequence[Timing], removed: Sequence[Timing]) -> None:
    """Adds times to the histograms and takes others out."""
    deltas: dict[tuple[str, float], tuple[int, int]] = {}
    for sign, measured in ((1, added), (-1, removed)):
        for timing in measured:
            n, microseconds = deltas.get((timing.measure, timing.le_seconds), (0, 0))
            deltas[timing.measure, timing.le_seconds] = (n + sign, microseconds + sign * timing.microseconds)
    moved = {bucket: delta for bucket, delta in deltas.items() if any(delta)}
    if moved:
        await _queries.add_to_rollup_timing(
            conn,
            measures=[measure for measure, _ in moved],
            le_seconds=[bound for _, bound in moved],
            n=[n for n, _ in moved.values()],
            microseconds=[microseconds for _, microseconds in moved.values()],
        )


async def count_heat(conn: asyncpg.Connection, presses: Mapping[UUID, str]) -> None:
    """Counts presses of the heat button that are new; service by heat id."""
    await _queries.count_heat(conn, heat_ids=list(presses), services=list(presses.values()))


async def touch_freshness(conn: asyncpg.Connection, topic: str, newest_at: datetime) -> None:
    await _queries.touch_freshness(conn, topic=topic, newest_at=newest_at)


def _columns(names: Sequence[str], counts: Iterable[Counts]) -> dict[str, list[int]]:
    columns = zip(*counts, strict=True)
    return {name: list(column) for name, column in zip(names, columns, strict=False)}


def _cause(value: str | None) -> Cause | None:
    return None if value is None else Cause(value)


def _cell(row: asyncpg.Record) -> Cell:
    return Cell(row["day"], row["office"], row["service"], row["channel"], row["lang"], row["kind"])
