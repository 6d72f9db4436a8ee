"""Events of the log to the domain of reporting: the only file that knows both."""

from collections.abc import Mapping
from datetime import tzinfo
from uuid import UUID

from services.reporting.domain.calendar import local_day
from services.reporting.domain.incident import Incident, milestones
from services.reporting.domain.link import Link
from services.reporting.domain.rollup import Cell
from shared.events import FeedbackSubmittedV1, IncidentChangedV1, SignalLinkedV1
from shared.events.vocabulary import SignalKind


def cell_of(event: FeedbackSubmittedV1, zones: Mapping[str, tzinfo]) -> Cell:
    """Where a report counts. ``zones``: time zone by office."""
    return Cell(
        day=local_day(event.submitted_at, event.office, zones),
        office=event.office,
        service=event.service,
        channel=event.channel.value,
        lang=event.lang.value,
        kind=event.kind.value,
    )


def link_of(event: SignalLinkedV1) -> Link | None:
    """The place of a report; None for other signals. Raises ``ValueError`` when ``source_id`` names no report."""
    if event.signal_kind is not SignalKind.REPORT:
        return None
    return Link(UUID(event.source_id), event.signal_id, event.link_version, event.incident)


def incident_of(event: IncidentChangedV1) -> Incident:
    return Incident(
        incident_id=event.incident_id,
        version=event.version,
        changed_at=event.changed_at,
        state=event.state,
        merged_into=event.merged_into,
        cause=event.cause,
        offices=event.offices,
        milestones=milestones([(entry.state, entry.at) for entry in event.transitions], event.first_seen_at),
    )
