"""A database, the grouping without Kafka in front of it, signals to feed it with, and the whole running service."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.incidents import wire
from services.incidents.domain.model import IncidentId, Signal, SignalId, SignalKind
from services.incidents.grouping.handlers import SignalGrouping
from services.incidents.grouping.memory import Representatives
from services.incidents.metrics import GroupingMetrics
from shared.catalogue import CatalogueFile
from shared.events import ErrorReportedV1, FeedbackWordedV1, Frame
from shared.events.vocabulary import Cause, Driver, Kind, Language
from shared.postgres import open_pool, transaction
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.servers import free_port
from tests.integration.incidents.running import Service

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@dataclass
class Workshop:
    """One database and as many groupings as a test wants: each is what one process would hold."""

    pool: asyncpg.Pool
    clock: Clock

    def grouping(self) -> SignalGrouping:
        catalogue = CatalogueFile(Path("deploy/catalogue.toml"))
        return SignalGrouping(catalogue, Representatives(), GroupingMetrics(CollectorRegistry()), self.clock)

    async def feed(self, grouping: SignalGrouping, *signals: Signal) -> None:
        """One batch, committed."""
        async with transaction(self.pool) as connection:
            after_commit = await grouping.take_in(connection, signals)
        after_commit()

    async def rows(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        async with self.pool.acquire() as connection:
            return list(await connection.fetch(statement, *values))

    async def incident_of(self, signal: Signal) -> IncidentId | None:
        rows = await self.rows("select incident_id from signal where id = $1", signal.id)
        return IncidentId(rows[0]["incident_id"]) if rows and rows[0]["incident_id"] else None


@pytest.fixture
async def workshop(database: Callable[[str], Database]) -> AsyncIterator[Workshop]:
    """A migrated database of incidents with the rights of the running service."""
    pool = await open_pool(database("incidents").app_dsn, size=6, application_name="test")
    yield Workshop(pool, Clock())
    await pool.close()


def report(text: str, **changes: object) -> Signal:
    """A complaint with these words."""
    facts: dict[str, object] = {
        "report_id": uuid4(),
        "text": text,
        "office": "JC-001",
        "service": "document-upload",
        "lang": Language.DE,
        "kind": Kind.COMPLAINT,
        "drivers": (Driver.IT_ONLINE,),
        "cause": Cause.UNCLEAR,
        "blames_person": False,
        "joins_incident": None,
        "submitted_at": NOW,
    }
    event = FeedbackWordedV1.model_validate(facts | changes)
    return wire.signal_of_report(event, received_at=event.submitted_at, traceparent=TRACEPARENT)


def error(function: str = "store", **changes: object) -> Signal:
    """A technical error in that function."""
    facts: dict[str, object] = {
        "error_id": uuid4(),
        "event_id": uuid4().hex,
        "project": "1",
        "service": "document-upload",
        "office": None,
        "type": "TimeoutError",
        "message": f"no answer from 10.0.0.{uuid4().int % 250} after {uuid4().int % 9000} ms",
        "frames": (Frame(module="upload.documents", function=function, in_app=True),),
        "fingerprint": (),
        "level": "error",
        "platform": "python",
        "release": None,
        "environment": None,
        "transaction": None,
        "trace_id": None,
        "at": NOW,
        "received_at": NOW,
    }
    event = ErrorReportedV1.model_validate(facts | changes)
    return wire.signal_of_error(event, received_at=event.received_at, traceparent=None)


def heat(at: datetime = NOW, office: str = "JC-001", joins: IncidentId | None = None) -> Signal:
    """A press of the heat button."""
    service = "document-upload"
    return Signal(
        id=SignalId(wire.heat_id(office, service, at)),
        kind=SignalKind.HEAT,
        source_id=str(uuid4()),
        at=at,
        received_at=at,
        service=service,
        office=office,
        group=wire.group_key(SignalKind.HEAT, service, service),
        joins=joins,
    )


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The development issuer on a free port; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {"ISSUER_PORT": str(port), "ISSUER_KEY_FILE": "", "OIDC_ISSUER": url, "BLITZ_DEV_ISSUER": "1"}
    log_file = tmp_path_factory.mktemp("issuer") / "issuer.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.issuer"], env={**os.environ, **own}, stdout=log, stderr=log
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


@pytest.fixture
def service(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database], topics: str, issuer: str
) -> Service:
    """The service on fresh tables and empty topics, ready."""
    place = database("incidents")
    process = service_process("incidents", env={"OIDC_ISSUER": issuer}, database_of=place)
    process.start().wait_ready()
    return Service(process, topics, place, issuer)
