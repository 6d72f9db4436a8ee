"""The tables of a rebuild: made beside the live ones, swapped by renaming, compared row by row.

The one danger of a swap is a batch whose statements fall on both sides of it: its watermark in one build, its effect in
the other. So the swap holds every live table exclusively: a batch has ended, or has not touched a table yet, and then
resolves all its names anew and finds the new tables at exactly the position that it expects.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from services.reporting.connections import LIVE

NEXT = "figures_next"
OLD = "figures_old"
WATERMARK = "inbox_watermark"
SHADOWS = ("inbox_event", "outbox")
"""Plumbing of a rebuild's own: it has seen nothing yet, and its dead letters must not be sent a second time."""
ONLY_ONE = (6071203, 0)
"""The advisory lock of a running rebuild."""
SWAP_LOCK_SECONDS = 3

# Facts that a log cannot lose without being cut: fewer of them than live means that the log is not whole.
FACTS = ("fact_report", "fact_link", "fact_incident", "fact_heat")


class LogIncomplete(Exception):
    """The rebuilt tables hold less than the live ones: the message names the tables."""


@dataclass(frozen=True, slots=True)
class TableComparison:
    """Rows of one table before and after; ``only_before`` and ``only_after`` are rows without an equal one."""

    table: str
    rows: int
    only_before: int
    only_after: int

    @property
    def identical(self) -> bool:
        return self.only_before == 0 and self.only_after == 0


async def take_turn(conn: asyncpg.Connection) -> bool:
    """Whether no other rebuild runs; held until the connection closes."""
    return bool(await conn.fetchval("select pg_try_advisory_lock($1, $2)", *ONLY_ONE))


async def prepare(conn: asyncpg.Connection) -> bool:
    """Makes the tables of the rebuild, or keeps those of one that was interrupted; says whether it goes on with them.

    Tables left over from the version before a migration are thrown away, as are those of a finished swap.
    """
    async with conn.transaction():
        await conn.execute(f"drop schema if exists {OLD} cascade")
        live = await list_tables(conn, LIVE)
        if await _exists(conn, NEXT):
            if await _definition(conn, NEXT, live) == await _definition(conn, LIVE, live):
                return True
            await conn.execute(f"drop schema {NEXT} cascade")
        await conn.execute(f"create schema {NEXT}")
        for table in live:
            await _copy_table(conn, LIVE, NEXT, table)
        for table in SHADOWS:
            await _copy_table(conn, "public", NEXT, table)
    return False


async def drop_next(conn: asyncpg.Connection) -> None:
    """Throws the rebuild away."""
    await conn.execute(f"drop schema if exists {NEXT} cascade")


async def analyze(conn: asyncpg.Connection) -> None:
    """Tells the planner how large the tables have become."""
    await conn.execute(f"analyze {', '.join(f'{NEXT}.{table}' for table in await list_tables(conn, LIVE))}")


async def watermarks(conn: asyncpg.Connection, schema: str, cluster: str) -> dict[tuple[str, int], int]:
    """The next offset by topic and partition."""
    rows = await conn.fetch(
        f"select topic, partition, next_offset from {schema}.{WATERMARK} where cluster_id = $1",  # noqa: S608
        cluster,
    )
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


@asynccontextmanager
async def standing_still(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction in which no batch is under way and none begins; readers wait too. Commits at its end.

    Raises ``asyncpg.LockNotAvailableError`` or ``DeadlockDetectedError`` when the live tables are in use for longer.
    """
    tables = await list_tables(conn, LIVE)
    tables.remove(WATERMARK)
    async with conn.transaction():
        await conn.execute(f"set local lock_timeout = '{SWAP_LOCK_SECONDS}s'")
        # In the order in which a batch touches them: the watermark first.
        for table in (WATERMARK, *tables):
            await conn.execute(f"lock table {LIVE}.{table} in access exclusive mode")
        yield


async def require_whole(conn: asyncpg.Connection) -> None:
    """Raises ``LogIncomplete`` when the rebuild holds fewer facts than the live tables."""
    missing = []
    for table in FACTS:
        live, rebuilt = [await conn.fetchval(f"select count(*) from {schema}.{table}") for schema in (LIVE, NEXT)]  # noqa: S608
        if rebuilt < live:
            missing.append(f"{table} {rebuilt:,} of {live:,}")
    if missing:
        raise LogIncomplete(", ".join(missing))


async def count_dead_letters(conn: asyncpg.Connection) -> int:
    """Records that the rebuild could not read, an interrupted one's included."""
    return int(await conn.fetchval(f"select count(*) from {NEXT}.outbox"))  # noqa: S608


async def swap(conn: asyncpg.Connection) -> None:
    """The rebuilt tables become the live ones; inside ``standing_still``. The old ones stay as ``figures_old``."""
    for table in SHADOWS:
        await conn.execute(f"drop table {NEXT}.{table}")
    await conn.execute(f"alter schema {LIVE} rename to {OLD}")
    await conn.execute(f"alter schema {NEXT} rename to {LIVE}")


async def drop_old(conn: asyncpg.Connection) -> None:
    """Forgets what was live before."""
    await conn.execute(f"drop schema if exists {OLD} cascade")


async def compare(
    conn: asyncpg.Connection, before: str, after: str, tables: Sequence[str]
) -> AsyncIterator[TableComparison]:
    """Both builds row by row, all columns; of the watermark the positions only, it also says when they moved.

    ``tables`` by name: the snapshot that ``conn`` looks at may be older than the names of the schemas.
    """
    for table in tables:
        yield await _compare_table(conn, before, after, table)


async def _compare_table(conn: asyncpg.Connection, before: str, after: str, table: str) -> TableComparison:
    columns = "cluster_id, topic, partition, next_offset" if table == WATERMARK else "*"
    old, new = (f"select {columns} from {schema}.{table}" for schema in (before, after))  # noqa: S608
    row = await conn.fetchrow(
        f"select (select count(*) from {after}.{table}) as rows,"  # noqa: S608
        f" (select count(*) from ({old} except all {new}) as gone) as only_before,"
        f" (select count(*) from ({new} except all {old}) as fresh) as only_after"
    )
    assert row is not None
    return TableComparison(table, row["rows"], row["only_before"], row["only_after"])


async def list_tables(conn: asyncpg.Connection, schema: str) -> list[str]:
    """The tables of one build, without the shadows."""
    rows = await conn.fetch("select tablename from pg_tables where schemaname = $1 order by tablename", schema)
    return [row["tablename"] for row in rows if row["tablename"] not in SHADOWS]


async def _exists(conn: asyncpg.Connection, schema: str) -> bool:
    return bool(await conn.fetchval("select to_regnamespace($1) is not null", schema))


async def _definition(conn: asyncpg.Connection, schema: str, tables: Sequence[str]) -> list[tuple[object, ...]]:
    """Columns, types, constraints and indexes of these tables, without the name of the schema."""
    rows = await conn.fetch(
        """
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, null as rule
          from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace = to_regnamespace($1) and c.relname = any($2)
         union all
        select c.relname, null, null, null, pg_get_constraintdef(k.oid)
          from pg_class as c join pg_constraint as k on k.conrelid = c.oid
         where c.relnamespace = to_regnamespace($1) and c.relname = any($2)
         union all
        select tablename, null, null, null, regexp_replace(indexdef, '^.* USING ', '')
          from pg_indexes where schemaname = $1 and tablename = any($2)
         order by 1, 2, 5
        """,
        schema,
        list(tables),
    )
    return [tuple(row) for row in rows]


async def _copy_table(conn: asyncpg.Connection, source: str, target: str, table: str) -> None:
    """An empty table like the other; rights come from the owner's default privileges, storage options by hand."""
    await conn.execute(f"create table {target}.{table} (like {source}.{table} including all)")
    options = await conn.fetchval(
        "select array_to_string(reloptions, ', ') from pg_class where oid = to_regclass($1)", f"{source}.{table}"
    )
    if options:
        await conn.execute(f"alter table {target}.{table} set ({options})")
