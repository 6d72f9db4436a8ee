"""What every answer has: trace, security headers, metrics; and what happens to errors."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Message, Scope

from shared.metrics import HttpMetrics
from tests.unit.web import sample

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_every_answer_has_security_headers(client: httpx.AsyncClient) -> None:
    """Refusals, errors and health have them too; nothing personal is stored by caches."""
    for method, address in (
        ("POST", "/hot/reports"),
        ("GET", "/v1/reports"),
        ("GET", "/nope"),
        ("POST", "/hot/fails/bug"),
        ("GET", "/health/live"),
    ):
        headers = (await client.request(method, address, json={})).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        for name in ("default-src", "base-uri", "object-src", "frame-ancestors"):
            assert policy[name] == "'none'"
        for name in ("script-src", "style-src", "img-src", "connect-src", "form-action"):
            assert policy[name] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "camera=()" in headers["permissions-policy"]


@pytest.mark.parametrize("prefix", ["/v1", "/hot"])
async def test_the_callers_trace_goes_on(client: httpx.AsyncClient, prefix: str) -> None:
    """The trace of the header is the trace of the answer and of the problem; without a header a new one begins."""
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = await client.post(f"{prefix}/fails/bug", headers=headers)
    assert answer.headers["trace-id"] == answer.json()["trace_id"] == TRACE
    fresh = {(await client.post(f"{prefix}/fails/bug")).headers["trace-id"] for _ in range(3)}
    assert len(fresh) == 3


@pytest.mark.parametrize("prefix", ["/v1", "/hot"])
async def test_what_is_busy_is_503_with_a_spread_retry_after(client: httpx.AsyncClient, prefix: str) -> None:
    """A busy database and a full queue ask the client to come back; the time is spread or the queue's own."""
    waits = set()
    for _ in range(40):
        answer = await client.post(f"{prefix}/fails/busy")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        waits.add(int(answer.headers["retry-after"]))
    assert waits <= {1, 2, 3, 4, 5}
    assert len(waits) > 1
    # What was stored nobody knows: the connection may have been lost in the commit.
    assert "nothing was stored" not in answer.json()["detail"].lower()
    answer = await client.post(f"{prefix}/fails/overloaded")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


@pytest.mark.parametrize("prefix", ["/v1", "/hot"])
async def test_a_bug_is_a_500_without_details_and_one_log_line(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    """The client learns the trace, the log the stack."""
    with caplog.at_level(logging.ERROR):
        answer = await client.post(f"{prefix}/fails/bug")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert sample.SECRET not in answer.text
    [record] = caplog.records
    assert record.exc_info
    assert f"{prefix}/fails/{{how}}" in record.getMessage()


def _series(app: FastAPI, registry: CollectorRegistry, name: str) -> Iterator[tuple[dict[str, str], float]]:
    for family in registry.collect():
        for found in family.samples:
            if found.name == name:
                yield found.labels, found.value


async def test_labels_stay_bounded_whatever_is_asked(app: FastAPI, client: httpx.AsyncClient) -> None:
    """Requests are counted by route template; unknown paths and methods share one value each."""
    for number in range(50):
        await client.get(f"/v1/reports/{number}")
        await client.get(f"/hot/{number}/guarded")
        await client.get(f"/wp-admin/{number}.php")
        await client.request(f"BREW{number}", "/v1/reports")
        await client.request(f"BREW{number}", f"/{number}")
    await client.post("/v1/reports", content=b"x" * 70_000)
    text = (await client.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("blitz_http_requests_total")]
    labels = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
    assert labels == {
        'blitz_http_requests_total{method="GET",route="/v1/reports/{number}",status="200"}': 50,
        'blitz_http_requests_total{method="GET",route="/hot/{project}/guarded",status="401"}': 50,
        'blitz_http_requests_total{method="GET",route="unmatched",status="404"}': 50,
        'blitz_http_requests_total{method="other",route="/v1/reports",status="405"}': 50,
        'blitz_http_requests_total{method="other",route="unmatched",status="404"}': 50,
        'blitz_http_requests_total{method="POST",route="/v1/reports",status="413"}': 1,
    }
    assert "blitz_http_requests_in_flight 1.0" in text


async def test_a_client_that_goes_away_is_no_error(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """Counted as 499, nothing is logged as an error, nothing is answered."""
    sent: list[Message] = []

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/hot/reports",
        "raw_path": b"/hot/reports",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"10")],
        "client": None,
        "server": None,
    }
    with caplog.at_level(logging.WARNING):
        await app(scope, gone, send)
    assert sent == []
    assert caplog.records == []
    async with sample.client_of(app) as client:
        assert 'route="/hot/reports",status="499"} 1.0' in (await client.get("/metrics")).text


async def test_openapi_describes_hot_routes_like_all_others(client: httpx.AsyncClient) -> None:
    """3.1, problems on every operation, the security scheme, models of hot routes in components, no built-in routes."""
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/reports",
        "/v1/reports/{number}",
        "/v1/guarded/{office}",
        "/v1/optional",
        "/v1/fails/{how}",
        "/hot/reports",
        "/hot/{project}/guarded",
        "/hot/optional",
        "/hot/fails/{how}",
    }
    hot = document["paths"]["/hot/reports"]["post"]
    ordinary = document["paths"]["/v1/reports"]["post"]
    assert hot["requestBody"] == ordinary["requestBody"]
    assert hot["responses"] == ordinary["responses"]
    assert hot["summary"] == "Hand in a report"
    assert document["paths"]["/hot/{project}/guarded"]["get"]["security"] == [{"oidc": []}]
    assert document["paths"]["/hot/{project}/guarded"]["get"]["parameters"][0]["name"] == "project"
    assert {"Report", "Accepted", "Problem", "ProblemError"} <= set(document["components"]["schemas"])
    for path in document["paths"].values():
        for operation in path.values():
            content = operation["responses"]["4XX"]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
            assert "422" not in operation["responses"]
    assert not _dangling(document, document)


def _dangling(node: Any, document: dict[str, Any]) -> list[str]:
    if isinstance(node, list):
        return [found for member in node for found in _dangling(member, document)]
    if not isinstance(node, dict):
        return []
    name = node.get("$ref")
    missing = isinstance(name, str) and name.rpartition("/")[2] not in document["components"]["schemas"]
    return ([str(name)] if missing else []) + [
        found for member in node.values() for found in _dangling(member, document)
    ]


async def test_there_is_no_page_from_elsewhere(client: httpx.AsyncClient) -> None:
    """No Swagger UI, which would come from a CDN."""
    for address in ("/docs", "/redoc"):
        assert (await client.get(address)).status_code == 404


async def test_requests_at_once_keep_their_own_trace_and_status(client: httpx.AsyncClient) -> None:
    """Nothing is shared between requests that overlap."""

    async def one(number: int) -> None:
        trace = f"{number + 1:032x}"
        answer = await client.post(
            "/v1/reports",
            json={"text": "x" * number},
            headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        )
        assert (answer.headers["trace-id"], answer.json()["length"]) == (trace, number)

    await asyncio.gather(*(one(number) for number in range(50)))


def test_in_flight_is_a_plain_number() -> None:
    """Counting up and down by requests costs no lock."""
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry)
    metrics.in_flight += 2
    assert registry.get_sample_value("blitz_http_requests_in_flight") == 2


async def test_problem_documents_are_ascii(client: httpx.AsyncClient) -> None:
    """A field name with any character can be reflected."""
    answer = await client.post("/hot/reports", json={"ü\u202e\U0001f600": 1})
    assert answer.content.isascii()
    assert json.loads(answer.content)["errors"][0]["field"] == "ü\u202e\U0001f600"
