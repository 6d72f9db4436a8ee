"""P2: the whole way of a complaint, HTTP → outbox → Kafka → incidents → Kafka → reporting, on one machine."""

import asyncio
import time
from uuid import UUID

import asyncpg

from tests.benchmarks.figures import Figure
from tests.benchmarks.load import Answer, open_loop, percentile
from tests.benchmarks.stack import Stack
from tests.benchmarks.texts import complaints

STEADY_RATE, STEADY_SECONDS = 300, 15
BURST, BURST_RATE = 10_000, 2_000
POLL_SECONDS = 0.01
GIVE_UP_SECONDS = 180.0
ASKED_AT_ONCE = 400
ARRIVED = "SELECT report_id FROM figures.fact_link WHERE report_id = ANY($1::uuid[])"
COUNT = "SELECT count(*) FROM figures.fact_link"


async def _latencies(stack: Stack, connection: asyncpg.Connection) -> list[float]:
    """Seconds from the intended instant of sending to the link's arrival in reporting, for each report."""
    count = STEADY_RATE * STEADY_SECONDS
    sent: list[Answer] = []
    arrived_at: dict[UUID, float] = {}

    async def watch() -> None:
        while len(arrived_at) < count:
            pending = [answer.report_id for answer in sent if answer.report_id not in arrived_at][:ASKED_AT_ONCE]
            if pending:
                rows = await connection.fetch(ARRIVED, pending)
                now = time.perf_counter()
                arrived_at.update({row["report_id"]: now for row in rows})
            await asyncio.sleep(POLL_SECONDS)

    async with asyncio.timeout(GIVE_UP_SECONDS):
        url = f"{stack.urls['feedback']}/v1/reports"
        await asyncio.gather(
            open_loop(url, complaints(count), rate=STEADY_RATE, token=stack.token, answers=sent), watch()
        )
    return [arrived_at[answer.report_id] - answer.intended_at for answer in sent]


async def _burst(stack: Stack, connection: asyncpg.Connection) -> tuple[float, float]:
    """Sends ``BURST`` complaints as fast as they are taken; returns (seconds from the last answer until the last
    arrival in reporting, complaints per second over the whole way)."""
    before = await connection.fetchval(COUNT)
    url = f"{stack.urls['feedback']}/v1/reports"
    start = time.perf_counter()
    await open_loop(url, complaints(BURST), rate=BURST_RATE, token=stack.token, answers=[])
    answered = time.perf_counter()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await connection.fetchval(COUNT) < before + BURST:
            await asyncio.sleep(0.1)
    end = time.perf_counter()
    return end - answered, BURST / (end - start)


async def _measure(stack: Stack) -> list[Figure]:
    connection = await asyncpg.connect(stack.reporting_dsn)
    try:
        p95 = 1000 * percentile(await _latencies(stack, connection), 0.95)
        lag_seconds, throughput = await _burst(stack, connection)
    finally:
        await connection.close()
    return [
        Figure("P2", f"end to end p95 at {STEADY_RATE}/s, ms", f"{p95:,.0f}", "–", "–", "≤ 250", p95 <= 250,
               "resolution about 10 ms; broker, database and load generator on the same cores"),
        Figure("P2", "whole way, complaints/s", f"{throughput:,.0f}", "–", "–", "≥ 1,000 (at least 400)",
               throughput >= 1000, f"a burst of {BURST:,}, from the first post to the last link in reporting"),
        Figure("P2", f"lag after a burst of {BURST:,}, s", f"{lag_seconds:.1f}", "–", "–", "≤ 15", lag_seconds <= 15),
    ]  # fmt: skip


def whole_way(stack: Stack) -> list[Figure]:
    """P2."""
    return asyncio.run(_measure(stack))
