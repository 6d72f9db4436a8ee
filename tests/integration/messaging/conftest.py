"""The plumbing put together inside the test's process: a database, consumers and relays to start and stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiokafka import ConsumerRecord, TopicPartition
from faststream.kafka import KafkaRouter
from prometheus_client import CollectorRegistry

from shared.batches import Consumption, Handler
from shared.deadletter import Ceiling
from shared.kafka import broker, discard_producer, open_producer
from shared.metrics import ConsumerMetrics, OutboxMetrics
from shared.outbox import Announcement, Relay, announce
from shared.postgres import open_pool, transaction
from shared.settings import ServiceSettings
from tests.fixtures.broker import ends_of, read_topic
from tests.fixtures.databases import PLUMBING, Database
from tests.fixtures.plumbing_service import NumberedV1, store
from tests.fixtures.waiting import eventually

TOPIC = NumberedV1.topic


@dataclass
class Running:
    """One consumer or relay that runs until ``stop``."""

    stopping: asyncio.Event
    task: asyncio.Task[None]
    registry: CollectorRegistry
    part: Any

    async def stop(self) -> None:
        """Stops it in good order."""
        self.stopping.set()
        await asyncio.wait_for(self.task, 20)

    def count(self, name: str, **labels: str) -> float:
        """The value of one metric's series; 0 when it was never touched."""
        return self.registry.get_sample_value(name, labels) or 0.0


@dataclass
class Plumbing:
    """A database of the test, its pool and all that was started on it."""

    database: Database
    pool: asyncpg.Pool
    servers: str
    begun_at: dict[TopicPartition, int]
    running: list[Running] = field(default_factory=list)

    def relay(self) -> Running:
        """Starts a relay."""
        registry = CollectorRegistry()
        part = Relay(self.database.app_dsn, self.servers, "plumbing", OutboxMetrics(registry))
        return self._run(part, registry, part.run)

    def consumer(self, handler: Handler[NumberedV1] = store, ceiling: Ceiling | None = None, **options: Any) -> Running:
        """Starts an instance of the consumer."""
        registry = CollectorRegistry()
        options = {"session_timeout_ms": 6000, **options}
        part = Consumption(self.pool, self.servers, "plumbing", "plumbing", ConsumerMetrics(registry), **options)
        router = KafkaRouter()
        part.subscribe(router, NumberedV1, handler, ceiling=ceiling)
        settings = ServiceSettings(port=1, database_url=self.database.app_dsn, KAFKA_BOOTSTRAP_SERVERS=self.servers)
        kafka = broker(settings)
        kafka.include_router(router)
        return self._run(part, registry, lambda stop: part.run(kafka, stop))

    def _run(self, part: Any, registry: CollectorRegistry, work: Callable[[asyncio.Event], Any]) -> Running:
        stop = asyncio.Event()
        running = Running(stop, asyncio.create_task(work(stop)), registry, part)
        self.running.append(running)
        return running

    async def announce(self, events: Iterable[NumberedV1]) -> None:
        """Writes events into the outbox in one transaction."""
        async with transaction(self.pool) as connection:
            await announce(connection, [Announcement(event) for event in events], "plumbing")

    async def produce(self, records: Sequence[ConsumerRecord], *, topic: str = TOPIC) -> None:
        """Sends records past the outbox, to the partitions they came from, headers and bytes as they are."""
        producer = await open_producer(self.servers, "test")
        for record in records:
            await producer.send(
                topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
            )
        await producer.flush()
        await discard_producer(producer)

    async def published(self, topic: str = TOPIC) -> list[ConsumerRecord]:
        """What this test has published."""
        return await read_topic(self.servers, topic, since=self.begun_at)

    async def ends(self) -> dict[TopicPartition, int]:
        """The next offset of every partition of every topic."""
        return await ends_of(self.servers)

    async def effects(self) -> list[tuple[UUID, str, int]]:
        """All effects in the order in which they were made."""
        rows = await self.pool.fetch("select event_id, key, number from effect order by id")
        return [(row["event_id"], row["key"], row["number"]) for row in rows]

    async def wait_for_effects(self, count: int, within: float = 30.0) -> list[tuple[UUID, str, int]]:
        """Waits for at least so many effects and returns them."""
        return await eventually(
            self.effects, until=lambda found: len(found) >= count, within=within, what=f"{count} effects"
        )

    async def outbox_depth(self) -> int:
        """Rows that wait to be published."""
        depth: int = await self.pool.fetchval("select count(*) from outbox")
        return depth

    async def wait_until_drained(self, within: float = 30.0) -> None:
        """Waits until all rows of the outbox were published."""
        await eventually(self.outbox_depth, until=lambda depth: depth == 0, within=within, what="an empty outbox")

    async def watermarks(self) -> dict[int, int]:
        """The next offset by partition."""
        rows = await self.pool.fetch("select partition, next_offset from inbox_watermark where topic = $1", TOPIC)
        return {row["partition"]: row["next_offset"] for row in rows}


def numbered(count: int, *, keys: int = 7, first: int = 100) -> list[NumberedV1]:
    """Events whose numbers rise, spread over some keys; none is 13."""
    return [NumberedV1(name=f"key-{number % keys}", number=number) for number in range(first, first + count)]


def assert_each_once_in_order(effects: Sequence[tuple[UUID, str, int]], events: Sequence[NumberedV1]) -> None:
    """Every event has exactly one effect and each key saw its numbers rise."""
    assert sorted((key, number) for _, key, number in effects) == sorted((event.name, event.number) for event in events)
    by_key: dict[str, list[int]] = {}
    for _, key, number in effects:
        by_key.setdefault(key, []).append(number)
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


@pytest.fixture
async def plumbing(database: Callable[[str], Database], topics: str) -> AsyncIterator[Plumbing]:
    """A fresh database and empty topics; whatever was started is stopped after the test."""
    place = database(PLUMBING)
    pool = await open_pool(place.app_dsn, size=6, application_name="plumbing-test")
    made = Plumbing(place, pool, topics, await ends_of(topics))
    yield made
    for running in made.running:
        running.stopping.set()
    for running in made.running:
        await asyncio.wait({running.task}, timeout=20)
        running.task.cancel()
    await asyncio.wait_for(pool.close(), 10)
