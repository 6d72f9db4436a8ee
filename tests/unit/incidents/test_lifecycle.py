"""The life of an incident as a pure function."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.incidents.domain.lifecycle import (
    ALLOWED_FROM,
    LEADS_TO,
    Command,
    CommandRefused,
    Outcome,
    absorb,
    amend,
    decide,
    may_name,
    observe,
)
from services.incidents.domain.model import (
    Decision,
    Evidence,
    Incident,
    IncidentId,
    Severity,
    Signal,
    SignalId,
    SignalKind,
    State,
)

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
POLICY = Evidence(reports=3, offices=2, errors=3, heat=2)


def observed() -> Incident:
    """An incident at its first sight."""
    seed = Incident(
        id=IncidentId(UUID(int=1)),
        title="Antrag: gemeldete Störung",
        state=State.OBSERVED,
        service="application",
        cause="unclear",
        first_seen_at=START,
        last_seen_at=START,
    )
    return observe(seed, START).incident


def signal(
    kind: SignalKind = SignalKind.REPORT, at: datetime = START, office: str | None = "JC-001", lang: str | None = "de"
) -> Signal:
    """One piece of evidence."""
    return Signal(SignalId(uuid4()), kind, "x", at, at, "application", office, lang, drivers=("payment",))


def test_an_unclear_cause_that_a_person_set_stays() -> None:
    """Confirming blames the system only where nobody has said anything."""
    confirmed = decide(observed(), Command.CONFIRM, actor="a", reason=None, now=START).incident
    assert confirmed.cause == "system"
    said = amend(observed(), kind="cause", actor="a", reason="not known", now=START, cause="unclear").incident
    assert decide(said, Command.CONFIRM, actor="a", reason=None, now=START).incident.cause == "unclear"


def test_whose_heat_may_name_an_incident() -> None:
    """A public one anybody's, any other one only that of an office that it touches already."""
    seen = replace(observed(), offices=("JC-001",))
    public = decide(seen, Command.CONFIRM, actor="a", reason=None, now=START).incident
    fixed = decide(public, Command.FIX, actor="a", reason=None, now=START).incident
    for incident, at, foreign in (
        (seen, START, False),
        (public, START, True),
        (fixed, START + timedelta(days=13), True),
        (fixed, START + timedelta(days=14), False),
    ):
        assert may_name(incident, frozenset({"JC-002"}), at) is foreign
        assert may_name(incident, frozenset({"JC-001", "JC-002"}), at)
        assert may_name(incident, None, at)


commands = st.sampled_from(list(Command))
signals = st.builds(
    signal,
    kind=st.sampled_from(list(SignalKind)),
    at=st.integers(-60, 600).map(lambda minutes: START + timedelta(minutes=minutes)),
    office=st.sampled_from([None, "JC-001", "JC-002", "JC-003"]),
)
steps = st.lists(st.one_of(commands, signals), max_size=40)


def run(what: list[Command | Signal]) -> list[tuple[Incident, Outcome]]:
    """Every step that was not refused, with the incident before it."""
    incident, trail = observed(), []
    for number, step in enumerate(what):
        now = START + timedelta(minutes=number)
        try:
            outcome = (
                decide(incident, step, actor="someone", reason=None, now=now)
                if isinstance(step, Command)
                else absorb(incident, step, POLICY, now)
            )
        except CommandRefused:
            continue
        trail.append((incident, outcome))
        incident = outcome.incident
    return trail


@given(steps)
def test_the_log_tells_the_state(what: list[Command | Signal]) -> None:
    """The state is the last transition; every change of state is one decision whose before and after fit; no other."""
    for before, outcome in run(what):
        after = outcome.incident
        assert after.state is after.transitions[-1].state
        assert after.transitions[: len(before.transitions)] == before.transitions
        changed = [decision for decision in outcome.decisions if "state" in decision.after]
        assert len(changed) == (before.state is not after.state)
        for decision in changed:
            assert (decision.before["state"], decision.after["state"]) == (before.state.value, after.state.value)
            assert decision.version == after.version


@given(steps)
def test_versions_rise_and_nothing_is_lost(what: list[Command | Signal]) -> None:
    """Every step raises the version; every signal is counted, whatever the state."""
    trail = run(what)
    for before, outcome in trail:
        assert outcome.incident.version > before.version
    if trail:
        assert trail[-1][1].incident.counts.total == sum(isinstance(step, Signal) for step in what)


@given(steps)
def test_replaying_the_decisions_gives_the_state(what: list[Command | Signal]) -> None:
    """State and cause can be rebuilt from the log alone."""
    trail = run(what)
    rebuilt: dict[str, object] = {"state": "observed", "cause": "unclear"}
    decisions: list[Decision] = [decision for _, outcome in trail for decision in outcome.decisions]
    for decision in decisions:
        for name, value in decision.before.items():
            assert rebuilt.get(name) == value
        rebuilt |= decision.after
    last = trail[-1][1].incident if trail else observed()
    assert (rebuilt["state"], rebuilt["cause"]) == (last.state.value, last.cause)


@given(steps)
def test_only_people_make_an_incident_public(what: list[Command | Signal]) -> None:
    """Evidence alone never confirms: it makes candidates, and regresses what people had fixed."""
    for before, outcome in run(what):
        for decision in outcome.decisions:
            if decision.actor == "system":
                assert decision.after["state"] in ("candidate", "regressed")
                assert before.state in (State.OBSERVED, State.FIXED, State.CLOSED)


@given(commands, st.sampled_from(list(State)))
def test_refusals_name_the_allowed_states(command: Command, state: State) -> None:
    """A command works from its allowed states and is refused from all others with their names."""
    incident = Incident(
        IncidentId(UUID(int=1)), "t", state, "application", "unclear", START, START, transitions=observed().transitions
    )
    if state in ALLOWED_FROM[command]:
        assert decide(incident, command, actor="a", reason=None, now=START).incident.state is LEADS_TO[command]
        return
    with pytest.raises(CommandRefused) as refusal:
        decide(incident, command, actor="a", reason=None, now=START)
    assert refusal.value.allowed == ALLOWED_FROM[command]


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        ([signal()] * 2, State.OBSERVED),
        ([signal()] * 3, State.CANDIDATE),
        ([signal(), signal(office="JC-002")], State.CANDIDATE),
        ([signal(SignalKind.ERROR, office=None)] * 2, State.OBSERVED),
        ([signal(SignalKind.ERROR, office=None)] * 3, State.CANDIDATE),
        ([signal(SignalKind.HEAT)] * 2, State.CANDIDATE),
    ],
)
def test_enough_evidence_of_one_kind_makes_a_candidate(evidence: list[Signal], state: State) -> None:
    """Three reports, two offices, three errors or two heat presses; what is below waits."""
    trail = run(list(evidence))
    assert trail[-1][1].incident.state is state


def test_late_evidence_from_before_the_fix_does_not_regress() -> None:
    """What was written before the fix changes no state; the first from after it regresses, also when closed."""
    fixed = run([Command.CONFIRM, Command.FIX])[-1][1].incident
    late = absorb(fixed, signal(at=START), POLICY, START + timedelta(hours=2))
    assert late.incident.state is State.FIXED and late.incident.counts.report == 1
    closed = decide(fixed, Command.CLOSE, actor="a", reason=None, now=START + timedelta(hours=1)).incident
    again = absorb(closed, signal(at=START + timedelta(hours=3)), POLICY, START + timedelta(hours=3))
    assert again.incident.state is State.REGRESSED


def test_confirming_blames_the_system_unless_somebody_knows_better() -> None:
    """An unclear cause becomes system on confirmation; one that a person set stays."""
    assert decide(observed(), Command.CONFIRM, actor="a", reason=None, now=START).incident.cause == "system"
    told = amend(observed(), kind="cause", actor="a", reason=None, now=START, cause="process").incident
    assert decide(told, Command.CONFIRM, actor="a", reason=None, now=START).incident.cause == "process"


def test_amendments_leave_a_decision_and_no_transition() -> None:
    """Owner and severity are logged with before and after; a comment changes nothing but the log."""
    outcome = amend(observed(), kind="severity", actor="a", reason="many", now=START, severity=Severity.CRITICAL)
    [decision] = outcome.decisions
    assert (decision.before, decision.after) == ({"severity": "medium"}, {"severity": "critical"})
    owned = amend(outcome.incident, kind="assign", actor="a", reason=None, now=START, owner="subject-1").incident
    assert owned.owner == "subject-1" and owned.transitions == observed().transitions
    said = amend(owned, kind="comment", actor="a", reason="called them", now=START)
    assert said.decisions[0].after == {} and said.decisions[0].reason == "called them"
