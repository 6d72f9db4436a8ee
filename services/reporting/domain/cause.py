"""Which cause of a complaint is in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from shared.events.vocabulary import Cause, IncidentState

_STATES_WITH_A_CAUSE = frozenset(
    {
        IncidentState.CONFIRMED,
        IncidentState.MITIGATING,
        IncidentState.FIXED,
        IncidentState.CLOSED,
        IncidentState.REGRESSED,
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an incident says about the cause of its reports. ``confirmed``: a person has ever confirmed it."""

    state: IncidentState
    confirmed: bool
    cause: Cause
    merged_into: UUID | None


def incident_cause(incident_id: UUID, verdicts: Mapping[UUID, Verdict]) -> Cause | None:
    """The cause that ``incident_id`` gives to its reports, or None when it gives none.

    A merged incident speaks through the one it was merged into. A chain that ends at an incident not known yet, or
    that runs in a circle, gives none.
    """
    seen: set[UUID] = set()
    current: UUID | None = incident_id
    while current is not None and current not in seen:
        seen.add(current)
        verdict = verdicts.get(current)
        if verdict is None:
            return None
        if verdict.state is not IncidentState.MERGED:
            return verdict.cause if verdict.confirmed and verdict.state in _STATES_WITH_A_CAUSE else None
        current = verdict.merged_into
    return None


def cause_in_force(judged: Cause, of_incident: Cause | None) -> Cause:
    """The cause of a report: that of its confirmed incident, else what feedback judged on arrival."""
    return judged if of_incident is None else of_incident
