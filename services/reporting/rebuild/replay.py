"""Reads the log from the beginning into the tables of a rebuild, by the use cases of the live service."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.reporting.consumers import subscriptions
from services.reporting.rebuild import schema
from shared.catalogue import Catalogue
from shared.deadletter import Ceiling
from shared.inbox import add_watermarks
from shared.kafka import log_bounds
from shared.postgres import transaction
from shared.processing import Processing, Record

BATCH_RECORDS = 2000
POLL_MS = 1000
STALLED_POLLS = 30
"""So many empty polls while records are due mean that the log does not give them out."""

Position = Mapping[TopicPartition, int]


class LogStalled(Exception):
    """Records that the live service has read are not given out any more."""


class Replay:
    """One reading of all topics of reporting into ``figures_next``. Goes on where an interrupted one stood."""

    def __init__(
        self, pool: asyncpg.Pool, consumer: AIOKafkaConsumer, cluster: str, catalogue: Callable[[], Catalogue]
    ) -> None:
        """``pool`` finds the tables of the rebuild by its search_path; ``consumer`` belongs to no group."""
        self._pool = pool
        self._consumer = consumer
        self._cluster = cluster
        self._processing: dict[str, Processing[Any]] = {
            event_type.topic: Processing(pool, event_type, handler, Ceiling(share=1.0))
            for event_type, handler in subscriptions(catalogue).items()
        }
        self.position: dict[TopicPartition, int] = {}
        self.begins: dict[TopicPartition, int] = {}

    async def begin(self, live: Position) -> None:
        """Takes up the position of the rebuild's own watermarks, at the first record for partitions not begun."""
        partitions = list(live)
        self.begins = {part: first for part, (first, _) in (await log_bounds(self._consumer, partitions)).items()}
        async with transaction(self._pool) as conn:
            for topic in self._processing:
                firsts = {part.partition: first for part, first in self.begins.items() if part.topic == topic}
                if firsts:
                    await add_watermarks(conn, self._cluster, topic, firsts)
            marks = await schema.watermarks(conn, schema.NEXT, self._cluster)
        self.position = {part: marks[part.topic, part.partition] for part in partitions}
        self._consumer.assign(partitions)
        for part, offset in self.position.items():
            self._consumer.seek(part, offset)

    def remaining(self, until: Position) -> int:
        """Records between the position and ``until``."""
        return sum(max(0, end - self.position[part]) for part, end in until.items())

    async def read(self, until: Position, progress: Callable[[int], None]) -> None:
        """Reads up to ``until`` and not a record further. Raises ``LogStalled``."""
        idle = 0
        while self.remaining(until):
            due = [part for part, end in until.items() if self.position[part] < end]
            batches = await self._consumer.getmany(*due, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            idle = 0 if batches else idle + 1
            if idle > STALLED_POLLS:
                raise LogStalled(", ".join(f"{part.topic}-{part.partition}" for part in due))
            for topic in self._processing:
                records = [
                    record
                    for part, found in batches.items()
                    if part.topic == topic
                    for record in found
                    if record.offset < until[part]
                ]
                if records:
                    await self._commit(topic, records)
            self._seek_back(batches, until)
            progress(self.remaining(until))

    async def _commit(self, topic: str, records: Sequence[Record]) -> None:
        marks = {part.partition: offset for part, offset in self.position.items() if part.topic == topic}
        outcome = await self._processing[topic].commit(self._cluster, records, marks)
        for partition, offset in outcome.positions.items():
            self.position[TopicPartition(topic, partition)] = offset

    def _seek_back(self, batches: Mapping[TopicPartition, Sequence[Record]], until: Position) -> None:
        """Records beyond ``until`` were fetched but not processed: they are read again when their turn has come."""
        for part, found in batches.items():
            if found and found[-1].offset >= until[part]:
                self._consumer.seek(part, self.position[part])
