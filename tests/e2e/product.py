"""The running product as the end-to-end tests see it: calls by the contract, and a check that all stores agree."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx

from shared.events import EVENTS
from tests.fixtures.broker import read_topic
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.waiting import eventually

Json = dict[str, Any]
TEXTS = (
    "Der Upload der Unterlagen bricht immer bei der Hälfte ab.",
    "Mein Bescheid ist seit vier Wochen nicht angekommen.",
    "The payment for this month never arrived in my account.",
    "Belge yükleme sayfası her seferinde hata veriyor.",
)
TOPICS = tuple(event_type.topic for event_type in EVENTS)
# Instants of processing differ between two deliveries; what is told by them does not.
TABLES: Mapping[str, Sequence[str]] = {
    "feedback": (
        "select * from report order by report_id",
        "select * from report_link order by report_id",
        "select * from incident_projection order by incident_id",
    ),
    "incidents": (
        "select * from signal order by id",
        "select * from signal_group order by id",
        "select * from decision order by sequence",
        "select * from incident order by id",
    ),
    "reporting": (
        "select * from figures.fact_report order by report_id",
        "select * from figures.fact_link order by report_id",
        "select * from figures.fact_incident order by incident_id",
        "select * from figures.rollup_day order by 1, 2, 3, 4, 5, 6",
        "select * from figures.rollup_total order by 1, 2, 3",
        "select * from figures.fact_heat order by heat_id",
        "select * from figures.rollup_heat order by service",
        "select * from figures.rollup_incident order by state",
        "select * from figures.rollup_timing order by measure, le_seconds",
    ),
}


def complaint(number: int = 0, **fields: Any) -> Json:
    """A valid body; different texts by number."""
    body = {"office": f"JC-{1 + number % 12:03d}", "service": "document-upload", "lang": "de", "kind": "complaint"}
    return body | {"text": f"{TEXTS[number % len(TEXTS)]} Vorgang {number}"} | fields


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a client got for a report."""

    report_id: str
    receipt: str


@dataclass(frozen=True, slots=True)
class Product:
    """Three services, their databases, the broker and the issuer."""

    services: dict[str, ServiceProcess]
    databases: dict[str, Database]
    bootstrap_servers: str
    issuer: str

    def url(self, service: str, path: str) -> str:
        """The address of a route."""
        return f"{self.services[service].url}{path}"

    async def token(self, role: str) -> str:
        """A token of the development issuer."""
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{self.issuer}/token", json={"role": role})
            answer.raise_for_status()
            token: str = answer.json()["access_token"]
            return token

    async def submit(self, client: httpx.AsyncClient, body: Json, *, key: str | None = None) -> Accepted:
        """Posts until the report is accepted, with one idempotency key over all tries, as a good client does."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        async with asyncio.timeout(90):
            while True:
                try:
                    answer = await client.post(self.url("feedback", "/v1/reports"), json=body, headers=headers)
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 202:
                    return Accepted(answer.json()["report_id"], answer.json()["receipt"])
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) >= 1
                await asyncio.sleep(0.1)

    async def submit_all(self, bodies: Sequence[Json], *, at_once: int = 20) -> list[Accepted]:
        """Posts all, some at the same moment."""
        gate = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=at_once)) as client:

            async def one(body: Json) -> Accepted:
                async with gate:
                    return await self.submit(client, body)

            return list(await asyncio.gather(*(one(body) for body in bodies)))

    async def rows(self, service: str, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Reads a service's database as superuser."""
        connection = await asyncpg.connect(self.databases[service].admin_dsn)
        try:
            found: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return found
        finally:
            await connection.close()

    async def execute(self, service: str, statement: str) -> None:
        """Changes a service's database as superuser."""
        await self.rows(service, statement)

    async def snapshot(self, service: str) -> dict[str, list[tuple[Any, ...]]]:
        """All business rows of a service."""
        return {query: [tuple(row) for row in await self.rows(service, query)] for query in TABLES[service]}

    async def snapshots(self) -> dict[str, dict[str, list[tuple[Any, ...]]]]:
        """All business rows of all services."""
        return {service: await self.snapshot(service) for service in TABLES}

    async def report_errors(self, count: int) -> None:
        """Reports that many technical errors of one kind."""
        errors = [
            {
                "event_id": f"{number:032x}",
                "service": "document-upload",
                "message": f"Upload {number} timed out",
                "type": "TimeoutError",
                "frames": [{"module": "upload.storage", "function": "store", "in_app": True}],
                "level": "error",
                "at": datetime.now(UTC).isoformat(),
            }
            for number in range(count)
        ]
        answer = await self._post_as("integration", "/v1/errors", errors)
        assert answer["accepted"] == count, answer

    async def press_heat(self, count: int) -> None:
        """One press each in that many offices."""
        for number in range(count):
            body = {"office": f"JC-{1 + number:03d}", "service": "document-upload", "topic": "Upload"}
            answer = await self._post_as("frontline", "/v1/heat", body)
            assert answer["counted"], answer

    async def _post_as(self, role: str, path: str, body: object) -> Json:
        async with httpx.AsyncClient(timeout=10) as client:
            headers = {"Authorization": f"Bearer {await self.token(role)}"}
            answer = await client.post(self.url("incidents", path), json=body, headers=headers)
            assert answer.status_code == 202, answer.text
            document: Json = answer.json()
            return document

    async def settled(self, reports: int, *, errors: int = 0, heat: int = 0, within: float = 60.0) -> None:
        """Waits until all of them are in all services, every link has come back and every outbox is empty."""

        async def state() -> tuple[int, ...]:
            counts = [
                (await self.rows("incidents", "select count(*) from signal where kind = 'report'"))[0][0],
                (await self.rows("reporting", "select count(*) from figures.fact_report"))[0][0],
                (await self.rows("reporting", "select count(*) from figures.fact_link"))[0][0],
                (await self.rows("feedback", "select count(*) from report_link"))[0][0],
                (await self.rows("incidents", "select count(*) from signal where kind = 'error'"))[0][0],
                (await self.rows("incidents", "select count(*) from signal where kind = 'heat'"))[0][0],
                (await self.rows("reporting", "select count(*) from figures.fact_heat"))[0][0],
            ]
            waiting = [(await self.rows(service, "select count(*) from outbox"))[0][0] for service in self.services]
            waiting.append((await self.rows("incidents", "select count(*) from incident where pending"))[0][0])
            return (*counts, *waiting)

        expected = (*(reports,) * 4, errors, heat, heat, *(0,) * (len(self.services) + 1))
        await eventually(state, until=lambda found: found == expected, within=within, what=f"{expected} of everything")

    async def assert_each_once(self, accepted: Sequence[Accepted]) -> None:
        """Every accepted report exists exactly once in every store, nothing else does, and the sums agree."""
        ids = sorted(UUID(one.report_id) for one in accepted)
        assert len({one.receipt for one in accepted}) == len(accepted)
        queries = {
            "feedback": "select report_id from report",
            "incidents": "select source_id::uuid from signal where kind = 'report'",
            "reporting": "select report_id from figures.fact_report",
        }
        for service, query in queries.items():
            assert sorted(UUID(str(row[0])) for row in await self.rows(service, query)) == ids, service
        linked = await self.rows("incidents", "select sum(count_report) from incident")
        assert linked[0][0] == len(ids)
        for table in ("rollup_day", "rollup_total"):
            assert (await self.rows("reporting", f"select sum(n) from figures.{table}"))[0][0] == len(ids), table

    async def assert_no_dead_letters(self) -> None:
        """Nothing was refused on the way."""
        for topic in TOPICS:
            assert not await read_topic(self.bootstrap_servers, f"{topic}.dlq"), topic

    async def event_ids(self, topic: str) -> Counter[str]:
        """How often each event id stands on a topic."""
        records = await read_topic(self.bootstrap_servers, topic)
        return Counter(dict(record.headers)["ce_id"].decode() for record in records)


def log_lines(process: ServiceProcess) -> list[Json]:
    """The JSON lines that a service has written."""
    return [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
