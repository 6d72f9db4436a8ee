"""Fixtures of reporting: its database alone, for the SQL; the other fixtures are those of all tests."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from services.reporting.connections import figures_dsn
from tests.fixtures.databases import Database


@pytest.fixture
async def figures(database: Callable[[str], Database]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to fresh tables, as the service has it; owned, so that a test may empty them."""
    connection = await asyncpg.connect(figures_dsn(database("reporting").owner_dsn))
    yield connection
    await connection.close()
