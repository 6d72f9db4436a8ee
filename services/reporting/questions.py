"""What may be asked of the figures: dimensions, periods and filters, checked and narrowed to what the asker may see."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from services.reporting.domain.calendar import DEFAULT_ZONE
from shared.auth import Principal
from shared.catalogue import Catalogue
from shared.events.vocabulary import Channel, Language
from shared.web import Problem

Dimension = Literal["office", "service", "channel", "lang", "week"]
DIMENSIONS: tuple[Dimension, ...] = ("office", "service", "channel", "lang", "week")
FIRST_DAY = date(2000, 1, 1)
LAST_DAY = date(2100, 1, 1)


def _refused(message: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError("not_allowed", message, {"allowed": allowed})


def _day(value: Any) -> Any:
    if isinstance(value, str):
        allowed = f"a day as YYYY-MM-DD from {FIRST_DAY} to {LAST_DAY}"
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise _refused("Not a day of the calendar", allowed) from None
        if not FIRST_DAY <= day <= LAST_DAY:
            raise _refused("Out of the range of days", allowed)
        return day
    return value


def _words(known: Iterable[str]) -> Callable[[Any], Any]:
    """Splits at commas (repeated parameters are joined) and refuses words that are not ``known``."""
    allowed = list(known)

    def split(value: Any) -> Any:
        words = _split(value)
        if allowed and not set(words) <= set(allowed):
            raise _refused("Unknown value", ", ".join(allowed))
        return words

    return split


def _split(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else list(value or ())
    return tuple(dict.fromkeys(word.strip() for text in texts for word in str(text).split(",") if word.strip()))


Day = Annotated[date | None, BeforeValidator(_day)]
Words = Annotated[tuple[str, ...], BeforeValidator(_split)]


class PeriodQuestion(BaseModel):
    """A period and the offices meant. Unknown parameters are refused: a typing error must not widen a figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_: Day = Field(default=None, alias="from", description="first day, in the office's time zone")
    to: Day = Field(default=None, description="day after the last one")
    office: Words = Field(default=(), description="only these offices, separated by commas")


class Question(PeriodQuestion):
    """A period, filters, and the dimensions to group by."""

    by: Annotated[tuple[Dimension, ...], BeforeValidator(_words(DIMENSIONS))] = ()
    service: Words = Field(default=(), description="only these services")
    channel: Annotated[tuple[str, ...], BeforeValidator(_words(Channel))] = ()
    lang: Annotated[tuple[str, ...], BeforeValidator(_words(Language))] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """A question that may be answered. None: no limit. ``to_day`` is exclusive."""

    by: tuple[Dimension, ...]
    from_day: date | None
    to_day: date | None
    offices: list[str] | None
    services: list[str] | None
    channels: list[str] | None
    langs: list[str] | None

    @property
    def from_at(self) -> datetime | None:
        """The first instant, in the time zone of most offices: incidents belong to several."""
        return _midnight(self.from_day)

    @property
    def to_at(self) -> datetime | None:
        return _midnight(self.to_day)


def scope_of(question: PeriodQuestion, principal: Principal, catalogue: Catalogue) -> Scope:
    """The question narrowed to the principal's offices.

    Raises ``Problem``: 404 for a foreign office, 422 for what the catalogue does not know or a period that is empty.
    """
    if question.from_ is not None and question.to is not None and question.from_ >= question.to:
        raise _not_valid("from", "The period is empty", f"a day before 'to' ({question.to})")
    for office in question.office:
        principal.require_office(office)
    _require_known("office", question.office, catalogue.offices)
    offices = list(question.office) or (None if principal.offices is None else sorted(principal.offices))
    if not isinstance(question, Question):
        return Scope((), question.from_, question.to, offices, None, None, None)
    _require_known("service", question.service, catalogue.services)
    return Scope(
        by=question.by,
        from_day=question.from_,
        to_day=question.to,
        offices=offices,
        services=list(question.service) or None,
        channels=list(question.channel) or None,
        langs=list(question.lang) or None,
    )


def too_many_groups(limit: int) -> Problem:
    """For an answer that nobody would read."""
    return _not_valid("by", f"More than {limit} groups", "fewer dimensions, a shorter period or a filter")


def _require_known(field: str, words: Collection[str], known: Collection[str]) -> None:
    if not set(words) <= set(known):
        raise _not_valid(field, f"Unknown {field}", ", ".join(sorted(known)))


def _not_valid(field: str, message: str, allowed: str) -> Problem:
    return Problem(422, "Some fields are not valid", detail=message, field=field, allowed=allowed)


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), tzinfo=DEFAULT_ZONE).astimezone(UTC)
