"""Domain and public events: the only file that knows both. Nothing of a client's words passes to the outside here."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from services.incidents.domain.grouping import GROUPING_VERSION
from services.incidents.domain.model import (
    GroupId,
    GroupKey,
    Incident,
    IncidentId,
    Placement,
    Signal,
    SignalId,
    SignalKind,
)
from shared.events import (
    ErrorReportedV1,
    FeedbackWordedV1,
    HeatReportedV1,
    IncidentChangedV1,
    PublicText,
    SignalLinkedV1,
    Transition,
)
from shared.events.incidents import SignalCounts
from shared.events.vocabulary import Cause, IncidentState, Kind
from shared.events.vocabulary import SignalKind as PublicSignalKind
from shared.text.fingerprint import (
    FINGERPRINT_VERSION,
    StackFrame,
    error_fingerprint,
    own_places,
    words_fingerprint,
)

SOURCE = "incidents"
HEAT_SLOT_SECONDS = 600
_NAMESPACE = uuid5(NAMESPACE_URL, "urn:blitzableiter:incidents")
_FINGERPRINTED_CHARACTERS = 4000
_WORDS_THAT_STAND_ALONE = 4
"""A text of fewer words ("geht nicht") means something else in another service."""
_CODE_NAME = re.compile(r"[^\s@\"',;?!]{1,200}")
_GROUPED_KINDS = (Kind.COMPLAINT, Kind.RATING)


def group_key(kind: SignalKind, fingerprint: str, scope: str) -> GroupKey:
    """The group of a fingerprint; the same id in every process."""
    name = "|".join((kind.value, scope, fingerprint, FINGERPRINT_VERSION))
    return GroupKey(GroupId(uuid5(_NAMESPACE, f"group|{name}")), kind, fingerprint, scope)


def error_id(project: str, event_id: str) -> UUID:
    """The id of an error event: the same for every copy that the sender sends."""
    return uuid5(_NAMESPACE, f"error|{project}|{event_id}")


def heat_id(office: str, service: str, at: datetime) -> UUID:
    """The id of a heat press: the same for all presses of one office, service and ten minutes."""
    return uuid5(_NAMESPACE, f"heat|{office}|{service}|{int(at.timestamp()) // HEAT_SLOT_SECONDS}")


def signal_of_report(event: FeedbackWordedV1, *, received_at: datetime, traceparent: str | None) -> Signal:
    """A report's masked words. Without words, or as praise or suggestion, it makes no incident by itself."""
    text = event.text.replace("\x00", "")
    group = None
    if event.kind in _GROUPED_KINDS:
        looked_at = text[:_FINGERPRINTED_CHARACTERS]
        scope = event.service if len(looked_at.split()) < _WORDS_THAT_STAND_ALONE else ""
        fingerprint = words_fingerprint(looked_at, scope)
        group = group_key(SignalKind.REPORT, fingerprint, scope) if fingerprint else None
    return Signal(
        id=SignalId(event.report_id),
        kind=SignalKind.REPORT,
        source_id=str(event.report_id),
        at=event.submitted_at,
        received_at=received_at,
        service=event.service,
        office=event.office,
        lang=event.lang.value,
        text=text,
        drivers=tuple(driver.value for driver in event.drivers),
        group=group,
        joins=None if event.joins_incident is None else IncidentId(event.joins_incident),
        groupable=group is not None,
        traceparent=traceparent,
    )


def signal_of_error(event: ErrorReportedV1, *, received_at: datetime, traceparent: str | None) -> Signal:
    """A technical error: recognised within its service by its fingerprint."""
    frames = [
        StackFrame(frame.module or frame.filename or "", frame.function or "", frame.in_app) for frame in event.frames
    ]
    fingerprint = error_fingerprint(event.type, event.message, frames, event.fingerprint, event.service)
    return Signal(
        id=SignalId(event.error_id),
        kind=SignalKind.ERROR,
        source_id=event.event_id,
        at=event.at,
        received_at=received_at,
        service=event.service,
        office=event.office,
        text=event.message.replace("\x00", ""),
        group=group_key(SignalKind.ERROR, fingerprint, event.service),
        error_label=error_label(event.type, frames),
        traceparent=traceparent,
    )


def signal_of_heat(event: HeatReportedV1, *, received_at: datetime, traceparent: str | None) -> Signal:
    """A heat press: one signal for each office, service and ten minutes, however often it was pressed."""
    return Signal(
        id=SignalId(heat_id(event.office, event.service, event.at)),
        kind=SignalKind.HEAT,
        source_id=str(event.heat_id),
        at=event.at,
        received_at=received_at,
        service=event.service,
        office=event.office,
        group=group_key(SignalKind.HEAT, event.service, event.service),
        joins=None if event.incident_id is None else IncidentId(event.incident_id),
        traceparent=traceparent,
    )


def error_label(type_name: str, frames: Sequence[StackFrame]) -> str:
    """Type and code place of an error, as a title may show it; empty when it has neither.

    A title is public and kept for good, so nothing passes that could be a sentence: no message, and of type and place
    only what is written like a name in a program.
    """
    places = own_places(frames)
    place = places[-1].replace(":", ".").lstrip(".") if places else ""
    kind = type_name if _CODE_NAME.fullmatch(type_name) else ""
    return f"{kind or 'Fehler'} in {place}" if _CODE_NAME.fullmatch(place) else kind


def signal_linked(signal: Signal, placement: Placement, linked_at: datetime) -> SignalLinkedV1:
    """The announcement of a new link: layer, score, rule and version, never a word."""
    return SignalLinkedV1(
        signal_id=signal.id,
        signal_kind=PublicSignalKind(signal.kind.value),
        source_id=signal.source_id,
        incident=placement.incident,
        from_incident=None,
        link_version=1,
        layer=placement.layer,
        score=placement.score,
        rule=placement.rule,
        concepts=(),
        grouping_version=GROUPING_VERSION,
        office=signal.office,
        service=signal.service,
        at=signal.at,
        linked_at=linked_at,
    )


def incident_changed(
    incident: Incident, public_text: Mapping[str, Any] | None, changed_at: datetime
) -> IncidentChangedV1:
    """The public face of an incident. The owner stays inside."""
    return IncidentChangedV1(
        incident_id=incident.id,
        version=incident.version,
        state=IncidentState(incident.state.value),
        merged_into=incident.merged_into,
        title=incident.title,
        service=incident.service,
        offices=incident.offices,
        langs=incident.langs,
        cause=Cause(incident.cause),
        severity=incident.severity.value,
        counts=SignalCounts(
            report=incident.counts.report,
            error=incident.counts.error,
            heat=incident.counts.heat,
            alert=incident.counts.alert,
        ),
        first_seen_at=incident.first_seen_at,
        last_seen_at=incident.last_seen_at,
        public_text={lang: PublicText.model_validate(text) for lang, text in (public_text or {}).items()},
        transitions=tuple(
            Transition(state=IncidentState(step.state.value), at=step.at) for step in incident.transitions
        ),
        changed_at=changed_at,
    )
