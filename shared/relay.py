"""The relay: publishes the outbox in the order of its ids, from one process per database, at least once.

The active relay holds an advisory lock on the connection it reads and deletes with: no connection, no lock, no sending.
There is no cursor: what is in the table is what is still to be sent, so a row whose transaction commits late is found.

Order per key: one record batch per partition at a time. Kafka takes a record batch whole or not at all, and the next
one of the partition is sent only after its acknowledgement; rows are deleted after all of a round were acknowledged.
What is repeated after a failure is therefore a run of the same rows in the same order, and inboxes know their ids.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from shared.failpoints import reach
from shared.kafka import discard_producer, open_producer
from shared.metrics import OutboxMetrics
from shared.postgres import connect, is_busy, load_queries, with_jitter
from shared.records import decode_headers
from shared.repeating import pause

MAX_ROWS = 2000
MAX_BYTES = 8_000_000
SEND_TIMEOUT_SECONDS = 15.0
LOCK_RETRY_SECONDS = 1.0
# A relay that is alive asks the database all the time; the server hangs up on one that sleeps (SIGSTOP) with the lock.
SILENCE_SECONDS = 20
BEAT_SECONDS = 4.0
IDLE_SECONDS = (0.01, 0.1)
BACKOFF_SECONDS = (0.2, 5.0)
MEASURE_SECONDS = 2.0

_log = logging.getLogger(__name__)
_queries = load_queries(Path(__file__).parent / "messaging.sql")
_partitioner = DefaultPartitioner()

Queues = dict[TopicPartition, deque[asyncpg.Record]]


class _ConnectionLost(ConnectionError):
    """The connection with the lock is gone, and so is the right to send."""


class Relay:
    """Publishes one database's outbox while it holds the lock; stands by otherwise."""

    def __init__(
        self,
        dsn: str,
        bootstrap_servers: str,
        application_name: str,
        metrics: OutboxMetrics,
        *,
        flush_seconds: float = 5.0,
    ) -> None:
        """``flush_seconds`` bounds the last flush after the stop."""
        self._dsn = dsn
        self._bootstrap_servers = bootstrap_servers
        self._name = application_name
        self._metrics = metrics
        self._flush_seconds = flush_seconds
        self._producer: AIOKafkaProducer | None = None
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """For after a commit: looks at the table now, not at the next poll. Never needed, shortens no back-off."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Publishes until ``stop`` is set, then flushes what is there within the deadline. Never raises on failures."""
        working = asyncio.create_task(self._run(stop), name="outbox-relay")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            self._woken.set()
            await asyncio.wait({working}, timeout=self._flush_seconds)
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
            await self._drop_producer()

    async def _run(self, stop: asyncio.Event) -> None:
        backoff = BACKOFF_SECONDS[0]
        while True:
            started = time.monotonic()
            try:
                await self._hold_lock(stop)
                return
            except Exception as error:
                expected = is_busy(error) or isinstance(error, KafkaError)
                _log.warning("outbox relay: %s, again in %.1f s", error, backoff, exc_info=None if expected else error)
            if stop.is_set():
                return
            if time.monotonic() - started > 30:
                backoff = BACKOFF_SECONDS[0]
            await pause(stop, with_jitter(backoff))
            backoff = min(backoff * 2, BACKOFF_SECONDS[1])

    async def _hold_lock(self, stop: asyncio.Event) -> None:
        connection = await connect(
            self._dsn,
            application_name=self._name,
            settings={"idle_session_timeout": f"{SILENCE_SECONDS}s"},
        )
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.add_termination_listener(lambda _: _resolve(lost))
        try:
            while not await _queries.try_relay_lock(connection):
                if stop.is_set():
                    return
                await pause(stop, LOCK_RETRY_SECONDS)
            self._metrics.active.set(1)
            _log.info("outbox relay %s is active", self._name)
            await self._drain(connection, lost, stop)
        finally:
            self._metrics.active.set(0)
            self._metrics.set_depth(0, 0.0)  # from now on the next holder measures
            lost.cancel()
            try:
                await connection.close(timeout=2)
            except Exception:
                connection.terminate()

    async def _drain(self, connection: asyncpg.Connection, lost: asyncio.Future[None], stop: asyncio.Event) -> None:
        idle, backoff, measured_at = IDLE_SECONDS[0], BACKOFF_SECONDS[0], 0.0
        while True:
            self._woken.clear()
            looked_at = time.monotonic()
            if time.monotonic() - measured_at > MEASURE_SECONDS:
                await self._measure(connection)
                measured_at = time.monotonic()
            rows = [row async for row in _queries.list_outbox(connection, max_rows=MAX_ROWS, max_bytes=MAX_BYTES)]
            if not rows:
                if stop.is_set():
                    return
                await self._rest(looked_at, idle, stop)
                idle = min(idle * 1.5, IDLE_SECONDS[1])
                continue
            idle = IDLE_SECONDS[0]
            reach("after-commit-before-publish")
            try:
                await self._publish_and_beat(connection, rows, lost)
            except (KafkaError, TimeoutError) as error:
                await self._give_way(error, backoff, stop)
                backoff = min(backoff * 2, BACKOFF_SECONDS[1])
                continue
            reach("after-publish-before-delete")
            await _queries.delete_outbox(connection, ids=[row["id"] for row in rows])
            self._metrics.published.inc(len(rows))
            backoff = BACKOFF_SECONDS[0]

    async def _give_way(self, error: BaseException, backoff: float, stop: asyncio.Event) -> None:
        """The broker is down or the producer is broken (aiokafka 1017): rows stay, the next try has a new producer."""
        self._metrics.failures.inc()
        _log.warning("outbox relay: %s: %s; rows stay, again in %.1f s", type(error).__name__, error, backoff)
        await self._drop_producer()
        if stop.is_set():  # the last flush; its deadline is short
            await asyncio.sleep(min(backoff, BACKOFF_SECONDS[0]))
        else:
            await pause(stop, with_jitter(backoff))

    async def _publish_and_beat(
        self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record], lost: asyncio.Future[None]
    ) -> None:
        """Publishes, and meanwhile tells the database that the lock's holder is alive; ends when it is not."""
        publishing = asyncio.create_task(self._publish(rows, lost))
        try:
            while not (await asyncio.wait({publishing}, timeout=BEAT_SECONDS))[0]:
                await connection.fetchval("select 1")
            publishing.result()
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def _publish(self, rows: Sequence[asyncpg.Record], lost: asyncio.Future[None]) -> None:
        """Returns after all acknowledgements. Raises ``KafkaError``, ``TimeoutError`` or ``_ConnectionLost``."""
        if self._producer is None:
            self._producer = await open_producer(self._bootstrap_servers, self._name)
        queues = await _by_partition(self._producer, rows)
        while queues:
            deliveries = [await _send(self._producer, partition, queue) for partition, queue in queues.items()]
            all_delivered = asyncio.gather(*deliveries)
            try:
                waited: set[asyncio.Future[Any]] = {all_delivered, lost}
                await asyncio.wait(waited, timeout=SEND_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if lost.done():
                    await self._drop_producer()
                    raise _ConnectionLost("the connection with the lock is gone")
                if not all_delivered.done():
                    raise TimeoutError(f"no acknowledgement within {SEND_TIMEOUT_SECONDS:.0f} s")
                all_delivered.result()
            finally:
                _consume(all_delivered, deliveries)
            queues = {partition: queue for partition, queue in queues.items() if queue}

    async def _measure(self, connection: asyncpg.Connection) -> None:
        measured = await _queries.measure_outbox(connection)
        self._metrics.set_depth(measured["depth"], max(0.0, measured["oldest_age_seconds"]))

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard_producer(producer)

    async def _rest(self, looked_at: float, seconds: float, stop: asyncio.Event) -> None:
        """Until the time is over or somebody wakes the relay, but never shorter than the shortest poll: commits that
        follow one another closely shall share a round."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        await pause(stop, max(0.0, looked_at + IDLE_SECONDS[0] - time.monotonic()))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@lru_cache(maxsize=8192)
def partition_of(key: bytes, partitions: tuple[int, ...]) -> int:
    """The partition of a key as all Kafka clients choose it (murmur2). ``partitions``: all of the topic, sorted."""
    return int(_partitioner(key, partitions, partitions))


async def _by_partition(producer: AIOKafkaProducer, rows: Sequence[asyncpg.Record]) -> Queues:
    partitions: Mapping[str, tuple[int, ...]] = {
        topic: tuple(sorted(await producer.partitions_for(topic))) for topic in {row["topic"] for row in rows}
    }
    queues: Queues = {}
    for row in rows:
        known = partitions[row["topic"]]
        partition = known[0] if row["key"] is None else partition_of(row["key"].encode(), known)
        queues.setdefault(TopicPartition(row["topic"], partition), deque()).append(row)
    return queues


async def _send(
    producer: AIOKafkaProducer, partition: TopicPartition, queue: deque[asyncpg.Record]
) -> asyncio.Future[Any]:
    """Hands over one record batch with as many of the partition's rows as fit; takes these out of the queue."""
    batch = producer.create_batch()
    while queue:
        row = queue[0]
        key = None if row["key"] is None else row["key"].encode()
        appended = batch.append(timestamp=None, key=key, value=row["payload"], headers=decode_headers(row["headers"]))
        if appended is None:
            break
        queue.popleft()
    batch.close()
    delivery: asyncio.Future[Any] = await producer.send_batch(batch, partition.topic, partition=partition.partition)
    return delivery


def _consume(all_delivered: asyncio.Future[Any], deliveries: Sequence[asyncio.Future[Any]]) -> None:
    """Marks the outcomes as seen, so that a delivery that fails later is no unhandled error."""
    if not all_delivered.done():
        all_delivered.cancel()
    for delivery in deliveries:
        delivery.add_done_callback(lambda done: done.cancelled() or done.exception())
