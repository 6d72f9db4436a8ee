"""Work that repeats in the background until it is told to stop. No error ends it: the process would only look whole."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from shared.postgres import is_busy

LONGEST_PAUSE_SECONDS = 60.0

_log = logging.getLogger(__name__)


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Waits so long, or until ``stop``; returns whether it is time to stop."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()


async def repeat(name: str, work: Callable[[], Awaitable[object]], stop: asyncio.Event, seconds: float) -> None:
    """Runs ``work`` at once and then after every pause of ``seconds`` until ``stop``; ``name`` is for the log.

    A busy database is asked again at the next turn. After an unexpected error the pause doubles, from turn to turn.
    """
    pausing = seconds
    while not stop.is_set():
        try:
            await work()
            pausing = seconds
        except Exception as error:
            if is_busy(error):
                _log.warning("%s waits for the database: %s", name, type(error).__name__)
                pausing = seconds
            else:
                pausing = min(pausing * 2, max(seconds, LONGEST_PAUSE_SECONDS))
                _log.exception("%s failed; again in %.1f s", name, pausing)
        await pause(stop, pausing)
