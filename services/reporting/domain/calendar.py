"""Days and weeks as the office sees them."""

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from zoneinfo import ZoneInfo

DEFAULT_ZONE: tzinfo = ZoneInfo("Europe/Berlin")
"""For an office that the catalogue does not know (any more)."""


def local_day(instant: datetime, office: str, zones: Mapping[str, tzinfo]) -> date:
    """The calendar day of ``instant`` in the time zone of ``office``. ``instant`` must carry an offset."""
    return instant.astimezone(zones.get(office, DEFAULT_ZONE)).date()


def iso_week(day: date) -> str:
    """The ISO 8601 week of ``day``, for example ``2026-W01``; a week belongs to the year of its Thursday."""
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"
