"""Fixtures of all tests. Unit tests cannot reach infrastructure: asking for a server there is an error."""

from pathlib import Path

import pytest

from tests.fixtures.broker import topics
from tests.fixtures.databases import database, database_templates
from tests.fixtures.processes import service_process
from tests.fixtures.servers import kafka_server, postgres_server

__all__ = ["database", "database_templates", "kafka_server", "postgres_server", "service_process", "topics"]

_SERVERS = {"postgres_server", "kafka_server"}
_UNIT = Path(__file__).parent / "unit"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses unit tests that want a server."""
    for item in items:
        wanted = _SERVERS.intersection(getattr(item, "fixturenames", ()))
        if wanted and item.path.is_relative_to(_UNIT) and item.path.parent.name != "deploy":
            raise pytest.UsageError(f"{item.nodeid} is a unit test and wants {', '.join(sorted(wanted))}")
