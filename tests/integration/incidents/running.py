"""The running service of a test: its process, its broker, its database, and the issuer that it trusts."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer

from shared.events import Envelope, Event, EventId
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess

SENTRY_KEY = "4f1c0b9e6a7d4d0c8b2e5a3f7c9d1e60"
ENVELOPE_PATH = f"/api/1/envelope/?sentry_key={SENTRY_KEY}"


@dataclass(frozen=True, slots=True)
class Service:
    """Speaks to the service as the roles of the contract do."""

    process: ServiceProcess
    bootstrap_servers: str
    database: Database
    issuer: str

    def token(self, role: str, offices: str = "*") -> str:
        """A bearer token for this role and these offices."""
        answer = httpx.post(f"{self.issuer}/token", json={"role": role, "offices": offices}, timeout=10)
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def call(
        self,
        method: str,
        path: str,
        *,
        role: str | None = "quality_manager",
        offices: str = "*",
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """One request with a token of this role; without one when ``role`` is None."""
        sent = dict(headers or {})
        if role is not None:
            sent["Authorization"] = f"Bearer {self.token(role, offices)}"
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        return httpx.request(method, f"{self.process.url}{path}", headers=sent, json=json, content=content, timeout=20)

    def incidents(self, query: str = "?state=any", role: str = "quality_manager", offices: str = "*") -> list[Any]:
        """The items of the list."""
        items: list[Any] = self.call("GET", f"/v1/incidents{query}", role=role, offices=offices).json()["items"]
        return items

    def wait_incidents(
        self, until: Callable[[list[Any]], bool], query: str = "?state=any", within: float = 20.0
    ) -> list[Any]:
        """Asks until the list satisfies ``until``."""
        deadline = time.monotonic() + within
        while not until(found := self.incidents(query)):
            assert time.monotonic() < deadline, f"last: {found}\n{self.process.log()[-2000:]}"
            time.sleep(0.1)
        return found

    def metric(self, series: str) -> float:
        """The value of one series; 0 when it is not there yet."""
        text = httpx.get(f"{self.process.url}/metrics", timeout=10).raise_for_status().text
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series)), 0.0)


async def send(bootstrap_servers: str, events: Sequence[tuple[EventId, Event]]) -> None:
    """Puts events on their topics as another service's relay would."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True)
    await producer.start()
    try:
        for event_id, event in events:
            envelope = Envelope.model_validate(
                {
                    "id": event_id,
                    "type": event.topic,
                    "source": "feedback",
                    "time": "2026-11-02T08:00:00Z",
                    "subject": event.key(),
                }
            )
            body = event.model_dump_json().encode()
            await producer.send(event.topic, body, key=event.key().encode(), headers=envelope.to_headers())
        await producer.flush()
    finally:
        await producer.stop()
