"""Wrong tokens on every route that needs one, a stale schema, and clean metrics: all three real services."""

import shutil
import subprocess
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.product import Json, Product
from tests.fixtures.databases import Database, execute, run_apart
from tests.fixtures.processes import ServiceProcess

EX_CONFIG = 78
UNSIGNED = (
    "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    ".eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xIiwicm9sZXMiOlsiYWRtaW4iXSwiZXhwIjo0MTAyNDQ0ODAwfQ."
)


def _protected(document: Json) -> list[tuple[str, str]]:
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("security")
    ]


async def test_wrong_tokens_on_every_route(product: Callable[..., Product]) -> None:
    """No token, rubbish, an unsigned one and one with a broken signature are refused on every protected route."""
    running = product()
    good = await running.token("admin")
    header, payload, signature = good.split(".")
    broken = ".".join((header, payload, signature[:-6] + ("AAAAAA" if not signature.endswith("AAAAAA") else "BBBBBB")))
    checked = 0
    async with httpx.AsyncClient(timeout=10) as client:
        for service in running.services:
            document = (await client.get(running.url(service, "/openapi.json"))).json()
            for method, path in _protected(document):
                for token in (None, "rubbish", UNSIGNED, broken):
                    headers = {"Authorization": f"Bearer {token}"} if token else {}
                    answer = await client.request(method, running.url(service, path), headers=headers, json={})
                    assert answer.status_code == 401, (service, method, path, token, answer.text)
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert "bearer" in answer.headers["www-authenticate"].lower()
                    checked += 1
    assert checked >= 4 * 10


@pytest.mark.parametrize("service", ["feedback", "incidents", "reporting"])
def test_stale_schema(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database], service: str
) -> None:
    """A service whose database lacks a migration refuses to start and says what to run."""
    place = database(service)
    process = service_process(service, env={"OIDC_ISSUER": "http://127.0.0.1:9"}, database_of=place)
    _forget_last_migration(place)
    assert process.start().wait_exit() == EX_CONFIG
    assert f"python -m shared.migrate services.{service}" in process.log()


def _forget_last_migration(place: Database) -> None:
    newest = "(select name from schema_migration order by applied_at desc, name desc limit 1)"
    run_apart(execute(place.admin_dsn, f"delete from schema_migration where name = {newest}"))


@pytest.mark.skipif(not shutil.which("promtool"), reason="apt-get install prometheus (for promtool)")
async def test_metrics_are_clean(product: Callable[..., Product]) -> None:
    """``promtool check metrics`` finds nothing in any service."""
    running = product()
    for service in running.services:
        metrics = httpx.get(running.url(service, "/metrics"))
        assert metrics.status_code == 200
        check = subprocess.run(
            ["promtool", "check", "metrics"], input=metrics.content, capture_output=True, check=False
        )
        assert (check.returncode, check.stdout, check.stderr) == (0, b"", b""), service
