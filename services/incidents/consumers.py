"""Kafka in: words, errors and heat become signals; the grouping does the rest inside the batch's transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime

import asyncpg
from faststream.kafka import KafkaRouter

from services.incidents import wire
from services.incidents.grouping.handlers import SignalGrouping
from shared.batches import AfterCommit, Consumption, Received
from shared.events import ErrorReportedV1, FeedbackWordedV1, HeatReportedV1


def consumers(consumption: Consumption, grouping: SignalGrouping, clock: Callable[[], datetime]) -> KafkaRouter:
    """The subscribers of incidents."""
    router = KafkaRouter()

    async def on_words(
        connection: asyncpg.Connection, received: Sequence[Received[FeedbackWordedV1]]
    ) -> AfterCommit | None:
        now = clock()
        return await grouping.take_in(
            connection,
            [
                wire.signal_of_report(one.event, received_at=now, traceparent=one.envelope.traceparent)
                for one in received
            ],
        )

    async def on_errors(
        connection: asyncpg.Connection, received: Sequence[Received[ErrorReportedV1]]
    ) -> AfterCommit | None:
        return await grouping.take_in(
            connection,
            [
                wire.signal_of_error(one.event, received_at=one.event.received_at, traceparent=one.envelope.traceparent)
                for one in received
            ],
        )

    async def on_heat(
        connection: asyncpg.Connection, received: Sequence[Received[HeatReportedV1]]
    ) -> AfterCommit | None:
        now = clock()
        return await grouping.take_in(
            connection,
            [wire.signal_of_heat(one.event, received_at=now, traceparent=one.envelope.traceparent) for one in received],
        )

    consumption.subscribe(router, FeedbackWordedV1, on_words)
    consumption.subscribe(router, ErrorReportedV1, on_errors)
    consumption.subscribe(router, HeatReportedV1, on_heat)
    return router
