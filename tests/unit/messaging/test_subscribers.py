"""What FastStream is told: its defaults would lose messages and create topics."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaRouter
from faststream.kafka.subscriber.usecase import BatchSubscriber
from prometheus_client import CollectorRegistry

from shared.batches import Consumption, Received
from shared.events import HeatReportedV1
from shared.metrics import ConsumerMetrics


async def ignore(connection: asyncpg.Connection, batch: Sequence[Received[HeatReportedV1]]) -> None:
    """A handler that does nothing."""


def test_subscribers_acknowledge_by_hand_and_create_nothing() -> None:
    """Manual acknowledgement, a group per topic, from the earliest record on, no topic declared."""
    router = KafkaRouter()
    consumption = Consumption(
        *(cast(asyncpg.Pool, None), "127.0.0.1:9", "incidents", "incidents", ConsumerMetrics(CollectorRegistry())),
    )
    consumption.subscribe(router, HeatReportedV1, ignore)
    subscriber = cast(BatchSubscriber, router.subscribers[0])
    assert subscriber.ack_policy is AckPolicy.MANUAL
    assert subscriber.group_id == "incidents.heat.reported.v1"
    assert [(topic.name, topic.declare) for topic in subscriber.topics] == [("heat.reported.v1", False)]
    assert subscriber._connection_args["auto_offset_reset"] == "earliest"
    assert subscriber._connection_args["enable_auto_commit"] is False


def test_nobody_else_subscribes() -> None:
    """All consumption goes through ``Consumption``; a subscriber made elsewhere would have FastStream's defaults."""
    allowed = {Path("shared/batches.py"), Path("shared/kafka.py")}
    found = {
        file
        for folder in ("services", "shared")
        for file in Path(folder).rglob("*.py")
        if ".subscriber(" in file.read_text()
    }
    assert found == allowed
