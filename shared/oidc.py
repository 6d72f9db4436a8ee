"""Checks OIDC bearer tokens with joserfc: pinned issuer, audience, algorithms, expiry, and a key named by ``kid``.

The issuer is asked lazily (discovery, then its key set), never more than once in ``COOLDOWN_SECONDS``: a flood of
unknown key ids costs it nothing, and the keys in hand go on working while it is down.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import (
    ExpiredTokenError,
    InvalidClaimError,
    JoseError,
    MissingClaimError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from shared.web.access import Principal, Role, unauthorized
from shared.web.problems import Problem

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
COOLDOWN_SECONDS = 30.0
WITHOUT_KEYS_SECONDS = 3.0
"""The cooldown until the first key set is in hand: at start the issuer may come up a moment later."""
REFRESH_SECONDS = 600.0
"""A key that the issuer has withdrawn is accepted no longer than this."""
FETCH_SECONDS = 3.0
LEEWAY_SECONDS = 30
MAX_TOKEN_LENGTH = 8192
MAX_KEY_SET_BYTES = 256 * 1024
REMEMBERED_TOKENS = 1024
REMEMBERED_SECONDS = 30.0

PublicKey = RSAKey | ECKey | OKPKey


class Signatures(JWSRegistry):
    """The accepted signature algorithms and no others. Header fields nobody knows are ignored unless they are critical
    (RFC 7515, section 4); joserfc would warn at every EdDSA token, whose other name is not yet what issuers send."""

    def __init__(self) -> None:
        super().__init__(algorithms=list(ALGORITHMS), strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        """Raises ``UnsupportedAlgorithmError`` for an algorithm that is not on the list."""
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


class TokenVerifier:
    """One per process. ``roles_claim`` and ``offices_claim`` are names or dotted paths (``realm_access.roles``)."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        roles_claim: str,
        offices_claim: str,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._roles_claim = roles_claim
        self._offices_claim = offices_claim
        self._client = client
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, PublicKey] = {}
        self._fetched_at: float | None = None
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._remembered: OrderedDict[bytes, tuple[float, float, Principal]] = OrderedDict()
        self._registry = Signatures()
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    async def verify(self, token: str) -> Principal:
        """The principal of a good token. Raises ``Problem`` 401 for any other, 503 when no keys can be had."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise unauthorized("The token is too long")
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        remembered = self._recall(digest)
        if remembered is not None:
            return remembered
        key = await self._key(_key_id(token))
        try:
            claims = jwt.decode(token, key, registry=self._registry).claims
            self._claims.validate(claims)
        except ExpiredTokenError:
            raise unauthorized("The token has expired") from None
        except (InvalidClaimError, MissingClaimError) as error:
            raise unauthorized(f"The token's claim {_claim_name(error)} is missing or wrong") from None
        except (JoseError, ValueError, TypeError, KeyError):
            raise unauthorized("The token is not valid") from None
        principal = self._principal(claims)
        self._remember(digest, float(claims["exp"]), principal)
        return principal

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        known = {role.value for role in Role}
        roles = frozenset(Role(name) for name in _names(_claim(claims, self._roles_claim)) if name in known)
        offices = frozenset(_names(_claim(claims, self._offices_claim)))
        return Principal(str(claims["sub"]), roles, None if "*" in offices else offices)

    def _recall(self, digest: bytes) -> Principal | None:
        entry = self._remembered.get(digest)
        if entry is None or entry[0] < self._monotonic() or entry[1] <= self._clock() - LEEWAY_SECONDS:
            return None
        return entry[2]

    def _remember(self, digest: bytes, expires_at: float, principal: Principal) -> None:
        self._remembered[digest] = (self._monotonic() + REMEMBERED_SECONDS, expires_at, principal)
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)

    async def _key(self, key_id: str) -> PublicKey:
        key = self._keys.get(key_id)
        if key is None:
            await self._refresh(key_id)
            key = self._keys.get(key_id)
        elif self._fetched_at is not None and self._monotonic() - self._fetched_at > REFRESH_SECONDS:
            self._refresh_aside()
        if key is not None:
            return key
        if not self._keys:
            raise Problem(
                503,
                "Sign-in can't be checked at the moment",
                detail="The identity provider does not answer",
                headers={"Retry-After": "5"},
            )
        raise unauthorized("The token is signed with an unknown key")

    def _refresh_aside(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(None))

    async def _refresh(self, key_id: str | None) -> None:
        async with self._fetching:
            now = self._monotonic()
            cooldown = COOLDOWN_SECONDS if self._keys else WITHOUT_KEYS_SECONDS
            if key_id in self._keys or (self._fetched_at is not None and now - self._fetched_at < cooldown):
                return
            self._fetched_at = now
            try:
                self._keys = await self._fetch()
            except (httpx.HTTPError, httpx.InvalidURL, JoseError, ValueError, TypeError, KeyError) as error:
                logger.warning("The issuer's keys could not be fetched: %s", type(error).__name__)
                return
            self._remembered.clear()

    async def _fetch(self) -> dict[str, PublicKey]:
        discovery = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if discovery.get("issuer") != self._issuer:
            raise ValueError("the discovery document names another issuer")
        document = await self._get(str(discovery["jwks_uri"]))
        keys: dict[str, PublicKey] = {}
        for entry in document["keys"]:
            key = _import_key(entry)
            if key is not None:
                keys[str(entry["kid"])] = key
        if not keys:
            raise ValueError("the key set holds no usable key")
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        async with self._client.stream(
            "GET", url, headers={"Accept": "application/json"}, timeout=FETCH_SECONDS
        ) as answer:
            answer.raise_for_status()
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_KEY_SET_BYTES:
                    raise ValueError("the issuer's answer is too long")
        document = json.loads(bytes(body))
        if not isinstance(document, dict):
            raise TypeError("the issuer's answer is not an object")
        return document


def _import_key(entry: Any) -> PublicKey | None:
    """The public part of one key for signatures; ``None`` for any other, which does not spoil the rest of the set."""
    if not isinstance(entry, dict) or not entry.get("kid") or entry.get("use", "sig") != "sig":
        return None
    public = {name: entry[name] for name in ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y") if name in entry}
    try:
        [key] = KeySet.import_key_set({"keys": [public]}).keys
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None


def _key_id(token: str) -> str:
    """The ``kid`` of the protected header, before anything of the token is trusted."""
    head = token.partition(".")[0]
    try:
        header = json.loads(base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise unauthorized("The token is not a JWT") from None
    key_id = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(key_id, str) or not key_id:
        raise unauthorized("The token names no key")
    if header.get("alg") not in ALGORITHMS:
        raise unauthorized("The token's algorithm is not accepted")
    return key_id


def _claim_name(error: InvalidClaimError | MissingClaimError) -> str:
    name = str(getattr(error, "claim", ""))
    return name if name in ("iss", "aud", "exp", "nbf", "iat", "sub") else "set"


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this very name (namespaced claims hold dots), else the value at the dotted path."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _names(value: Any) -> list[str]:
    """A list of texts, or one text with words between blanks or commas, as issuers differ."""
    if isinstance(value, str):
        return value.replace(",", " ").split()
    if isinstance(value, list):
        return [name for name in value if isinstance(name, str)]
    return []
