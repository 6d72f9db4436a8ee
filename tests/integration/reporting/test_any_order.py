"""The tables are a function of the set of events: order, repetition and batch borders do not matter."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.reporting import handlers
from shared.batches import Received
from shared.events import Event, FeedbackSubmittedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1
from tests.integration.reporting.streams import PROJECTIONS, dump, random_stream, recompute, rows_of

ZONES: dict[str, tzinfo] = {"JC-CANARY": ZoneInfo("Atlantic/Canary")}


async def apply(conn: asyncpg.Connection, stream: Sequence[Received[Any]], draw: random.Random) -> None:
    """Hands the stream to the service in batches of one topic, in its order, each in a transaction."""
    waiting: defaultdict[type[Event], list[Received[Any]]] = defaultdict(list)
    for entry in stream:
        kind = type(entry.event)
        waiting[kind].append(entry)
        if draw.random() < 0.3:
            await _handle(conn, kind, waiting.pop(kind))
    for kind in draw.sample(list(waiting), len(waiting)):
        await _handle(conn, kind, waiting[kind])


async def _handle(conn: asyncpg.Connection, kind: type[Event], batch: list[Received[Any]]) -> None:
    async with conn.transaction():
        if kind is FeedbackSubmittedV1:
            await handlers.on_feedback_submitted(conn, batch, ZONES)
        elif kind is SignalLinkedV1:
            await handlers.on_signal_linked(conn, batch)
        elif kind is IncidentChangedV1:
            await handlers.on_incident_changed(conn, batch)
        elif kind is HeatReportedV1:
            await handlers.on_heat_reported(conn, batch)


async def empty(conn: asyncpg.Connection) -> None:
    await conn.execute(f"truncate {', '.join(PROJECTIONS)}")


@pytest.mark.parametrize("seed", range(12))
async def test_shuffled_and_repeated_streams_give_the_tables_of_the_natural_order(
    figures: asyncpg.Connection, seed: int
) -> None:
    """A random history, shuffled and with every event up to three times, ends in the same rows of every table, and its
    rollups are those of a naive recomputation."""
    draw = random.Random(seed)
    stream = random_stream(seed)
    await apply(figures, stream, draw)
    natural = await dump(figures)
    naive = recompute(stream)
    for table, rows in naive.items():
        assert rows_of(natural[table]) == rows_of(rows), table
    for _ in range(3):
        await empty(figures)
        shuffled = [entry for entry in stream for _ in range(draw.randrange(1, 4))]
        draw.shuffle(shuffled)
        await apply(figures, shuffled, draw)
        again = await dump(figures)
        for table in PROJECTIONS:
            assert again[table] == natural[table], table


async def test_delivering_everything_again_moves_nothing(figures: asyncpg.Connection) -> None:
    """A second pass over the same events writes no row of any figure."""
    stream = random_stream(99)
    await apply(figures, stream, random.Random(1))
    before = await dump(figures)
    await apply(figures, stream, random.Random(2))
    assert await dump(figures) == before


def test_the_streams_reach_what_they_are_for() -> None:
    """The random histories hold merges in chains, reports moved by an incident, and links before their report."""
    stream = random_stream(0) + random_stream(1)
    states = {entry.event.state.value for entry in stream if isinstance(entry.event, IncidentChangedV1)}
    assert {"merged", "confirmed", "fixed", "regressed", "rejected"} <= states
    moved = [
        entry.event for entry in stream if isinstance(entry.event, SignalLinkedV1) and entry.event.link_version > 1
    ]
    assert moved
    assert any(event.incident is None for event in moved)
    merged = {
        entry.event.incident_id: entry.event.merged_into
        for entry in stream
        if isinstance(entry.event, IncidentChangedV1) and entry.event.merged_into
    }
    assert any(isinstance(target, UUID) and target in merged for target in merged.values())
