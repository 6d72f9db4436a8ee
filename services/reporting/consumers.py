"""Kafka in: which topic goes to which use case. The live service and a rebuild read by the same list."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from faststream.kafka import KafkaRouter

from services.reporting import handlers
from shared.batches import Consumption, Handler, Received
from shared.catalogue import Catalogue
from shared.events import Event, FeedbackSubmittedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1

Subscriptions = dict[type[Event], Handler[Any]]


def subscriptions(catalogue: Callable[[], Catalogue]) -> Subscriptions:
    """The use case of each topic. ``catalogue`` gives the one in force: it knows the offices' time zones."""

    async def on_feedback_submitted(conn: asyncpg.Connection, batch: Sequence[Received[FeedbackSubmittedV1]]) -> None:
        await handlers.on_feedback_submitted(conn, batch, _zones(catalogue()))

    return {
        FeedbackSubmittedV1: on_feedback_submitted,
        SignalLinkedV1: handlers.on_signal_linked,
        IncidentChangedV1: handlers.on_incident_changed,
        HeatReportedV1: handlers.on_heat_reported,
    }


def consumers(consumption: Consumption, catalogue: Callable[[], Catalogue]) -> KafkaRouter:
    """All subscriptions of the service."""
    router = KafkaRouter()
    for event_type, handler in subscriptions(catalogue).items():
        consumption.subscribe(router, event_type, handler)
    return router


def _zones(catalogue: Catalogue) -> Mapping[str, tzinfo]:
    return {office_id: ZoneInfo(office.time_zone) for office_id, office in catalogue.offices.items()}
