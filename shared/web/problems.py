"""Problem details (RFC 9457): one shape for everything that is refused, naming the field and what is allowed.

Neither a problem nor a log line repeats what was sent: texts of clients may hold personal data.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from shared.tracing import current_trace_id

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
MAX_FIELD_LENGTH = 200
_SOURCES = frozenset({"body", "query", "path", "header", "cookie"})


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that was refused. ``field`` is a dotted path (``drivers.0``), ``allowed`` says what would do."""

    field: str
    message: str
    allowed: str | None = None


class Problem(Exception):
    """A refusal. Raised anywhere below a route, answered as ``application/problem+json``."""

    def __init__(
        self,
        status: int,
        title: str,
        *,
        detail: str | None = None,
        field: str | None = None,
        allowed: str | None = None,
        headers: Mapping[str, str] | None = None,
        type: str = "about:blank",  # noqa: A002 - the member's name in RFC 9457
        errors: Sequence[FieldError] = (),
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.type = type
        named = (FieldError(field, detail or title, allowed),) if field is not None else ()
        self.errors = (*named, *errors)

    def document(self) -> dict[str, Any]:
        """The members of the problem document; ``trace_id`` finds the log lines of this request."""
        body: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail is not None:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [_error_member(error) for error in self.errors[:MAX_ERRORS]]
        trace_id = current_trace_id()
        if trace_id is not None:
            body["trace_id"] = trace_id
        return body

    def response(self) -> Response:
        """The HTTP answer. ASCII JSON, so that a reflected field name can't break the encoding."""
        content = json.dumps(self.document(), ensure_ascii=True)
        return Response(content, self.status, headers=self.headers, media_type=MEDIA_TYPE)


def _error_member(error: FieldError) -> dict[str, str]:
    member = {"field": error.field[:MAX_FIELD_LENGTH], "message": error.message}
    if error.allowed is not None:
        member["allowed"] = error.allowed
    return member


class ProblemError(BaseModel):
    """One refused field, as documented in the OpenAPI document."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(examples=["rating"])
    message: str = Field(examples=["Input should be less than or equal to 5"])
    allowed: str | None = Field(default=None, examples=["at most 5"])


class ProblemDocument(BaseModel):
    """RFC 9457 problem details, as documented in the OpenAPI document."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None
    errors: tuple[ProblemError, ...] = ()
    trace_id: str | None = None


def field_path(location: Iterable[str | int]) -> str:
    """pydantic's error location as a dotted path, without FastAPI's leading ``body``, ``query`` …"""
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[0] in _SOURCES:
        parts = parts[1:]
    return ".".join(parts) or "body"


_LIMITS = {
    "greater_than_equal": ("ge", "at least {}"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "less than {}"),
    "multiple_of": ("multiple_of", "multiples of {}"),
    "string_too_long": ("max_length", "at most {} characters"),
    "string_too_short": ("min_length", "at least {} characters"),
    "bytes_too_long": ("max_length", "at most {} bytes"),
    "too_long": ("max_length", "at most {} items"),
    "too_short": ("min_length", "at least {} items"),
    "enum": ("expected", "{}"),
    "literal_error": ("expected", "{}"),
    "union_tag_invalid": ("expected_tags", "{}"),
    "string_pattern_mismatch": ("pattern", "text that matches {}"),
}
_KINDS = {
    "missing": "a value",
    "extra_forbidden": "no other fields than the documented ones",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "a text of valid Unicode",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
    "datetime": "an RFC 3339 instant",
    "timezone": "an RFC 3339 instant with a time zone",
    "date": "a date (YYYY-MM-DD)",
    "time": "a time (HH:MM:SS)",
    "uuid": "a UUID",
    "url": "a URL",
    "none": "null",
}


def _allowed(kind: str, context: Mapping[str, Any]) -> str | None:
    if "allowed" in context:
        return str(context["allowed"])
    if kind in _LIMITS:
        key, template = _LIMITS[kind]
        return template.format(context[key]) if key in context else None
    return _KINDS.get(kind) or _KINDS.get(kind.split("_", 1)[0])


def field_errors(errors: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """pydantic's ``errors()`` as ``FieldError``, without the refused input."""
    return tuple(
        FieldError(field_path(error["loc"]), str(error["msg"]), _allowed(str(error["type"]), error.get("ctx") or {}))
        for error in errors
    )


def invalid_fields(errors: Iterable[Mapping[str, Any]]) -> Problem:
    """422 for fields that do not validate."""
    found = field_errors(errors)
    names = ", ".join(dict.fromkeys(error.field[:MAX_FIELD_LENGTH] for error in found[:MAX_ERRORS]))
    return Problem(422, "Some fields are not valid", detail=f"Not valid: {names}", errors=found)
