"""A record that cannot be processed goes to the dead-letter topic alone; after a fix it counts once."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

from shared.kafka import open_producer
from tests.e2e.product import Product, complaint
from tests.fixtures.broker import read_topic
from tests.fixtures.waiting import eventually

TOPIC = "feedback.worded.v1"
# A fault of ours that one record alone meets, and that can be mended: a rule of the database.
FAULT = "alter table signal add constraint faulty_rule check (service <> 'phone')"
MENDED = "alter table signal drop constraint faulty_rule"


def _resend(running: Product, *arguments: str) -> str:
    """``make dlq``: sends the dead letters of incidents again."""
    environment = {**os.environ, **running.services["incidents"].environment}
    done = subprocess.run(
        [sys.executable, "-m", "shared.redelivery", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


async def test_poison_in_the_middle_of_a_batch(product: Callable[..., Product]) -> None:
    """Unreadable and refused records alone are dead-lettered with a reason; the others are processed."""
    running = product()
    await running.execute("incidents", FAULT)
    running.services["incidents"].suspend()
    bodies = [complaint(number, service="phone" if number == 10 else "payment") for number in range(20)]
    accepted = await running.submit_all(bodies)

    async def published() -> int:
        return len(await read_topic(running.bootstrap_servers, TOPIC))

    await eventually(published, until=lambda count: count == 20)
    producer = await open_producer(running.bootstrap_servers, "poison")
    for poison in (b"{", b"\xff\xfe", b'{"report_id": "no uuid"}', b"[" * 50_000):
        await producer.send_and_wait(TOPIC, poison, key=b"poison", headers=[("ce_specversion", b"1.0")])
    await producer.stop()
    accepted += await running.submit_all([complaint(100 + number) for number in range(5)])
    running.services["incidents"].resume()

    async def dead() -> list[dict[str, bytes]]:
        return [dict(record.headers) for record in await read_topic(running.bootstrap_servers, f"{TOPIC}.dlq")]

    letters = await eventually(dead, until=lambda found: len(found) == 5, within=40)
    assert all(letter["dlq_reason"] for letter in letters)
    assert any(b"faulty_rule" in letter["dlq_reason"] for letter in letters)

    async def signals() -> int:
        return int((await running.rows("incidents", "select count(*) from signal"))[0][0])

    await eventually(signals, until=lambda count: count == 24)

    listed = await asyncio.to_thread(_resend, running, "list")
    assert "faulty_rule" in listed
    await running.execute("incidents", MENDED)
    for again in ((), ("--again",)):
        await asyncio.to_thread(_resend, running, "resend", "--reason", "faulty_rule", *again)
    await running.settled(25)
    await running.assert_each_once(accepted)
