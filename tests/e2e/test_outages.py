"""The broker or the database goes away and comes back; nobody has to do anything."""

import asyncio
import json
import time
from collections.abc import Callable

import httpx

from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from tests.e2e.product import Product, complaint
from tests.fixtures.broker import read_topic
from tests.fixtures.waiting import eventually

OUTAGE_SECONDS = 20


async def test_broker_stopped_while_reports_come_in(product: Callable[..., Product], kafka_server: Kafka) -> None:
    """All reports are accepted during the outage and delivered afterwards, in the order in which they were stored."""
    running = product()
    accepted = await running.submit_all([complaint(0)])
    await running.settled(1)
    await asyncio.to_thread(kafka_server.kill)
    try:
        end, number = time.monotonic() + OUTAGE_SECONDS, 0
        async with httpx.AsyncClient(timeout=5) as client:
            while time.monotonic() < end:
                number += 1
                accepted.append(await running.submit(client, complaint(number)))
                await asyncio.sleep(0.2)
            ready = await client.get(running.url("incidents", "/health/ready"))
        assert number > 20
        assert ready.status_code == 503
        assert "broker" in ready.text or "Kafka" in ready.text
    finally:
        await asyncio.to_thread(kafka_server.start)
    await running.settled(len(accepted), within=90)
    await running.assert_each_once(accepted)
    records = await read_topic(running.bootstrap_servers, "feedback.worded.v1")
    for partition in {record.partition for record in records}:
        told = [json.loads(record.value)["submitted_at"] for record in records if record.partition == partition]
        assert told == sorted(told)
    for process in running.services.values():
        await asyncio.to_thread(process.wait_ready)


async def test_database_restarted(product: Callable[..., Product], postgres_server: Postgres) -> None:
    """Meanwhile 503 with Retry-After and never a false 202; afterwards everything recovers by itself."""
    running = product()
    accepted = await running.submit_all([complaint(number) for number in range(10)])
    await asyncio.to_thread(postgres_server.stop, "immediate")
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            refused = await client.post(running.url("feedback", "/v1/reports"), json=complaint(50))
            assert refused.status_code == 503, refused.text
            assert 1 <= int(refused.headers["retry-after"]) <= 5
            assert refused.headers["content-type"] == "application/problem+json"

            async def unready() -> str:
                ready = await client.get(running.url("feedback", "/health/ready"))
                return ready.text if ready.status_code == 503 else ""

            assert "database" in await eventually(unready, within=10)
            assert (await client.get(running.url("feedback", "/health/live"))).status_code == 200
    finally:
        await asyncio.to_thread(postgres_server.start)
    accepted += await running.submit_all([complaint(100 + number) for number in range(10)])
    await running.settled(len(accepted), within=90)
    await running.assert_each_once(accepted)
    await running.assert_no_dead_letters()

    async def ready_again() -> bool:
        async with httpx.AsyncClient(timeout=5) as client:
            answers = [await client.get(running.url(service, "/health/ready")) for service in running.services]
        return all(answer.status_code == 200 for answer in answers)

    await eventually(ready_again, within=30)
