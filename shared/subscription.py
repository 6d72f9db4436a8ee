"""One topic of one consumer group: where it is read, what is done when the database or a record does not play along.

The place to read is the watermark in the database; what Kafka holds as committed offsets only serves lag monitoring.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka.subscriber.usecase import LogicSubscriber

from shared.deadletter import CeilingReached
from shared.events import Event
from shared.inbox import StaleWatermark, add_watermarks, list_watermarks, move_watermarks
from shared.kafka import cluster_id, log_bounds
from shared.metrics import ConsumerMetrics
from shared.postgres import is_busy, transaction, with_jitter
from shared.processing import Outcome, Processing, Record
from shared.repeating import pause
from shared.tracing import parse_traceparent

E = TypeVar("E", bound=Event)

BUSY_TRIES = 8
BUSY_SECONDS = (0.1, 5.0)
COMMIT_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Subscription(ConsumerRebalanceListener, Generic[E]):  # type: ignore[misc]
    """Processes the batches of one topic. Never raises into FastStream, which would only log it."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        bootstrap_servers: str,
        processing: Processing[E],
        metrics: ConsumerMetrics,
        *,
        service: str,
        committed: Callable[[], object] | None = None,
    ) -> None:
        """``service``: its name in commands for a person; ``committed`` is called after a batch that had an effect."""
        self.topic = processing.topic
        self._subscriber: LogicSubscriber[Any] | None = None
        self.joined = False
        self.stopped_reason: str | None = None
        self.busy_reason: str | None = None
        self.working_since: float | None = None
        self.stopping = asyncio.Event()
        self._pool = pool
        self._bootstrap_servers = bootstrap_servers
        self._metrics = metrics
        self._processing = processing
        self._service = service
        self._committed = committed
        self._cluster = ""
        self._marks: dict[int, int] = {}
        self._reached: dict[int, int] = {}
        self._sought: dict[int, int] = {}
        self._uncommitted: dict[TopicPartition, int] = {}
        self._placing = asyncio.Lock()

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        """The client while FastStream runs it."""
        return self._subscriber.consumer if self._subscriber is not None else None

    def attach(self, subscriber: LogicSubscriber[Any]) -> None:
        """Names the FastStream subscriber this one is the listener and the handler of."""
        self._subscriber = subscriber

    @property
    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this instance reads at this moment."""
        return frozenset(self.consumer.assignment()) if self.consumer is not None else frozenset()

    @property
    def reached(self) -> dict[int, int]:
        """The next offset by partition as last seen, for measuring: it outlasts a time without the database."""
        return dict(self._reached)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Part of a rebalance: what is known of the partitions is forgotten; others may move them now."""
        self.joined = False
        self.busy_reason = None  # what waited is the business of the next owner; if that is us, it will show again
        await self.commit_offsets()
        for partition in revoked:
            for known in (self._marks, self._reached, self._sought):
                known.pop(partition.partition, None)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Part of a rebalance: reading goes on at the watermarks; with a busy database the first batch sees to it."""
        self.busy_reason = None
        try:
            await self._place(assigned)
        except Exception as error:
            _log.warning("%s: the watermarks are not known yet: %s", self.topic, error)
        if self.stopped_reason:
            self._pause()
        self.joined = True

    async def receive(self, records: Sequence[Record]) -> None:
        """One fetched batch: returns when it is committed, or given back to be fetched again later."""
        if self.stopped_reason or not records:
            return
        started = self.working_since = time.monotonic()
        try:
            if await self._try_repeatedly(records):
                self._metrics.observe_batch(self.topic, time.monotonic() - started)
        finally:
            self.working_since = None

    async def commit_offsets(self) -> None:
        """Tells Kafka how far we are, for lag monitoring only: failures cost nothing (aiokafka 933)."""
        consumer, offsets = self.consumer, dict(self._uncommitted)
        if consumer is None:
            return
        mine = {partition: offset for partition, offset in offsets.items() if partition in consumer.assignment()}
        self._uncommitted.clear()
        if not mine:
            return
        try:
            await asyncio.wait_for(consumer.commit(mine), 3)
        except (KafkaError, TimeoutError, ValueError) as error:
            _log.info("%s: offsets were not committed: %s", self.topic, error)

    async def _try_repeatedly(self, records: Sequence[Record]) -> bool:
        """Whether the batch is done with; otherwise it will be fetched again."""
        backoff = BUSY_SECONDS[0]
        for _ in range(BUSY_TRIES):
            try:
                return await self._commit(records)
            except StaleWatermark as error:
                _log.warning("%s", error)
                await self._place_again(records)
                return False
            except CeilingReached as error:
                self._stop(f"{self.topic}: {error}; fix the cause and restart, it goes on where it stopped", records)
                return False
            except Exception as error:
                self._note_busy(error, len(records))
            # A commit may have happened before its answer was lost: the next try reads the watermarks anew.
            self._marks.clear()
            if await pause(self.stopping, with_jitter(backoff)):
                break
            if not self.assignment.intersection(TopicPartition(one.topic, one.partition) for one in records):
                self.busy_reason = None
                return False  # lost in a rebalance: the next owner reads it
            backoff = min(backoff * 2, BUSY_SECONDS[1])
        self._seek({TopicPartition(one.topic, one.partition): one.offset for one in reversed(records)})
        return False

    async def _commit(self, records: Sequence[Record]) -> bool:
        partitions = {TopicPartition(one.topic, one.partition) for one in records}
        if any(partition.partition not in self._marks for partition in partitions):
            await self._place(partitions, seek=False)
            if self.stopped_reason:
                return False
        if self._begins_late(records):
            return False
        outcome = await self._processing.commit(self._cluster, records, self._marks)
        self.busy_reason = None
        for partition, offset in outcome.positions.items():
            self._marks[partition] = self._reached[partition] = offset
            self._sought.pop(partition, None)
            self._uncommitted[TopicPartition(self.topic, partition)] = offset
        self._count(outcome)
        self._log_traces(outcome, records)
        if self._committed is not None and (outcome.processed or outcome.dead):
            self._committed()
        for after_commit in outcome.after_commit:
            try:
                after_commit()
            except Exception:
                _log.exception("%s: the work after the commit failed", self.topic)
        return True

    def _begins_late(self, records: Sequence[Record]) -> bool:
        """Seeks back once when a batch begins beyond the watermark; the second time the gap is real, and accepted."""
        first: dict[int, int] = {}
        for record in records:
            first.setdefault(record.partition, record.offset)
        late = {
            partition: self._marks[partition] for partition, offset in first.items() if offset > self._marks[partition]
        }
        unsought = {partition: mark for partition, mark in late.items() if self._sought.get(partition) != mark}
        if unsought:
            self._sought.update(unsought)
            self._seek(
                {
                    TopicPartition(self.topic, partition): min(self._marks[partition], first[partition])
                    for partition in first
                }
            )
            return True
        for partition, mark in late.items():
            self._note_gap(partition, mark, first[partition])
        return False

    def _note_gap(self, partition: int, mark: int, first: int) -> None:
        self._metrics.count(self.topic, "missed", first - mark)
        _log.error(
            "%s-%d: records %d to %d are no longer in the log; reading goes on at %d",
            *(self.topic, partition, mark, first - 1, first),
        )

    async def _place(self, partitions: Collection[TopicPartition], *, seek: bool = True) -> None:
        """Learns the watermarks of these partitions and seeks there. Raises ``DatabaseBusy`` or ``KafkaError``."""
        consumer = self.consumer
        if consumer is None or not partitions:
            return
        async with self._placing:
            self._cluster = await cluster_id(self._bootstrap_servers)
            bounds = await log_bounds(consumer, partitions)
            async with transaction(self._pool) as connection:
                firsts = {partition.partition: first for partition, (first, _) in bounds.items()}
                await add_watermarks(connection, self._cluster, self.topic, firsts)
                marks = await list_watermarks(connection, self._cluster, self.topic)
                gone = {one: (marks[one], first) for one, first in firsts.items() if marks[one] < first}
                await move_watermarks(connection, self._cluster, self.topic, gone)
            for number, (mark, first) in gone.items():
                self._note_gap(number, mark, first)
                marks[number] = first
            for partition, (_, end) in bounds.items():
                mark = marks[partition.partition]
                if mark > end:
                    self._stop(
                        f"{self.topic}-{partition.partition} ends at {end}, but {mark} was already reached: "
                        "the topic was made anew. Restart after this command: "
                        f"make accept-new-topic service={self._service} topic={self.topic}",
                        (),
                    )
                self._marks[partition.partition] = self._reached[partition.partition] = mark
            if seek and not self.stopped_reason:
                self._seek({partition: marks[partition.partition] for partition in partitions})

    async def _place_again(self, records: Sequence[Record]) -> None:
        self._marks.clear()
        try:
            await self._place({TopicPartition(one.topic, one.partition) for one in records})
            self.busy_reason = None
        except Exception as error:
            self._note_busy(error, 0)
            self._seek({TopicPartition(one.topic, one.partition): one.offset for one in reversed(records)})

    def _seek(self, offsets: dict[TopicPartition, int]) -> None:
        for partition, offset in offsets.items():
            try:
                if self.consumer is not None:
                    self.consumer.seek(partition, offset)
            except IllegalStateError:
                continue  # revoked meanwhile; its next owner seeks

    def _pause(self) -> None:
        if self.consumer is not None:
            self.consumer.pause(*self.consumer.assignment())

    def _stop(self, reason: str, records: Sequence[Record]) -> None:
        self.stopped_reason = reason
        self._metrics.stopped.set(1)
        self._seek({TopicPartition(one.topic, one.partition): one.offset for one in reversed(records)})
        self._pause()
        _log.error("consumption stopped: %s", reason)

    def _note_busy(self, error: Exception, records: int) -> None:
        self.busy_reason = f"{self.topic}: {type(error).__name__}"
        self._metrics.count(self.topic, "retried", records)
        expected = is_busy(error) or isinstance(error, KafkaError)
        _log.warning("%s: retrying after %s", self.topic, error, exc_info=None if expected else error)

    def _count(self, outcome: Outcome) -> None:
        for name, amount in (("processed", outcome.processed), ("duplicate", outcome.duplicates)):
            if amount:
                self._metrics.count(self.topic, name, amount)
        for letter in outcome.dead:
            self._metrics.count(self.topic, "dead_lettered")
            traceparent = dict(letter.record.headers).get("ce_traceparent") or b""
            trace = parse_traceparent(traceparent.decode(errors="replace"))
            _log.error(
                "%s-%d@%d: dead-lettered after %d tries: %s",
                *(self.topic, letter.record.partition, letter.record.offset, letter.attempts, letter.reason),
                extra={"trace_id": trace[0]} if trace else {},
            )

    def _log_traces(self, outcome: Outcome, records: Sequence[Record]) -> None:
        """One line a batch that is found by the trace id of each of its events."""
        if not _log.isEnabledFor(logging.INFO):
            return
        headers = (dict(record.headers).get("ce_traceparent") or b"" for record in records)
        traces = [trace[0] for header in headers if (trace := parse_traceparent(header.decode(errors="replace")))]
        _log.info(
            "%s: %d processed, %d seen before, %d dead-lettered",
            *(self.topic, outcome.processed, outcome.duplicates, len(outcome.dead)),
            extra={"trace_ids": list(dict.fromkeys(traces))},
        )
