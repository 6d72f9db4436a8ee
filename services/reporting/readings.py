"""Readings of the figures for HTTP and Prometheus: one typed function per query, nothing is written."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from services.reporting.domain.incident import Measure
from services.reporting.domain.rollup import CAUSES, RATINGS
from services.reporting.questions import Scope
from shared.postgres import load_queries, transaction

_queries = load_queries(Path(__file__).parent / "queries.sql")


@dataclass(frozen=True, slots=True)
class Group:
    """Counts of one group; ``key`` holds the dimensions asked for, a week by its Monday."""

    key: dict[str, str | date]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class DataAsOf:
    """What the figures contain: next offset by topic and partition, and the instant of the newest event in them."""

    read_at: datetime
    newest_event_at: datetime | None
    positions: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Times:
    """``seconds`` are median and 90th percentile, None when nothing was measured; ``open`` have not come so far."""

    n: int
    seconds: tuple[float, float] | None
    open: int


@dataclass(frozen=True, slots=True)
class TimingFigures:
    acknowledge: Times
    fix: Times
    came_back: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All that Prometheus shows, over all times: the small tables."""

    reports: list[dict[str, Any]]
    states: dict[str, int]
    buckets: dict[Measure, dict[float, tuple[int, float]]]
    """n and the sum of seconds of each bucket, by its upper bound; not cumulative."""
    heat: dict[str, int]
    newest: dict[str, datetime]


@asynccontextmanager
async def snapshot(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """A connection on which all readings see the same moment. Raises ``DatabaseBusy``."""
    async with transaction(pool) as conn:
        # Like a batch, it touches the watermark first: the swap of a rebuild locks in that order, and nobody deadlocks.
        await conn.execute(
            "set transaction isolation level repeatable read read only; lock table inbox_watermark in access share mode"
        )
        yield conn


async def get_data_as_of(conn: asyncpg.Connection) -> DataAsOf:
    row = await _queries.get_data_as_of(conn)
    return DataAsOf(row["read_at"], row["newest_at"], row["positions"])


async def list_satisfaction(conn: asyncpg.Connection, scope: Scope, max_groups: int) -> list[Group]:
    """Ratings by group; at most ``max_groups``."""
    rows = _queries.list_satisfaction(conn, **_parameters(scope), max_groups=max_groups)
    return [_group(row, scope, [f"rating_{rating}" for rating in RATINGS]) async for row in rows]


async def list_causes(conn: asyncpg.Connection, scope: Scope, max_groups: int) -> list[Group]:
    """Complaints by cause in force and group; at most ``max_groups``."""
    rows = _queries.list_causes(conn, **_parameters(scope), max_groups=max_groups)
    return [_group(row, scope, [cause.value for cause in CAUSES]) async for row in rows]


async def get_timings(conn: asyncpg.Connection, scope: Scope) -> TimingFigures:
    row = await _queries.get_timings(conn, from_at=scope.from_at, to_at=scope.to_at, offices=scope.offices)
    return TimingFigures(
        acknowledge=Times(row["acknowledged"], _pair(row["acknowledge_seconds"]), row["waiting"]),
        fix=Times(row["fixed"], _pair(row["fix_seconds"]), row["unfixed"]),
        came_back=row["came_back"],
    )


async def get_totals(conn: asyncpg.Connection) -> Totals:
    buckets: dict[Measure, dict[float, tuple[int, float]]] = {measure: {} for measure in Measure}
    async for row in _queries.list_timing_buckets(conn):
        buckets[Measure(row["measure"])][row["le_seconds"]] = (row["n"], float(row["microseconds"]) / 1e6)
    return Totals(
        reports=[dict(row) async for row in _queries.list_totals(conn)],
        states={row["state"]: row["n"] async for row in _queries.list_incident_states(conn)},
        buckets=buckets,
        heat={row["service"]: row["n"] async for row in _queries.list_heat(conn)},
        newest={row["topic"]: row["newest_at"] async for row in _queries.list_freshness(conn)},
    )


def _parameters(scope: Scope) -> dict[str, Any]:
    return {
        **{f"by_{dimension}": dimension in scope.by for dimension in ("office", "service", "channel", "lang", "week")},
        "from_day": scope.from_day,
        "to_day": scope.to_day,
        "offices": scope.offices,
        "services": scope.services,
        "channels": scope.channels,
        "langs": scope.langs,
    }


def _group(row: asyncpg.Record, scope: Scope, columns: list[str]) -> Group:
    return Group({name: row[name] for name in scope.by}, {column: row[column] for column in columns})


def _pair(values: list[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])
