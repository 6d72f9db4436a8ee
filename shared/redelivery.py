"""What a person does about dead letters: ``python -m shared.redelivery list | show | resend`` (``make dlq``).

``resend`` produces a dead letter to its source topic again with the id and the headers it came with: the inbox lets it
count once. Which ones were sent is remembered in one service's database; ``--again`` sends them nevertheless. One that
was too large and holds only the beginning of its payload stays where it is.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from shared.deadletter import CUT, OWN_HEADERS, SUFFIX, original_headers, own_header
from shared.events import EVENTS
from shared.kafka import cluster_id, discard_producer, log_bounds, open_producer, watching_consumer
from shared.migrate import EX_CONFIG, settings_of
from shared.postgres import connect, is_busy, load_queries

_queries = load_queries(Path(__file__).parent / "messaging.sql")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant; None means any. ``reason`` is a part of the reason's text."""

    topic: str | None = None
    offset: int | None = None
    reason: str | None = None

    def takes(self, record: ConsumerRecord) -> bool:
        """Whether this dead letter is meant."""
        return (self.offset is None or record.offset == self.offset) and (
            self.reason is None or self.reason.lower() in own_header(record.headers, "reason").lower()
        )

    def topics(self) -> list[str]:
        """The dead-letter topics to read."""
        sources = [self.topic.removesuffix(SUFFIX)] if self.topic else [event_type.topic for event_type in EVENTS]
        return [f"{source}{SUFFIX}" for source in sources]


async def read_dead_letters(bootstrap_servers: str, choice: Choice) -> AsyncIterator[ConsumerRecord]:
    """The dead letters that are meant, topic by topic, oldest first, up to the end at this moment."""
    async with watching_consumer(bootstrap_servers) as consumer:
        known = await consumer.topics()
        for topic in choice.topics():
            if topic in known:
                async for record in _read(consumer, TopicPartition(topic, 0)):
                    if choice.takes(record):
                        yield record


async def _read(consumer: AIOKafkaConsumer, partition: TopicPartition) -> AsyncIterator[ConsumerRecord]:
    first, end = (await log_bounds(consumer, [partition]))[partition]
    consumer.assign([partition])
    consumer.seek(partition, first)
    while await consumer.position(partition) < end:
        for records in (await consumer.getmany(timeout_ms=500, max_records=500)).values():
            for record in records:
                if record.offset < end:
                    yield record


class Resent(NamedTuple):
    """What became of the chosen dead letters: sent now, sent before and left alone, cut and not to be sent at all."""

    sent: int
    before: int
    cut: int

    def __str__(self) -> str:
        before = f", {self.before} had been sent before (--again sends them too)" if self.before else ""
        cut = f", {self.cut} not sent: too large, only the beginning of the payload was kept" if self.cut else ""
        return f"{self.sent} sent again{before}{cut}"


async def resend(bootstrap_servers: str, dsn: str, choice: Choice, *, again: bool = False) -> Resent:
    """Sends the chosen dead letters to their source topics."""
    cluster = await cluster_id(bootstrap_servers)
    chosen: dict[str, list[ConsumerRecord]] = {}
    async for record in read_dead_letters(bootstrap_servers, choice):
        chosen.setdefault(record.topic, []).append(record)
    sent = skipped = cut = 0
    async with _connection(dsn) as connection:
        for topic, records in chosen.items():
            rows = _queries.list_resent(connection, cluster_id=cluster, topic=topic, partition=0)
            before = {row["offset"] async for row in rows}
            whole = [record for record in records if not own_header(record.headers, CUT)]
            due = [record for record in whole if again or record.offset not in before]
            await _produce(bootstrap_servers, due)
            await _queries.remember_resent(
                connection, cluster_id=cluster, topic=topic, partition=0, offsets=[record.offset for record in due]
            )
            sent, skipped, cut = sent + len(due), skipped + len(whole) - len(due), cut + len(records) - len(whole)
    return Resent(sent, skipped, cut)


async def _produce(bootstrap_servers: str, records: Iterable[ConsumerRecord]) -> None:
    producer = await open_producer(bootstrap_servers, "resend")
    try:
        for record in records:
            source = own_header(record.headers, "topic") or record.topic.removesuffix(SUFFIX)
            key = dict(record.headers).get(f"{OWN_HEADERS}key", record.key)
            await producer.send_and_wait(source, record.value, key=key, headers=original_headers(record.headers))
    finally:
        await discard_producer(producer)


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(dsn, application_name="resend")
    try:
        yield connection
    finally:
        await connection.close(timeout=2)


async def _list(bootstrap_servers: str, choice: Choice) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    async for record in read_dead_letters(bootstrap_servers, choice):
        counts[record.topic, own_header(record.headers, "reason")] += 1
    for (topic, reason), count in sorted(counts.items()):
        print(f"{count:6d}  {topic}  {reason}")
    print(f"{counts.total():6d}  dead letters")


async def _show(bootstrap_servers: str, choice: Choice, *, with_payload: bool) -> None:
    async for record in read_dead_letters(bootstrap_servers, choice):
        print(f"{record.topic} offset {record.offset} key {record.key!r}")
        for name, value in record.headers:
            print(f"  {name}: {value.decode(errors='replace') if value is not None else 'null'}")
        body = record.value or b""
        print(
            f"  {body.decode(errors='replace')}"
            if with_payload
            else f"  payload: {len(body)} bytes (--payload prints it)"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shared.redelivery", description="Dead letters of one service.")
    parser.add_argument("command", choices=["list", "show", "resend"])
    parser.add_argument(
        "--service",
        default="services.incidents",
        help="whose settings are used, and whose database remembers what was sent again; always the same one",
    )
    parser.add_argument("topic", nargs="?", help="source topic or its .dlq; all when not given")
    parser.add_argument("offset", nargs="?", type=int, help="one dead letter, by its offset in the .dlq topic")
    parser.add_argument("--reason", help="those whose reason contains this")
    parser.add_argument("--payload", action="store_true", help="show: print the payload (it may hold masked words)")
    parser.add_argument("--again", action="store_true", help="resend: also what was already sent again")
    return parser


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code. Errors are one plain sentence on stderr."""
    given = _parser().parse_args(arguments)
    choice = Choice(given.topic, given.offset, given.reason)
    try:
        settings = settings_of(given.service)
        servers = settings.kafka_bootstrap_servers
        if given.command == "list":
            asyncio.run(_list(servers, choice))
        elif given.command == "show":
            asyncio.run(_show(servers, choice, with_payload=given.payload))
        else:
            print(asyncio.run(resend(servers, settings.database_url, choice, again=given.again)))
    except (ValidationError, LookupError, ImportError) as error:
        print(f"The settings of {given.service} are incomplete or wrong: {error}", file=sys.stderr)
        return EX_CONFIG
    except (KafkaError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(f"{given.command} failed: {error}{' (try again)' if is_busy(error) else ''}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
