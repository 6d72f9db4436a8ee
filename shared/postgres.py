"""PostgreSQL: pools that notice a dead server, transactions that say "busy" once, queries loaded by name.

Only whole idempotent units may be retried after ``DatabaseBusy``: the commit may have happened before it was lost.
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiosql
import asyncpg

COMMAND_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0

SERVER_SETTINGS: Mapping[str, str] = {
    "statement_timeout": "15s",
    # A stopped process must not keep its row locks: the server ends its transaction.
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "5s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
}

_BUSY: tuple[type[BaseException], ...] = (
    ConnectionError,
    TimeoutError,
    socket.gaierror,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,  # class 53: disk full, out of memory, too many connections
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that has not been promoted yet
    asyncpg.exceptions.DatabaseDroppedError,
    # After a migration the plans of a session may be out of date: asyncpg has just thrown them away, once is enough.
    asyncpg.exceptions.InvalidCachedStatementError,
    asyncpg.exceptions.OutdatedSchemaCacheError,
    asyncpg.exceptions.PostgresSystemError,  # class 58: the server's operating system failed it
)
_BUSY_INTERFACE_WORDS = ("connection is closed", "connection was closed", "pool is clos", "been released back")
_BUSY_OS_ERRNOS = frozenset({101, 110, 111, 112, 113, 32, 104})  # network unreachable … broken pipe, reset


class DatabaseBusy(Exception):
    """Restarting, refused, reset, timed out, deadlocked, pool exhausted: worth a retry of the whole unit."""


def is_busy(error: BaseException) -> bool:
    """Whether the same work may succeed later without any change to it."""
    if isinstance(error, (DatabaseBusy, *_BUSY)):
        return True
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        text = str(error).lower()
        return any(words in text for words in _BUSY_INTERFACE_WORDS)
    return isinstance(error, OSError) and error.errno in _BUSY_OS_ERRNOS


async def connect(dsn: str, *, application_name: str, settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
    """One connection with the timeouts and keepalives of the pools. Raises what asyncpg raises.

    ``settings``: further settings of the server's session.
    """
    connection: asyncpg.Connection = await asyncpg.connect(
        dsn,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={**SERVER_SETTINGS, "application_name": application_name, **(settings or {})},
    )
    _keep_alive(connection)
    await _set_codecs(connection)
    return connection


async def open_pool(dsn: str, *, size: int, application_name: str) -> asyncpg.Pool:
    """A pool of up to ``size`` connections; jsonb is plain Python data.

    Raises what asyncpg raises when the server is not there; ``is_busy`` tells whether waiting helps.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=min(2, size),
        max_size=size,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=300.0,
        server_settings={**SERVER_SETTINGS, "application_name": application_name},
        connect=_connect_kept_alive,
        init=_set_codecs,
    )


@asynccontextmanager
async def transaction(pool: asyncpg.Pool, *, acquire_seconds: float = 2.0) -> AsyncIterator[asyncpg.Connection]:
    """A connection inside a transaction: commits at the end, rolls back on an error.

    Raises ``DatabaseBusy`` for everything that ``is_busy`` accepts, all other errors as they are.
    """
    try:
        async with pool.acquire(timeout=acquire_seconds) as connection, connection.transaction():
            yield cast(asyncpg.Connection, connection)
    except DatabaseBusy:
        raise
    except Exception as error:
        if is_busy(error):
            raise DatabaseBusy(f"{type(error).__name__}: {error}") from error
        raise


def load_queries(path: Path) -> Any:
    """The named queries of one ``queries.sql`` as functions of a connection and named arguments.

    ``name^`` awaits one row, ``name$`` one value, ``name!`` the status; a plain ``name`` is an async iterator.
    """
    return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)


def with_jitter(seconds: float) -> float:
    """Between a half and the whole of a back-off, so that those who failed together do not return together."""
    return seconds * (0.5 + random.random() / 2)  # noqa: S311 - no secret


async def _connect_kept_alive(*args: Any, **options: Any) -> asyncpg.Connection:
    connection: asyncpg.Connection = await asyncpg.connect(*args, **options)
    _keep_alive(connection)
    return connection


def _keep_alive(connection: asyncpg.Connection) -> None:
    """asyncpg has no option for client keepalives (its issue 606), so the socket is asked for by its transport."""
    transport: asyncio.Transport | None = getattr(connection, "_transport", None)
    raw = transport.get_extra_info("socket") if transport is not None else None
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)


async def _set_codecs(connection: Any) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_encode_json, decoder=json.loads)


def _encode_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
