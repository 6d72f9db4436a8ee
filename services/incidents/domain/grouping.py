"""Grouping: layers from the surest to the boldest; the first sure one decides, else the signal founds an incident.

Each layer is pure over what it is given to look into. To change what a layer decides, raise ``GROUPING_VERSION``:
decisions made are recorded and never derived again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Protocol

from services.incidents.domain.model import GroupId, IncidentId, Placement, Signal, SignalKind

GROUPING_VERSION = "1"
UNNAMED_SERVICE = "other"


class Layer(Protocol):
    """One way to recognise a signal."""

    name: ClassVar[str]

    def place(self, signal: Signal) -> Placement | None:
        """Where ``signal`` belongs when this layer is sure; None leaves it to the next one."""


def place_by_first_sure(layers: Iterable[Layer], signal: Signal) -> Placement | None:
    """The placement of the first layer that is sure."""
    for layer in layers:
        placement = layer.place(signal)
        if placement is not None:
            return placement
    return None


@dataclass(frozen=True, slots=True)
class NamedIncident:
    """The sender named the incident ("me too", a heat press on a card). ``known`` are those that exist."""

    known: Mapping[IncidentId, IncidentId]
    """Named id to the one in force (itself, or what it was merged into)."""
    name: ClassVar[str] = "named"

    def place(self, signal: Signal) -> Placement | None:
        if signal.joins is None or signal.joins not in self.known:
            return None
        return Placement(self.known[signal.joins], self.name, 1.0, "named by the sender")


@dataclass(frozen=True, slots=True)
class ExactFingerprint:
    """The same masked fingerprint as a group that is known."""

    incident_of: Mapping[GroupId, IncidentId]
    name: ClassVar[str] = "fingerprint"

    def place(self, signal: Signal) -> Placement | None:
        if signal.group is None or signal.group.id not in self.incident_of:
            return None
        rule = f"same {signal.group.kind.value} fingerprint"
        return Placement(self.incident_of[signal.group.id], self.name, 1.0, rule, nearest=(signal.group.id,))


@dataclass(frozen=True, slots=True)
class Alike:
    """A known group whose words are like a signal's."""

    group: GroupId
    incident: IncidentId
    score: float
    terms: tuple[str, ...]
    service: str
    office: str | None
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class SimilarityPolicy:
    """How alike is alike enough, from 0 to 1. The service a person picks is a hint: it lowers the bar, no more."""

    anywhere: float = 0.55
    same_service: float = 0.38
    same_service_office_day: float = 0.14
    terms_anywhere: int = 2
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SimilarWords:
    """Words alike by character n-grams and stems; the closer service, office and time, the less likeness it takes."""

    nearest: Callable[[Signal], Sequence[Alike]]
    policy: SimilarityPolicy = SimilarityPolicy()
    name: ClassVar[str] = "similarity"

    def place(self, signal: Signal) -> Placement | None:
        if signal.kind is not SignalKind.REPORT:
            return None
        found = self.nearest(signal)
        for alike in found:
            rule = self._rule(signal, alike)
            if rule is not None:
                groups = tuple(near.group for near in found[:3])
                return Placement(alike.incident, self.name, round(alike.score, 4), rule, alike.terms, groups)
        return None

    def _rule(self, signal: Signal, alike: Alike) -> str | None:
        policy = self.policy
        if not alike.terms:
            return None
        if alike.score >= policy.anywhere and len(alike.terms) >= policy.terms_anywhere:
            return "alike words"
        if signal.service != alike.service or signal.service == UNNAMED_SERVICE:
            return None
        if alike.score >= policy.same_service and len(alike.terms) >= policy.terms_anywhere:
            return "alike words, same service"
        near_in_time = abs(signal.at - alike.last_seen_at) <= policy.window
        if alike.score >= policy.same_service_office_day and signal.office == alike.office and near_in_time:
            return "alike words, same service, office and day"
        return None


@dataclass(frozen=True, slots=True)
class RecentOfService:
    """Heat has no words: it goes to the incident of its service and office that was last seen, if that is recent."""

    recent: Mapping[tuple[str, str | None], IncidentId]
    """By service and office: the incident last seen within the window, in a state that heat may be about."""
    name: ClassVar[str] = "service"

    def place(self, signal: Signal) -> Placement | None:
        if signal.kind is not SignalKind.HEAT:
            return None
        incident = self.recent.get((signal.service, signal.office))
        if incident is None:
            return None
        return Placement(incident, self.name, 0.5, "latest incident of service and office")
