"""The inbox's statements on a real database."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from shared.inbox import (
    StaleWatermark,
    add_watermarks,
    forget_events,
    list_watermarks,
    move_watermarks,
    remember_events,
)
from shared.postgres import open_pool, transaction
from tests.fixtures.databases import PLUMBING, Database


@pytest.fixture
async def pool(database: Callable[[str], Database]) -> AsyncIterator[asyncpg.Pool]:
    """A pool on a fresh database."""
    opened = await open_pool(database(PLUMBING).app_dsn, size=3, application_name="test")
    yield opened
    await opened.close()


async def test_watermarks_move_by_compare_and_set(pool: asyncpg.Pool) -> None:
    """A partition that was moved by somebody else refuses the whole move; nothing of it is kept."""
    async with transaction(pool) as connection:
        await add_watermarks(connection, "c", "t", {0: 5, 1: 7})
        await add_watermarks(connection, "c", "t", {0: 99})
        await move_watermarks(connection, "c", "t", {0: (5, 6), 1: (7, 9)})
    with pytest.raises(StaleWatermark, match=r"\[1\]"):
        async with transaction(pool) as connection:
            await move_watermarks(connection, "c", "t", {0: (6, 10), 1: (7, 10)})
    async with transaction(pool) as connection:
        assert await list_watermarks(connection, "c", "t") == {0: 6, 1: 9}
        assert await list_watermarks(connection, "another cluster", "t") == {}


async def test_an_id_is_new_once_a_topic(pool: asyncpg.Pool) -> None:
    """Copies within a statement count once, ids of a transaction that rolled back are not remembered."""
    one, two, three = uuid4(), uuid4(), uuid4()
    with pytest.raises(RuntimeError):
        async with transaction(pool) as connection:
            await remember_events(connection, "t", [three])
            raise RuntimeError("the effect failed")
    async with transaction(pool) as connection:
        assert await remember_events(connection, "t", [one, two, one]) == {one, two}
        assert await remember_events(connection, "t", [two, three]) == {three}
        assert await remember_events(connection, "other", [one]) == {one}


async def test_old_ids_are_forgotten(pool: asyncpg.Pool) -> None:
    """Only those beyond the age go."""
    async with transaction(pool) as connection:
        await remember_events(connection, "t", [uuid4() for _ in range(10)])
        await connection.execute(
            "update inbox_event set seen_at = now() - interval '9 days' "
            "where event_id in (select event_id from inbox_event limit 4)"
        )
    assert await forget_events(pool) == 4
    assert await forget_events(pool) == 0
    assert await forget_events(pool, timedelta(0)) == 6
