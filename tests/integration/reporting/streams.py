"""Random streams of events, and what must come of them, recomputed naively without any code of the service."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from shared.batches import Received
from shared.events import (
    Envelope,
    Event,
    EventId,
    FeedbackSubmittedV1,
    HeatReportedV1,
    IncidentChangedV1,
    SignalLinkedV1,
    Transition,
)
from shared.events.incidents import SignalCounts
from shared.events.vocabulary import Cause, Channel, IncidentState, Kind, Language, SignalKind

START = datetime(2025, 10, 24, 20, 0, tzinfo=UTC)
"""Two days before the end of summer time in Berlin; the streams run for some days."""
CAUSES = ("system", "process", "behaviour", "decision", "unclear")
SPEAKING = {"confirmed", "mitigating", "fixed", "closed", "regressed"}


def received(event: Event, number: int, at: datetime) -> Received[Any]:
    """``event`` as it comes out of Kafka; ``number`` makes its id and offset."""
    envelope = Envelope(id=EventId(UUID(int=number + 1)), type=event.topic, source="test", time=at, subject=event.key())
    return Received(event=event, envelope=envelope, partition=number % 6, offset=number)


def report(draw: random.Random, at: datetime, **fields: Any) -> FeedbackSubmittedV1:
    """A random report; ``fields`` win."""
    drawn: dict[str, Any] = {
        "report_id": UUID(int=draw.getrandbits(128)),
        "office": draw.choice(["JC-001", "JC-002", "JC-CANARY"]),
        "service": draw.choice(["document-upload", "payment", "other"]),
        "channel": draw.choice(list(Channel)[:3]),
        "lang": draw.choice(list(Language)[:3]),
        "kind": draw.choice(list(Kind)),
        "rating": draw.choice([None, 1, 2, 3, 4, 5]),
        "drivers": (),
        "cause": draw.choice(list(Cause)),
        "blames_person": draw.random() < 0.3,
        "invited": False,
        "submitted_at": at,
    }
    return FeedbackSubmittedV1(**{**drawn, **fields})


def link(report_id: UUID, incident: UUID | None, version: int, at: datetime) -> SignalLinkedV1:
    return SignalLinkedV1(
        signal_id=UUID(int=report_id.int ^ 1),
        signal_kind=SignalKind.REPORT,
        source_id=str(report_id),
        incident=incident,
        from_incident=None,
        link_version=version,
        layer="fingerprint",
        score=1.0,
        rule=None,
        concepts=(),
        grouping_version="1",
        office="JC-001",
        service="other",
        at=at,
        linked_at=at,
    )


def incident(
    incident_id: UUID,
    version: int,
    entered: Sequence[tuple[str, datetime]],
    cause: str = "system",
    merged_into: UUID | None = None,
    offices: tuple[str, ...] = ("JC-001",),
) -> IncidentChangedV1:
    """The announcement of an incident that has entered these states; the last one is its state."""
    return IncidentChangedV1(
        incident_id=incident_id,
        version=version,
        state=IncidentState(entered[-1][0]),
        merged_into=merged_into,
        title="A title that reporting must not keep",
        service="other",
        offices=offices,
        langs=("de",),
        cause=Cause(cause),
        severity="normal",
        counts=SignalCounts(),
        first_seen_at=entered[0][1],
        last_seen_at=entered[-1][1],
        public_text={},
        transitions=tuple(Transition(state=IncidentState(state), at=at) for state, at in entered),
        changed_at=entered[-1][1],
    )


def heat(heat_id: UUID, service: str, at: datetime) -> HeatReportedV1:
    return HeatReportedV1(heat_id=heat_id, office="JC-001", service=service, heat_topic=None, incident_id=None, at=at)


def random_stream(seed: int, reports: int = 60, incidents: int = 8) -> list[Received[Any]]:
    """A history in its natural order: reports, moving links, incidents that change, merge in chains and circles."""
    draw = random.Random(seed)
    at = START
    events: list[tuple[Event, datetime]] = []
    ids = [UUID(int=draw.getrandbits(128)) for _ in range(incidents)]
    entered: dict[UUID, list[tuple[str, datetime]]] = {key: [("observed", START)] for key in ids}
    versions: Counter[UUID] = Counter()
    link_versions: Counter[UUID] = Counter()
    known: list[UUID] = []
    for _ in range(reports * 5):
        at += timedelta(minutes=draw.randrange(1, 60))
        dice = draw.random()
        if dice < 0.2 or not known:
            event = report(draw, at)
            known.append(event.report_id)
            events.append((event, at))
        elif dice < 0.55:
            report_id = draw.choice([*known, UUID(int=draw.getrandbits(128))])
            link_versions[report_id] += 1
            place = draw.choice([*ids, None])
            events.append((link(report_id, place, link_versions[report_id], at), at))
        elif dice < 0.9:
            key = draw.choice(ids)
            versions[key] += 1
            state = draw.choice([state.value for state in IncidentState])
            entered[key].append((state, at))
            target = draw.choice([*ids, UUID(int=draw.getrandbits(128))]) if state == "merged" else None
            offices = tuple(draw.sample(["JC-001", "JC-002", "JC-003"], draw.randrange(4)))
            events.append((incident(key, versions[key], entered[key], draw.choice(CAUSES), target, offices), at))
        else:
            press = heat(UUID(int=draw.randrange(50)), "payment", at)
            events.append((press, at))
    return [received(event, number, at) for number, (event, at) in enumerate(events)]


def recompute(stream: Sequence[Received[Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """The rollups that the stream must give, by plain scans over everything."""
    by_type: defaultdict[type, list[Any]] = defaultdict(list)
    for entry in stream:
        by_type[type(entry.event)].append(entry.event)
    reports = {event.report_id: event for event in by_type[FeedbackSubmittedV1]}
    links: dict[UUID, SignalLinkedV1] = {}
    for event in sorted(by_type[SignalLinkedV1], key=lambda event: event.link_version):
        links[UUID(event.source_id)] = event
    incidents: dict[UUID, IncidentChangedV1] = {}
    for event in sorted(by_type[IncidentChangedV1], key=lambda event: event.version):
        incidents[event.incident_id] = event
    days: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 16)
    totals: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 16)
    for report_id, event in reports.items():
        cause = _speaks(links[report_id].incident, incidents) if report_id in links else None
        zone = "Atlantic/Canary" if event.office == "JC-CANARY" else "Europe/Berlin"
        day = event.submitted_at.astimezone(ZoneInfo(zone)).date()
        cells = (
            days[day, event.office, event.service, event.channel.value, event.lang.value, event.kind.value],
            totals[event.service, event.channel.value, event.kind.value],
        )
        for counts in cells:
            counts[0] += 1
            if event.rating:
                counts[event.rating] += 1
            counts[6 + CAUSES.index(cause or event.cause)] += 1
            counts[11 + CAUSES.index(event.cause)] += 1
    presses = {event.heat_id: event.service for event in by_type[HeatReportedV1]}
    return {
        "rollup_day": sorted((*key, *counts[:11]) for key, counts in days.items()),
        "rollup_total": sorted((*key, *counts) for key, counts in totals.items()),
        "rollup_incident": sorted(Counter(event.state.value for event in incidents.values()).items()),
        "rollup_heat": sorted(Counter(presses.values()).items()),
    }


def _speaks(incident_id: UUID | None, incidents: dict[UUID, IncidentChangedV1]) -> str | None:
    for _ in range(len(incidents) + 1):
        event = incidents.get(incident_id) if incident_id is not None else None
        if event is None:
            return None
        if event.state.value != "merged":
            confirmed = any(entry.state.value == "confirmed" for entry in event.transitions)
            return event.cause.value if confirmed and event.state.value in SPEAKING else None
        incident_id = event.merged_into
    return None


PROJECTIONS = (
    "fact_report", "fact_link", "fact_incident", "fact_heat", "freshness",
    "rollup_day", "rollup_total", "rollup_incident", "rollup_timing", "rollup_heat",
)  # fmt: skip


async def dump(conn: asyncpg.Connection, schema: str = "figures") -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in order."""
    tables = {}
    for table in PROJECTIONS:
        rows = await conn.fetch(f"select * from {schema}.{table}")
        tables[table] = sorted((tuple(row) for row in rows), key=repr)
    return tables


def rows_of(table: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in the natural order of their values (dates, texts and numbers)."""
    return sorted(table, key=lambda row: tuple(str(value) if isinstance(value, date) else value for value in row))
