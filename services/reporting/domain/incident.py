"""One incident as reporting keeps it, and the times it took."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import inf
from uuid import UUID

from services.reporting.domain.cause import Verdict
from shared.events.vocabulary import Cause, IncidentState

HOUR = 3600
DAY = 24 * HOUR


class Measure(StrEnum):
    """What is timed."""

    ACKNOWLEDGE = "acknowledge"
    FIX = "fix"


BUCKETS: dict[Measure, tuple[float, ...]] = {
    Measure.ACKNOWLEDGE: (
        HOUR / 4, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, inf,
    ),
    Measure.FIX: (
        HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 3 * DAY, 5 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY, inf,
    ),
}  # fmt: skip
"""Upper bounds in seconds, inclusive, as Prometheus means them. They are stored: a change needs ``make rebuild``."""


@dataclass(frozen=True, slots=True)
class Milestones:
    """The instants of an incident that are timed; None where it never came so far."""

    started_at: datetime
    candidate_at: datetime | None
    confirmed_at: datetime | None
    fixed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Incident:
    """The newest known version of one incident. Never a title: what people wrote is none of reporting's business."""

    incident_id: UUID
    version: int
    changed_at: datetime
    state: IncidentState
    merged_into: UUID | None
    cause: Cause
    offices: tuple[str, ...]
    milestones: Milestones

    def rank(self) -> tuple[int, datetime, str, str, str]:
        """Orders the versions of one incident; the rest decides only if a version was ever announced in two forms."""
        return (self.version, self.changed_at, self.state.value, self.cause.value, str(self.merged_into))

    def verdict(self) -> Verdict:
        return Verdict(self.state, self.milestones.confirmed_at is not None, self.cause, self.merged_into)


def milestones(entered: Sequence[tuple[IncidentState, datetime]], first_seen_at: datetime) -> Milestones:
    """The timed instants, from all states ever entered in any order.

    An incident starts when it is first observed or a candidate (else with its first signal). The fix is the first one
    at or after the first confirmation: a fix that did not hold stays counted, the incident shows as regressed.
    """
    starts = [at for state, at in entered if state in {IncidentState.OBSERVED, IncidentState.CANDIDATE}]
    candidates = [at for state, at in entered if state is IncidentState.CANDIDATE]
    confirmed_at = min((at for state, at in entered if state is IncidentState.CONFIRMED), default=None)
    fixes = [
        at for state, at in entered if state is IncidentState.FIXED and confirmed_at is not None and at >= confirmed_at
    ]
    return Milestones(
        started_at=min(starts, default=first_seen_at),
        candidate_at=min(candidates, default=None),
        confirmed_at=confirmed_at,
        fixed_at=min(fixes, default=None),
    )


@dataclass(frozen=True, slots=True)
class Timing:
    """One measured time in whole microseconds: integers add up to the same sum in any order."""

    measure: Measure
    le_seconds: float
    microseconds: int


def timings(instants: Milestones) -> list[Timing]:
    """What the milestones allow to time, with the bucket each falls into. Clocks that disagree give zero, not less."""
    spans: list[tuple[Measure, datetime | None, datetime | None]] = [
        (Measure.ACKNOWLEDGE, instants.started_at, instants.confirmed_at),
        (Measure.FIX, instants.confirmed_at, instants.fixed_at),
    ]
    measured = []
    for measure, begin, end in spans:
        if begin is None or end is None:
            continue
        span = end - begin
        microseconds = max(0, (span.days * DAY + span.seconds) * 1_000_000 + span.microseconds)
        bounds = BUCKETS[measure]
        measured.append(Timing(measure, bounds[bisect_left(bounds, microseconds / 1e6)], microseconds))
    return measured
