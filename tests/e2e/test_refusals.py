"""Wrong tokens on every route that needs one, a stale schema, and clean metrics: all three real services."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from deploy.local.issuer import Key, load_keys
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


def _wrong_tokens(good: str, keys: Mapping[str, Key]) -> dict[str, str | None]:
    """Every kind of token that proves nothing; the signed ones differ from ``good`` in one thing each."""
    header, payload, signature = good.split(".")
    other = "BBBBBB" if signature.startswith("AAAAAA") else "AAAAAA"
    key, claims = keys["RS256"], jwt.decode(good, keys["RS256"]).claims
    assert isinstance(key, RSAKey)
    foreign = RSAKey.generate_key(2048, {"kid": key.kid or ""})
    return {
        "none": None,
        "rubbish": "rubbish",
        "unsigned": UNSIGNED,
        "with a broken signature": f"{header}.{payload}.{other}{signature[6:]}",
        "expired": _signed(key, claims | {"iat": claims["iat"] - 7200, "nbf": 0, "exp": claims["iat"] - 3600}),
        "not yet valid": _signed(key, claims | {"nbf": claims["iat"] + 3600}),
        "of a foreign issuer": _signed(key, claims | {"iss": "https://id.example"}),
        "for somebody else": _signed(key, claims | {"aud": "another-application"}),
        "of a foreign key with the same kid": _signed(foreign, claims),
    }


def _signed(key: RSAKey, claims: Json) -> str:
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


async def test_wrong_tokens_on_every_route(product: Callable[..., Product], issuer_keys: Path) -> None:
    """Without a token that a trusted issuer signed for us and that is in force, every protected route says 401."""
    running = product()
    good = await running.token("admin")
    keys = load_keys(issuer_keys)
    tokens = _wrong_tokens(good, keys)
    key = keys["RS256"]
    assert isinstance(key, RSAKey)
    signed_here = _signed(key, jwt.decode(good, key).claims)
    checked = 0
    async with httpx.AsyncClient(timeout=10) as client:
        for service in running.services:
            document = (await client.get(running.url(service, "/openapi.json"))).json()
            for method, path in _protected(document):
                url = running.url(service, path)
                for kind, token in tokens.items():
                    headers = {"Authorization": f"Bearer {token}"} if token else {}
                    answer = await client.request(method, url, headers=headers, json={})
                    assert answer.status_code == 401, (service, method, path, kind, answer.text)
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert "bearer" in answer.headers["www-authenticate"].lower()
                    checked += 1
                right = await client.request(method, url, headers={"Authorization": f"Bearer {signed_here}"}, json={})
                assert right.status_code != 401, (service, method, path, "else the signed ones prove nothing")
    assert checked >= len(tokens) * 10


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
