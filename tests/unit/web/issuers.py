"""An issuer in process that counts how often it is asked, and tokens of every kind."""

import base64
import hmac
import json
import time
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.oidc import Signatures, TokenVerifier

ISSUER = "https://id.example"
AUDIENCE = "blitzableiter"
SigningKey = RSAKey | ECKey | OKPKey


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


class FakeIssuer:
    """Discovery and key set behind an ``httpx`` transport; ``down`` makes it refuse connections."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.down = False
        self.fetches = 0
        self.names_itself = ISSUER
        self.extra_entries: list[Any] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        if request.url.path == "/.well-known/openid-configuration":
            self.fetches += 1
            return httpx.Response(200, json={"issuer": self.names_itself, "jwks_uri": f"{ISSUER}/jwks"})
        return httpx.Response(
            200, json={"keys": [*self.extra_entries, *[key.as_dict(private=False) for key in self.keys]]}
        )


class Clock:
    """Wall clock and monotonic clock of a test, moved by hand."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def verifier(
    issuer: FakeIssuer, clock: Clock | None = None, roles_claim: str = "roles", offices_claim: str = "offices"
) -> TokenVerifier:
    clock = clock or Clock()
    return TokenVerifier(
        ISSUER,
        AUDIENCE,
        roles_claim,
        offices_claim,
        issuer.client,
        clock=clock,
        monotonic=clock,
    )


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "someone",
        "iat": now,
        "exp": now + 3600,
        "roles": ["reporter"],
        "offices": ["JC-001"],
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def sign(key: SigningKey, payload: dict[str, Any], algorithm: str = "RS256", **header: Any) -> str:
    fields = {"alg": algorithm, "kid": key.kid, **header}
    fields = {name: value for name, value in fields.items() if value is not None}
    return jwt.encode(
        fields, payload, key, algorithms=[algorithm], registry=None if algorithm == "RS512" else Signatures()
    )


def raw(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def signed_with_the_public_key_as_a_secret(key: RSAKey) -> str:
    """The classic confusion: HS256 with the PEM of the public key."""
    pem = key.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unsigned = raw({"alg": "HS256", "kid": key.kid}, claims()).rpartition(".")[0]
    signature = hmac.digest(pem, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
