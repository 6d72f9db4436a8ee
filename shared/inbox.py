"""The inbox: what was already processed, stored in the transaction of the effect.

Two guards: a watermark per cluster, topic and partition that moves by compare-and-set, and the ids of recent events.
``python -m shared.inbox accept-new-topic services.<name> <topic>`` goes on after a topic was made anew.
"""

import asyncio
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from shared.kafka import cluster_id, log_bounds, watching_consumer
from shared.migrate import EX_CONFIG, settings_of
from shared.postgres import connect, load_queries, transaction

REMEMBERED_FOR = timedelta(days=8)
FORGET_ROWS = 5000

_log = logging.getLogger(__name__)
_queries = load_queries(Path(__file__).parent / "messaging.sql")


class StaleWatermark(Exception):
    """Somebody else moved the watermark: a second instance, or this process slept over a rebalance."""


async def list_watermarks(connection: asyncpg.Connection, cluster: str, topic: str) -> dict[int, int]:
    """The next offset to read of each partition seen so far."""
    rows = _queries.list_watermarks(connection, cluster_id=cluster, topic=topic)
    return {row["partition"]: row["next_offset"] async for row in rows}


async def add_watermarks(
    connection: asyncpg.Connection, cluster: str, topic: str, first_offsets: Mapping[int, int]
) -> None:
    """Partitions seen for the first time begin at these offsets; known ones stay as they are."""
    await _queries.add_watermarks(
        connection,
        cluster_id=cluster,
        topic=topic,
        partitions=list(first_offsets),
        next_offsets=list(first_offsets.values()),
    )


async def move_watermarks(
    connection: asyncpg.Connection, cluster: str, topic: str, moves: Mapping[int, tuple[int, int]]
) -> None:
    """Moves each partition from its old to its new offset. Raises ``StaleWatermark``; the caller rolls back.

    First statement of the transaction: its row locks make a second instance wait for the outcome.
    """
    if not moves:
        return
    ordered = sorted(moves)
    rows = _queries.move_watermarks(
        connection,
        cluster_id=cluster,
        topic=topic,
        partitions=ordered,
        old_offsets=[moves[partition][0] for partition in ordered],
        new_offsets=[moves[partition][1] for partition in ordered],
    )
    moved = {row["partition"] async for row in rows}
    if moved != set(moves):
        raise StaleWatermark(f"{topic}: partitions {sorted(set(moves) - moved)} were moved by somebody else")


async def remember_events(connection: asyncpg.Connection, topic: str, event_ids: Collection[UUID]) -> set[UUID]:
    """Remembers the ids and returns those that are new; sorted, so that two instances cannot deadlock."""
    rows = _queries.remember_events(connection, topic=topic, event_ids=sorted(set(event_ids)))
    return {row["event_id"] async for row in rows}


async def forget_events(pool: asyncpg.Pool, older_than: timedelta = REMEMBERED_FOR) -> int:
    """Deletes a bounded number of old ids and says how many. Raises ``DatabaseBusy``."""
    async with transaction(pool) as connection:
        status: str = await _queries.forget_events(connection, older_than=older_than, max_rows=FORGET_ROWS)
    return int(status.rsplit(maxsplit=1)[-1])


async def accept_new_topic(dsn: str, bootstrap_servers: str, topic: str) -> dict[int, int]:
    """Sets all watermarks of a topic made anew to its first offsets and returns them; none when it is not made anew.

    It is when one of them lies beyond the end. A partition that has grown past its old mark was made anew as well, and
    its first records were never read; what is read twice is known by its event id.
    """
    cluster = await cluster_id(bootstrap_servers)
    connection = await connect(dsn, application_name="accept-new-topic")
    try:
        marks = await list_watermarks(connection, cluster, topic)
        async with watching_consumer(bootstrap_servers) as consumer:
            bounds = await log_bounds(consumer, [TopicPartition(topic, partition) for partition in marks])
        made_anew = any(mark > bounds[TopicPartition(topic, partition)][1] for partition, mark in marks.items())
        reset = {partition: bounds[TopicPartition(topic, partition)][0] for partition in marks} if made_anew else {}
        async with connection.transaction():
            for partition, offset in reset.items():
                await _queries.set_watermark(
                    connection, cluster_id=cluster, topic=topic, partition=partition, next_offset=offset
                )
        return reset
    finally:
        await connection.close(timeout=2)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    if len(arguments) != 3 or arguments[0] != "accept-new-topic":
        print("Usage: python -m shared.inbox accept-new-topic services.<name> <topic>", file=sys.stderr)
        return EX_CONFIG
    try:
        settings = settings_of(arguments[1])
        reset = asyncio.run(accept_new_topic(settings.database_url, settings.kafka_bootstrap_servers, arguments[2]))
    except (ValidationError, LookupError, ImportError) as error:
        print(f"The settings of {arguments[1]} are incomplete or wrong: {error}", file=sys.stderr)
        return EX_CONFIG
    except (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return 1
    if not reset:
        print(f"{arguments[2]}: no watermark lies beyond the end of the topic; nothing was changed")
    for partition, offset in sorted(reset.items()):
        print(f"{arguments[2]}: partition {partition} is read again from offset {offset}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
