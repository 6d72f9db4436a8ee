"""Tokens, roles, offices and the declarations of routes."""

import asyncio
import time
from typing import Any

import pytest
from fastapi import APIRouter
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from shared.auth import Access, Principal, Role, declare_public, route_accesses, undeclared_routes
from shared.oidc import COOLDOWN_SECONDS, REFRESH_SECONDS, WITHOUT_KEYS_SECONDS
from shared.web import Problem
from tests.unit.web import issuers, sample
from tests.unit.web.issuers import ISSUER, Clock, FakeIssuer, claims, raw, rsa, sign, verifier

KEY = rsa("one")
OTHER = rsa("one")
STRANGER = rsa("stranger")
NOW = int(time.time())

REFUSED = {
    "no token at all": "",
    "no JWT": "garbage",
    "not base64": "!!.!!.!!",
    "three dots": "...",
    "header is a list": raw([], claims()),  # type: ignore[arg-type]
    "unsigned": raw({"alg": "none", "kid": "one"}, claims()),
    "unsigned without key id": raw({"alg": "none"}, claims()),
    "HS256 with the public key": issuers.signed_with_the_public_key_as_a_secret(KEY),
    "RS512, which is not on the list": sign(KEY, claims(), "RS512"),
    "ES256 with an RSA key": raw({"alg": "ES256", "kid": "one"}, claims(), b"x" * 64),
    "wrong signature": sign(KEY, claims())[:-8] + "AAAAAAAA",
    "another key with the same id": sign(OTHER, claims()),
    "unknown key": sign(STRANGER, claims()),
    "no key id": sign(KEY, claims(), kid=None),
    "key id is a number": raw({"alg": "RS256", "kid": 1}, claims()),
    "unknown crit": raw({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, claims(), b"x" * 256),
    "expired": sign(KEY, claims(exp=NOW - 31)),
    "never expires": sign(KEY, claims(exp=None)),
    "expiry is a text": sign(KEY, claims(exp="tomorrow")),
    "not yet valid": sign(KEY, claims(nbf=NOW + 120)),
    "issued in the future": sign(KEY, claims(iat=NOW + 120)),
    "another issuer": sign(KEY, claims(iss="https://evil.example")),
    "no issuer": sign(KEY, claims(iss=None)),
    "another audience": sign(KEY, claims(aud="another")),
    "other audiences": sign(KEY, claims(aud=["a", "b"])),
    "no audience": sign(KEY, claims(aud=None)),
    "no subject": sign(KEY, claims(sub=None)),
    "20 kB": sign(KEY, claims(padding="x" * 20_000)),
    "payload is no object": raw({"alg": "RS256", "kid": "one"}, [], b"x" * 256),  # type: ignore[arg-type]
    "non-ASCII": "é.ü.ö",
    "five parts": ".".join([sign(KEY, claims()), "a", "b"]),
}
ADDRESSES = ["/v1/guarded/JC-001", "/v1/optional", "/hot/7/guarded", "/hot/optional"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("kind", REFUSED)
async def test_a_bad_token_is_401_on_every_kind_of_route(kind: str, address: str) -> None:
    """Wrong, expired, foreign and unsigned tokens are refused, on public routes that read tokens too."""
    app = sample.build(verifier(FakeIssuer(KEY)))
    async with sample.client_of(app) as client:
        answer = await client.get(address, headers=[(b"authorization", b"Bearer " + REFUSED[kind].encode())])
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scheme", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "token"])
async def test_another_scheme_is_401(scheme: str) -> None:
    """Only bearer tokens are taken."""
    async with sample.client_of(sample.build(verifier(FakeIssuer(KEY)))) as client:
        for address in ADDRESSES:
            assert (await client.get(address, headers={"authorization": scheme})).status_code == 401


async def test_good_tokens_of_all_algorithms_are_taken() -> None:
    """RS256, ES256 and EdDSA; leeway for small differences of clocks; the audience may be one of several."""
    elliptic = ECKey.generate_key("P-256", {"kid": "two"})
    edwards = OKPKey.generate_key("Ed25519", {"kid": "three"})
    found = verifier(FakeIssuer(KEY, elliptic, edwards))
    for token in (
        sign(KEY, claims()),
        sign(elliptic, claims(), "ES256"),
        sign(edwards, claims(), "EdDSA"),
        sign(KEY, claims(exp=NOW - 5, nbf=NOW + 5)),
        sign(KEY, claims(aud=["other", "blitzableiter"])),
    ):
        principal = await found.verify(token)
        assert principal == Principal("someone", frozenset({Role.REPORTER}), frozenset({"JC-001"}))


@pytest.mark.parametrize(
    ("payload", "options", "roles", "offices"),
    [
        ({"roles": ["admin", "cook"], "offices": "*"}, {}, {Role.ADMIN}, None),
        (
            {"roles": "frontline reporter", "offices": "JC-001,JC-002"},
            {},
            {"frontline", "reporter"},
            {"JC-001", "JC-002"},
        ),
        ({"roles": ["reporter"], "offices": ["JC-001", "*"]}, {}, {"reporter"}, None),
        ({"roles": None, "offices": None}, {}, set(), set()),
        ({"roles": {"admin": True}, "offices": 7}, {}, set(), set()),
        ({"roles": [["admin"], 1, None], "offices": [None]}, {}, set(), set()),
        (
            {"realm_access": {"roles": ["integration"]}, "org": {"offices": ["JC-003"]}, "roles": ["admin"]},
            {"roles_claim": "realm_access.roles", "offices_claim": "org.offices"},
            {"integration"},
            {"JC-003"},
        ),
        (
            {"https://x.example/roles": ["reporter"]},
            {"roles_claim": "https://x.example/roles"},
            {"reporter"},
            {"JC-001"},
        ),
        ({"realm_access": ["roles"]}, {"roles_claim": "realm_access.roles"}, set(), {"JC-001"}),
    ],
)
async def test_roles_and_offices_come_from_configured_claims(
    payload: dict[str, Any], options: dict[str, str], roles: set[str], offices: set[str] | None
) -> None:
    """Names or dotted paths; unknown roles are ignored; nothing usable means no role and no office."""
    principal = await verifier(FakeIssuer(KEY), None, **options).verify(sign(KEY, claims(**payload)))
    assert principal.roles == roles
    assert principal.offices == offices


async def test_roles_and_offices_decide() -> None:
    """The right role passes, an admin passes everywhere, another role is 403, a foreign office is 404."""
    async with sample.client_of(sample.build(verifier(FakeIssuer(KEY)))) as client:

        async def status(address: str, **changes: Any) -> int:
            token = sign(KEY, claims(**changes))
            return (await client.get(address, headers={"authorization": f"bearer {token}"})).status_code

        assert await status("/v1/guarded/JC-001") == 200
        assert await status("/v1/guarded/JC-001", roles=["admin"]) == 200
        assert await status("/hot/7/guarded", roles=["admin"]) == 200
        assert await status("/hot/7/guarded", roles=["integration"]) == 200
        assert await status("/v1/guarded/JC-001", roles=["frontline"]) == 403
        assert await status("/hot/7/guarded") == 403
        assert await status("/v1/guarded/JC-002") == 404
        assert await status("/v1/guarded/JC-002", offices="*") == 200
        assert await status("/v1/guarded/JC-002", offices=[], roles=["admin"]) == 404
        for address in ("/v1/guarded/JC-001", "/hot/7/guarded"):
            assert (await client.get(address)).status_code == 401
        for address in ("/v1/optional", "/hot/optional"):
            assert (await client.get(address)).json() == {"subject": None}
            assert await status(address) == 200


async def test_keys_are_fetched_lazily_and_an_unknown_key_fetches_once_per_cooldown() -> None:
    """A flood of unknown key ids asks the issuer once; after the cooldown a rotated key is found."""
    issuer, clock = FakeIssuer(KEY), Clock()
    found = verifier(issuer, clock)
    assert issuer.fetches == 0
    await found.verify(sign(KEY, claims()))
    assert issuer.fetches == 1

    async def flood() -> None:
        tokens = [raw({"alg": "RS256", "kid": f"k{number}"}, claims()) for number in range(200)]
        answers = await asyncio.gather(*(found.verify(token) for token in tokens), return_exceptions=True)
        assert all(isinstance(answer, Problem) and answer.status == 401 for answer in answers)

    await flood()
    assert issuer.fetches == 1
    clock.now += COOLDOWN_SECONDS + 1
    await flood()
    await flood()
    assert issuer.fetches == 2

    issuer.keys.append(STRANGER)
    with pytest.raises(Problem):
        await found.verify(sign(STRANGER, claims()))
    clock.now += COOLDOWN_SECONDS + 1
    assert (await found.verify(sign(STRANGER, claims()))).subject == "someone"
    assert issuer.fetches == 3


async def test_keys_in_hand_survive_an_outage_of_the_issuer() -> None:
    """With the issuer down, known keys go on working and unknown ones are 401, also past the refresh."""
    issuer, clock = FakeIssuer(KEY), Clock()
    found = verifier(issuer, clock)
    await found.verify(sign(KEY, claims()))
    issuer.down = True
    clock.now += REFRESH_SECONDS + 1
    for number in range(3):
        assert (await found.verify(sign(KEY, claims(jti=str(number))))).subject == "someone"
        clock.now += COOLDOWN_SECONDS + 1
    with pytest.raises(Problem) as refused:
        await found.verify(sign(STRANGER, claims()))
    assert refused.value.status == 401


async def test_without_any_key_it_is_503_and_heals_soon() -> None:
    """An issuer that is not up yet is no fault of the token: 503 with Retry-After, not 401."""
    issuer, clock = FakeIssuer(KEY), Clock()
    issuer.down = True
    found = verifier(issuer, clock)
    with pytest.raises(Problem) as refused:
        await found.verify(sign(KEY, claims()))
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"]
    issuer.down = False
    clock.now += WITHOUT_KEYS_SECONDS + 1
    assert await found.verify(sign(KEY, claims()))


async def test_a_withdrawn_key_stops_working() -> None:
    """Keys are looked up again from time to time, aside of the requests."""
    issuer, clock = FakeIssuer(KEY, STRANGER), Clock()
    found = verifier(issuer, clock)
    token = sign(STRANGER, claims())
    await found.verify(token)
    issuer.keys.remove(STRANGER)
    clock.now += REFRESH_SECONDS + 1
    await found.verify(sign(KEY, claims()))
    async with asyncio.timeout(5):
        while issuer.fetches < 2:
            await asyncio.sleep(0)
        await found.verify(sign(KEY, claims(jti="after")))
    with pytest.raises(Problem):
        await found.verify(token)


async def test_a_remembered_token_expires() -> None:
    """Remembering a verified token does not lengthen its life."""
    clock = Clock()
    found = verifier(FakeIssuer(KEY), clock)
    token = sign(KEY, claims(exp=int(clock.now) + 10))
    assert await found.verify(token) is await found.verify(token)
    clock.now += 10 + 31
    with pytest.raises(Problem, match="Sign-in"):
        await found.verify(token)


async def test_a_discovery_document_of_another_issuer_is_not_trusted() -> None:
    """The issuer is pinned."""
    issuer = FakeIssuer(KEY)
    issuer.names_itself = ISSUER + "/other"
    with pytest.raises(Problem) as refused:
        await verifier(issuer).verify(sign(KEY, claims()))
    assert refused.value.status == 503


async def test_an_odd_key_does_not_spoil_the_set() -> None:
    """Encryption keys, symmetric keys, keys without id and nonsense are passed over."""
    issuer = FakeIssuer(KEY)
    issuer.extra_entries = [
        None,
        {"kty": "oct", "kid": "one", "k": "AAAA"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "EC", "kid": "curve", "crv": "P-999", "x": "AA", "y": "AA"},
        {**STRANGER.as_dict(private=False), "use": "enc"},
        {"kty": "RSA"},
    ]
    found = verifier(issuer)
    assert await found.verify(sign(KEY, claims()))
    with pytest.raises(Problem):
        await found.verify(sign(STRANGER, claims()))


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda value: value.decode("latin-1")))
def test_any_text_is_refused_with_a_problem(text: str) -> None:
    """No token makes the verifier raise anything but a problem."""

    async def attempt() -> None:
        with pytest.raises(Problem):
            await verifier(FakeIssuer(KEY)).verify(text)

    asyncio.run(attempt())


def test_offices() -> None:
    """``None`` means all offices; what belongs to none is seen by those only."""
    everywhere = Principal("a", frozenset(), None)
    one = Principal("b", frozenset(), frozenset({"JC-001"}))
    assert everywhere.may_see("JC-009") and everywhere.may_see(None)
    assert one.may_see("JC-001") and not one.may_see("JC-002") and not one.may_see(None)
    one.require_office("JC-001")
    with pytest.raises(Problem) as refused:
        one.require_office("JC-002")
    assert refused.value.status == 404


def test_every_route_of_the_sample_declares_who_may() -> None:
    """Built-in routes, FastAPI routes and hot routes are all found with their declarations."""
    app = sample.build()
    assert undeclared_routes(app) == []
    found = {route.path: route.access for route in route_accesses(app)}
    assert found["/v1/guarded/{office}"] == Access(frozenset({Role.REPORTER}))
    assert found["/hot/{project}/guarded"] == Access(frozenset({Role.INTEGRATION}))
    assert found["/v1/reports"] == found["/health/live"] == found["/metrics"] == Access(None, token_read=False)


def test_routes_that_declare_nothing_are_named() -> None:
    """Also those of nested routers, plain Starlette routes and mounts; a mount can be declared public."""
    app = sample.build()
    inner = APIRouter(prefix="/inner")

    @inner.get("/forgotten")
    async def forgotten() -> None: ...

    async def plain(_: object) -> Response:
        return Response()

    async def files(scope: Scope, receive: Receive, send: Send) -> None: ...

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner)
    app.include_router(outer)
    app.router.routes += [Route("/plain", plain), Mount("/files", files), declare_public(Mount("/static", files))]
    assert sorted(undeclared_routes(app)) == ["ANY /files/{path}", "GET /outer/inner/forgotten", "GET,HEAD /plain"]
