"""Development OIDC issuer: hands any role to anyone, so it works on loopback only and only when asked for.

``python -m deploy.local.issuer`` with ``BLITZ_DEV_ISSUER=1``. It speaks as much OpenID Connect as the services need to
check a token: discovery, the key set, and ``POST /token`` with ``role``, ``offices`` and ``subject``.
"""

import contextlib
import ipaddress
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared import logs
from shared.auth import ANYONE, Role, hot
from shared.health import Health
from shared.metrics import HttpMetrics, new_registry
from shared.oidc import Signatures
from shared.server import EX_CONFIG, serve
from shared.web import Problem, create_app, read_json
from shared.web.problems import invalid_fields
from shared.web.reading import is_json, unsupported_media_type

DEFAULT_PORT = 8009
TOKEN_SECONDS = 12 * 3600
_FORM = "application/x-www-form-urlencoded"
Key = RSAKey | ECKey | OKPKey


class IssuerRefused(Exception):
    """The issuer does not start like this; the message says why."""


class IssuerSettings(BaseSettings):
    """What the issuer is told from outside."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_prefix="ISSUER_", populate_by_name=True)

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT + int(os.environ.get("PORT_OFFSET") or 0)
    key_file: Path | None = Path(".local/issuer-keys.json")
    """Private keys, so that tokens outlive a restart; empty keeps them in memory."""
    issuer: str = Field(default="", validation_alias="OIDC_ISSUER")
    audience: str = Field(default="blitzableiter", validation_alias="OIDC_AUDIENCE")
    roles_claim: str = Field(default="roles", validation_alias="OIDC_ROLES_CLAIM")
    offices_claim: str = Field(default="offices", validation_alias="OIDC_OFFICES_CLAIM")

    @field_validator("key_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @property
    def url(self) -> str:
        """The issuer identifier: the address the services were told, else the one it listens on."""
        return self.issuer or f"http://{self.host}:{self.port}"


class TokenRequest(BaseModel):
    """Who the token is for. ``offices`` is ``*`` or a list; texts may hold several names between commas."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: tuple[Role, ...] = Field(min_length=1)
    offices: tuple[str, ...] = ("*",)
    subject: str = Field(default="", max_length=100)
    algorithm: str = Field(default="RS256", pattern="^(RS256|ES256|EdDSA)$")

    @field_validator("role", "offices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Issuer:
    """Signs tokens with one key for each accepted algorithm."""

    def __init__(
        self, settings: IssuerSettings, keys: Mapping[str, Key], clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock

    def discovery(self) -> dict[str, Any]:
        """The OpenID provider metadata."""
        url = self._settings.url
        return {
            "issuer": url,
            "jwks_uri": f"{url}/jwks",
            "token_endpoint": f"{url}/token",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self._keys),
        }

    def key_set(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        return {"keys": [_described(key, algorithm, private=False) for algorithm, key in self._keys.items()]}

    def token(self, wanted: TokenRequest) -> str:
        """A signed JWT, good for twelve hours."""
        now = int(self._clock())
        claims: dict[str, Any] = {
            "iss": self._settings.url,
            "aud": self._settings.audience,
            "sub": wanted.subject or f"dev-{'-'.join(wanted.role)}",
            "iat": now,
            "nbf": now,
            "exp": now + TOKEN_SECONDS,
            "jti": uuid4().hex,
        }
        _put(claims, self._settings.roles_claim, [str(role) for role in wanted.role])
        _put(claims, self._settings.offices_claim, list(wanted.offices))
        key = self._keys[wanted.algorithm]
        return jwt.encode({"alg": wanted.algorithm, "kid": key.kid}, claims, key, registry=Signatures())


def _put(claims: dict[str, Any], path: str, value: object) -> None:
    *outer, last = path.split(".")
    for name in outer:
        claims = claims.setdefault(name, {})
    claims[last] = value


def _described(key: Key, algorithm: str, *, private: bool) -> dict[str, Any]:
    return {**key.as_dict(private=private), "kid": key.kid, "use": "sig", "alg": algorithm}


def load_keys(key_file: Path | None) -> dict[str, Key]:
    """The keys by algorithm, made new when the file is not there; the file is readable by its owner only.

    Raises ``IssuerRefused`` for a file that can't be read as keys.
    """
    if key_file is not None and key_file.exists():
        try:
            stored = json.loads(key_file.read_text())["keys"]
            loaded = {entry["alg"]: KeySet.import_key_set({"keys": [entry]}).keys[0] for entry in stored}
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise IssuerRefused(f"{key_file} holds no keys; remove it and start again") from error
        return {name: key for name, key in loaded.items() if isinstance(key, RSAKey | ECKey | OKPKey)}
    keys: dict[str, Key] = {
        "RS256": RSAKey.generate_key(2048, auto_kid=True),
        "ES256": ECKey.generate_key("P-256", auto_kid=True),
        "EdDSA": OKPKey.generate_key("Ed25519", auto_kid=True),
    }
    if key_file is not None:
        key_file.parent.mkdir(parents=True, exist_ok=True)
        fresh = key_file.with_name(f"{key_file.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"keys": [_described(key, name, private=True) for name, key in keys.items()]}, file)
        fresh.replace(key_file)
    return keys


def build(settings: IssuerSettings, keys: Mapping[str, Key]) -> FastAPI:
    """The application."""
    issuer = Issuer(settings, keys)

    async def discovery(request: Request) -> Response:
        _require_local(request)
        return JSONResponse(issuer.discovery())

    async def key_set(request: Request) -> Response:
        _require_local(request)
        return JSONResponse(issuer.key_set())

    async def token(request: Request) -> Response:
        _require_local(request)
        wanted = await _read_token_request(request)
        signed = issuer.token(wanted)
        return JSONResponse({"access_token": signed, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})

    return create_app(
        title="Blitzableiter development issuer",
        settings=settings,
        lifespan=_nothing_to_open,
        routers=[],
        health=Health(),
        metrics=HttpMetrics(new_registry()),
        hot_routes=[
            hot("/.well-known/openid-configuration", discovery, methods=["GET"], allows=ANYONE),
            hot("/jwks", key_set, methods=["GET"], allows=ANYONE),
            hot("/token", token, methods=["POST"], allows=ANYONE, request=TokenRequest),
        ],
    )


@contextlib.asynccontextmanager
async def _nothing_to_open(_: FastAPI) -> AsyncIterator[None]:
    yield


def _require_local(request: Request) -> None:
    """Refuses other names for this host and foreign pages: a web page could ask for a token by DNS rebinding."""
    names = [f"//{request.headers.get('host', '')}"]
    if "origin" in request.headers:
        names.append(request.headers["origin"])
    if not all(is_loopback(urlsplit(name).hostname or "") for name in names):
        raise Problem(403, "Not allowed", detail="The development issuer answers this machine only")


async def _read_token_request(request: Request) -> TokenRequest:
    content_type = request.headers.get("content-type", "")
    if is_json(content_type):
        return read_json(TokenRequest, await request.body())
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise unsupported_media_type(f"application/json or {_FORM}")
    async with request.form(max_fields=10) as form:
        try:
            return TokenRequest.model_validate(dict(form))
        except ValidationError as error:
            raise invalid_fields(error.errors(include_url=False, include_input=False)) from None


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine and can't be reached from another."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(settings: IssuerSettings, environment: Mapping[str, str]) -> None:
    """Raises ``IssuerRefused`` unless it was asked for and listens on loopback."""
    if environment.get("BLITZ_DEV_ISSUER") != "1":
        raise IssuerRefused("it gives any role to anyone, so it starts only with BLITZ_DEV_ISSUER=1")
    for host in (settings.host, urlsplit(settings.url).hostname or ""):
        if not is_loopback(host):
            raise IssuerRefused(f"it works on loopback only, and {host!r} is not; set ISSUER_HOST=127.0.0.1")


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Runs the issuer; 78 when it was not asked for or would be reachable from outside."""
    try:
        settings = IssuerSettings()
        check(settings, environment)
        keys = load_keys(settings.key_file)
    except (IssuerRefused, ValidationError) as error:
        print(f"The development issuer does not start: {error}", file=sys.stderr)
        return EX_CONFIG
    logs.configure("issuer", environment.get("LOG_LEVEL", "INFO"))
    print(f"DEVELOPMENT ISSUER IS ON at {settings.url}: everyone on this machine gets any role.", flush=True)
    return serve(build(settings, keys), settings)


if __name__ == "__main__":
    sys.exit(main())
