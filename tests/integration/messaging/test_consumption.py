"""Consumption on a real database and a real broker: every event has its effect once, whatever is delivered again."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from shared import batches
from shared.batches import Received
from shared.deadletter import Ceiling
from shared.inbox import StaleWatermark, accept_new_topic, add_watermarks
from shared.kafka import cluster_id
from shared.postgres import DatabaseBusy, transaction
from shared.processing import Processing
from tests.fixtures.broker import delete_records
from tests.fixtures.plumbing_service import NumberedV1, store
from tests.fixtures.waiting import eventually
from tests.integration.messaging.conftest import TOPIC, Plumbing, Running, assert_each_once_in_order, numbered

GROUP = f"plumbing.{TOPIC}"


async def publish(plumbing: Plumbing, events: Sequence[NumberedV1]) -> None:
    """Announces events and waits until a relay of its own has published them."""
    relay = plumbing.relay()
    await plumbing.announce(events)
    await plumbing.wait_until_drained()
    await relay.stop()


async def caught_up(plumbing: Plumbing, within: float = 30.0) -> None:
    """Waits until all watermarks are at the ends of their partitions."""

    async def behind() -> int:
        ends = {
            partition.partition: end for partition, end in (await plumbing.ends()).items() if partition.topic == TOPIC
        }
        marks = await plumbing.watermarks()
        return sum(end - marks.get(partition, 0) for partition, end in ends.items())

    await eventually(behind, until=lambda records: records == 0, within=within, what="no record behind")


async def test_every_event_has_its_effect_once_and_in_order(plumbing: Plumbing) -> None:
    """The ordinary way, from the outbox to the effect."""
    consumer = plumbing.consumer()
    events = numbered(1500)
    await publish(plumbing, events)
    await caught_up(plumbing)
    assert_each_once_in_order(await plumbing.effects(), events)
    assert consumer.count("blitz_consumer_events_total", topic=TOPIC, outcome="processed") == len(events)
    assert await consumer.part.problem() is None


async def test_records_at_old_offsets_are_skipped(plumbing: Plumbing) -> None:
    """Group offsets set back to the beginning, or deleted, cost nothing: the watermark says where to go on."""
    events = numbered(300)
    first = plumbing.consumer()
    await publish(plumbing, events)
    await caught_up(plumbing)
    await first.stop()
    await delete_group(plumbing.servers)
    plumbing.consumer()
    more = numbered(50, first=1000)
    await publish(plumbing, more)
    await plumbing.wait_for_effects(350)
    await caught_up(plumbing)
    assert_each_once_in_order(await plumbing.effects(), [*events, *more])


async def test_the_same_events_at_new_offsets_change_nothing(plumbing: Plumbing) -> None:
    """Everything delivered a second time as new records with the ids kept: the tables stay identical."""
    consumer = plumbing.consumer()
    await publish(plumbing, numbered(400))
    await caught_up(plumbing)
    before = await plumbing.effects()
    await plumbing.produce(await plumbing.published())
    await caught_up(plumbing)
    assert await plumbing.effects() == before
    assert consumer.count("blitz_consumer_events_total", topic=TOPIC, outcome="duplicate") == 400


async def test_copies_within_one_batch_count_once(plumbing: Plumbing) -> None:
    """A relay that died between publishing and deleting sends the same rows again, close behind the first."""
    await publish(plumbing, numbered(50))
    await plumbing.produce(await plumbing.published())
    plumbing.consumer()
    await caught_up(plumbing)
    assert_each_once_in_order(await plumbing.effects(), numbered(50))


async def test_two_instances_share_the_work_over_rebalances(plumbing: Plumbing) -> None:
    """Instances come and go while events flow: nothing is lost or doubled, each key keeps its order."""
    relay = plumbing.relay()
    instances = [plumbing.consumer()]
    events = numbered(3000, keys=30)
    for begin in range(0, len(events), 250):
        await plumbing.announce(events[begin : begin + 250])
        if begin % 1000 == 250:
            instances.append(plumbing.consumer())
            await asyncio.sleep(0.7)
        if begin % 1000 == 750:
            await instances.pop(0).stop()
    await plumbing.wait_until_drained()
    await caught_up(plumbing, within=60)
    assert_each_once_in_order(await plumbing.effects(), events)
    await relay.stop()


async def test_a_stale_instance_writes_nothing(plumbing: Plumbing) -> None:
    """What it read before it slept is refused as a whole: the watermark was moved by another one."""
    await publish(plumbing, numbered(200))
    records = await plumbing.published()
    cluster = await cluster_id(plumbing.servers)
    stale = {partition.partition: offset for partition, offset in plumbing.begun_at.items() if partition.topic == TOPIC}
    consumer = plumbing.consumer()
    await caught_up(plumbing)
    await consumer.stop()
    zombie = Processing(plumbing.pool, NumberedV1, store, Ceiling())
    with pytest.raises(StaleWatermark):
        await zombie.commit(cluster, records, stale)
    assert_each_once_in_order(await plumbing.effects(), numbered(200))


async def test_a_topic_made_anew_stops_consumption_until_a_person_accepts_it(plumbing: Plumbing) -> None:
    """An end below the watermark is no reason to skip or to begin anew in silence."""
    await publish(plumbing, numbered(100))
    first = plumbing.consumer()
    await caught_up(plumbing)
    await first.stop()
    await plumbing.pool.execute("update inbox_watermark set next_offset = next_offset + 1000")
    stopped = plumbing.consumer()
    reason = await eventually(lambda: problem(stopped), until=lambda text: "made anew" in text)
    assert reason.endswith(f": make accept-new-topic service=plumbing topic={TOPIC}")
    await publish(plumbing, numbered(10, first=2000))
    await asyncio.sleep(0.5)
    assert len(await plumbing.effects()) == 100
    await stopped.stop()
    assert len(await accept_new_topic(plumbing.database.app_dsn, plumbing.servers, TOPIC)) == 6
    assert await accept_new_topic(plumbing.database.app_dsn, plumbing.servers, TOPIC) == {}
    plumbing.consumer()
    await plumbing.wait_for_effects(110)
    assert_each_once_in_order(await plumbing.effects(), [*numbered(100), *numbered(10, first=2000)])


async def test_a_partition_of_a_new_topic_that_has_outgrown_its_old_mark_is_read_whole(plumbing: Plumbing) -> None:
    """One partition beyond the end is enough: all of the topic is read from its first records, and each counts once."""
    await publish(plumbing, numbered(100))
    begun = {partition.partition: offset for partition, offset in plumbing.begun_at.items() if partition.topic == TOPIC}
    # As if these records were those of the new topic and only partition 0 were still shorter than the old one.
    async with transaction(plumbing.pool) as connection:
        cluster = await cluster_id(plumbing.servers)
        marks = {partition: first + 3 for partition, first in begun.items()}
        await add_watermarks(connection, cluster, TOPIC, {**marks, 0: begun[0] + 100_000})
    assert await accept_new_topic(plumbing.database.app_dsn, plumbing.servers, TOPIC) == begun
    plumbing.consumer()
    await plumbing.wait_for_effects(100)
    assert_each_once_in_order(await plumbing.effects(), numbered(100))


async def test_records_that_retention_took_are_counted_and_passed(plumbing: Plumbing) -> None:
    """A log start above the watermark is a gap: it is said and counted, and reading goes on behind it."""
    await publish(plumbing, numbered(100))
    first = plumbing.consumer()
    await caught_up(plumbing)
    await first.stop()
    await publish(plumbing, numbered(100, first=1000))
    ends = {partition: end for partition, end in (await plumbing.ends()).items() if partition.topic == TOPIC}
    await delete_records(plumbing.servers, ends)
    second = plumbing.consumer()
    await publish(plumbing, numbered(100, first=2000))
    await plumbing.wait_for_effects(200)
    await caught_up(plumbing)
    assert_each_once_in_order(await plumbing.effects(), [*numbered(100), *numbered(100, first=2000)])
    assert second.count("blitz_consumer_events_total", topic=TOPIC, outcome="missed") == 100


async def test_an_emptied_log_is_no_lag(plumbing: Plumbing) -> None:
    """When retention took all that was not read, there is nothing to wait for and no reason to end the process."""
    await publish(plumbing, numbered(100))
    first = plumbing.consumer()
    await caught_up(plumbing)
    await first.stop()
    await publish(plumbing, numbered(100, first=1000))
    await delete_records(
        plumbing.servers, {one: end for one, end in (await plumbing.ends()).items() if one.topic == TOPIC}
    )
    codes: list[int] = []
    second = plumbing.consumer(stuck_seconds=1.0, die=codes.append)
    await caught_up(plumbing)
    await asyncio.sleep(6)
    assert codes == []
    assert second.part.lag() == {TOPIC: 0}
    assert second.count("blitz_consumer_events_total", topic=TOPIC, outcome="missed") == 100


async def test_a_database_restart_in_the_middle_is_survived(plumbing: Plumbing, postgres_server: Postgres) -> None:
    """Nothing is dead-lettered, lost or doubled; readiness says why meanwhile; it goes on by itself."""
    slow = 0.02

    async def slowly(connection: asyncpg.Connection, batch: Sequence[Received[NumberedV1]]) -> None:
        await asyncio.sleep(slow)
        await store(connection, batch)

    consumer = plumbing.consumer(slowly, max_records=50)
    relay = plumbing.relay()
    events = numbered(2000)
    await plumbing.announce(events)
    await plumbing.wait_for_effects(200)
    await asyncio.to_thread(postgres_server.stop, "immediate")
    try:
        await eventually(lambda: problem(consumer), until=lambda text: "retrying" in text)
        await asyncio.sleep(1)
    finally:
        await asyncio.to_thread(postgres_server.start)
    await plumbing.wait_for_effects(2000, within=60)
    await plumbing.wait_until_drained()
    await caught_up(plumbing)
    assert_each_once_in_order(await plumbing.effects(), events)
    assert await plumbing.published(f"{TOPIC}.dlq") == []
    assert await problem(consumer) == ""
    assert not relay.task.done()


async def test_a_broker_restart_is_survived(plumbing: Plumbing, kafka_server: Kafka) -> None:
    """A killed broker comes back: the same consumer and relay go on, and one that was started meanwhile joins."""
    plumbing.consumer()
    plumbing.relay()
    await plumbing.announce(numbered(200))
    await plumbing.wait_for_effects(200)
    await asyncio.to_thread(kafka_server.kill)
    late = plumbing.consumer()
    await plumbing.announce(numbered(200, first=1000))
    await asyncio.sleep(3)
    assert "not a member" in await problem(late)
    await asyncio.to_thread(kafka_server.start)
    await plumbing.wait_for_effects(400, within=60)
    await eventually(lambda: problem(late), until=lambda text: not text, within=40)
    assert_each_once_in_order(await plumbing.effects(), [*numbered(200), *numbered(200, first=1000)])


async def test_lag_is_told_while_the_database_is_away(
    plumbing: Plumbing, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly then it grows: what was last reached is what it is measured from."""
    monkeypatch.setattr(batches, "WATCH_SECONDS", 0.2)
    await publish(plumbing, numbered(200))
    records = await plumbing.published()
    consumer = plumbing.consumer()
    await caught_up(plumbing)
    await asyncio.to_thread(postgres_server.stop, "immediate")
    try:
        await plumbing.produce(records)
        lag = await eventually(lambda: value(consumer, "blitz_consumer_lag_records"), what="a lag")
        assert lag == len(records)
        await asyncio.sleep(1)
        assert await value(consumer, "blitz_consumer_lag_records") == len(records)
    finally:
        await asyncio.to_thread(postgres_server.start)
    await caught_up(plumbing, within=60)
    await eventually(
        lambda: value(consumer, "blitz_consumer_lag_records"), until=lambda records: records == 0, what="no lag"
    )


async def test_what_was_retried_is_forgotten_with_its_partitions(plumbing: Plumbing) -> None:
    """After a rebalance gave them to another instance, this one is well, although its handler never succeeded."""

    async def never(connection: asyncpg.Connection, batch: Sequence[Received[NumberedV1]]) -> None:
        raise DatabaseBusy("here and always")

    unlucky = plumbing.consumer(never)
    await publish(plumbing, numbered(1))
    await eventually(lambda: problem(unlucky), until=lambda text: "retrying" in text)
    [subscription] = unlucky.part._subscriptions
    [busy] = {record.partition for record in await plumbing.published()}
    others = [plumbing.consumer() for _ in range(5)]  # six partitions, six members: each has one

    async def assigned() -> list[int]:
        return [len(one.part.assignment()[TOPIC]) for one in (unlucky, *others)]

    await eventually(assigned, until=lambda found: found == [1] * 6, within=40)
    while TopicPartition(TOPIC, busy) in subscription.assignment:  # drawn by lot at every rebalance
        await others.pop().stop()
        others.append(plumbing.consumer())
        await eventually(assigned, until=lambda found: found == [1] * 6, within=40)
    await plumbing.wait_for_effects(1)
    await eventually(lambda: problem(unlucky), until=lambda text: not text, within=10)


async def test_a_stuck_consumer_ends_its_process(plumbing: Plumbing) -> None:
    """Lag and a position that stands still without an excuse: the watchdog ends the process with 70."""
    codes: list[int] = []
    consumer = plumbing.consumer(stuck_seconds=2.0, die=codes.append)
    await publish(plumbing, numbered(10))
    await plumbing.wait_for_effects(10)
    [subscription] = consumer.part._subscriptions
    subscription.consumer.pause(*subscription.assignment)
    await publish(plumbing, numbered(50, first=1000))

    async def ended() -> list[int]:
        return codes

    assert set(await eventually(ended, within=30)) == {70}


async def value(running: Running, metric: str) -> float:
    """The value of a metric of the test's topic."""
    return running.count(metric, topic=TOPIC)


async def problem(running: Running) -> str:
    """What readiness would say; empty when all is well."""
    return await running.part.problem() or ""


async def delete_group(servers: str) -> None:
    """Forgets the committed offsets of the consumer's group by committing the beginning of time over them."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=GROUP, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(TOPIC, number) for number in range(6)]
    consumer.assign(partitions)
    await consumer.commit(dict.fromkeys(partitions, 0))
    await consumer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    offsets = await admin.list_consumer_group_offsets(GROUP)
    await admin.close()
    assert {offset.offset for offset in offsets.values()} == {0}
