"""Background work outlives its errors."""

import asyncio

import pytest

from shared import repeating
from shared.postgres import DatabaseBusy
from shared.repeating import repeat


@pytest.mark.parametrize(
    ("error", "pauses"), [(KeyError("a fault of ours"), [2, 4, 8, 1, 1]), (DatabaseBusy("restarting"), [1, 1, 1, 1, 1])]
)
async def test_no_error_ends_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, pauses: list[float]
) -> None:
    """It goes on after three errors: unexpected ones are logged and back off, a busy database is asked as usual."""
    stop, paused, turns = asyncio.Event(), list[float](), 0

    async def pause(stop: asyncio.Event, seconds: float) -> bool:
        paused.append(seconds)
        return stop.is_set()

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns <= 3:
            raise error
        if turns == 5:
            stop.set()

    monkeypatch.setattr(repeating, "pause", pause)
    await repeat("the test's work", work, stop, 1.0)
    assert paused == pauses
    assert len([line for line in caplog.messages if "the test's work" in line]) == 3


async def test_a_pause_ends_with_the_stop() -> None:
    """Nobody waits for a pause to be over when the process is to end."""
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert await asyncio.wait_for(repeating.pause(stop, 60.0), 5) is True
    assert await repeating.pause(asyncio.Event(), 0.001) is False
