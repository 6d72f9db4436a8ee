"""What a report is judged to be about on arrival, from the ticked reasons alone; incidents and people correct it."""

from collections.abc import Collection
from typing import Final

from services.feedback.domain.report import LOWEST_GOOD_RATING
from shared.events.vocabulary import Cause, Driver, Kind

_CAUSES: Final[tuple[tuple[Cause, frozenset[Driver]], ...]] = (
    (Cause.SYSTEM, frozenset({Driver.IT_ONLINE, Driver.PAYMENT, Driver.DOCUMENTS_LOST})),
    (Cause.PROCESS, frozenset({Driver.WAITING_REACHABILITY, Driver.APPOINTMENT})),
    (Cause.DECISION, frozenset({Driver.LETTER_DECISION})),
    (Cause.BEHAVIOUR, frozenset({Driver.EMPLOYEE})),
)
"""In order of precedence. A portal that fails, money that is late and papers that vanish are faults of the system;
waiting and appointments are how the office works; a letter is what it decided. ``employee`` comes last: whoever ticks a
fault of the system too was let down by the system first, which is what this product is there to see."""


def judge_cause(drivers: Collection[Driver], kind: Kind) -> Cause:
    """The cause that the ticked reasons point to; ``unclear`` when none does. Praise needs no cause."""
    if kind is Kind.PRAISE:
        return Cause.UNCLEAR
    for cause, pointing in _CAUSES:
        if not pointing.isdisjoint(drivers):
            return cause
    return Cause.UNCLEAR


def judge_blame(drivers: Collection[Driver], kind: Kind, rating: int | None) -> bool:
    """Whether a person is held responsible: ``employee`` is ticked, in no praise and beside no good rating."""
    is_content = kind is Kind.PRAISE or (rating or 0) >= LOWEST_GOOD_RATING
    return Driver.EMPLOYEE in drivers and not is_content
