"""Domain and events: the only file that knows both.

Events of a report are written as JSON here and now: a second pydantic model per event would cost more than the rest of
the request. A test holds every byte against the models of ``shared.events``.
"""

from datetime import UTC
from json.encoder import encode_basestring
from typing import Final
from uuid import UUID

from services.feedback.domain.incidents import Incident, PublicWords, ReportLink
from services.feedback.domain.report import OutgoingEvent, Report
from shared.events import FeedbackSubmittedV1, FeedbackWordedV1, IncidentChangedV1, SignalLinkedV1
from shared.events.vocabulary import SignalKind

SOURCE = "feedback"
json_text: Final = encode_basestring
"""A text as JSON, quotes included; what ``json.dumps(text, ensure_ascii=False)`` does, without its detours."""


def announced(report: Report, facts_id: UUID, words_id: UUID, traceparent: str) -> tuple[OutgoingEvent, OutgoingEvent]:
    """``feedback.submitted.v1`` with the facts, and ``feedback.worded.v1`` with the masked words."""
    report_id = str(report.report_id)
    common = _common(report, report_id)
    facts = f'{{{common},"channel":"{report.channel}","rating":{report.rating or "null"},"invited":false}}'
    joins = f'"{report.joins_incident}"' if report.joins_incident else "null"
    words = f'{{{common},"text":{json_text(report.text)},"joins_incident":{joins}}}'
    rest = (
        f'["ce_source","{SOURCE}"],["ce_time","{report.submitted_at.isoformat()}"],["ce_subject","{report_id}"],'
        f'["content-type","application/json"],["ce_traceparent","{traceparent}"]]'
    )
    return (
        OutgoingEvent(facts_id, _headers(FeedbackSubmittedV1.topic, facts_id, rest), facts.encode()),
        OutgoingEvent(words_id, _headers(FeedbackWordedV1.topic, words_id, rest), words.encode()),
    )


def _common(report: Report, report_id: str) -> str:
    """The members that both events have. All but office and service are closed words."""
    drivers = ",".join([f'"{driver}"' for driver in report.drivers])
    blames = "true" if report.blames_person else "false"
    submitted_at = report.submitted_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (
        f'"report_id":"{report_id}","office":{json_text(report.office)},"service":{json_text(report.service)},'
        f'"lang":"{report.lang}","kind":"{report.kind}","drivers":[{drivers}],"cause":"{report.cause}",'
        f'"blames_person":{blames},"submitted_at":"{submitted_at}"'
    )


def _headers(topic: str, event_id: UUID, rest: str) -> bytes:
    """The headers of ``Envelope.to_headers`` in the form in which ``shared.records`` stores them."""
    return f'[["ce_specversion","1.0"],["ce_id","{event_id}"],["ce_type","{topic}"],{rest}'.encode()


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
