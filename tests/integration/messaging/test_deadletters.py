"""Bad records on real parts: they alone leave the way, with their reason, and come back after a fix."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from shared.batches import Received
from shared.deadletter import CUT, Ceiling, original_headers, own_header
from shared.kafka import discard_producer, open_producer
from shared.redelivery import Choice, main, resend
from tests.fixtures.plumbing_service import NumberedV1, store
from tests.fixtures.waiting import eventually
from tests.integration.messaging.conftest import TOPIC, Plumbing, Running, assert_each_once_in_order, numbered

DLQ = f"{TOPIC}.dlq"


async def dead_letters(plumbing: Plumbing, count: int) -> list[ConsumerRecord]:
    """Waits until the dead-letter topic holds that many."""
    return await eventually(
        lambda: plumbing.published(DLQ), until=lambda found: len(found) >= count, what=f"{count} dead letters"
    )


async def records_of(plumbing: Plumbing, events: Sequence[NumberedV1]) -> list[ConsumerRecord]:
    """The records as a relay publishes them."""
    relay = plumbing.relay()
    await plumbing.announce(events)
    await plumbing.wait_until_drained()
    await relay.stop()
    return await plumbing.published()


async def test_bad_records_in_the_middle_leave_alone(plumbing: Plumbing) -> None:
    """Bad JSON, an unknown shape, no headers, headers that are no text and a refusing constraint: five dead letters."""
    events = [*numbered(200), NumberedV1(name="key-1", number=13), *numbered(200, first=1000)]
    first = NumberedV1(name="first", number=1)
    [good] = await records_of(plumbing, [first])
    producer = await open_producer(plumbing.servers, "test")
    for value, headers in (
        (b'{"name": "key-1", "number": 1', list(good.headers)),
        (b'{"name": "key-1"}', list(good.headers)),
        (good.value, []),
        (good.value, [*good.headers[:1], ("ce_id", b"\xff\xfe"), ("empty", None), *good.headers[2:]]),
        (None, list(good.headers)),
    ):
        await producer.send_and_wait(TOPIC, value, key=b"\xff\0", partition=0, headers=headers)
    await discard_producer(producer)
    await records_of(plumbing, events)
    plumbing.relay()
    consumer = plumbing.consumer()
    await plumbing.wait_for_effects(401)
    dead = await dead_letters(plumbing, 6)
    assert_each_once_in_order(await plumbing.effects(), [first, *(event for event in events if event.number != 13)])
    reasons = {own_header(record.headers, "reason") for record in dead}
    assert len(reasons) == 5
    assert {"NumberedV1: body: json_invalid", "NumberedV1: number: missing"} <= reasons
    assert not any("key-1" in reason for reason in reasons), "a reason repeats nothing of the payload"
    [constraint] = [record for record in dead if "thirteen" in own_header(record.headers, "reason")]
    assert NumberedV1.model_validate_json(constraint.value).number == 13
    assert int(own_header(constraint.headers, "attempts")) >= 3
    assert own_header(constraint.headers, "topic") == TOPIC
    assert dict(original_headers(constraint.headers))["ce_type"] == TOPIC.encode()
    assert consumer.count("blitz_consumer_events_total", topic=TOPIC, outcome="dead_lettered") == 6


async def test_a_dead_letter_sent_again_after_a_fix_counts_once(plumbing: Plumbing) -> None:
    """Its id was not remembered, so it may return; a second resend sends nothing, and with --again changes nothing."""
    broken = True

    async def fixable(connection: asyncpg.Connection, batch: Sequence[Received[NumberedV1]]) -> None:
        if broken and any(received.event.number == 150 for received in batch):
            raise KeyError("a fault in our code")
        await store(connection, batch)

    plumbing.relay()
    plumbing.consumer(fixable)
    await plumbing.announce(numbered(100))
    [letter] = await dead_letters(plumbing, 1)
    assert own_header(letter.headers, "reason").startswith("KeyError in fixable")
    broken = False
    wrong = Choice(topic=TOPIC, reason="something else")
    assert await resend(plumbing.servers, plumbing.database.app_dsn, wrong) == (0, 0, 0)
    choice = Choice(topic=TOPIC, offset=letter.offset)
    assert await resend(plumbing.servers, plumbing.database.app_dsn, choice) == (1, 0, 0)
    effects = await plumbing.wait_for_effects(100)
    assert sorted(number for _, _, number in effects) == list(range(100, 200))
    assert await resend(plumbing.servers, plumbing.database.app_dsn, choice) == (0, 1, 0)
    assert await resend(plumbing.servers, plumbing.database.app_dsn, choice, again=True) == (1, 0, 0)
    await plumbing.announce(numbered(1, first=5000))
    await plumbing.wait_for_effects(101)
    assert len(await plumbing.effects()) == 101


async def test_a_dead_letter_that_was_cut_is_not_sent_again(plumbing: Plumbing) -> None:
    """Too large to be kept whole, it could only fail again; it is counted and left where it is."""
    [good] = await records_of(plumbing, numbered(1))
    await plumbing.produce(
        [replace(good, value=b'"' + b"x" * 899_000, headers=[*good.headers, ("ce_more", b"y" * 101_000)])]
    )
    plumbing.relay()
    plumbing.consumer()
    [letter] = await dead_letters(plumbing, 1)
    assert own_header(letter.headers, CUT) == "899001"
    resent = await resend(plumbing.servers, plumbing.database.app_dsn, Choice(), again=True)
    assert resent == (0, 0, 1)
    assert str(resent) == "0 sent again, 1 not sent: too large, only the beginning of the payload was kept"


async def test_the_command_line_lists_shows_and_resends(
    plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts by topic and reason; a record with its headers, its payload only when asked; how many were sent again."""
    monkeypatch.setenv("INCIDENTS_DATABASE_URL", plumbing.database.app_dsn)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", plumbing.servers)
    plumbing.relay()
    plumbing.consumer()
    await plumbing.announce([*numbered(5), NumberedV1(name="secret-words", number=13)])
    [letter] = await dead_letters(plumbing, 1)

    async def said(*arguments: str) -> str:
        assert await asyncio.to_thread(main, list(arguments)) == 0
        return capsys.readouterr().out

    listed = await said("list", TOPIC)
    assert f"1  {DLQ}  CheckViolationError: number_is_not_thirteen" in listed
    shown = await said("show", DLQ, str(letter.offset))
    assert "dlq_reason: CheckViolationError" in shown
    assert '"number":13' not in shown
    assert '"number":13' in await said("show", DLQ, str(letter.offset), "--payload")
    assert "1 sent again" in await said("resend", TOPIC, str(letter.offset))
    assert "0 sent again, 1 had been sent before" in await said("resend", TOPIC, str(letter.offset))


async def test_too_large_a_share_of_dead_letters_stops_consumption(plumbing: Plumbing) -> None:
    """Past the ceiling nothing more is dead-lettered, readiness says so, and a restart after the fix loses nothing."""
    broken = True

    async def fixable(connection: asyncpg.Connection, batch: Sequence[Received[NumberedV1]]) -> None:
        if broken:
            raise KeyError("a fault in our code")
        await store(connection, batch)

    plumbing.relay()
    consumer = plumbing.consumer(fixable, Ceiling(window=100, share=0.2, count=20), max_records=10)
    await plumbing.announce(numbered(300))
    reason = await eventually(lambda: problem(consumer), until=lambda text: "dead letters" in text)
    assert "restart" in reason
    assert consumer.count("blitz_consumer_stopped") == 1
    await asyncio.sleep(1)
    await plumbing.wait_until_drained()
    dead = await plumbing.published(DLQ)
    assert 0 < len(dead) < 20
    await consumer.stop()
    broken = False
    plumbing.consumer(fixable)
    effects = await plumbing.wait_for_effects(300 - len(dead))
    await resend(plumbing.servers, plumbing.database.app_dsn, Choice())
    effects = await plumbing.wait_for_effects(300)
    assert sorted(number for _, _, number in effects) == list(range(100, 400))


async def test_a_missing_table_is_not_the_fault_of_a_record(plumbing: Plumbing) -> None:
    """Faults of schema or rights are waited for like a busy database: nothing is dead-lettered."""
    connection = await asyncpg.connect(plumbing.database.owner_dsn)
    await connection.execute("alter table effect rename to elsewhere")
    plumbing.relay()
    consumer = plumbing.consumer()
    await plumbing.announce(numbered(20))
    assert "UndefinedTableError" in await eventually(lambda: problem(consumer), until=lambda text: "retrying" in text)
    await connection.execute("alter table elsewhere rename to effect")
    await connection.close()
    await plumbing.wait_for_effects(20)
    assert await plumbing.published(DLQ) == []


async def test_the_work_after_the_commit_runs_after_it(plumbing: Plumbing) -> None:
    """A handler's callback sees the committed effect; its failure harms nothing."""
    seen: list[int] = []

    async def with_callback(connection: asyncpg.Connection, batch: Sequence[Received[NumberedV1]]):  # type: ignore[no-untyped-def]
        await store(connection, batch)

        def after_commit() -> None:
            seen.append(len(batch))
            raise RuntimeError("only logged")

        return after_commit

    plumbing.relay()
    consumer = plumbing.consumer(with_callback)
    await plumbing.announce(numbered(20))
    await plumbing.wait_for_effects(20)
    await eventually(lambda: total(seen), until=lambda sum_: sum_ == 20)
    assert await problem(consumer) == ""


async def total(numbers: list[int]) -> int:
    return sum(numbers)


async def problem(running: Running) -> str:
    """What readiness would say; empty when all is well."""
    return await running.part.problem() or ""


def test_the_ceiling_needs_share_and_count() -> None:
    """Few dead letters among few records are no alarm; many are, whether or not the window is full."""
    ceiling = Ceiling(window=1000, share=0.2, count=50)
    ceiling.check(0, 49)
    ceiling.check(300, 60)
    with pytest.raises(Exception, match="50 of the last 50"):
        ceiling.check(0, 50)
    ceiling.count(900, 49)
    ceiling.check(0, 1)
    ceiling.count(0, 45)
    with pytest.raises(Exception, match="of the last 1000"):
        ceiling.check(0, 150)
