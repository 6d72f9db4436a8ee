"""Milestones of an incident and the times between them."""

from datetime import UTC, datetime, timedelta
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from services.reporting.domain.incident import BUCKETS, HOUR, Measure, Timing, milestones, timings
from shared.events.vocabulary import IncidentState

START = datetime(2026, 3, 1, tzinfo=UTC)
S = IncidentState


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_first_confirmation_and_first_fix_are_timed() -> None:
    """A second confirmation and a later fix change nothing; a fix entered before the confirmation is no fix."""
    entered = [
        (S.FIXED, at(0.5)),
        (S.OBSERVED, at(0)),
        (S.CONFIRMED, at(2)),
        (S.FIXED, at(5)),
        (S.REGRESSED, at(6)),
        (S.CONFIRMED, at(7)),
        (S.FIXED, at(9)),
    ]
    for order in (entered, entered[::-1]):
        reached = milestones(order, at(-3))
        assert (reached.started_at, reached.confirmed_at, reached.fixed_at) == (at(0), at(2), at(5))
        assert timings(reached) == [
            Timing(Measure.ACKNOWLEDGE, 2 * HOUR, 2 * HOUR * 1_000_000),
            Timing(Measure.FIX, 4 * HOUR, 3 * HOUR * 1_000_000),
        ]


def test_what_has_not_come_is_not_timed() -> None:
    """An incident that nobody confirmed has no time; one without an observation starts with its first signal."""
    assert timings(milestones([(S.CANDIDATE, at(1))], at(0))) == []
    assert milestones([(S.CONFIRMED, at(4))], at(1)).started_at == at(1)


@given(st.integers(0, 400 * 24 * 3600 * 1_000_000))
def test_every_time_falls_into_the_least_bucket_that_holds_it(microseconds: int) -> None:
    """Bounds are inclusive, as Prometheus means them, and the last one holds everything."""
    confirmed = START + timedelta(microseconds=microseconds)
    [timing] = timings(milestones([(S.OBSERVED, START), (S.CONFIRMED, confirmed)], START))
    assert timing.microseconds == microseconds
    lower = [bound for bound in BUCKETS[Measure.ACKNOWLEDGE] if bound < timing.le_seconds]
    assert microseconds / 1e6 <= timing.le_seconds
    assert not lower or microseconds / 1e6 > lower[-1]


def test_buckets_are_sorted_and_open_at_the_end() -> None:
    """As bisecting and Prometheus need them."""
    for bounds in BUCKETS.values():
        assert list(bounds) == sorted(set(bounds))
        assert bounds[-1] == inf
