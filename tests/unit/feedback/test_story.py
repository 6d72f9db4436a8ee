"""What a receipt tells, and which incidents are public."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.feedback.domain.incidents import Incident, PublicWords, follow_merges, is_public, public_incidents
from services.feedback.domain.story import Link, Moment, ReceiptState, tell
from shared.events.vocabulary import IncidentState

START = datetime(2026, 11, 23, 8, tzinfo=UTC)


def after(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def incident(*entered: tuple[IncidentState, float], reports: int = 5, **changes: object) -> Incident:
    steps = tuple((state, after(hours)) for state, hours in entered)
    plain = Incident(
        uuid4(), len(steps), steps[-1][0], None, "Upload", "document-upload", reports, START, steps,
        {"de": PublicWords("Hochladen gestört", "Text", None)},
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


OBSERVED, CANDIDATE, CONFIRMED = IncidentState.OBSERVED, IncidentState.CANDIDATE, IncidentState.CONFIRMED
MITIGATING, FIXED, CLOSED = IncidentState.MITIGATING, IncidentState.FIXED, IncidentState.CLOSED
REGRESSED, REJECTED = IncidentState.REGRESSED, IncidentState.REJECTED


def test_a_report_without_an_incident_is_received() -> None:
    """The story begins with its arrival."""
    story = tell(START, None)
    assert (story.state, story.moments) == (ReceiptState.RECEIVED, ((START, Moment.RECEIVED),))


@pytest.mark.parametrize("state", [OBSERVED, CANDIDATE, REJECTED])
def test_nothing_is_told_before_a_person_confirmed(state: IncidentState) -> None:
    """A candidate is a guess of the machine: receipts do not show it."""
    story = tell(START, Link(incident((OBSERVED, 0), (state, 1)), after(1)))
    assert (story.state, len(story.moments), story.affected, story.incident) == (ReceiptState.RECEIVED, 1, None, None)


def test_the_way_of_a_report_from_the_beginning() -> None:
    """Everything after the link is told in order, each with its own instant."""
    whole = incident((OBSERVED, 0), (CANDIDATE, 1), (CONFIRMED, 2), (MITIGATING, 3), (FIXED, 4))
    story = tell(START, Link(whole, after(0.5)))
    assert story.moments == (
        (START, Moment.RECEIVED),
        (after(0.5), Moment.LINKED),
        (after(2), Moment.CONFIRMED),
        (after(3), Moment.MITIGATING),
        (after(4), Moment.FIXED),
    )
    assert (story.state, story.can_verdict, story.affected) == (ReceiptState.FIXED, True, 5)


def test_a_late_report_hears_how_things_stand() -> None:
    """Who writes after the confirmation is told the present state once, not the past."""
    whole = incident((OBSERVED, 0), (CONFIRMED, 1), (MITIGATING, 2), (REGRESSED, 9))
    story = tell(after(5), Link(whole, after(6)))
    assert [moment for _, moment in story.moments] == [
        Moment.RECEIVED, Moment.LINKED, Moment.MITIGATING, Moment.REGRESSED,
    ]  # fmt: skip
    assert [at for at, _ in story.moments] == [after(5), after(6), after(6), after(9)]
    assert (story.state, story.can_verdict) == (ReceiptState.IN_PROGRESS, False)


@pytest.mark.parametrize(("reports", "affected"), [(1, None), (2, None), (3, 3), (500, 500)])
def test_small_counts_are_not_told(reports: int, affected: int | None) -> None:
    """Fewer than three affected people are nobody's business."""
    assert tell(START, Link(incident((CONFIRMED, 1), reports=reports), after(1))).affected == affected


def test_what_is_public() -> None:
    """Confirmed, being worked on, come back, and fixed for less than 14 days."""
    now = after(24 * 30)
    day = 24.0
    assert [is_public(incident((OBSERVED, 0), (state, 1)), now) for state in (CONFIRMED, MITIGATING, REGRESSED)] == [
        True
    ] * 3
    assert not any(
        is_public(incident((OBSERVED, 0), (state, 1)), now) for state in (OBSERVED, CANDIDATE, REJECTED, CLOSED)
    )
    assert is_public(incident((CONFIRMED, 0), (FIXED, 16 * day + 1)), now)
    assert not is_public(incident((CONFIRMED, 0), (FIXED, 16 * day)), now)


def test_most_affected_first() -> None:
    """The list of known faults begins with the one that hits most people."""
    few, many = incident((CONFIRMED, 0), reports=3), incident((CONFIRMED, 0), reports=30)
    assert public_incidents([few, incident((CANDIDATE, 0)), many], START) == [many, few]


def test_merges_are_followed() -> None:
    """A link to a merged incident tells of the one it was merged into; unknown ones and rings end in nothing."""
    end = incident((CONFIRMED, 0))
    middle = incident((CONFIRMED, 0), merged_into=end.incident_id)
    start = incident((CONFIRMED, 0), merged_into=middle.incident_id)
    known: dict[UUID, Incident] = {one.incident_id: one for one in (start, middle, end)}
    assert follow_merges(start.incident_id, known) is end
    del known[end.incident_id]
    assert follow_merges(start.incident_id, known) is None
    known[end.incident_id] = replace(end, merged_into=start.incident_id)
    assert follow_merges(start.incident_id, known) is None
