"""Consumption of a service: FastStream batch subscribers whose effect, watermark and event ids are one transaction.

Each topic has a consumer group of its own (``<service>.<topic>``), so that a rebalance, a stop or a slow handler of one
topic leaves the others alone.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaRouter
from faststream.kafka.message import FAKE_CONSUMER, KafkaAckableMessage
from faststream.kafka.schemas import Topic

from shared.deadletter import Ceiling
from shared.events import Event
from shared.inbox import FORGET_ROWS, forget_events
from shared.kafka import cluster_id, log_bounds, watching_consumer
from shared.metrics import ConsumerMetrics
from shared.processing import AfterCommit, Handler, Processing, Received, Record
from shared.repeating import pause, repeat
from shared.subscription import COMMIT_SECONDS, Subscription

__all__ = ["AfterCommit", "Consumption", "Handler", "Received"]

E = TypeVar("E", bound=Event)

MAX_RECORDS = 500
# FastStream waits this long for a batch and sleeps as long again after an empty one: it bounds the added latency.
POLL_MS = 20
WATCH_SECONDS = 5.0
FORGET_SECONDS = 60.0
FORGET_ROUNDS = 60
STUCK_SECONDS = 30.0
BATCH_STUCK_SECONDS = 180.0
EX_SOFTWARE = 70

_log = logging.getLogger(__name__)


class Consumption:
    """All subscriptions of one service, their watchdog and what readiness wants to know of them."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        bootstrap_servers: str,
        group: str,
        source: str,
        metrics: ConsumerMetrics,
        *,
        max_records: int = MAX_RECORDS,
        stuck_seconds: float = STUCK_SECONDS,
        session_timeout_ms: int = 10_000,
        die: Callable[[int], object] = os._exit,
        committed: Callable[[], object] | None = None,
    ) -> None:
        """``group`` and ``source`` are the service's name. ``die`` ends the process when a consumer is stuck.

        ``committed`` is called after every batch that had an effect: there may be something to publish.
        """
        self._pool = pool
        self._bootstrap_servers = bootstrap_servers
        self._group = group
        self.source = source
        self._metrics = metrics
        self._max_records = max_records
        self._stuck_seconds = stuck_seconds
        self._session_timeout_ms = session_timeout_ms
        self._die = die
        self._committed = committed
        self._subscriptions: list[Subscription[Any]] = []
        self._lag: dict[TopicPartition, int] = {}
        self._still_since: dict[TopicPartition, tuple[int, float]] = {}

    def subscribe(
        self, router: KafkaRouter, event_type: type[E], handler: Handler[E], *, ceiling: Ceiling | None = None
    ) -> None:
        """Adds a batch subscriber of the event's topic; the handler runs inside the transaction of its batch."""
        processing = Processing(self._pool, event_type, handler, ceiling or Ceiling())
        subscription = Subscription(
            *(self._pool, self._bootstrap_servers, processing, self._metrics),
            service=self._group,
            committed=self._committed,
        )
        subscriber = router.subscriber(
            Topic(event_type.topic, declare=False),
            batch=True,
            max_records=self._max_records,
            batch_timeout_ms=POLL_MS,
            group_id=f"{self._group}.{event_type.topic}",
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.MANUAL,
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._session_timeout_ms // 4,
            listener=subscription,
            parser=_raw_parser(subscription),
            decoder=_leave_raw,
            no_reply=True,
            include_in_schema=False,
        )

        async def receive(message: KafkaMessage) -> None:
            await subscription.receive(message.raw_message)

        subscriber(receive)
        subscription.attach(subscriber)
        self._subscriptions.append(subscription)

    @property
    def stopped_reason(self) -> str | None:
        """Why consumption stopped itself and waits for a person, else None."""
        return next((one.stopped_reason for one in self._subscriptions if one.stopped_reason), None)

    def assignment(self) -> dict[str, list[int]]:
        """The partitions this instance reads, by topic."""
        return {one.topic: sorted(part.partition for part in one.assignment) for one in self._subscriptions}

    def lag(self) -> dict[str, int]:
        """Records behind the end by topic, summed over this instance's partitions; seconds old."""
        return {
            one.topic: sum(lag for partition, lag in self._lag.items() if partition.topic == one.topic)
            for one in self._subscriptions
        }

    async def problem(self) -> str | None:
        """For readiness: None when every topic is read, else the reason."""
        if self.stopped_reason:
            return self.stopped_reason
        for subscription in self._subscriptions:
            if subscription.busy_reason:
                return f"retrying {subscription.busy_reason}"
            if not subscription.joined:
                return f"{subscription.topic}: not a member of its consumer group yet"
        return None

    async def run(self, broker: KafkaBroker, stop: asyncio.Event) -> None:
        """Starts the broker (again and again until Kafka is there), watches, and stops it after ``stop`` was set."""
        try:
            if await self._start(broker, stop):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(repeat("committing offsets", self._commit_offsets, stop, COMMIT_SECONDS))
                    tasks.create_task(self._watch(stop))
                    tasks.create_task(repeat("forgetting old events", self._forget, stop, FORGET_SECONDS))
        finally:
            await self._stop(broker)

    async def _start(self, broker: KafkaBroker, stop: asyncio.Event) -> bool:
        backoff = 0.5
        while not stop.is_set():
            try:
                await cluster_id(self._bootstrap_servers)  # a start that fails half-way leaves clients open
                await broker.start()
            except (KafkaError, OSError, TimeoutError) as error:
                _log.warning("Kafka is not there: %s; again in %.1f s", error, backoff)
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(broker.stop(), 5)
                await pause(stop, backoff)
                backoff = min(backoff * 2, 5.0)
                continue
            return True
        return False

    async def _stop(self, broker: KafkaBroker) -> None:
        for subscription in self._subscriptions:
            subscription.stopping.set()
            with contextlib.suppress(Exception):
                await subscription.commit_offsets()
        try:
            await asyncio.wait_for(broker.stop(), 10)
        except (TimeoutError, KafkaError) as error:
            _log.warning("the consumers did not stop in time: %s", error)

    async def _commit_offsets(self) -> None:
        for subscription in self._subscriptions:
            await subscription.commit_offsets()

    async def _forget(self) -> None:
        for _ in range(FORGET_ROUNDS):
            if await forget_events(self._pool) < FORGET_ROWS:
                return

    async def _watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                async with watching_consumer(self._bootstrap_servers) as consumer:
                    while not stop.is_set():
                        mine = [partition for one in self._subscriptions for partition in one.assignment]
                        self._measure(await asyncio.wait_for(log_bounds(consumer, mine), 20))
                        self._bark()
                        await pause(stop, WATCH_SECONDS)
            except Exception as error:
                _log.warning("the ends of the topics are not known: %s", error)
                self._still_since.clear()
                await pause(stop, WATCH_SECONDS)

    def _measure(self, bounds: Mapping[TopicPartition, tuple[int, int]]) -> None:
        now = time.monotonic()
        before, self._lag = self._lag, {}
        for subscription in self._subscriptions:
            marks = subscription.reached
            for partition in subscription.assignment:
                mark = marks.get(partition.partition)
                if mark is None or partition not in bounds:
                    self._still_since.pop(partition, None)
                    if partition in before:  # not known at this moment is not the same as none
                        self._lag[partition] = before[partition]
                    continue
                first, end = bounds[partition]
                self._lag[partition] = max(0, end - max(first, mark))  # what retention took cannot be read
                excused = subscription.busy_reason or subscription.stopped_reason or subscription.working_since
                if excused or not self._lag[partition] or self._still_since.get(partition, (-1, 0))[0] != mark:
                    self._still_since[partition] = (mark, now)
            self._metrics.set_lag(subscription.topic, self.lag()[subscription.topic])
        for partition in set(self._still_since) - set(self._lag):
            del self._still_since[partition]

    def _bark(self) -> None:
        """A consumer may hang without any sign (aiokafka 1154): the process ends and its supervisor starts another."""
        now = time.monotonic()
        for partition, (mark, since) in self._still_since.items():
            if now - since > self._stuck_seconds:
                _log.critical("%s is stuck at %d with a lag of %d", partition, mark, self._lag[partition])
                self._die(EX_SOFTWARE)
        for subscription in self._subscriptions:
            if subscription.working_since is not None and now - subscription.working_since > BATCH_STUCK_SECONDS:
                _log.critical("%s: one batch takes longer than %.0f s", subscription.topic, BATCH_STUCK_SECONDS)
                self._die(EX_SOFTWARE)


def _raw_parser(subscription: Subscription[Any]) -> Any:
    """A FastStream parser that touches no header and no body: one bad record must not fail its batch."""

    async def parse(records: tuple[Record, ...]) -> KafkaAckableMessage:
        return KafkaAckableMessage(
            body=b"",
            headers={},
            batch_headers=[],
            message_id=f"{records[0].offset}-{records[-1].offset}",
            raw_message=records,
            consumer=subscription.consumer or FAKE_CONSUMER,
        )

    return parse


async def _leave_raw(message: KafkaMessage) -> None:
    return None
