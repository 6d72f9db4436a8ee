"""Group commit without a database: who waits, who is refused, who fails alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
import pytest

from shared import groupcommit
from shared.groupcommit import GroupCommit, Overloaded
from shared.postgres import DatabaseBusy

Write = Callable[[Any, Sequence[int]], Awaitable[Sequence[int | Exception]]]
POOL = cast(asyncpg.Pool, object())


@pytest.fixture(autouse=True)
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions that begin and commit nothing."""

    @asynccontextmanager
    async def transaction(pool: object, *, acquire_seconds: float) -> AsyncIterator[object]:
        yield pool

    monkeypatch.setattr(groupcommit, "transaction", transaction)


@asynccontextmanager
async def running(write: Write, **options: Any) -> AsyncIterator[GroupCommit[int, int]]:
    """A group commit whose writer runs, and is stopped at the end."""
    commit: GroupCommit[int, int] = GroupCommit(POOL, write, **options)
    task = asyncio.create_task(commit.run())
    yield commit
    await commit.stop()
    await asyncio.wait_for(task, 5)


async def test_those_who_wait_at_the_same_moment_share_a_batch() -> None:
    """One write for all that were queued, results in their order, at most max_batch at once."""
    batches: list[list[int]] = []

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        batches.append(list(items))
        await asyncio.sleep(0)
        return [item * 2 for item in items]

    async with running(write, max_batch=4) as commit:
        results = await asyncio.gather(*(commit.submit(number) for number in range(10)))
    assert results == [number * 2 for number in range(10)]
    assert [len(batch) for batch in batches] == [4, 4, 2]


async def test_one_bad_item_fails_alone() -> None:
    """An error of data is found by writing one by one; an exception in place of a result refuses that item."""

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        if 3 in items:
            raise asyncpg.DataError("3 is no good")
        return [ValueError("five") if item == 5 else item for item in items]

    async with running(write) as commit:
        results = await asyncio.gather(*(commit.submit(number) for number in range(8)), return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [0, 1, 2, 4, 6, 7]
    assert isinstance(results[3], asyncpg.DataError)
    assert isinstance(results[5], ValueError)


async def test_a_busy_database_fails_the_batch_and_not_the_next() -> None:
    """Busy is no fault of an item: all of the batch are told, the writer goes on."""
    broken = True

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        if broken:
            raise DatabaseBusy("restarting")
        return list(items)

    async with running(write) as commit:
        results = await asyncio.gather(*(commit.submit(number) for number in range(3)), return_exceptions=True)
        assert all(isinstance(result, DatabaseBusy) for result in results)
        broken = False
        assert await commit.submit(1) == 1


async def test_a_full_queue_refuses_before_any_work() -> None:
    """Beyond max_waiting the answer is Overloaded at once, with a time to retry between 2.5 and 5 s."""
    go_on = asyncio.Event()

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        await go_on.wait()
        return list(items)

    async with running(write, max_batch=2, max_waiting=3) as commit:
        first = [asyncio.create_task(commit.submit(number)) for number in range(2)]
        await asyncio.sleep(0.01)
        queued = [asyncio.create_task(commit.submit(number)) for number in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded) as refused:
            await commit.submit(99)
        assert 1 <= refused.value.retry_after_seconds <= 5
        go_on.set()
        assert await asyncio.gather(*first, *queued) == [0, 1, 0, 1, 2]


async def test_a_wait_that_would_be_too_long_is_refused() -> None:
    """The expected wait is learned from the batches before: a slow database shortens the queue."""

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(0.1)
        return list(items)

    async with running(write, max_batch=1, max_wait_seconds=0.15) as commit:
        for number in range(8):
            await commit.submit(number)
        results = await asyncio.gather(*(commit.submit(number) for number in range(20)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert 10 <= len(refused) < 20


async def test_a_burst_after_quiet_times_is_accepted() -> None:
    """A commit costs about the same for one as for many: single slow commits before say nothing against a burst."""

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(0.02)
        return list(items)

    async with running(write) as commit:
        for number in range(10):
            await commit.submit(number)
        assert await asyncio.gather(*(commit.submit(number) for number in range(1000))) == list(range(1000))


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("slow_batches", [1, 50], ids=["once", "always"])
async def test_room_in_the_next_batch_is_given_however_slow_batches_are(slow_batches: int) -> None:
    """After a checkpoint, and on a slow disk, those who share the next batch cost nothing: none is refused."""
    clock = Clock()

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        clock.now += 2.0
        return list(items)

    async with running(write, clock=clock) as commit:
        for number in range(slow_batches):
            await commit.submit(number)
        assert await asyncio.gather(*(commit.submit(number) for number in range(200))) == list(range(200))


async def test_behind_full_slow_batches_is_no_room() -> None:
    """Whoever would have to wait for full batches that are known to be slow is refused."""
    clock = Clock()

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        clock.now += 2.0
        return list(items)

    async with running(write, clock=clock, max_batch=4) as commit:
        await commit.submit(0)
        results = await asyncio.gather(*(commit.submit(number) for number in range(9)), return_exceptions=True)
    assert [isinstance(result, Overloaded) for result in results] == [False] * 4 + [True] * 5


async def test_commits_are_told() -> None:
    """``committed`` is called after each batch that was written, not after one that failed."""
    told: list[None] = []

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        if 13 in items:
            raise DatabaseBusy("restarting")
        return list(items)

    async with running(write, committed=lambda: told.append(None)) as commit:
        with pytest.raises(DatabaseBusy):
            await commit.submit(13)
        assert not told
        await commit.submit(1)
        assert len(told) == 1


async def test_a_client_that_goes_away_disturbs_nobody() -> None:
    """A cancelled submit leaves its neighbours alone; before its turn it is not even written."""
    written: list[int] = []
    go_on = asyncio.Event()

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        written.extend(items)
        await go_on.wait()
        return list(items)

    async with running(write, max_batch=2) as commit:
        tasks = [asyncio.create_task(commit.submit(number)) for number in range(4)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for result in results if isinstance(result, int)] == [1, 3]
    assert written == [0, 1, 3]


async def test_a_stop_finishes_what_was_accepted_and_takes_no_more() -> None:
    """Every accepted item is answered; afterwards the answer is Overloaded."""

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(0.01)
        return list(items)

    async with running(write, max_batch=2) as commit:
        tasks = [asyncio.create_task(commit.submit(number)) for number in range(7)]
        await asyncio.sleep(0)
        await commit.stop()
        with pytest.raises(Overloaded):
            await commit.submit(99)
        assert await asyncio.gather(*tasks) == list(range(7))


async def test_a_writer_that_is_cancelled_leaves_nobody_waiting() -> None:
    """When the task ends the hard way, those who wait are told."""

    async def write(connection: object, items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(60)
        return list(items)

    commit: GroupCommit[int, int] = GroupCommit(POOL, write, max_batch=2)
    task = asyncio.create_task(commit.run())
    waiting = [asyncio.create_task(commit.submit(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    task.cancel()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 2)
    assert all(isinstance(result, DatabaseBusy) for result in results)
