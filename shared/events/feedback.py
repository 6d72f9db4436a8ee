"""What feedback announces: the facts of a report for good, its masked words for six days, on separate topics."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from shared.events.envelope import Event
from shared.events.vocabulary import Cause, Channel, Driver, Kind, Language

Rating = Literal[1, 2, 3, 4, 5]


class FeedbackSubmittedV1(Event):
    """The facts of one report, never a word of it."""

    topic: ClassVar[str] = "feedback.submitted.v1"

    report_id: UUID
    office: str
    service: str
    channel: Channel
    lang: Language
    kind: Kind
    rating: Rating | None
    drivers: tuple[Driver, ...]
    cause: Cause
    blames_person: bool
    invited: bool
    submitted_at: datetime

    def key(self) -> str:
        return str(self.report_id)


class FeedbackWordedV1(Event):
    """One for every report: its masked words, which may be empty."""

    topic: ClassVar[str] = "feedback.worded.v1"

    report_id: UUID
    text: str
    office: str
    service: str
    lang: Language
    kind: Kind
    drivers: tuple[Driver, ...]
    cause: Cause
    blames_person: bool
    joins_incident: UUID | None
    submitted_at: datetime

    def key(self) -> str:
        return str(self.report_id)
