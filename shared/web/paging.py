"""Cursor pages: ``{items, next, total}``. A cursor is opaque, carries typed values and is refused when altered."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict

from shared.web.problems import Problem

T = TypeVar("T")
CursorValue = str | int | float | bool | datetime | UUID | None

MAX_LIMIT = 500
DEFAULT_LIMIT = 50
MAX_CURSOR_LENGTH = 1000
_CHECK_BYTES = 6

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="items per page")]
"""Query parameter; give it the default ``DEFAULT_LIMIT``."""
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR_LENGTH, description="`next` of the page before")]
"""Query parameter; give it the default ``None`` and read it with ``decode_cursor``."""


class Page(BaseModel, Generic[T]):
    """One page. ``next`` is the cursor of the following page or null on the last one; ``total`` counts all items."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next: str | None = None
    total: int


def _check(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECK_BYTES, person=b"blitz-cursor").digest()


def _pack(value: CursorValue) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a cursor holds instants with a time zone only")
        return {"t": value.astimezone(UTC).isoformat()}
    if isinstance(value, UUID):
        return {"u": value.hex}
    return value


def _unpack(value: object) -> CursorValue:
    if isinstance(value, dict):
        [(kind, text)] = value.items()
        if kind == "t":
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is None:
                raise ValueError("no time zone")
            return instant.astimezone(UTC)
        if kind == "u":
            return UUID(hex=text)
        raise ValueError("unknown kind")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("no bigint of the database")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError("not a scalar")


def encode_cursor(values: Iterable[CursorValue]) -> str:
    """The place after a row with these sort values, as URL-safe text. Raises ``ValueError`` for naive datetimes."""
    payload = json.dumps([_pack(value) for value in values], separators=(",", ":"), allow_nan=False).encode()
    return base64.urlsafe_b64encode(_check(payload) + payload).rstrip(b"=").decode("ascii")


def decode_cursor(text: str, *expected: type | tuple[type, ...]) -> tuple[CursorValue, ...]:
    """The values of ``encode_cursor``. With ``expected``, their number and types must be these.

    The check sum catches damage and guesses, it is no signature: a cursor carries sort values and grants nothing.
    Raises the problem 422 that names ``cursor``.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        payload = raw[_CHECK_BYTES:]
        if len(text) > MAX_CURSOR_LENGTH or raw[:_CHECK_BYTES] != _check(payload):
            raise ValueError("damaged")
        values = tuple(_unpack(value) for value in json.loads(payload))
    except (ValueError, TypeError, OverflowError, AttributeError, binascii.Error, RecursionError):
        raise _refused() from None
    if expected and (
        len(values) != len(expected)
        or any(not _is_of(value, kind) for value, kind in zip(values, expected, strict=True))
    ):
        raise _refused()
    return values


def _is_of(value: CursorValue, kind: type | tuple[type, ...]) -> bool:
    """Whether a value has the kind; true and false are no numbers here."""
    return isinstance(value, kind) and (not isinstance(value, bool) or kind is bool)


def _refused() -> Problem:
    return Problem(
        422, "Some fields are not valid", detail="Not a cursor of this list", field="cursor", allowed="`next` of a page"
    )
