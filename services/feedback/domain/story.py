"""What a receipt tells: a pure function of the report, its link and the incident, so that the order in which news
arrived does not matter.

Nothing of an incident is told before a person has confirmed it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.feedback.domain.incidents import Incident
from shared.events.vocabulary import IncidentState


class ReceiptState(StrEnum):
    """Where a report stands, in the words of the contract."""

    RECEIVED = "received"
    IN_PROGRESS = "in_progress"
    FIXED = "fixed"
    ANSWERED = "answered"
    CLOSED = "closed"


class Moment(StrEnum):
    """What happened; its words in each language are in the texts of the pages."""

    RECEIVED = "received"
    LINKED = "linked"
    CONFIRMED = "confirmed"
    MITIGATING = "mitigating"
    FIXED = "fixed"
    REGRESSED = "regressed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Link:
    """Where a report belongs by the highest version known."""

    incident: Incident
    linked_at: datetime


@dataclass(frozen=True, slots=True)
class Story:
    """``moments`` oldest first; ``affected`` None when unknown or below k; ``incident`` None while none is shown."""

    state: ReceiptState
    moments: tuple[tuple[datetime, Moment], ...]
    affected: int | None
    can_verdict: bool
    incident: Incident | None


_TOLD = {
    IncidentState.CONFIRMED: Moment.CONFIRMED,
    IncidentState.MITIGATING: Moment.MITIGATING,
    IncidentState.FIXED: Moment.FIXED,
    IncidentState.REGRESSED: Moment.REGRESSED,
    IncidentState.CLOSED: Moment.CLOSED,
}
_STATES = {
    IncidentState.CONFIRMED: ReceiptState.IN_PROGRESS,
    IncidentState.MITIGATING: ReceiptState.IN_PROGRESS,
    IncidentState.REGRESSED: ReceiptState.IN_PROGRESS,
    IncidentState.FIXED: ReceiptState.FIXED,
    IncidentState.CLOSED: ReceiptState.CLOSED,
}


def tell(submitted_at: datetime, link: Link | None) -> Story:
    """The story of a report submitted at ``submitted_at``."""
    received = (submitted_at, Moment.RECEIVED)
    if link is None or not _was_confirmed(link.incident) or link.incident.state not in _STATES:
        return Story(ReceiptState.RECEIVED, (received,), None, False, None)
    incident = link.incident
    linked_at = max(link.linked_at, submitted_at)
    moments = [received, (linked_at, Moment.LINKED)]
    told = [(at, _TOLD[state]) for state, at in incident.entered if state in _TOLD]
    before = [moment for at, moment in told if at <= linked_at]
    if before:  # a report that came late hears how things stood, not what it missed
        moments.append((linked_at, before[-1]))
    moments += [(at, moment) for at, moment in told if at > linked_at]
    is_fixed = incident.state is IncidentState.FIXED
    return Story(_STATES[incident.state], tuple(moments), incident.affected, is_fixed, incident)


def _was_confirmed(incident: Incident) -> bool:
    return incident.entered_at(IncidentState.CONFIRMED) is not None
