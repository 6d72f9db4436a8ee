"""The known incidents in memory, as far as no database is needed for it."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from services.feedback import projection, store
from services.feedback.projection import PublicIncidents
from shared.postgres import DatabaseBusy

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class Readings:
    """Stands for the table: counts how often it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.busy = False
        monkeypatch.setattr(projection, "transaction", lambda pool: self)
        monkeypatch.setattr(store, "measure_incidents", self._measure)
        monkeypatch.setattr(store, "list_shown_incidents", self._list)

    async def __aenter__(self) -> None:
        self.number += 1
        await asyncio.sleep(0)
        if self.busy:
            raise DatabaseBusy("away")

    async def __aexit__(self, *_: object) -> None:
        return None

    async def _measure(self, _: object) -> tuple[int, int]:
        return self.number, 0

    async def _list(self, _: object) -> list[object]:
        return []


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    return Readings(monkeypatch)


async def test_strangers_share_one_reading(readings: Readings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred reports that name unknown incidents at once cost one reading; after a while there is another."""
    incidents = PublicIncidents(cast(Any, None))
    await asyncio.gather(*(incidents.look_again(NOW) for _ in range(500)))
    assert readings.number == 1
    monkeypatch.setattr(projection, "LOOK_AGAIN_SECONDS", 0.0)
    await incidents.look_again(NOW)
    assert readings.number == 2


async def test_a_busy_database_is_asked_once_too(readings: Readings, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who wait learn that it is busy, none that the incident does not exist; afterwards it is asked again."""
    incidents = PublicIncidents(cast(Any, None))
    readings.busy = True
    answers = await asyncio.gather(*(incidents.look_again(NOW) for _ in range(50)), return_exceptions=True)
    assert readings.number == 1
    assert {type(answer) for answer in answers} == {DatabaseBusy}
    readings.busy = False
    monkeypatch.setattr(projection, "LOOK_AGAIN_SECONDS", 0.0)
    await incidents.look_again(NOW)
    assert readings.number == 2


async def test_a_hint_during_a_reading_is_not_lost(readings: Readings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while the table is read leads to another reading at once, not after the pause."""
    monkeypatch.setattr(projection, "POLL_SECONDS", 60.0)
    incidents = PublicIncidents(cast(Any, None))
    running = asyncio.create_task(incidents.run())
    async with asyncio.timeout(5):
        while readings.number == 0:
            await asyncio.sleep(0)
        incidents.hint_change()
        while readings.number < 2:
            await asyncio.sleep(0)
    running.cancel()
