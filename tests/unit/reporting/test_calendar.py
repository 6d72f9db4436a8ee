"""Days and ISO weeks as the office sees them."""

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from services.reporting.domain.calendar import iso_week, local_day

ZONES: dict[str, tzinfo] = {"JC-001": ZoneInfo("Europe/Berlin"), "JC-FAR": ZoneInfo("Atlantic/Canary")}


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 1, 4, 22, 59, tzinfo=UTC), date(2026, 1, 4)),  # winter: Berlin is one hour ahead
        (datetime(2026, 1, 4, 23, 0, tzinfo=UTC), date(2026, 1, 5)),
        (datetime(2026, 7, 5, 21, 59, tzinfo=UTC), date(2026, 7, 5)),  # summer: two hours
        (datetime(2026, 7, 5, 22, 0, tzinfo=UTC), date(2026, 7, 6)),
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),  # the day of 23 hours begins in winter time
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),  # … and ends in summer time
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), date(2026, 10, 25)),  # the day of 25 hours
        (datetime(2026, 10, 25, 22, 59, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 23, 0, tzinfo=UTC), date(2026, 10, 26)),
    ],
)
def test_the_day_changes_at_the_offices_midnight(instant: datetime, day: date) -> None:
    """Also on the days that have 23 or 25 hours."""
    assert local_day(instant, "JC-001", ZONES) == day


def test_each_office_has_its_own_midnight() -> None:
    """An hour that is Monday in Berlin is still Sunday in the Canaries; an unknown office counts as Berlin."""
    instant = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)
    assert local_day(instant, "JC-FAR", ZONES) == date(2026, 3, 29)
    assert local_day(instant, "JC-GONE", ZONES) == date(2026, 3, 30)


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2025, 12, 28), "2025-W52"),
        (date(2025, 12, 29), "2026-W01"),
        (date(2026, 12, 31), "2026-W53"),
        (date(2027, 1, 3), "2026-W53"),
        (date(2027, 1, 4), "2027-W01"),
    ],
)
def test_weeks_at_the_turn_of_the_year(day: date, week: str) -> None:
    """A week belongs to the year of its Thursday."""
    assert iso_week(day) == week
