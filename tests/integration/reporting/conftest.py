"""Fixtures of reporting: its tables alone, and the running service with an issuer of tokens."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest

from services.reporting.connections import figures_dsn
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.servers import free_port


@dataclass(frozen=True, slots=True)
class Service:
    """The running service: its process, its broker, its database, and the issuer that it trusts."""

    process: ServiceProcess
    bootstrap_servers: str
    database: Database
    issuer: str

    def token(self, role: str = "quality_manager", offices: str = "*") -> str:
        """A bearer token for this role and these offices."""
        answer = httpx.post(f"{self.issuer}/token", json={"role": role, "offices": offices}, timeout=10)
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def get(self, path: str, *, token: str | None = None) -> httpx.Response:
        """Asks with the token of a quality manager of all offices, unless another one is given."""
        bearer = {"Authorization": f"Bearer {token or self.token()}"}
        return httpx.get(f"{self.process.url}{path}", headers=bearer, timeout=10)

    def metrics(self) -> str:
        """The scrape as Prometheus gets it."""
        return httpx.get(f"{self.process.url}/metrics", timeout=10).raise_for_status().text


@pytest.fixture
async def figures(database: Callable[[str], Database]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to fresh tables, as the service has it; owned, so that a test may empty them."""
    connection = await asyncpg.connect(figures_dsn(database("reporting").owner_dsn))
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The development issuer on a free port; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "ISSUER_PORT": str(port),
        "ISSUER_KEY_FILE": "",
        "OIDC_ISSUER": url,
        "BLITZ_DEV_ISSUER": "1",
    }
    log_file = tmp_path_factory.mktemp("issuer") / "issuer.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.issuer"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_live(url, log_file)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _wait_live(url: str, log_file: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/live", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"the issuer is not there:\n{log_file.read_text()[-2000:]}")


CANARY = """
[offices.JC-CANARY]
name = "An office that is an hour behind the others"
land = "HH"
time_zone = "Atlantic/Canary"
team_size = 9
duty_contact = "duty-jc-canary@office.example"
"""


@pytest.fixture
def service(
    service_process: Callable[..., ServiceProcess],
    database: Callable[[str], Database],
    topics: str,
    issuer: str,
    tmp_path: Path,
) -> Service:
    """The service on fresh tables and empty topics, ready; its catalogue has one office in another time zone."""
    place = database("reporting")
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(Path("deploy/catalogue.toml").read_text() + CANARY)
    environment = {"OIDC_ISSUER": issuer, "CATALOGUE_FILE": str(catalogue)}
    process = service_process("reporting", env=environment, database_of=place)
    process.start().wait_ready()
    return Service(process, topics, place, issuer)
