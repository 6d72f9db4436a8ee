"""Forward-only numbered migrations: ``python -m shared.migrate services.feedback``.

Every service applies the plumbing's migrations first, then its own. One transaction a file under an advisory lock; the
hash of each applied file is remembered and a changed file is refused. A database that knows more than this version is
accepted (the old version still runs during a rolling upgrade), one that knows less is not.
"""

import asyncio
import hashlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import ValidationError

from shared.postgres import CONNECT_TIMEOUT_SECONDS, is_busy
from shared.settings import ServiceSettings

EX_CONFIG = 78
SHARED_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = (6071201, 2)
_TABLE = """
create table if not exists schema_migration (
    name       text        primary key,
    sha256     text        not null,
    applied_at timestamptz not null default now()
)
"""


class StaleSchema(Exception):
    """The database lacks migrations of this version; the message names the command to run."""


class ChangedMigration(Exception):
    """A file that was applied has been edited since."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; ``name`` is "<folder>/<file>" and never changes, ``sha256`` is that of its bytes."""

    name: str
    sha256: str
    sql: str


def migration_folders(service: str) -> list[Path]:
    """The folders of a service given by its package name, for example ``services.feedback``; in order."""
    package = importlib.import_module(service)
    return [SHARED_MIGRATIONS, Path(str(package.__file__)).parent / "migrations"]


def read_migrations(folders: Sequence[Path]) -> list[Migration]:
    """All migrations in the order of application: folder by folder, by file name."""
    return list(_read(folders))


async def migrate(dsn: str, folders: Sequence[Path]) -> list[str]:
    """Applies what is missing and returns the names of what was applied.

    Raises ``ChangedMigration`` before anything is touched, and what PostgreSQL raises for a wrong statement.
    """
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_TIMEOUT_SECONDS, server_settings={"application_name": "migrate", "lock_timeout": "30s"}
    )
    try:
        await connection.execute("select pg_advisory_lock($1, $2)", *_LOCK)
        await connection.execute(_TABLE)
        applied = await _applied(connection)
        pending = [migration for migration in _checked(folders, applied) if migration.name not in applied]
        for migration in pending:
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into schema_migration (name, sha256) values ($1, $2)", migration.name, migration.sha256
                )
        return [migration.name for migration in pending]
    finally:
        await connection.close(timeout=5)


async def require_current_schema(pool: asyncpg.Pool, folders: Sequence[Path]) -> None:
    """Raises ``StaleSchema`` (naming the command) or ``ChangedMigration``; newer databases are accepted."""
    service = f"services.{folders[-1].parent.name}"
    async with pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS) as connection:
        if await connection.fetchval("select to_regclass('schema_migration') is null"):
            raise StaleSchema(_advice(service, "no migration was ever applied"))
        applied = await _applied(connection)
    missing = [migration.name for migration in _checked(folders, applied) if migration.name not in applied]
    if missing:
        raise StaleSchema(_advice(service, f"missing: {', '.join(missing)}"))


def _advice(service: str, reason: str) -> str:
    return f"The database schema of {service} is stale ({reason}). Run: python -m shared.migrate {service}"


def _read(folders: Sequence[Path]) -> Iterator[Migration]:
    for folder in folders:
        for file in sorted(folder.glob("[0-9]*.sql")):
            body = file.read_bytes()
            yield Migration(f"{folder.parent.name}/{file.name}", hashlib.sha256(body).hexdigest(), body.decode())


async def _applied(connection: asyncpg.Connection | PoolConnectionProxy) -> dict[str, str]:
    rows = await connection.fetch("select name, sha256 from schema_migration")
    return {row["name"]: row["sha256"] for row in rows}


def _checked(folders: Sequence[Path], applied: dict[str, str]) -> list[Migration]:
    migrations = read_migrations(folders)
    for migration in migrations:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            raise ChangedMigration(
                f"The migration {migration.name} was changed after it was applied. "
                "Restore the file and put the change into a new, higher-numbered one."
            )
    return migrations


def settings_of(service: str) -> ServiceSettings:
    """The settings of a service by its package name, read from the environment. Raises ``ValidationError``."""
    config = importlib.import_module(f"{service}.config")
    for value in vars(config).values():
        if isinstance(value, type) and issubclass(value, ServiceSettings) and value is not ServiceSettings:
            return value()
    raise LookupError(f"{service}.config declares no settings class")


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code. Errors are one plain sentence on stderr."""
    if len(arguments) != 1 or not arguments[0].startswith("services."):
        print("Usage: python -m shared.migrate services.<name>", file=sys.stderr)
        return EX_CONFIG
    service = arguments[0]
    try:
        settings = settings_of(service)
        names = asyncio.run(
            migrate(settings.migration_database_url or settings.database_url, migration_folders(service))
        )
    except ValidationError as error:
        fields = ", ".join(str(part["loc"][0]) for part in error.errors())
        print(f"The settings of {service} are incomplete or wrong: {fields}.", file=sys.stderr)
        return EX_CONFIG
    except (ChangedMigration, LookupError, ImportError) as error:
        print(str(error), file=sys.stderr)
        return EX_CONFIG
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        hint = (
            "The database is not reachable or busy; try again." if is_busy(error) else "Nothing of this file was kept."
        )
        print(f"The migration of {service} failed: {error}. {hint}", file=sys.stderr)
        return EX_CONFIG
    print(f"{service}: " + (f"applied {', '.join(names)}" if names else "the schema is current"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
