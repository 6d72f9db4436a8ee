"""Pools, transactions and group commit on a real server that restarts, hangs up and refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import pytest

from deploy.local.postgres import Postgres
from shared.groupcommit import GroupCommit
from shared.postgres import DatabaseBusy, is_busy, open_pool, transaction
from tests.fixtures.databases import PLUMBING, Database, execute
from tests.fixtures.waiting import eventually


@pytest.fixture
async def pool(database: Callable[[str], Database]) -> AsyncIterator[asyncpg.Pool]:
    """A pool of three on a fresh database."""
    opened = await open_pool(database(PLUMBING).app_dsn, size=3, application_name="test")
    yield opened
    await asyncio.wait_for(opened.close(), 10)


async def add_effect(pool: asyncpg.Pool, number: int) -> None:
    """One row in one transaction."""
    async with transaction(pool) as connection:
        await connection.execute(
            "insert into effect (event_id, key, number) values (gen_random_uuid(), 'k', $1)", number
        )


async def test_json_is_plain_python(pool: asyncpg.Pool) -> None:
    """jsonb goes in and comes out as dicts and lists."""
    async with transaction(pool) as connection:
        assert await connection.fetchval("select $1::jsonb", {"ä": [1, None]}) == {"ä": [1, None]}


async def test_an_exhausted_pool_is_busy_and_not_for_ever(pool: asyncpg.Pool) -> None:
    """Acquiring has a deadline; afterwards the pool is whole."""
    held = [await pool.acquire() for _ in range(3)]
    with pytest.raises(DatabaseBusy):
        async with transaction(pool, acquire_seconds=0.1):
            raise AssertionError("there was no connection left")
    for connection in held:
        await pool.release(connection)
    await add_effect(pool, 1)


async def test_a_restart_is_busy_first_and_heals_by_itself(pool: asyncpg.Pool, postgres_server: Postgres) -> None:
    """Every error meanwhile is DatabaseBusy, whatever its class, and no row that was reported written is lost."""
    written: list[int] = []
    refused: list[BaseException] = []
    stop = asyncio.Event()

    async def write_on(first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                await add_effect(pool, number)
                written.append(number)
            except DatabaseBusy as error:
                refused.append(error)
                await asyncio.sleep(0.02)
            number += 10

    writers = [asyncio.create_task(write_on(1000 + index)) for index in range(6)]
    await eventually(lambda: length(written), until=lambda count: count > 50)
    await asyncio.to_thread(postgres_server.stop, "immediate")
    await asyncio.sleep(0.5)
    await asyncio.to_thread(postgres_server.start)
    before = len(written)
    await eventually(lambda: length(written), until=lambda count: count > before + 50)
    stop.set()
    await asyncio.gather(*writers)
    stored = {row["number"] for row in await pool.fetch("select number from effect")}
    assert refused
    assert set(written) <= stored


async def test_deadlock_and_timeout_are_busy_and_a_constraint_is_not(pool: asyncpg.Pool) -> None:
    """What may succeed later is told from what can only fail again."""
    await add_effect(pool, 1)
    async with transaction(pool) as holder:
        await holder.execute("lock table effect")
        with pytest.raises(DatabaseBusy):
            async with transaction(pool) as waiter:
                await waiter.execute("set local lock_timeout = '50ms'")
                await waiter.execute("select * from effect")
    with pytest.raises(DatabaseBusy):
        async with transaction(pool) as connection:
            await connection.execute("select pg_sleep(5)", timeout=0.1)
    with pytest.raises(asyncpg.CheckViolationError):
        await add_effect(pool, 13)


async def test_sessions_outlive_a_migration(database: Callable[[str], Database]) -> None:
    """A plan that a migration made out of date is busy once for the whole pool; the next try has the new columns."""
    place = database(PLUMBING)
    pool = await open_pool(place.app_dsn, size=3, application_name="test")

    async def read() -> asyncpg.Record | None:
        async with transaction(pool) as connection:
            return await connection.fetchrow("select * from effect")

    await add_effect(pool, 1)
    await asyncio.gather(*(read() for _ in range(20)))
    await execute(place.owner_dsn, "alter table effect add column later text")
    with pytest.raises(DatabaseBusy, match="InvalidCachedStatementError"):
        await read()
    for row in await asyncio.gather(*(read() for _ in range(20))):
        assert row is not None
        assert "later" in dict(row)
    await asyncio.wait_for(pool.close(), 10)


async def test_a_server_that_is_not_there_is_busy() -> None:
    """A refused connection is worth a retry."""
    with pytest.raises(OSError) as refused:
        await open_pool("postgresql://x:x@127.0.0.1:9/x", size=2, application_name="test")
    assert is_busy(refused.value)


async def test_group_commit_isolates_the_bad_row(pool: asyncpg.Pool) -> None:
    """One constraint violation among two hundred rows: it alone fails, the others are in the table."""

    async def write(connection: asyncpg.Connection, numbers: Sequence[int]) -> Sequence[int | Exception]:
        await connection.execute(
            "insert into effect (event_id, key, number) "
            "select gen_random_uuid(), 'k', number from unnest($1::integer[]) as number",
            numbers,
        )
        return numbers

    commit: GroupCommit[int, int] = GroupCommit(pool, write, max_batch=64)
    task = asyncio.create_task(commit.run())
    results = await asyncio.gather(*(commit.submit(number) for number in range(200)), return_exceptions=True)
    await commit.stop()
    await asyncio.wait_for(task, 5)
    assert [number for number, result in enumerate(results) if isinstance(result, Exception)] == [13]
    assert isinstance(results[13], asyncpg.CheckViolationError)
    assert await pool.fetchval("select count(*) from effect") == 199


async def length(items: Sequence[object]) -> int:
    return len(items)
