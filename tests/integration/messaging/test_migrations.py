"""Migrations on a real database: applied once, refused when changed, safe to interrupt."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from shared.migrate import EX_CONFIG, ChangedMigration, StaleSchema, main, migrate, require_current_schema
from shared.postgres import open_pool
from tests.fixtures.databases import PLUMBING, Database, folders_of


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """The plumbing's migrations and a folder of a service that this test writes."""
    own = tmp_path / "example" / "migrations"
    own.mkdir(parents=True)
    (own / "0001_init.sql").write_text("create table first (id integer primary key);")
    return [*folders_of(PLUMBING), own]


async def test_what_is_missing_is_applied_once_and_in_order(
    database: Callable[[str], Database], folders: list[Path]
) -> None:
    """The second run finds nothing to do; names carry their folder."""
    dsn = database(PLUMBING).owner_dsn
    assert await migrate(dsn, folders) == ["example/0001_init.sql"]
    assert await migrate(dsn, folders) == []
    (folders[-1] / "0002_more.sql").write_text("alter table first add column word text;")
    (folders[-1] / "0003_most.sql").write_text("update first set word = 'x';")
    assert await migrate(dsn, folders) == ["example/0002_more.sql", "example/0003_most.sql"]


async def test_concurrent_runs_apply_each_file_once(database: Callable[[str], Database], folders: list[Path]) -> None:
    """Two instances that start at the same moment: one applies, the other waits and finds it done."""
    dsn = database(PLUMBING).owner_dsn
    applied = await asyncio.gather(*(migrate(dsn, folders) for _ in range(4)))
    assert sorted(len(names) for names in applied) == [0, 0, 0, 1]


async def test_a_changed_file_is_refused(database: Callable[[str], Database], folders: list[Path]) -> None:
    """History is not rewritten: nothing is applied, the file is named."""
    dsn = database(PLUMBING).owner_dsn
    await migrate(dsn, folders)
    (folders[-1] / "0001_init.sql").write_text("create table other (id integer);")
    (folders[-1] / "0002_more.sql").write_text("create table second (id integer);")
    with pytest.raises(ChangedMigration, match=r"example/0001_init\.sql"):
        await migrate(dsn, folders)
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("select to_regclass('second')") is None
    await connection.close()


async def test_a_file_that_fails_leaves_nothing_behind(
    database: Callable[[str], Database], folders: list[Path]
) -> None:
    """One transaction a file: those before stay, the failed one is gone whole, a rerun after the fix works."""
    dsn = database(PLUMBING).owner_dsn
    (folders[-1] / "0002_more.sql").write_text("create table second (id integer); select 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(dsn, folders)
    (folders[-1] / "0002_more.sql").write_text("create table second (id integer);")
    assert await migrate(dsn, folders) == ["example/0002_more.sql"]


async def test_a_kill_in_the_middle_is_harmless(database: Callable[[str], Database], folders: list[Path]) -> None:
    """The connection dies in the middle of a file: lock and work are gone, the rerun does all."""
    place = database(PLUMBING)
    (folders[-1] / "0002_slow.sql").write_text("create table second (id integer); select pg_sleep(20);")
    running = asyncio.create_task(migrate(place.owner_dsn, folders))
    admin = await asyncpg.connect(place.admin_dsn)
    ended = False
    while not ended:
        await asyncio.sleep(0.05)
        ended = bool(
            await admin.fetchval(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where datname = current_database() and query like '%pg_sleep(20)%' and pid <> pg_backend_pid()"
            )
        )
    await admin.close()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await running
    (folders[-1] / "0002_slow.sql").write_text("create table second (id integer);")
    assert await migrate(place.owner_dsn, folders) == ["example/0002_slow.sql"]


async def test_a_stale_schema_is_named_with_the_command(
    database: Callable[[str], Database], folders: list[Path]
) -> None:
    """A service refuses to start and says what to run; a database that knows more is accepted."""
    place = database(PLUMBING)
    pool = await open_pool(place.app_dsn, size=2, application_name="test")
    with pytest.raises(StaleSchema, match=r"example/0001_init\.sql.*python -m shared\.migrate services\.example"):
        await require_current_schema(pool, folders)
    (folders[-1] / "0002_newer.sql").write_text("create table second (id integer);")
    await migrate(place.owner_dsn, folders)
    (folders[-1] / "0002_newer.sql").unlink()
    await require_current_schema(pool, folders)
    await pool.close()


def test_the_command_line_says_what_is_wrong_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback: exit code 78, the cause on stderr."""
    monkeypatch.setenv("INCIDENTS_DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/incidents")
    monkeypatch.delenv("INCIDENTS_MIGRATION_DATABASE_URL", raising=False)
    assert main(["services.incidents"]) == EX_CONFIG
    assert "not reachable or busy" in capsys.readouterr().err
    monkeypatch.delenv("INCIDENTS_DATABASE_URL")
    assert main(["services.incidents"]) == EX_CONFIG
    assert "database_url" in capsys.readouterr().err
    assert main([]) == EX_CONFIG
    assert main(["services.nothing"]) == EX_CONFIG
