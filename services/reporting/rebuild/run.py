"""The course of a rebuild: build, catch up, swap while the service stands still for a moment, compare."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg
from aiokafka import TopicPartition

from services.reporting.config import ReportingSettings
from services.reporting.connections import LIVE, figures_dsn
from services.reporting.rebuild import schema
from services.reporting.rebuild.progress import Progress
from services.reporting.rebuild.replay import Replay
from services.reporting.rebuild.schema import TableComparison
from shared.catalogue import Catalogue
from shared.kafka import cluster_id, watching_consumer
from shared.postgres import open_pool

NAME = "reporting-rebuild"
CLOSE_RECORDS = 2000
"""So near behind the live service, the rest is read while it stands still."""
ATTEMPTS = 20


class RebuildRunning(Exception):
    """Another rebuild holds the lock."""


@dataclass(frozen=True, slots=True)
class Result:
    """``dead``: records that the live service has dead-lettered too. ``swapped``: the rebuilt tables are live now."""

    tables: list[TableComparison]
    dead: int
    swapped: bool

    @property
    def identical(self) -> bool:
        return all(table.identical for table in self.tables)


async def rebuild(
    settings: ReportingSettings, catalogue: Callable[[], Catalogue], progress: Progress, *, verify_only: bool
) -> Result:
    """Builds all figures anew and compares them with the live ones of the same position; swaps unless ``verify_only``.

    Raises ``RebuildRunning``, ``LogIncomplete``, ``LogStalled``, and what PostgreSQL and Kafka raise when they are not
    there: then nothing was swapped, and the next run goes on where this one stopped.
    """
    dsn = settings.migration_database_url or settings.database_url
    async with _connected(dsn) as conn, watching_consumer(settings.kafka_bootstrap_servers) as consumer:
        if not await schema.take_turn(conn):
            raise RebuildRunning
        cluster = await cluster_id(settings.kafka_bootstrap_servers)
        if await schema.prepare(conn):
            progress.say("Going on with the rebuild that was interrupted.")
        pool = await open_pool(figures_dsn(dsn, schema.NEXT), size=2, application_name=NAME)
        try:
            replay = Replay(pool, consumer, cluster, catalogue)
            await _catch_up(conn, replay, cluster, progress)
            return await _finish(conn, dsn, replay, cluster, progress, verify_only=verify_only)
        finally:
            await pool.close()


async def _live(conn: asyncpg.Connection, cluster: str) -> dict[TopicPartition, int]:
    marks = await schema.watermarks(conn, LIVE, cluster)
    return {TopicPartition(topic, partition): offset for (topic, partition), offset in marks.items()}


async def _catch_up(conn: asyncpg.Connection, replay: Replay, cluster: str, progress: Progress) -> None:
    live = await _live(conn, cluster)
    await replay.begin(live)
    progress.begin(_total(replay, live), replay.remaining(live))
    for part, first in sorted(replay.begins.items()):
        if first:
            progress.say(f"{part.topic}-{part.partition}: the log begins at {first:,}, what came before is gone.")
    while replay.remaining(live) > CLOSE_RECORDS:
        await replay.read(live, progress.update)
        live = {part: offset for part, offset in (await _live(conn, cluster)).items() if part in replay.position}
        progress.extend(_total(replay, live))
    await schema.analyze(conn)


def _total(replay: Replay, live: dict[TopicPartition, int]) -> int:
    return sum(offset - replay.begins[part] for part, offset in live.items())


async def _finish(
    conn: asyncpg.Connection, dsn: str, replay: Replay, cluster: str, progress: Progress, *, verify_only: bool
) -> Result:
    tables = await schema.list_tables(conn, LIVE)
    async with _connected(dsn) as watcher:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with schema.standing_still(conn):
                    await _reach(conn, replay, cluster, progress)
                    await _take_snapshot(watcher)
                    dead = await schema.count_dead_letters(conn)
                    if not verify_only:
                        await schema.require_whole(conn)
                        await schema.swap(conn)
                break
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if attempt == ATTEMPTS:
                    raise
        progress.finish()
        before, after = (LIVE, schema.NEXT) if verify_only else (schema.OLD, LIVE)
        compared = [table async for table in schema.compare(watcher, before, after, tables)]
    await (schema.drop_next(conn) if verify_only else schema.drop_old(conn))
    return Result(compared, dead, swapped=not verify_only)


async def _reach(conn: asyncpg.Connection, replay: Replay, cluster: str, progress: Progress) -> None:
    """Reads the last records, up to where the live service stands still. A partition new since the start is begun."""
    live = await _live(conn, cluster)
    if live.keys() - replay.position.keys():
        await replay.begin(live)
    progress.extend(_total(replay, live))
    await replay.read(live, progress.update)


async def _take_snapshot(watcher: asyncpg.Connection) -> None:
    """From here on ``watcher`` sees both builds as they are now, whatever is written to them afterwards."""
    await watcher.execute("rollback")
    await watcher.execute("begin isolation level repeatable read read only")
    await watcher.fetchval("select 1")


@contextlib.asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection without the short timeouts of a service: comparing large tables takes its time."""
    conn = await asyncpg.connect(dsn, timeout=10, server_settings={"application_name": NAME, "timezone": "UTC"})
    try:
        yield conn
    finally:
        await conn.close(timeout=10)
