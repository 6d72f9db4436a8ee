"""Kafka in: what incidents announces."""

from collections.abc import Callable, Sequence

import asyncpg
from faststream.kafka import KafkaRouter

from services.feedback.handlers import keep_incidents, keep_links
from shared.batches import Consumption, Received
from shared.events import IncidentChangedV1, SignalLinkedV1

Handled = Callable[[], object]


def consumers(consumption: Consumption, on_incidents_changed: Handled) -> KafkaRouter:
    """The subscribers. ``on_incidents_changed`` runs after the commit of each batch of incidents."""
    router = KafkaRouter()

    async def on_signal_linked(
        connection: asyncpg.Connection, received: Sequence[Received[SignalLinkedV1]]
    ) -> Handled | None:
        await keep_links(connection, [one.event for one in received])
        return None

    async def on_incident_changed(
        connection: asyncpg.Connection, received: Sequence[Received[IncidentChangedV1]]
    ) -> Handled | None:
        await keep_incidents(connection, [one.event for one in received])
        return on_incidents_changed

    consumption.subscribe(router, SignalLinkedV1, on_signal_linked)
    consumption.subscribe(router, IncidentChangedV1, on_incident_changed)
    return router
