"""The words of access control: roles, principals and the declaration that every route carries."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shared.web.problems import Problem


class Role(StrEnum):
    """What a token may carry in its roles claim; other words there are ignored."""

    QUALITY_MANAGER = "quality_manager"
    FRONTLINE = "frontline"
    REPORTER = "reporter"
    INTEGRATION = "integration"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. ``subject`` is opaque and stays in the database it is written to; ``offices`` None means all."""

    subject: str
    roles: frozenset[Role]
    offices: frozenset[str] | None

    def has(self, *roles: Role) -> bool:
        """Whether one of the roles is held; an admin holds all."""
        return Role.ADMIN in self.roles or not self.roles.isdisjoint(roles)

    def may_see(self, office: str | None) -> bool:
        """Whether the office is one of the principal's. What belongs to no office is seen by those of all offices.

        That is about things on their own; a part of something seen, such as evidence without an office in an incident,
        is seen with it.
        """
        return self.offices is None or office in self.offices

    def require_office(self, office: str | None) -> None:
        """Raises the problem 404 for a foreign office: to outsiders it does not exist."""
        if not self.may_see(office):
            raise Problem(404, "Not found")


class Verifier(Protocol):
    """Turns a bearer token into a principal, or raises ``Problem`` (401, or 503 while no keys can be had)."""

    async def verify(self, token: str) -> Principal: ...


@dataclass(frozen=True, slots=True)
class Access:
    """The declaration of one route. ``roles`` None: anyone may; a token shown is checked when ``token_read``."""

    roles: frozenset[Role] | None
    token_read: bool = True


ANYONE = Access(None, token_read=False)
"""Public, tokens are not looked at."""
ANYONE_OR_PRINCIPAL = Access(None)
"""Public; a token shown must be good, and makes a principal."""


def unauthorized(reason: str) -> Problem:
    """401 with the challenge of RFC 6750; ``reason`` never repeats the token."""
    challenge = f'Bearer realm="blitzableiter", error="invalid_token", error_description="{reason}"'
    return Problem(401, "Sign-in needed", detail=reason, headers={"WWW-Authenticate": challenge})
