"""The development issuer."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.local.issuer import IssuerRefused, IssuerSettings, build, check, is_loopback, load_keys
from shared.auth import Principal, Role, undeclared_routes
from shared.oidc import TokenVerifier

URL = "http://127.0.0.1:8009"


def _settings(**changes: object) -> IssuerSettings:
    return IssuerSettings(issuer=URL, key_file=None, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def issuer() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build(_settings(), load_keys(None)))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as found:
        yield found


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_its_tokens_are_taken_by_the_services(issuer: httpx.AsyncClient, algorithm: str) -> None:
    """Discovery, key set and token fit the verifier, for every accepted algorithm."""
    verifier = TokenVerifier(URL, "blitzableiter", "roles", "offices", issuer)
    wanted = {"role": "frontline", "offices": ["JC-001"], "subject": "anna", "algorithm": algorithm}
    answer = await issuer.post("/token", json=wanted)
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    assert await verifier.verify(token) == Principal("anna", frozenset({Role.FRONTLINE}), frozenset({"JC-001"}))
    assert answer.json()["expires_in"] == 12 * 3600


async def test_a_form_does_as_well_and_offices_default_to_all(issuer: httpx.AsyncClient) -> None:
    """What a page can send without script."""
    verifier = TokenVerifier(URL, "blitzableiter", "roles", "offices", issuer)
    answer = await issuer.post("/token", data={"role": "reporter,frontline"})
    principal = await verifier.verify(answer.json()["access_token"])
    assert principal.roles == {Role.REPORTER, Role.FRONTLINE}
    assert principal.offices is None


async def test_claims_go_where_the_services_look() -> None:
    """With dotted paths the token looks as Keycloak's does."""
    settings = _settings(roles_claim="realm_access.roles", offices_claim="realm_access.offices")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build(settings, load_keys(None))), base_url=URL
    ) as issuer:
        verifier = TokenVerifier(URL, "blitzableiter", settings.roles_claim, settings.offices_claim, issuer)
        token = (await issuer.post("/token", json={"role": "admin", "offices": "JC-002"})).json()["access_token"]
        principal = await verifier.verify(token)
    assert principal.roles == {Role.ADMIN}
    assert principal.offices == frozenset({"JC-002"})


@pytest.mark.parametrize(
    ("body", "field"),
    [({"role": "king"}, "role.0"), ({}, "role"), ({"role": ""}, "role"), ({"role": "admin", "x": 1}, "x")],
)
async def test_a_wrong_wish_is_refused_by_name(issuer: httpx.AsyncClient, body: dict[str, object], field: str) -> None:
    """JSON and form alike; another content type is 415."""
    for answer in (await issuer.post("/token", json=body), await issuer.post("/token", data=body or {"y": ""})):
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]]
    assert (await issuer.post("/token", content=b"role=admin")).status_code == 415


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "192.168.1.7:8009"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
async def test_other_names_and_foreign_pages_get_nothing(issuer: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """A web page that rebinds its name to loopback gets no token."""
    assert (await issuer.post("/token", json={"role": "admin"}, headers=headers)).status_code == 403
    assert (await issuer.get("/jwks", headers=headers)).status_code == 403


async def test_private_parts_of_keys_stay_inside(issuer: httpx.AsyncClient) -> None:
    """The key set holds public parts only."""
    for entry in (await issuer.get("/jwks")).json()["keys"]:
        assert not set(entry) & {"d", "p", "q", "dp", "dq", "qi", "k"}
        assert entry["kid"] and entry["alg"]


def test_it_starts_only_when_asked_for_and_only_on_loopback() -> None:
    """Neither by accident nor for others."""
    check(_settings(), {"BLITZ_DEV_ISSUER": "1"})
    for environment in ({}, {"BLITZ_DEV_ISSUER": "0"}, {"BLITZ_DEV_ISSUER": "true"}):
        with pytest.raises(IssuerRefused, match="BLITZ_DEV_ISSUER=1"):
            check(_settings(), environment)
    for host in ("0.0.0.0", "192.168.1.7", "::", "example.org", ""):
        with pytest.raises(IssuerRefused, match="loopback"):
            check(_settings(host=host), {"BLITZ_DEV_ISSUER": "1"})
    with pytest.raises(IssuerRefused, match="loopback"):
        check(IssuerSettings(issuer="https://id.example", key_file=None), {"BLITZ_DEV_ISSUER": "1"})
    assert is_loopback("127.3.2.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("localhost.evil.example")


def test_keys_outlive_a_restart_in_a_file_of_ones_own(tmp_path: Path) -> None:
    """Same keys next time; readable by the owner only; a damaged file is told."""
    file = tmp_path / "deep" / "keys.json"
    first = load_keys(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = load_keys(file)
    assert {name: key.as_dict(private=True) for name, key in first.items()} == {
        name: {k: v for k, v in key.as_dict(private=True).items() if k not in ("use", "alg")}
        for name, key in again.items()
    }
    file.write_text("{}")
    with pytest.raises(IssuerRefused, match="remove it"):
        load_keys(file)


def test_its_routes_declare_who_may() -> None:
    """The route walk covers it too."""
    assert undeclared_routes(build(_settings(), load_keys(None))) == []
