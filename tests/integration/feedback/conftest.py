"""A running feedback service on real PostgreSQL and Kafka, and calls to it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One running service: its process, its database (as superuser) and a client."""

    process: ServiceProcess
    place: Database
    database: asyncpg.Connection
    client: httpx.AsyncClient
    bootstrap_servers: str

    async def report(self, body: Json, *, key: str | None = None, **headers: str) -> httpx.Response:
        """Posts one report."""
        headers = {"Idempotency-Key": key, **headers} if key else headers
        return await self.client.post("/v1/reports", json=body, headers=headers)

    async def lookup(self, receipt: str, **headers: str) -> httpx.Response:
        """Looks a receipt up."""
        return await self.client.post("/v1/receipts/lookup", json={"receipt": receipt}, headers=headers)

    async def count(self, table: str) -> int:
        """Rows of a table."""
        found: int = await self.database.fetchval(f'select count(*) from "{table}"')
        return found


def rating(**fields: Any) -> Json:
    """The shortest valid report."""
    return {"office": "JC-001", "rating": 2} | fields


def new_key() -> str:
    """A fresh idempotency key."""
    return str(uuid4())


@pytest.fixture
async def feedback(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database], topics: str
) -> AsyncIterator[Feedback]:
    """The service, ready."""
    place = database("feedback")
    process = service_process("feedback", database_of=place).start().wait_ready()
    connection = await asyncpg.connect(place.admin_dsn)
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=process.url, timeout=30, limits=limits) as client:
        yield Feedback(process, place, connection, client, topics)
    await connection.close()
