"""Incidents as feedback knows them: its own projection, so that it answers while the incidents service is down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from shared.events.vocabulary import IncidentState

SMALLEST_COUNT_SHOWN: Final = 3
"""k: fewer affected people are not told, as a count of one or two can point to a person."""
PUBLIC_AFTER_FIX: Final = timedelta(days=14)

_ALWAYS_PUBLIC: Final = frozenset({IncidentState.CONFIRMED, IncidentState.MITIGATING, IncidentState.REGRESSED})
_MOST_MERGES_FOLLOWED: Final = 16


@dataclass(frozen=True, slots=True)
class PublicWords:
    """The public text of an incident in one language."""

    title: str
    text: str
    workaround: str | None


@dataclass(frozen=True, slots=True)
class Incident:
    """The latest known version of one incident. ``entered`` holds every state ever entered, oldest first (UTC)."""

    incident_id: UUID
    version: int
    state: IncidentState
    merged_into: UUID | None
    title: str
    service: str
    reports: int
    first_seen_at: datetime
    entered: tuple[tuple[IncidentState, datetime], ...]
    words: Mapping[str, PublicWords]

    def entered_at(self, state: IncidentState) -> datetime | None:
        """When ``state`` was entered last; None if never."""
        return next((at for entered, at in reversed(self.entered) if entered is state), None)

    def words_in(self, lang: str) -> tuple[str, PublicWords | None]:
        """The public text in ``lang``, else in German; the language it is in."""
        if words := self.words.get(lang):
            return lang, words
        return "de", self.words.get("de")

    @property
    def affected(self) -> int | None:
        """How many people reported it; None below k."""
        return self.reports if self.reports >= SMALLEST_COUNT_SHOWN else None


@dataclass(frozen=True, slots=True)
class ReportLink:
    """Where a report belongs, by one version. ``incident_id`` None: it left its incident."""

    report_id: UUID
    link_version: int
    incident_id: UUID | None
    linked_at: datetime


def is_public(incident: Incident, now: datetime) -> bool:
    """Whether anyone may see the incident: confirmed, being worked on, come back, or fixed for less than 14 days."""
    if incident.state in _ALWAYS_PUBLIC:
        return True
    fixed_at = incident.entered_at(IncidentState.FIXED) if incident.state is IncidentState.FIXED else None
    return fixed_at is not None and now - fixed_at < PUBLIC_AFTER_FIX


def public_incidents(incidents: Iterable[Incident], now: datetime) -> list[Incident]:
    """The public ones, those with most people affected first."""
    public = [incident for incident in incidents if is_public(incident, now)]
    return sorted(public, key=lambda incident: (-incident.reports, incident.first_seen_at, incident.incident_id))


def follow_merges(incident_id: UUID, incidents: Mapping[UUID, Incident]) -> Incident | None:
    """The incident that stands for ``incident_id`` today; None while it is not known here yet."""
    for _ in range(_MOST_MERGES_FOLLOWED):
        incident = incidents.get(incident_id)
        if incident is None or incident.merged_into is None:
            return incident
        incident_id = incident.merged_into
    return None
