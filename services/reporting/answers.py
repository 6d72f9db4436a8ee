"""What HTTP answers: the shapes of the figures, each with its definition and what it is based on."""

from collections.abc import Sequence
from datetime import date, datetime

from pydantic import BaseModel, ConfigDict

from services.reporting.domain.calendar import iso_week
from services.reporting.domain.rollup import CAUSES, RATINGS
from services.reporting.domain.shares import wilson_interval
from services.reporting.questions import Dimension, Scope
from services.reporting.readings import DataAsOf, Group, Times
from shared.events.vocabulary import Cause


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class DataAsOfAnswer(Answer):
    """``positions``: the next offset of the log that is not in the figures yet, by topic and partition."""

    at: datetime
    newest_event_at: datetime | None
    positions: dict[str, dict[str, int]]


class Period(Answer):
    """Days in the office's time zone; ``to`` is not part of it; null: no limit."""

    from_: date | None
    to: date | None

    model_config = ConfigDict(frozen=True, alias_generator=lambda name: name.rstrip("_"), populate_by_name=True)


class ShareWithInterval(Answer):
    """A share from 0 to 1 with its 95 % interval."""

    share: float
    low: float
    high: float


class Key(Answer):
    """The group; only the dimensions asked for are there. ``week`` is an ISO week of the office's calendar."""

    office: str | None = None
    service: str | None = None
    channel: str | None = None
    lang: str | None = None
    week: str | None = None


class SatisfactionFigures(Answer):
    """Null throughout when ``suppressed``: fewer than k ratings say too little, and too much about each."""

    suppressed: bool
    n: int | None = None
    mean: float | None = None
    csat: ShareWithInterval | None = None
    distribution: dict[str, int] | None = None


class SatisfactionGroup(Key, SatisfactionFigures):
    """The ratings of one group."""


class CauseShare(Answer):
    n: int
    share: float


class CauseFigures(Answer):
    """Null throughout when ``suppressed``."""

    suppressed: bool
    n: int | None = None
    causes: dict[str, CauseShare] | None = None
    system_error_share: ShareWithInterval | None = None


class CauseGroup(Key, CauseFigures):
    """The complaints of one group."""


class FiguresAnswer(Answer):
    """What every answer carries beside its figures."""

    by: tuple[Dimension, ...]
    period: Period
    k: int
    definitions: dict[str, str]
    data_as_of: DataAsOfAnswer


class SatisfactionAnswer(FiguresAnswer):
    total: SatisfactionFigures
    groups: list[SatisfactionGroup]


class CausesAnswer(FiguresAnswer):
    total: CauseFigures
    groups: list[CauseGroup]


class TimesAnswer(Answer):
    """Seconds of the wall clock; null when nothing was measured. ``open`` ones are in none of the other figures."""

    n: int
    median_seconds: float | None
    p90_seconds: float | None
    open: int


class FixTimesAnswer(TimesAnswer):
    came_back: int


class TimingsAnswer(Answer):
    period: Period
    clock: str = "wall"
    acknowledge: TimesAnswer
    fix: FixTimesAnswer
    definitions: dict[str, str]
    data_as_of: DataAsOfAnswer


def data_as_of(as_of: DataAsOf) -> DataAsOfAnswer:
    positions = {topic: dict(partitions) for topic, partitions in as_of.positions.items()}
    return DataAsOfAnswer(at=as_of.read_at, newest_event_at=as_of.newest_event_at, positions=positions)


def period(scope: Scope) -> Period:
    return Period(from_=scope.from_day, to=scope.to_day)


def satisfaction_total(groups: Sequence[Group], k: int) -> SatisfactionFigures:
    return SatisfactionFigures.model_validate(_satisfaction(_summed(groups, [f"rating_{r}" for r in RATINGS]), k))


def satisfaction_group(group: Group, k: int) -> SatisfactionGroup:
    return SatisfactionGroup.model_validate({**_key(group), **_satisfaction(group.counts, k)})


def causes_total(groups: Sequence[Group], k: int) -> CauseFigures:
    return CauseFigures.model_validate(_causes(_summed(groups, [cause.value for cause in CAUSES]), k))


def causes_group(group: Group, k: int) -> CauseGroup:
    return CauseGroup.model_validate({**_key(group), **_causes(group.counts, k)})


def times(measured: Times) -> dict[str, float | int | None]:
    median, p90 = measured.seconds or (None, None)
    return {"n": measured.n, "median_seconds": median, "p90_seconds": p90, "open": measured.open}


def _satisfaction(counts: dict[str, int], k: int) -> dict[str, object]:
    distribution = {str(rating): counts[f"rating_{rating}"] for rating in RATINGS}
    n = sum(distribution.values())
    if n < k:
        return {"suppressed": True}
    return {
        "suppressed": False,
        "n": n,
        "mean": sum(rating * counts[f"rating_{rating}"] for rating in RATINGS) / n,
        "csat": _share(counts["rating_4"] + counts["rating_5"], n),
        "distribution": distribution,
    }


def _causes(counts: dict[str, int], k: int) -> dict[str, object]:
    n = sum(counts.values())
    if n < k:
        return {"suppressed": True}
    return {
        "suppressed": False,
        "n": n,
        "causes": {cause.value: CauseShare(n=counts[cause], share=counts[cause] / n) for cause in CAUSES},
        "system_error_share": _share(counts[Cause.SYSTEM], n),
    }


def _share(successes: int, n: int) -> ShareWithInterval:
    interval = wilson_interval(successes, n)
    return ShareWithInterval(share=successes / n, low=interval.low, high=interval.high)


def _summed(groups: Sequence[Group], names: Sequence[str]) -> dict[str, int]:
    return {name: sum(group.counts[name] for group in groups) for name in names}


def _key(group: Group) -> dict[str, str]:
    return {name: iso_week(value) if isinstance(value, date) else value for name, value in group.key.items()}
