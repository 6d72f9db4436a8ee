"""A stack of its own for the measurements: PostgreSQL, Kafka and the three services on free ports."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.kafka import Kafka, create_topics
from deploy.local.postgres import Postgres, provision
from tests.fixtures.servers import free_port

SERVICES = ("feedback", "incidents", "reporting")
READY_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Stack:
    """Addresses without a trailing slash; ``reporting_dsn`` reads what the whole way has brought."""

    urls: dict[str, str]
    reporting_dsn: str
    admin_dsn: str
    token: str


@contextmanager
def process(module: str, environment: dict[str, str], log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m module`` until the block ends, then SIGTERM, then SIGKILL."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=out,
            stderr=out,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for(url: str, log: Path, seconds: float = READY_SECONDS) -> None:
    """Returns when ``url`` answers, if with a refusal. Raises ``RuntimeError`` with the end of the log."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=2, trust_env=False).status_code < 500:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} is not ready after {seconds:.0f} s:\n{log.read_text()[-1500:]}")


@contextmanager
def running_stack(services: Sequence[str]) -> Iterator[Stack]:
    """Starts PostgreSQL, Kafka, the issuer and these services, yields, stops everything."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="blitz-bench-")))
        postgres = Postgres(folder / "postgres", free_port(), folder / "postgres.log")
        kafka = Kafka(folder / "kafka", free_port(), free_port(), folder / "kafka.log")
        held.callback(postgres.remove)
        postgres.start()
        held.callback(postgres.stop)
        kafka.start()
        held.callback(kafka.stop)
        create_topics(kafka.bootstrap_servers, Path("deploy/kafka/topics.toml"))
        databases = provision(postgres.admin_dsn, SERVICES)

        issuer_port = free_port()
        issuer = f"http://127.0.0.1:{issuer_port}"
        common = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "OIDC_ISSUER": issuer, "LOG_LEVEL": "WARNING"}
        log = folder / "issuer.log"
        held.enter_context(
            process("deploy.local.issuer", {"BLITZ_DEV_ISSUER": "1", "ISSUER_PORT": str(issuer_port)}, log)
        )
        wait_for(f"{issuer}/.well-known/openid-configuration", log)

        urls = {}
        for name in services:
            prefix, port = name.upper(), free_port()
            environment = common | {
                f"{prefix}_PORT": str(port),
                f"{prefix}_DATABASE_URL": databases[name].app_dsn,
                f"{prefix}_MIGRATION_DATABASE_URL": databases[name].owner_dsn,
                "FEEDBACK_RECEIPT_KEY": secrets.token_hex(32),
            }
            subprocess.run(
                [sys.executable, "-m", "shared.migrate", f"services.{name}"],
                env={**os.environ, **environment},
                check=True,
                stdout=subprocess.DEVNULL,
            )
            log = folder / f"{name}.log"
            held.enter_context(process(f"services.{name}", environment, log))
            urls[name] = f"http://127.0.0.1:{port}"
            wait_for(f"{urls[name]}/health/ready", log)
        answer = httpx.post(f"{issuer}/token", json={"role": "integration"}, trust_env=False)
        answer.raise_for_status()
        yield Stack(urls, databases["reporting"].owner_dsn, postgres.admin_dsn, answer.json()["access_token"])
