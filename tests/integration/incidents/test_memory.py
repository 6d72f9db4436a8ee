"""The memory of representatives is whole before anybody compares with it, whatever happens at its first filling."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.incidents import store
from shared.postgres import DatabaseBusy
from tests.integration.incidents.conftest import Workshop, report

WORDS = "Kontoauszug hochladen bricht immer mit Fehler ab"
ALIKE = "Kontoauszug hochladen bricht leider immer mit Fehler ab"


async def test_topics_consumed_at_once_wait_for_the_whole_memory(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one batch fills the memory, another one waits, and then finds what the first one has read."""
    known = report(WORDS)
    await workshop.feed(workshop.grouping(), known)
    read, reading, go_on = store.queries.list_representatives, asyncio.Event(), asyncio.Event()

    async def slowly(*values: Any, **named: Any) -> AsyncIterator[Any]:
        reading.set()
        await go_on.wait()
        async for row in read(*values, **named):
            yield row

    monkeypatch.setattr(store.queries, "list_representatives", slowly)
    grouping, alike = workshop.grouping(), report(ALIKE)
    first = asyncio.create_task(workshop.feed(grouping, report("Ganz anderes Thema: der Aufzug steckt fest")))
    await reading.wait()
    second = asyncio.create_task(workshop.feed(grouping, alike))
    done, _ = await asyncio.wait({second}, timeout=0.5)
    go_on.set()
    await asyncio.gather(first, second)
    assert not done
    assert await workshop.incident_of(alike) == await workshop.incident_of(known)


async def test_a_memory_that_could_not_be_read_is_read_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails in the middle of the first filling leaves no empty memory behind."""
    known, alike = report(WORDS), report(ALIKE)
    await workshop.feed(workshop.grouping(), known)
    read = store.queries.list_representatives

    async def fails(*values: Any, **named: Any) -> AsyncIterator[Any]:
        async for row in read(*values, **named):
            yield row
        raise ConnectionResetError("gone")

    grouping = workshop.grouping()
    monkeypatch.setattr(store.queries, "list_representatives", fails)
    with pytest.raises(DatabaseBusy):
        await workshop.feed(grouping, alike)
    monkeypatch.setattr(store.queries, "list_representatives", read)
    await workshop.feed(grouping, alike)
    assert await workshop.incident_of(alike) == await workshop.incident_of(known)
