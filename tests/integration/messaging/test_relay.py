"""The relay on a real database and a real broker: nothing lost, order per key, one active at a time."""

import asyncio
import time

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, OutOfOrderSequenceNumber

from deploy.local.kafka import Kafka
from shared import relay as relay_module
from shared.events import Envelope
from shared.outbox import Announcement, announce, outbox_rows
from shared.postgres import transaction
from shared.tracing import current_trace_id, use_traceparent
from tests.fixtures.plumbing_service import NumberedV1
from tests.fixtures.waiting import eventually
from tests.integration.messaging.conftest import TOPIC, Plumbing, numbered


def bodies(records: list) -> list[NumberedV1]:  # type: ignore[type-arg]
    """The events of these records."""
    return [NumberedV1.model_validate_json(record.value) for record in records]


def assert_order_per_key(events: list[NumberedV1]) -> None:
    """The first sight of each event is in the order of its key; repetitions are allowed."""
    seen: dict[str, list[int]] = {}
    for event in events:
        numbers = seen.setdefault(event.name, [])
        if event.number not in numbers:
            numbers.append(event.number)
    assert all(numbers == sorted(numbers) for numbers in seen.values())


async def test_what_is_stored_is_published_untouched(plumbing: Plumbing) -> None:
    """Key, body and CloudEvents headers arrive as they were announced, with the trace of the announcement."""
    with use_traceparent(None):
        trace_id = current_trace_id()
        async with transaction(plumbing.pool) as connection:
            await announce(connection, [Announcement(NumberedV1(name="ä", number=1))], "plumbing")
    [stored] = await plumbing.pool.fetch("select * from outbox")
    plumbing.relay()
    await plumbing.wait_until_drained()
    [record] = await plumbing.published()
    envelope = Envelope.from_headers(record.headers)
    assert record.key == "ä".encode()
    assert record.value == stored["payload"]
    assert (envelope.id, envelope.type, envelope.source, envelope.subject) == (
        *(stored["event_id"], TOPIC, "plumbing", "ä"),
    )
    assert trace_id is not None
    assert trace_id in (envelope.traceparent or "")


async def test_all_rows_go_out_in_order_of_their_key(plumbing: Plumbing) -> None:
    """Thousands of rows, many record batches a partition: nothing missing, nothing doubled, order kept."""
    events = numbered(5000, keys=40)
    await plumbing.announce(events)
    relay = plumbing.relay()
    await plumbing.wait_until_drained()
    published = bodies(await plumbing.published())
    assert len(published) == len(events)
    assert_order_per_key(published)
    assert relay.count("blitz_outbox_published_total") == len(events)


async def test_large_rows_are_split_into_batches_that_the_broker_takes(plumbing: Plumbing) -> None:
    """Rows of almost a megabyte on one partition arrive, one after the other."""
    events = [NumberedV1(name="k" + "x" * 300_000, number=number) for number in range(100, 106)]
    await plumbing.announce(events)
    plumbing.relay()
    await plumbing.wait_until_drained()
    assert [event.number for event in bodies(await plumbing.published())] == list(range(100, 106))


async def test_an_event_too_large_for_a_record_is_refused_when_announced(plumbing: Plumbing) -> None:
    """It could never leave and would hold up everything behind it."""
    with pytest.raises(ValueError, match="too many for one record"):
        await plumbing.announce([NumberedV1(name="k" * 1_000_000, number=1)])
    assert await plumbing.outbox_depth() == 0


async def test_a_lower_id_that_commits_later_is_not_lost(plumbing: Plumbing) -> None:
    """There is no cursor: a row of a slow transaction goes out although higher ids have gone before."""
    plumbing.relay()
    async with transaction(plumbing.pool) as slow:
        await announce(slow, [Announcement(NumberedV1(name="slow", number=1))], "plumbing")
        await plumbing.announce([NumberedV1(name="fast", number=2)])
        await eventually(plumbing.published, what="the fast row")
    await plumbing.wait_until_drained()
    assert {event.name for event in bodies(await plumbing.published())} == {"slow", "fast"}


async def test_one_relay_is_active_and_the_other_takes_over_when_its_connection_dies(plumbing: Plumbing) -> None:
    """Two relays: one holds the lock; with its connection goes the lock, and order and completeness are kept."""
    relays = [plumbing.relay(), plumbing.relay()]

    async def active() -> list[float]:
        return [relay.count("blitz_outbox_relay_active") for relay in relays]

    assert sorted(await eventually(active, until=lambda found: sum(found) == 1)) == [0, 1]
    events = numbered(3000, keys=20)
    for begin in range(0, len(events), 100):
        await plumbing.announce(events[begin : begin + 100])
        if begin % 1000 == 500:
            await terminate_lock_holder(plumbing.database.admin_dsn)
    await plumbing.wait_until_drained()
    assert sum(await active()) <= 1
    published = bodies(await plumbing.published())
    assert {event.number for event in published} == {event.number for event in events}
    assert_order_per_key(published)


async def test_the_former_holder_of_the_lock_shows_no_depth(plumbing: Plumbing, kafka_server: Kafka) -> None:
    """Only who holds the lock measures; the number of one that lost it would stand still for ever."""
    relay = plumbing.relay()
    await eventually(lambda: _value(relay.count("blitz_outbox_relay_active")))
    kafka_server.suspend()
    try:
        await plumbing.announce(numbered(20))
        await eventually(lambda: _value(relay.count("blitz_outbox_rows")), until=lambda rows: rows == 20)
        successor = await asyncpg.connect(plumbing.database.app_dsn)
        await terminate_lock_holder(plumbing.database.admin_dsn)
        await successor.execute("select pg_advisory_lock(6071201, 1)")
        await eventually(lambda: _value(relay.count("blitz_outbox_rows")), until=lambda rows: rows == 0)
        assert relay.count("blitz_outbox_oldest_age_seconds") == 0
        assert relay.count("blitz_outbox_relay_active") == 0
        await successor.close()
    finally:
        kafka_server.resume()
    await plumbing.wait_until_drained()


async def test_a_wake_replaces_the_wait_for_the_next_poll(plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a commit of its own process the relay looks at once."""
    monkeypatch.setattr(relay_module, "IDLE_SECONDS", (0.01, 3600.0))
    monkeypatch.setattr(relay_module, "MEASURE_SECONDS", 3600.0)
    relay = plumbing.relay()
    await eventually(lambda: _value(relay.count("blitz_outbox_relay_active")))
    await asyncio.sleep(2)  # the pause between two polls has grown to about a second
    for number in range(100, 103):
        await plumbing.announce([NumberedV1(name="k", number=number)])
        relay.part.wake()
        await plumbing.wait_until_drained(within=0.5)


async def test_a_wake_does_not_shorten_a_back_off(plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits go on while the broker refuses; its back-off must not become a hot loop."""
    tries: list[float] = []

    async def refuse(*_: object) -> AIOKafkaProducer:
        tries.append(time.monotonic())
        raise KafkaConnectionError("refused")

    monkeypatch.setattr(relay_module, "open_producer", refuse)
    relay = plumbing.relay()
    await plumbing.announce(numbered(1))
    began = time.monotonic()
    while time.monotonic() - began < 3:
        relay.part.wake()
        await asyncio.sleep(0.01)
    assert 2 <= len(tries) <= 8
    await plumbing.pool.execute("delete from outbox")


async def terminate_lock_holder(admin_dsn: str) -> None:
    """Ends the connection that holds the relay's lock."""
    connection = await asyncpg.connect(admin_dsn)
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = 6071201 and granted "
        "and database = (select oid from pg_database where datname = current_database())"
    )
    await connection.close()


async def test_a_broken_producer_is_replaced_and_the_rows_stay(
    plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fatal sequence error (aiokafka 1017) a new producer sends the same rows again."""
    send = AIOKafkaProducer.send_batch
    failures = iter([True, False, True])
    producers: list[AIOKafkaProducer] = []

    async def fail_at_times(self: AIOKafkaProducer, *arguments: object, **options: object) -> object:
        if self not in producers:
            producers.append(self)
        delivery = await send(self, *arguments, **options)
        if next(failures, False):
            broken = asyncio.get_running_loop().create_future()
            broken.set_exception(OutOfOrderSequenceNumber())
            return broken
        return delivery

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", fail_at_times)
    events = numbered(300)
    await plumbing.announce(events)
    relay = plumbing.relay()
    await plumbing.wait_until_drained()
    published = bodies(await plumbing.published())
    assert {event.number for event in published} == {event.number for event in events}
    assert_order_per_key(published)
    assert relay.count("blitz_outbox_publish_failures_total") >= 1
    assert len(producers) >= 2


async def test_the_broker_may_be_gone_for_a_while(plumbing: Plumbing, kafka_server: Kafka) -> None:
    """Rows are accepted all the time; when the broker is back, all go out in order."""
    relay = plumbing.relay()
    await plumbing.announce(numbered(50))
    await plumbing.wait_until_drained()
    await asyncio.to_thread(kafka_server.kill)
    try:
        for first in range(150, 400, 50):
            await plumbing.announce(numbered(50, first=first))
            await asyncio.sleep(1)
        assert await plumbing.outbox_depth() > 0
    finally:
        await asyncio.to_thread(kafka_server.start)
    await plumbing.wait_until_drained(within=60)
    published = bodies(await plumbing.published())
    assert {event.number for event in published} == set(range(100, 400))
    assert_order_per_key(published)
    assert relay.count("blitz_outbox_publish_failures_total") >= 1


async def test_a_stop_flushes_what_is_there(plumbing: Plumbing) -> None:
    """A relay that is told to stop sends the rows that were committed before."""
    relay = plumbing.relay()
    await eventually(lambda: _value(relay.count("blitz_outbox_relay_active")))
    await plumbing.announce(numbered(2000))
    await relay.stop()
    assert await plumbing.outbox_depth() == 0
    assert len(await plumbing.published()) == 2000


async def test_a_service_may_write_its_rows_and_the_outbox_in_one_statement(plumbing: Plumbing) -> None:
    """The column arrays fit one unnest insert with the columns and types that their docstring names."""
    rows = outbox_rows([Announcement(event) for event in numbered(3)], "plumbing")
    await plumbing.pool.execute(
        "insert into outbox (event_id, topic, key, headers, payload) "
        "select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])",
        *rows,
    )
    plumbing.relay()
    await plumbing.wait_until_drained()
    assert len(await plumbing.published()) == 3


async def _value(value: float) -> float:
    return value
