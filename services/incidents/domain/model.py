"""What the rules of incidents speak of. Frozen values; a change makes a new one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

IncidentId = NewType("IncidentId", UUID)
GroupId = NewType("GroupId", UUID)
SignalId = NewType("SignalId", UUID)

SYSTEM_ACTOR = "system"
"""The actor of every automatic step in the decision log."""


class State(StrEnum):
    OBSERVED = "observed"
    CANDIDATE = "candidate"
    CONFIRMED = "confirmed"
    MITIGATING = "mitigating"
    FIXED = "fixed"
    CLOSED = "closed"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    MERGED = "merged"


class SignalKind(StrEnum):
    REPORT = "report"
    ERROR = "error"
    HEAT = "heat"
    ALERT = "alert"


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class GroupKey:
    """The identity of a technical group; ``id`` is derived from the rest, so that two processes name it alike."""

    id: GroupId
    kind: SignalKind
    fingerprint: str
    scope: str


@dataclass(frozen=True, slots=True)
class Signal:
    """One piece of evidence. ``text`` is masked; ``group`` is None when there is nothing to recognise it by."""

    id: SignalId
    kind: SignalKind
    source_id: str
    at: datetime
    received_at: datetime
    service: str
    office: str | None = None
    lang: str | None = None
    text: str = ""
    drivers: tuple[str, ...] = ()
    group: GroupKey | None = None
    joins: IncidentId | None = None
    """The incident that the sender named."""
    groupable: bool = True
    """False: never makes or joins an incident by itself (praise, suggestions, reports without a word)."""
    error_label: str = ""
    """Type and code place of an error: what a title may say. Empty when there is neither."""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a layer puts a signal and why. ``score`` from 0 to 1; ``terms`` never leave the database by Kafka."""

    incident: IncidentId
    layer: str
    score: float
    rule: str
    terms: tuple[str, ...] = ()
    nearest: tuple[GroupId, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    state: State
    at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """Signals of an incident by kind."""

    report: int = 0
    error: int = 0
    heat: int = 0
    alert: int = 0

    @property
    def total(self) -> int:
        return self.report + self.error + self.heat + self.alert


@dataclass(frozen=True, slots=True)
class Evidence:
    """The least independent evidence of any one kind before an observed incident shows as a candidate."""

    reports: int
    offices: int
    errors: int
    heat: int

    def suffices(self, counts: Counts, offices: int) -> bool:
        """Enough of any one kind is enough; ``offices`` is the number of different offices."""
        return (
            counts.report >= self.reports
            or counts.error >= self.errors
            or counts.heat >= self.heat
            or offices >= self.offices
        )


@dataclass(frozen=True, slots=True)
class Incident:
    """One suspected fault. ``version`` rises with every change; ``transitions`` are all states ever entered."""

    id: IncidentId
    title: str
    state: State
    service: str
    cause: str
    first_seen_at: datetime
    last_seen_at: datetime
    counts: Counts = Counts()
    offices: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    drivers: Mapping[str, int] = field(default_factory=dict)
    severity: Severity = Severity.MEDIUM
    owner: str | None = None
    merged_into: IncidentId | None = None
    cause_decided: bool = False
    """A person has said what the cause is: no automatic step changes it."""
    transitions: tuple[Transition, ...] = ()
    version: int = 1

    def entered_at(self, *states: State) -> datetime | None:
        """When one of ``states`` was entered last; None when never."""
        return next((step.at for step in reversed(self.transitions) if step.state in states), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the decision log. ``before`` and ``after`` hold only the fields that changed."""

    incident: IncidentId
    at: datetime
    actor: str
    kind: str
    reason: str | None
    before: Mapping[str, object]
    after: Mapping[str, object]
    version: int
    """The incident's version after it."""
