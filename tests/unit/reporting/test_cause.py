"""Which cause of a complaint is in force."""

from uuid import UUID

import pytest

from services.reporting.domain.cause import Verdict, cause_in_force, incident_cause
from shared.events.vocabulary import Cause, IncidentState

A, B, C = (UUID(int=number) for number in (1, 2, 3))
SPEAKING = {"confirmed", "mitigating", "fixed", "closed", "regressed"}


def verdict(state: str, *, confirmed: bool = True, into: UUID | None = None) -> Verdict:
    return Verdict(IncidentState(state), confirmed, Cause.SYSTEM, into)


@pytest.mark.parametrize("state", [state.value for state in IncidentState if state.value != "merged"])
def test_only_confirmed_incidents_speak(state: str) -> None:
    """In the states that follow a confirmation, and only when a person ever confirmed it."""
    assert incident_cause(A, {A: verdict(state)}) is (Cause.SYSTEM if state in SPEAKING else None)
    assert incident_cause(A, {A: verdict(state, confirmed=False)}) is None


def test_a_merged_incident_speaks_through_its_target() -> None:
    """Over several steps, whether it was confirmed itself or not."""
    chain = {A: verdict("merged", confirmed=False, into=B), B: verdict("merged", into=C), C: verdict("fixed")}
    assert incident_cause(A, chain) is Cause.SYSTEM
    assert incident_cause(A, {**chain, C: verdict("candidate", confirmed=False)}) is None


def test_chains_without_an_end_give_nothing() -> None:
    """A target not known yet, a circle, and a merge into itself: what was judged stays in force."""
    assert incident_cause(A, {A: verdict("merged", into=B)}) is None
    assert incident_cause(A, {A: verdict("merged", into=B), B: verdict("merged", into=A)}) is None
    assert incident_cause(A, {A: verdict("merged", into=A)}) is None
    assert incident_cause(A, {}) is None


def test_the_incident_wins_over_what_was_judged() -> None:
    """Without an incident that speaks, the judgement on arrival stands."""
    assert cause_in_force(Cause.BEHAVIOUR, Cause.SYSTEM) is Cause.SYSTEM
    assert cause_in_force(Cause.BEHAVIOUR, None) is Cause.BEHAVIOUR
