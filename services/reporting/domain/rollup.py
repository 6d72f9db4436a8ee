"""What one report contributes to the figures, and how contributions move: old subtracted, new added."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from shared.events.vocabulary import Cause

RATINGS = (1, 2, 3, 4, 5)
CAUSES = (Cause.SYSTEM, Cause.PROCESS, Cause.BEHAVIOUR, Cause.DECISION, Cause.UNCLEAR)

_RATING_AT = {rating: 1 + place for place, rating in enumerate(RATINGS)}
_CAUSE_AT = {cause: 1 + len(RATINGS) + place for place, cause in enumerate(CAUSES)}
_JUDGED_AT = {cause: 1 + len(RATINGS) + len(CAUSES) + place for place, cause in enumerate(CAUSES)}
WIDTH = 1 + len(RATINGS) + 2 * len(CAUSES)

Counts = list[int]
"""n, five ratings, five causes in force, five causes as judged on arrival."""


class Cell(NamedTuple):
    """The finest cell that is counted; ``day`` is the office's own."""

    day: date
    office: str
    service: str
    channel: str
    lang: str
    kind: str


class Total(NamedTuple):
    """The cell of all times and offices that Prometheus sees."""

    service: str
    channel: str
    kind: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """One report in its cell."""

    cell: Cell
    rating: int | None
    judged: Cause
    cause: Cause


class Deltas:
    """The sum of changes of one batch, by cell."""

    def __init__(self) -> None:
        self.cells: defaultdict[Cell, Counts] = defaultdict(lambda: [0] * WIDTH)
        self.totals: defaultdict[Total, Counts] = defaultdict(lambda: [0] * WIDTH)

    def add(self, report: Contribution) -> None:
        """Counts a report for the first time."""
        for counts in self._both(report.cell):
            counts[0] += 1
            if report.rating is not None:
                counts[_RATING_AT[report.rating]] += 1
            counts[_CAUSE_AT[report.cause]] += 1
            counts[_JUDGED_AT[report.judged]] += 1

    def move(self, cell: Cell, before: Cause, after: Cause, reports: int = 1) -> None:
        """Moves ``reports`` counted reports of one cell from one cause in force to another."""
        for counts in self._both(cell):
            counts[_CAUSE_AT[before]] -= reports
            counts[_CAUSE_AT[after]] += reports

    def _both(self, cell: Cell) -> Iterator[Counts]:
        yield self.cells[cell]
        yield self.totals[Total(cell.service, cell.channel, cell.kind)]
