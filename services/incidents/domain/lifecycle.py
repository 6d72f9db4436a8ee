"""The life of an incident: observed → candidate → confirmed → mitigating → fixed → closed, and regressed, rejected.

Pure: the same incident, command and instant always give the same outcome. Every change of a state goes through here
and leaves a decision; what is not allowed is refused with the states from which it would be.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.incidents.domain.model import (
    SYSTEM_ACTOR,
    Counts,
    Decision,
    Evidence,
    Incident,
    Severity,
    Signal,
    SignalKind,
    State,
    Transition,
)

OPEN_STATES = (State.CANDIDATE, State.CONFIRMED, State.MITIGATING, State.REGRESSED, State.FIXED)
"""What still needs somebody; the default of the list."""
ACTIVE_STATES = (State.CANDIDATE, State.CONFIRMED, State.MITIGATING, State.REGRESSED)
"""What heat without words may be about."""
PUBLIC_STATES = (State.CONFIRMED, State.MITIGATING, State.REGRESSED)
PUBLIC_DAYS_AFTER_FIX = 14

CONFIRMED_CAUSE = "system"
UNCLEAR_CAUSE = "unclear"


class Command(StrEnum):
    """What a person may do to the state."""

    CONFIRM = "confirm"
    REJECT = "reject"
    MITIGATE = "mitigate"
    FIX = "fix"
    CLOSE = "close"
    REOPEN = "reopen"


ALLOWED_FROM: dict[Command, tuple[State, ...]] = {
    Command.CONFIRM: (State.OBSERVED, State.CANDIDATE),
    Command.REJECT: (State.OBSERVED, State.CANDIDATE, State.CONFIRMED, State.REGRESSED),
    Command.MITIGATE: (State.CONFIRMED, State.REGRESSED),
    Command.FIX: (State.CONFIRMED, State.MITIGATING, State.REGRESSED),
    Command.CLOSE: (State.FIXED,),
    Command.REOPEN: (State.FIXED, State.CLOSED, State.REJECTED, State.REGRESSED),
}
LEADS_TO: dict[Command, State] = {
    Command.CONFIRM: State.CONFIRMED,
    Command.REJECT: State.REJECTED,
    Command.MITIGATE: State.MITIGATING,
    Command.FIX: State.FIXED,
    Command.CLOSE: State.CLOSED,
    Command.REOPEN: State.CONFIRMED,
}


class CommandRefused(Exception):
    """The command does not fit the incident's state. ``allowed`` are the states from which it would."""

    def __init__(self, command: Command, state: State, allowed: tuple[State, ...]) -> None:
        self.command, self.state, self.allowed = command, state, allowed
        super().__init__(f"{command} is not allowed in state {state}, only in {', '.join(allowed)}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The incident after, and what the log says about it; no decisions when only counts moved or nothing did."""

    incident: Incident
    decisions: tuple[Decision, ...] = ()


def is_public(incident: Incident, now: datetime) -> bool:
    """Whether anyone may know of the incident."""
    if incident.state in PUBLIC_STATES:
        return True
    fixed_at = incident.entered_at(State.FIXED) if incident.state is State.FIXED else None
    return fixed_at is not None and now - fixed_at < timedelta(days=PUBLIC_DAYS_AFTER_FIX)


def may_name(incident: Incident, offices: AbstractSet[str] | None, now: datetime) -> bool:
    """Whether staff of these offices (None: all) may say that their heat is about the incident.

    Evidence adds its office to the incident, and an incident is seen by every office that it touches. So whoever named
    a foreign incident would make it visible to their own office: they may name what is public or touches an office of
    theirs already. An office that comes in only by naming a public fault may see it from then on, also when it is
    closed or rejected later: it was told about the fault, it has the same trouble, and it learns what became of it.
    """
    return offices is None or not offices.isdisjoint(incident.offices) or is_public(incident, now)


def observe(incident: Incident, now: datetime) -> Outcome:
    """The first sight of an incident: its log begins."""
    seen = replace(incident, state=State.OBSERVED, transitions=(Transition(State.OBSERVED, now),), version=1)
    after = {"state": State.OBSERVED.value}
    return Outcome(seen, (Decision(seen.id, now, SYSTEM_ACTOR, "observe", None, {}, after, seen.version),))


def decide(incident: Incident, command: Command, *, actor: str, reason: str | None, now: datetime) -> Outcome:
    """Applies a person's command. Raises ``CommandRefused``.

    Confirming says that the system is to blame, unless the cause is known or a person has said that it is unclear.
    """
    if incident.state not in ALLOWED_FROM[command]:
        raise CommandRefused(command, incident.state, ALLOWED_FROM[command])
    cause = incident.cause
    if command is Command.CONFIRM and cause == UNCLEAR_CAUSE and not incident.cause_decided:
        cause = CONFIRMED_CAUSE
    return _enter(incident, LEADS_TO[command], kind=command.value, actor=actor, reason=reason, now=now, cause=cause)


def absorb(incident: Incident, signal: Signal, policy: Evidence, now: datetime) -> Outcome:
    """Adds one piece of evidence: a candidate when it suffices, regressed when it comes after the fix."""
    counted = replace(
        incident,
        counts=_one_more(incident.counts, signal.kind),
        offices=_with(incident.offices, signal.office),
        langs=_with(incident.langs, signal.lang),
        drivers=_with_drivers(incident.drivers, signal.drivers),
        first_seen_at=min(incident.first_seen_at, signal.at),
        last_seen_at=max(incident.last_seen_at, signal.at),
        version=incident.version + 1,
    )
    if counted.state is State.OBSERVED and policy.suffices(counted.counts, len(counted.offices)):
        reason = f"evidence: {counted.counts.total} signals, {len(counted.offices)} offices"
        return _enter(counted, State.CANDIDATE, kind="candidate", actor=SYSTEM_ACTOR, reason=reason, now=now)
    if counted.state in (State.FIXED, State.CLOSED):
        fixed_at = counted.entered_at(State.FIXED)
        # A report that was written before the fix and arrives late says nothing against the fix.
        if fixed_at is not None and signal.at > fixed_at:
            reason = f"evidence after the fix: {signal.kind.value}"
            return _enter(counted, State.REGRESSED, kind="regress", actor=SYSTEM_ACTOR, reason=reason, now=now)
    return Outcome(counted)


def amend(
    incident: Incident,
    *,
    kind: str,
    actor: str,
    reason: str | None,
    now: datetime,
    cause: str | None = None,
    severity: Severity | None = None,
    owner: str | None = None,
) -> Outcome:
    """Changes what is not the state: ``kind`` is ``cause``, ``severity``, ``assign``, or ``comment`` (log only)."""
    changed = replace(incident, version=incident.version + 1)
    if kind == "cause" and cause is not None:
        changed = replace(changed, cause=cause, cause_decided=True)
    elif kind == "severity" and severity is not None:
        changed = replace(changed, severity=severity)
    elif kind == "assign":
        changed = replace(changed, owner=owner)
    return Outcome(changed, (_decision(incident, changed, kind=kind, actor=actor, reason=reason, now=now),))


def _enter(
    incident: Incident,
    state: State,
    *,
    kind: str,
    actor: str,
    reason: str | None,
    now: datetime,
    cause: str | None = None,
) -> Outcome:
    entered = replace(
        incident,
        state=state,
        cause=cause or incident.cause,
        transitions=(*incident.transitions, Transition(state, now)),
        version=incident.version + 1,
    )
    return Outcome(entered, (_decision(incident, entered, kind=kind, actor=actor, reason=reason, now=now),))


def _decision(
    before: Incident, after: Incident, *, kind: str, actor: str, reason: str | None, now: datetime
) -> Decision:
    fields = [name for name in ("state", "cause", "severity", "owner") if getattr(before, name) != getattr(after, name)]
    return Decision(
        incident=after.id,
        at=now,
        actor=actor,
        kind=kind,
        reason=reason,
        before={name: _plain(getattr(before, name)) for name in fields},
        after={name: _plain(getattr(after, name)) for name in fields},
        version=after.version,
    )


def _plain(value: object) -> object:
    return value.value if isinstance(value, StrEnum) else value


def _one_more(counts: Counts, kind: SignalKind) -> Counts:
    match kind:
        case SignalKind.REPORT:
            return replace(counts, report=counts.report + 1)
        case SignalKind.ERROR:
            return replace(counts, error=counts.error + 1)
        case SignalKind.HEAT:
            return replace(counts, heat=counts.heat + 1)
        case SignalKind.ALERT:
            return replace(counts, alert=counts.alert + 1)


def _with(known: tuple[str, ...], value: str | None) -> tuple[str, ...]:
    return known if value is None or value in known else tuple(sorted((*known, value)))


def _with_drivers(known: object, drivers: tuple[str, ...]) -> dict[str, int]:
    counted = dict(known) if isinstance(known, dict) else {}
    for driver in drivers:
        counted[driver] = counted.get(driver, 0) + 1
    return counted
