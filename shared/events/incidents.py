"""What incidents announces: where each signal belongs, and the public face of each incident. Never a client's word."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.events.envelope import Event
from shared.events.vocabulary import Cause, IncidentState, SignalKind


class SignalLinkedV1(Event):
    """A signal joined, left or moved. Readers keep the highest ``link_version`` of each signal."""

    topic: ClassVar[str] = "signal.linked.v1"

    signal_id: UUID
    signal_kind: SignalKind
    source_id: str
    """A report's ``report_id`` or an error's ``event_id``."""
    incident: UUID | None
    from_incident: UUID | None
    link_version: int
    layer: str
    score: float
    rule: str | None
    concepts: tuple[str, ...]
    grouping_version: str
    office: str | None
    service: str
    at: datetime
    linked_at: datetime

    def key(self) -> str:
        return str(self.signal_id)


class Transition(BaseModel):
    """The instant at which an incident entered a state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: IncidentState
    at: datetime


class PublicText(BaseModel):
    """What the public may read of an incident in one language."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    text: str
    workaround: str | None = None


class SignalCounts(BaseModel):
    """Signals of an incident by kind."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    report: int = 0
    error: int = 0
    heat: int = 0
    alert: int = 0


class IncidentChangedV1(Event):
    """The state of one incident after a change. Readers keep the highest ``version``."""

    topic: ClassVar[str] = "incident.changed.v1"

    incident_id: UUID
    version: int
    state: IncidentState
    merged_into: UUID | None
    title: str
    service: str
    offices: tuple[str, ...]
    langs: tuple[str, ...]
    cause: Cause
    severity: str
    counts: SignalCounts
    first_seen_at: datetime
    last_seen_at: datetime
    public_text: dict[str, PublicText]
    transitions: tuple[Transition, ...]
    """Every state ever entered, oldest first."""
    changed_at: datetime

    def key(self) -> str:
        return str(self.incident_id)
