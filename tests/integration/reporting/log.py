"""Putting events into the real log, and waiting until the service has them."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from shared.batches import Received
from shared.events import FeedbackSubmittedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1
from shared.kafka import log_bounds, open_producer, watching_consumer
from tests.fixtures.broker import partitions_of
from tests.fixtures.databases import Database
from tests.fixtures.waiting import eventually

TOPICS = tuple(
    event_type.topic for event_type in (FeedbackSubmittedV1, SignalLinkedV1, IncidentChangedV1, HeatReportedV1)
)


async def publish(bootstrap_servers: str, stream: Sequence[Received[Any]]) -> None:
    """Writes the events with the ids of their envelopes, by key as their announcers do."""
    producer = await open_producer(bootstrap_servers, "test")
    try:
        for entry in stream:
            await producer.send(
                entry.event.topic,
                key=entry.event.key().encode(),
                value=entry.event.model_dump_json().encode(),
                headers=entry.envelope.to_headers(),
            )
        await producer.flush()
    finally:
        await producer.stop()


async def caught_up(bootstrap_servers: str, database: Database, *, within: float = 30.0) -> None:
    """Waits until every partition's watermark is at the end of the log."""
    async with watching_consumer(bootstrap_servers) as consumer:
        bounds = await log_bounds(consumer, await partitions_of(bootstrap_servers, TOPICS))
    assert {partition.topic for partition in bounds} == set(TOPICS)
    ends = {(partition.topic, partition.partition): end for partition, (_, end) in bounds.items()}
    connection = await asyncpg.connect(database.owner_dsn)
    try:

        async def behind() -> dict[tuple[str, int], int]:
            rows = await connection.fetch("select topic, partition, next_offset from figures.inbox_watermark")
            marks = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
            return {place: end - marks.get(place, 0) for place, end in ends.items() if marks.get(place, -1) != end}

        await eventually(behind, until=lambda rest: not rest, within=within, what="the end of the log")
    finally:
        await connection.close()
