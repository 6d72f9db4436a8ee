"""Kafka clients as this product uses them: a FastStream broker that creates no topic, an idempotent producer.

aiokafka always asks the broker to create a missing topic, so brokers run with ``auto.create.topics.enable=false``.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from shared.events import Event
from shared.settings import ServiceSettings

REQUEST_TIMEOUT_MS = 10_000
MAX_BATCH_BYTES = 900_000
GRACEFUL_SECONDS = 8.0

_log = logging.getLogger(__name__)


def broker(settings: ServiceSettings) -> KafkaBroker:
    """The FastStream broker of one service; not yet connected.

    A line per batch would drown the log, so "Received" and "Processed" are on DEBUG; errors keep their level.
    """
    return KafkaBroker(
        settings.kafka_bootstrap_servers,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        graceful_timeout=GRACEFUL_SECONDS,
        logger=logging.getLogger("shared.faststream"),  # theirs prints in a format of its own
        log_level=logging.DEBUG,
    )


async def kafka_problem(broker: KafkaBroker, *, timeout_seconds: float = 2.0) -> str | None:
    """For readiness: None when the broker answers, else the reason."""
    with contextlib.suppress(Exception):
        if await broker.ping(timeout_seconds):
            return None
    return "Kafka does not answer"


async def cluster_id(bootstrap_servers: str) -> str:
    """The identity of the cluster; another one means other offsets. Raises ``KafkaError`` when it is not there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()


async def open_producer(bootstrap_servers: str, client_id: str) -> AIOKafkaProducer:
    """A started idempotent producer with ``acks=all``; it retries for ever and keeps the order of a partition.

    Raises ``KafkaError`` when no broker answers.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        enable_idempotence=True,
        acks="all",
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=4 * MAX_BATCH_BYTES,
        retry_backoff_ms=400,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    try:
        await asyncio.wait_for(producer.start(), 2 * REQUEST_TIMEOUT_MS / 1000)
    except BaseException:
        await discard_producer(producer)
        raise
    return producer


async def discard_producer(producer: AIOKafkaProducer) -> None:
    """Drops a producer and all it still holds: ``stop()`` would wait for brokers that are down (aiokafka 659)."""
    sender = getattr(producer, "_sender", None)
    closing = asyncio.ensure_future(sender.close()) if sender is not None else None
    if closing is not None:
        await asyncio.wait([closing], timeout=1)  # nothing new is sent; what is on its way may still be answered
    with contextlib.suppress(Exception):
        await asyncio.wait_for(producer.client.close(), 5)
    if closing is not None and not closing.done():
        await asyncio.wait([closing], timeout=1)
        closing.cancel()
    producer._closed = True


@contextlib.asynccontextmanager
async def watching_consumer(bootstrap_servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group: reads offsets, or single partitions it is assigned by hand."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await asyncio.wait_for(consumer.start(), 2 * REQUEST_TIMEOUT_MS / 1000)
        yield consumer
    finally:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(consumer.stop(), 5)


async def log_bounds(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> Mapping[TopicPartition, tuple[int, int]]:
    """First offset still there and next offset to be written, by partition. Raises ``KafkaError``."""
    if not partitions:
        return {}
    first, end = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
    return {partition: (first[partition], end[partition]) for partition in partitions}


def asyncapi_document(
    *, title: str, version: str, consumes: Iterable[type[Event]], announces: Iterable[type[Event]]
) -> dict[str, Any]:
    """The AsyncAPI 3 document of one service, rendered by FastStream from the typed events (never connected)."""
    documented = KafkaBroker("kafka:9092", description="CloudEvents 1.0 in binary mode: ce_* headers and a JSON body")
    for event_type in consumes:
        documented.subscriber(event_type.topic, group_id=title, description=event_type.__doc__)(_receiver(event_type))
    for event_type in announces:
        documented.publisher(event_type.topic, schema=event_type, description=event_type.__doc__)
    specification = AsyncAPI(documented, title=title, version=version, schema_version="3.0.0").to_specification()
    document: dict[str, Any] = specification.to_jsonable()
    return document


def _receiver(event_type: type[Event]) -> Any:
    async def receive(event: Event) -> None: ...

    receive.__annotations__ = {"event": event_type, "return": None}
    receive.__name__ = f"on_{event_type.topic.removesuffix('.v1').replace('.', '_')}"
    return receive
