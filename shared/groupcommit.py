"""Group commit: requests that wait at the same moment share one transaction, each is answered after its commit.

The queue is bounded and a full queue refuses before any work is done, so that the wait of those inside stays short.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import asyncpg

from shared.postgres import DatabaseBusy, is_busy, transaction, with_jitter

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[asyncpg.Connection, Sequence[Item]], Awaitable[Sequence[Result | Exception]]]

BUSY_BATCH = 4
GATHER_SECONDS = 0.002


class Overloaded(Exception):
    """Too many wait already; nothing was done. ``retry_after_seconds`` carries jitter."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"overloaded, retry after {retry_after_seconds:.1f} s")
        self.retry_after_seconds = retry_after_seconds


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class GroupCommit(Generic[Item, Result]):
    """Writes items in batches of up to ``max_batch``, each batch one transaction.

    ``write`` returns one result per item in order; an ``Exception`` in place of a result refuses that item alone and
    its rows must not have been written. When ``write`` raises an error of data, the items are written one by one, so
    that the bad one fails alone. Cancelling ``submit`` leaves the others alone; the item itself may still be written.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        write: Write[Item, Result],
        *,
        max_batch: int = 256,
        max_waiting: int = 1024,
        max_wait_seconds: float = 0.25,
        writers: int = 1,
        committed: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``committed`` is called after every commit that wrote something; ``clock`` counts seconds."""
        self._pool = pool
        self._write = write
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_wait_seconds = max_wait_seconds
        self._writers = writers
        self._committed = committed
        self._clock = clock
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._arrived = asyncio.Event()
        self._stopping = False
        self._seconds_per_batch = 0.0
        self._last_batch = 0

    @property
    def waiting(self) -> int:
        """How many items are queued at this moment."""
        return len(self._waiting)

    def refuse_when_overloaded(self) -> None:
        """Raises ``Overloaded`` when the queue is full or its expected wait too long: call it before reading a body.

        Only full batches ahead count. Whoever still finds room in the next one makes nobody wait longer: refusing them
        because batches are slow would leave the slow batches empty.
        """
        waiting = len(self._waiting)
        expected = waiting // self._max_batch * self._seconds_per_batch / self._writers
        if self._stopping or waiting >= self._max_waiting or expected > self._max_wait_seconds:
            raise Overloaded(with_jitter(5.0))

    async def submit(self, item: Item) -> Result:
        """Returns after the commit. Raises ``Overloaded``, ``DatabaseBusy`` or the item's own error."""
        self.refuse_when_overloaded()
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Writes until ``stop`` was called and everything accepted is answered. Run it as a task."""
        try:
            await asyncio.gather(*(self._run_writer() for _ in range(self._writers)))
        finally:
            self._stopping = True
            while self._waiting:
                _fail(self._waiting.popleft(), DatabaseBusy("the service is stopping"))

    async def stop(self) -> None:
        """Accepts nothing more and lets ``run`` finish what was accepted; does not wait for it."""
        self._stopping = True
        self._arrived.set()

    async def _run_writer(self) -> None:
        while True:
            while not self._waiting:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            if BUSY_BATCH <= self._last_batch > len(self._waiting) and not self._stopping:
                # Those just answered come back at once: half as many commits for two milliseconds of waiting.
                await asyncio.sleep(GATHER_SECONDS)
            batch = self._take()
            self._last_batch = len(batch)
            if batch:
                started = self._clock()
                await self._commit(batch)
                self._seconds_per_batch += 0.2 * (self._clock() - started - self._seconds_per_batch)

    def _take(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        while self._waiting and len(batch) < self._max_batch:
            waiting = self._waiting.popleft()
            if not waiting.answer.done():  # the client went away before its turn
                batch.append(waiting)
        return batch

    async def _commit(self, batch: Sequence[_Waiting[Item, Result]]) -> None:
        try:
            async with transaction(self._pool, acquire_seconds=self._max_wait_seconds + 1.0) as connection:
                results = await self._write(connection, [waiting.item for waiting in batch])
                if len(results) != len(batch):
                    raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except Exception as error:
            if is_busy(error) or len(batch) == 1:
                for waiting in batch:
                    _fail(waiting, error)
                return
            for waiting in batch:
                await self._commit([waiting])
            return
        except BaseException:
            for waiting in batch:
                _fail(waiting, DatabaseBusy("the service is stopping"))
            raise
        if self._committed is not None:
            self._committed()
        for waiting, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                _fail(waiting, result)
            elif not waiting.answer.done():
                waiting.answer.set_result(result)


def _fail(waiting: _Waiting[Item, Result], error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
