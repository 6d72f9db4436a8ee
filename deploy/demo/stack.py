"""The running stack as the demonstration sees it: three addresses, three tokens, a few calls."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

SETTLE_SECONDS = 60.0
Json = dict[str, Any]


class StackUnreachable(Exception):
    """A part of the stack does not answer as it should; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Addresses without a trailing slash, and a token for each role that the demonstration plays."""

    client: httpx.AsyncClient
    feedback: str
    incidents: str
    reporting: str
    quality_manager: str
    frontline: str
    integration: str

    @classmethod
    async def open(cls, client: httpx.AsyncClient, environment: Mapping[str, str]) -> "Stack":
        """Reads the addresses from ``FEEDBACK_URL`` …, takes tokens from the development issuer.

        Raises ``StackUnreachable`` when the issuer hands out none.
        """
        issuer = environment.get("OIDC_ISSUER", "http://127.0.0.1:8009")
        tokens = {}
        for role in ("quality_manager", "frontline", "integration"):
            try:
                answer = await client.post(f"{issuer}/token", json={"role": role})
                answer.raise_for_status()
            except httpx.HTTPError as error:
                raise StackUnreachable(
                    f"No token from {issuer} ({error}). The demo needs the development issuer of `make run`."
                ) from error
            tokens[role] = answer.json()["access_token"]
        return cls(
            client,
            environment.get("FEEDBACK_URL", "http://127.0.0.1:8001"),
            environment.get("INCIDENTS_URL", "http://127.0.0.1:8002"),
            environment.get("REPORTING_URL", "http://127.0.0.1:8003"),
            **tokens,
        )

    async def post(self, url: str, body: object, token: str, *, allow: tuple[int, ...] = ()) -> httpx.Response:
        """Posts JSON. Raises ``StackUnreachable`` on a refusal that ``allow`` does not name."""
        answer = await self.client.post(url, json=body, headers={"Authorization": f"Bearer {token}"})
        if answer.is_error and answer.status_code not in allow:
            raise StackUnreachable(f"POST {url} answered {answer.status_code}: {answer.text[:300]}")
        return answer

    async def get(self, url: str, **params: str) -> Json:
        """Reads JSON as the quality manager."""
        headers = {"Authorization": f"Bearer {self.quality_manager}"}
        answer = await self.client.get(url, params=params, headers=headers)
        if answer.is_error:
            raise StackUnreachable(f"GET {url} answered {answer.status_code}: {answer.text[:300]}")
        found: Json = answer.json()
        return found

    async def all_incidents(self, **params: str) -> AsyncIterator[Json]:
        """Every incident that the filter names, page after page."""
        cursor: str | None = None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = await self.get(f"{self.incidents}/v1/incidents", limit="500", **params, **more)
            for incident in page["items"]:
                yield incident
            cursor = page["next"]
            if not cursor:
                return

    async def signal_count(self) -> int:
        """Signals in all incidents, of every state."""
        return sum([sum(incident["counts"].values()) async for incident in self.all_incidents(state="any")])

    async def settle(self, expected: int) -> None:
        """Waits until ``expected`` signals are in incidents; raises ``StackUnreachable`` after a minute."""
        end = time.monotonic() + SETTLE_SECONDS
        while (found := await self.signal_count()) < expected:
            if time.monotonic() > end:
                raise StackUnreachable(
                    f"Only {found} of {expected} signals arrived within {SETTLE_SECONDS:.0f} s: see .local/logs/."
                )
            await asyncio.sleep(0.5)
