"""The public incidents in memory: every report and every page asks for them, none may wait for the database.

Read again whenever the table has changed; while the database is away, the last known ones stay in force.
"""

import asyncio
import logging
import math
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from services.feedback import store
from services.feedback.domain.incidents import Incident, public_incidents
from shared.postgres import DatabaseBusy, transaction

POLL_SECONDS: Final = 1.0
LOOK_AGAIN_SECONDS: Final = 0.2
"""Strangers can ask for incidents that are not known; however many do, a process reads no more often for them."""

_log = logging.getLogger(__name__)


class PublicIncidents:
    """``current`` is replaced as a whole; whoever renders it may keep the result until it is another tuple."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._known: list[Incident] = []
        self._revision: tuple[int, int] | None = None
        self._changed = asyncio.Event()
        self._looking = asyncio.Lock()
        self._looked_at = -math.inf
        self._last_look_failed = False
        self.current: tuple[Incident, ...] = ()

    def find(self, incident_id: UUID) -> Incident | None:
        """The public incident of this id."""
        return next((incident for incident in self.current if incident.incident_id == incident_id), None)

    def of_service(self, service: str, limit: int) -> tuple[Incident, ...]:
        """The first ``limit`` public incidents of one service, most people affected first."""
        return tuple([incident for incident in self.current if incident.service == service][:limit])

    def hint_change(self) -> None:
        """Makes ``run`` look at once; called by this process's consumer after its commit."""
        self._changed.set()

    async def run(self) -> None:
        """Keeps ``current`` fresh until cancelled; other processes' changes show within ``POLL_SECONDS``."""
        while True:
            self._changed.clear()  # before the table is read: a hint that comes meanwhile leads to another reading
            try:
                await self.refresh(datetime.now(UTC))
            except DatabaseBusy:
                _log.warning("The known incidents could not be read again; the last known ones stay in force")
            except Exception:  # this task must outlive a row it can't read: without it, news would stop for good
                _log.exception("The known incidents could not be read again; the last known ones stay in force")
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_SECONDS)
            except TimeoutError:
                continue

    async def look_again(self, now: datetime) -> None:
        """``refresh`` unless one began within ``LOOK_AGAIN_SECONDS``. Raises ``DatabaseBusy``, as the last one did."""
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS:
                try:
                    await self.refresh(now)
                except DatabaseBusy:
                    self._looked_at = time.monotonic()
                    self._last_look_failed = True
                    raise
            elif self._last_look_failed:
                raise DatabaseBusy("the known incidents could not be read a moment ago")

    async def refresh(self, now: datetime) -> None:
        """Reads the table if it has changed, and lets go what is not public at ``now``. Raises ``DatabaseBusy``."""
        begun = time.monotonic()
        async with transaction(self._pool) as connection:
            revision = await store.measure_incidents(connection)
            if revision != self._revision:
                self._known = await store.list_shown_incidents(connection)
                self._revision = revision
        public = tuple(public_incidents(self._known, now))
        if public != self.current:
            self.current = public
        self._looked_at = begun
        self._last_look_failed = False
