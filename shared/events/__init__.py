"""The public language: every event that crosses Kafka, one frozen model a topic. Imports nothing of ours."""

from shared.events.envelope import Envelope, Event, EventId
from shared.events.errors import ErrorReportedV1, Frame
from shared.events.feedback import FeedbackSubmittedV1, FeedbackWordedV1
from shared.events.heat import HeatReportedV1
from shared.events.incidents import IncidentChangedV1, PublicText, SignalLinkedV1, Transition

EVENTS: tuple[type[Event], ...] = (
    FeedbackSubmittedV1,
    FeedbackWordedV1,
    ErrorReportedV1,
    HeatReportedV1,
    SignalLinkedV1,
    IncidentChangedV1,
)

__all__ = [
    "EVENTS",
    "Envelope",
    "ErrorReportedV1",
    "Event",
    "EventId",
    "FeedbackSubmittedV1",
    "FeedbackWordedV1",
    "Frame",
    "HeatReportedV1",
    "IncidentChangedV1",
    "PublicText",
    "SignalLinkedV1",
    "Transition",
]
