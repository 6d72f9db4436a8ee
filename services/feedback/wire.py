"""Domain and events: the only file that knows both.

Events of a report are written as JSON here and now: a second pydantic model per event would cost more than the rest of
the request. A test holds every byte against the models of ``shared.events``.
"""

import json
from datetime import UTC, datetime
from uuid import UUID

from services.feedback.domain.incidents import Incident, PublicWords, ReportLink
from services.feedback.domain.report import OutgoingEvent, Report
from shared.events import FeedbackSubmittedV1, FeedbackWordedV1, IncidentChangedV1, SignalLinkedV1
from shared.events.vocabulary import SignalKind

SOURCE = "feedback"


def facts_event(report: Report, event_id: UUID, traceparent: str) -> OutgoingEvent:
    """``feedback.submitted.v1``: the facts, never a word."""
    payload = (
        f'{{{_common(report)},"channel":"{report.channel}","rating":{report.rating or "null"},"invited":false}}'
    ).encode()
    return OutgoingEvent(event_id, _headers(FeedbackSubmittedV1.topic, report, event_id, traceparent), payload)


def words_event(report: Report, event_id: UUID, traceparent: str) -> OutgoingEvent:
    """``feedback.worded.v1``: the masked words."""
    joins = f'"{report.joins_incident}"' if report.joins_incident else "null"
    payload = f'{{{_common(report)},"text":{json.dumps(report.text, ensure_ascii=False)},"joins_incident":{joins}}}'
    return OutgoingEvent(event_id, _headers(FeedbackWordedV1.topic, report, event_id, traceparent), payload.encode())


def _common(report: Report) -> str:
    """The members that both events have. Offices and services are keys of the catalogue, the rest are closed words."""
    drivers = ",".join(f'"{driver}"' for driver in report.drivers)
    blames = "true" if report.blames_person else "false"
    return (
        f'"report_id":"{report.report_id}","office":{json.dumps(report.office)},"service":{json.dumps(report.service)},'
        f'"lang":"{report.lang}","kind":"{report.kind}","drivers":[{drivers}],"cause":"{report.cause}",'
        f'"blames_person":{blames},"submitted_at":"{_instant(report.submitted_at)}"'
    )


def _headers(topic: str, report: Report, event_id: UUID, traceparent: str) -> bytes:
    """The headers of ``Envelope.to_headers`` in the form in which ``shared.outbox`` stores them."""
    return (
        f'[["ce_specversion","1.0"],["ce_id","{event_id}"],["ce_type","{topic}"],["ce_source","{SOURCE}"],'
        f'["ce_time","{report.submitted_at.isoformat()}"],["ce_subject","{report.report_id}"],'
        f'["content-type","application/json"],["ce_traceparent","{traceparent}"]]'
    ).encode()


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def incident_of(event: IncidentChangedV1) -> Incident:
    """What feedback keeps of an incident."""
    return Incident(
        incident_id=event.incident_id,
        version=event.version,
        state=event.state,
        merged_into=event.merged_into,
        title=event.title,
        service=event.service,
        reports=event.counts.report,
        first_seen_at=event.first_seen_at,
        entered=tuple((transition.state, transition.at) for transition in event.transitions),
        words={lang: PublicWords(text.title, text.text, text.workaround) for lang, text in event.public_text.items()},
    )


def link_of(event: SignalLinkedV1) -> ReportLink | None:
    """The link of a report; None for other signals. Raises ``ValueError`` when a report's ``source_id`` is no id."""
    if event.signal_kind is not SignalKind.REPORT:
        return None
    return ReportLink(UUID(event.source_id), event.link_version, event.incident, event.linked_at)
