"""The whole product as processes: three services and the development issuer on the session's PostgreSQL and Kafka."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.product import Product
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.servers import free_port

SERVICES = ("feedback", "incidents", "reporting")


@pytest.fixture(scope="session")
def issuer_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the development issuer keeps its private keys, so that a test can sign with them."""
    return tmp_path_factory.mktemp("issuer") / "keys.json"


@pytest.fixture(scope="session")
def issuer(issuer_keys: Path) -> Iterator[str]:
    """The address of a running development issuer."""
    port = free_port()
    environment = {"BLITZ_DEV_ISSUER": "1", "ISSUER_PORT": str(port), "ISSUER_KEY_FILE": str(issuer_keys), "PATH": ""}
    process = ServiceProcess("deploy.local.issuer", port, environment, issuer_keys.with_name("issuer.log"))
    process.start().wait_ready()
    yield process.url
    process.kill()


@pytest.fixture
def product(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database], topics: str, issuer: str
) -> Callable[..., Product]:
    """``product(incidents={"FAILPOINT": …})``: all three services started and ready; further variables per service."""

    def start(**environments: Mapping[str, str]) -> Product:
        databases = {name: database(name) for name in SERVICES}
        services = {
            name: service_process(
                name, env={"OIDC_ISSUER": issuer, **environments.get(name, {})}, database_of=databases[name]
            )
            for name in SERVICES
        }
        for process in services.values():
            process.start()
        for process in services.values():
            process.wait_ready()
        return Product(services, databases, topics, issuer)

    return start
