"""What the API shows of incidents, signals and decisions: the shapes of the contract."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.incidents.domain.model import Incident
from services.incidents.store import Row, StoredIncident
from shared.catalogue import Catalogue
from shared.events.vocabulary import Cause, IncidentState, SignalKind


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class CountsOut(_Shape):
    """Signals by kind."""

    report: int
    error: int
    heat: int
    alert: int


class IncidentOut(_Shape):
    """One incident. ``impact`` = people (reports and heat) × existential weight of the service × offices."""

    id: UUID
    title: str
    state: IncidentState
    merged_into: UUID | None
    muted_until: datetime | None
    cause: Cause
    service: str
    offices: list[str]
    langs: list[str]
    counts: CountsOut
    first_seen_at: datetime
    last_seen_at: datetime
    lead_seconds: float | None
    impact: float
    severity: str
    owner: str | None
    due_at: datetime | None
    public_text: dict[str, Any]
    card: dict[str, Any] | None
    version: int


class LinkOut(_Shape):
    """Why a signal is where it is."""

    layer: str
    score: Annotated[float, Field(ge=0, le=1)]
    terms: list[str]
    nearest: list[UUID]
    rule: str | None
    grouping_version: str | None
    decision: UUID | None


class SignalOut(_Shape):
    """One piece of evidence; ``text`` is masked."""

    id: UUID
    kind: SignalKind
    source_id: str
    group_id: UUID | None
    at: datetime
    office: str | None
    service: str
    lang: str | None
    text: str
    link: LinkOut


class DecisionOut(_Shape):
    """One line of the decision log; ``actor`` is an opaque subject id or ``system``."""

    id: UUID
    at: datetime
    actor: str
    kind: str
    reason: str | None
    before: dict[str, Any]
    after: dict[str, Any]


def impact_of(incident: Incident, catalogue: Catalogue) -> float:
    """People (reports and heat presses) × existential weight × offices; an incident without an office counts one."""
    service = catalogue.services.get(incident.service)
    people = incident.counts.report + incident.counts.heat
    return people * (service.weight if service is not None else 1.0) * max(1, len(incident.offices))


def show_incident(stored: StoredIncident, catalogue: Catalogue, *, with_owner: bool = True) -> IncidentOut:
    """The contract's shape; figures that nobody has yet are null."""
    incident = stored.incident
    counts = incident.counts
    return IncidentOut(
        id=incident.id,
        title=incident.title,
        state=IncidentState(incident.state.value),
        merged_into=incident.merged_into,
        muted_until=None,
        cause=Cause(incident.cause),
        service=incident.service,
        offices=list(incident.offices),
        langs=list(incident.langs),
        counts=CountsOut(report=counts.report, error=counts.error, heat=counts.heat, alert=counts.alert),
        first_seen_at=incident.first_seen_at,
        last_seen_at=incident.last_seen_at,
        lead_seconds=None,
        impact=impact_of(incident, catalogue),
        severity=incident.severity.value,
        owner=incident.owner if with_owner else None,
        due_at=None,
        public_text=dict(stored.public_text or {}),
        card=None,
        version=incident.version,
    )


def show_signal(row: Row) -> SignalOut:
    """One row of ``signal`` that is linked."""
    link = LinkOut(
        layer=row["layer"],
        score=row["score"],
        terms=row["terms"],
        nearest=row["nearest"],
        rule=row["rule"],
        grouping_version=row["grouping_version"],
        decision=row["decision_id"],
    )
    return SignalOut(
        id=row["id"],
        kind=SignalKind(row["kind"]),
        source_id=row["source_id"],
        group_id=row["group_id"],
        at=row["at"],
        office=row["office"],
        service=row["service"],
        lang=row["lang"],
        text=row["text"],
        link=link,
    )


def show_decision(row: Row) -> DecisionOut:
    """One row of ``decision``."""
    return DecisionOut(
        id=row["id"],
        at=row["at"],
        actor=row["actor"],
        kind=row["kind"],
        reason=row["reason"],
        before=row["before"],
        after=row["after"],
    )
