"""Delivered twice, by two instances, by one that was asleep: the tables stay what they are."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DeleteGroupsRequest

from shared.kafka import open_producer
from tests.e2e.product import TOPICS, Accepted, Product, complaint
from tests.fixtures.broker import read_topic
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.waiting import eventually

CONSUMERS = ("incidents", "reporting", "feedback")
REPORTS, ERRORS, HEAT = 30, 5, 3


async def _one_of_everything(running: Product) -> list[Accepted]:
    """Reports, errors and heat are in all services; at least one record stands on every topic."""
    accepted = await running.submit_all([complaint(number) for number in range(REPORTS)])
    await running.report_errors(ERRORS)
    await running.press_heat(HEAT)
    await running.settled(REPORTS, errors=ERRORS, heat=HEAT)
    for topic in TOPICS:
        assert await read_topic(running.bootstrap_servers, topic), topic
    return accepted


async def _publish_again(running: Product) -> None:
    """Every record once more, as a new record with the same event id."""
    producer = await open_producer(running.bootstrap_servers, "again")
    try:
        for topic in TOPICS:
            for record in await read_topic(running.bootstrap_servers, topic):
                await producer.send_and_wait(topic, record.value, key=record.key, headers=list(record.headers))
    finally:
        await producer.stop()


async def _read_to_the_end(running: Product) -> None:
    """Waits until each consumer's watermarks stand at the ends of its topics."""
    ends: dict[tuple[str, int], int] = {}
    for topic in TOPICS:
        for record in await read_topic(running.bootstrap_servers, topic):
            ends[topic, record.partition] = record.offset + 1

    async def behind() -> int:
        count = 0
        for service in CONSUMERS:
            table = "figures.inbox_watermark" if service == "reporting" else "inbox_watermark"
            for row in await running.rows(service, f"select topic, partition, next_offset from {table}"):
                count += row["next_offset"] < ends.get((row["topic"], row["partition"]), 0)
        return count

    await eventually(behind, until=lambda count: count == 0, within=40, what="every consumer at the end of its topics")


async def test_new_records_with_the_same_ids(product: Callable[..., Product]) -> None:
    """Everything stands a second time on the topics, under new offsets: identical tables in all services."""
    running = product()
    await _one_of_everything(running)
    before = await running.snapshots()
    await _publish_again(running)
    await _read_to_the_end(running)
    assert await running.snapshots() == before


@pytest.mark.parametrize("forgotten", ["watermarks", "watermarks and event ids"])
async def test_old_offsets_again(product: Callable[..., Product], forgotten: str) -> None:
    """Every record is read again at its old offset; even with the event ids forgotten the effects are the same."""
    running = product()
    await _one_of_everything(running)
    before = await running.snapshots()
    for service in CONSUMERS:
        running.services[service].terminate()
        schema = "figures." if service == "reporting" else ""
        await running.execute(service, f"delete from {schema}inbox_watermark")
        if forgotten != "watermarks":
            await running.execute(service, "delete from inbox_event")
    for service in CONSUMERS:
        running.services[service].start()
    for service in CONSUMERS:
        running.services[service].wait_ready()
    await _read_to_the_end(running)
    assert await running.snapshots() == before


async def _delete_groups(bootstrap_servers: str) -> int:
    """Deletes every consumer group with its committed offsets; returns how many there were."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        groups = [name for name, *_ in await admin.list_consumer_groups() if name.split(".")[0] in CONSUMERS]
        for group in groups:
            coordinator = await admin.find_coordinator(group)
            answer = await admin._send_request(DeleteGroupsRequest([group]), coordinator)
            assert [code for _, code in answer.results] == [0], answer
        return len(groups)
    finally:
        await admin.close()


async def test_group_offsets_deleted(product: Callable[..., Product]) -> None:
    """Kafka's committed offsets are gone: the watermarks know better, identical tables, and work goes on."""
    running = product()
    accepted = await _one_of_everything(running)
    before = await running.snapshots()
    for service in CONSUMERS:
        running.services[service].terminate()
    assert await _delete_groups(running.bootstrap_servers) >= len(TOPICS)
    for service in CONSUMERS:
        running.services[service].start()
    for service in CONSUMERS:
        running.services[service].wait_ready()
    await _read_to_the_end(running)
    assert await running.snapshots() == before
    accepted += await running.submit_all([complaint(500 + number) for number in range(5)])
    await running.settled(len(accepted), errors=ERRORS, heat=HEAT)
    await running.assert_each_once(accepted)


async def _second(running: Product, make: Callable[..., ServiceProcess], service: str) -> ServiceProcess:
    """Another instance of a service on the same database."""
    first = running.services[service]
    kept = {name: value for name, value in first.environment.items() if not name.endswith("_PORT")}
    return make(service, env=kept, database_of=running.databases[service])


async def test_two_instances_of_each_consumer(
    product: Callable[..., Product], service_process: Callable[..., ServiceProcess]
) -> None:
    """Second instances come and go while reports flow: nothing is lost, nothing is doubled."""
    running = product()
    sending = asyncio.create_task(running.submit_all([complaint(number) for number in range(300)], at_once=5))
    seconds = [await _second(running, service_process, service) for service in CONSUMERS]
    for process in seconds:
        process.start()
    for process in seconds:
        await asyncio.to_thread(process.wait_ready)
    accepted = await sending
    accepted += await running.submit_all([complaint(1000 + number) for number in range(50)])
    for process in seconds[::2]:
        await asyncio.to_thread(process.terminate)
    seconds[1].kill()
    accepted += await running.submit_all([complaint(2000 + number) for number in range(50)])
    await running.settled(len(accepted), within=90)
    await running.assert_each_once(accepted)
    await running.assert_no_dead_letters()


@pytest.mark.parametrize("service", ["incidents", "reporting"])
async def test_asleep_over_a_rebalance(
    product: Callable[..., Product], service_process: Callable[..., ServiceProcess], service: str
) -> None:
    """An instance stopped with SIGSTOP loses its partitions to a second one; woken again it writes nothing twice."""
    running = product()
    accepted = await running.submit_all([complaint(number) for number in range(20)])
    await running.settled(len(accepted))
    sleeper = running.services[service]
    sleeper.suspend()
    second = (await _second(running, service_process, service)).start()
    accepted += await running.submit_all([complaint(100 + number) for number in range(20)])
    awake = replace(running, services={**running.services, service: second})
    await awake.settled(len(accepted), within=90)
    sleeper.resume()
    accepted += await running.submit_all([complaint(200 + number) for number in range(20)])
    await running.settled(len(accepted), within=90)
    await running.assert_each_once(accepted)
    await asyncio.to_thread(sleeper.wait_ready)
