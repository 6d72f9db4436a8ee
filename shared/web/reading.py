"""Reading JSON safely: bounded depth, valid Unicode, no NUL, and the same refusals for every kind of route."""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from shared.web.problems import Problem, invalid_fields

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

MAX_DEPTH = 64
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
# Texts are skipped whole. Possessive, and an unclosed text reaches to the end: no byte is ever looked at twice.
_OPENING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_TEXT_ALLOWED = "valid Unicode without control characters except tab and line breaks"
_UNICODE_ALLOWED = "text of valid Unicode without NUL"


def _without_controls(value: str) -> str:
    if _CONTROLS.search(value):
        raise PydanticCustomError(
            "control_characters", "Holds control characters or half a surrogate pair", {"allowed": _TEXT_ALLOWED}
        )
    return value


CleanText = Annotated[str, AfterValidator(_without_controls)]
"""Text from outside: NUL and the other C0 controls are refused (PostgreSQL can't store NUL), tab and line breaks kept.
Bidirectional controls are legitimate in Arabic and stay; whoever shows the text isolates them."""

Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""A whole number that PostgreSQL's ``bigint`` can hold."""


def is_json(content_type: str) -> bool:
    """Whether a Content-Type header names JSON (``application/json`` or ``application/*+json``)."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def unsupported_media_type(allowed: str = "application/json") -> Problem:
    """415 naming what is accepted."""
    return Problem(415, "Content type not supported", detail=f"Send {allowed}", field="Content-Type", allowed=allowed)


def require_json(request: Request) -> None:
    """Raises the problem 415 unless the request says that it carries JSON."""
    if not is_json(request.headers.get("content-type", "")):
        raise unsupported_media_type()


def read_json(model: type[M], body: bytes) -> M:
    """``body`` as ``model``, in one pass.

    Raises ``Problem``: 400 for what is not JSON (syntax, encoding, depth), 422 for fields that do not validate.
    """
    check_json(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _problem_of(error, body) from None


def read_json_as(adapter: TypeAdapter[T], body: bytes) -> T:
    """As ``read_json``, for anything a ``TypeAdapter`` describes (unions, lists)."""
    check_json(body)
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise _problem_of(error, body) from None


def _problem_of(error: ValidationError, body: bytes) -> Problem:
    errors = error.errors(include_url=False, include_input=False)
    if errors and errors[0]["type"] == "json_invalid":
        refuse_broken_text(body)
        return malformed_json(str(errors[0].get("ctx", {}).get("error", "")))
    return invalid_fields(errors)


def malformed_json(reason: str = "") -> Problem:
    """400 for a body that is not JSON. ``reason`` comes from the parser and names a position, never content."""
    detail = f"Not valid JSON: {reason}" if reason else "Not valid JSON"
    return Problem(400, "The body can't be read", detail=detail, field="body", allowed="one JSON document in UTF-8")


def too_deep() -> Problem:
    """400 for a document that nests without end."""
    allowed = f"at most {MAX_DEPTH} levels of nesting"
    return Problem(400, "The body can't be read", detail="Nested too deeply", field="body", allowed=allowed)


def check_json(body: bytes) -> None:
    """Refuses what no field may hold: too deep nesting (400), NUL or half a surrogate pair in any text (422)."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise too_deep()
    if b"\\u0000" in body:
        refuse_broken_text(body)


def check_parsed_json(body: bytes) -> None:
    """As ``check_json``, for a body that Python's parser has read: unlike pydantic's it lets lone surrogates pass."""
    check_json(body)
    if b"\\ud" in body or b"\\uD" in body:
        refuse_broken_text(body)


def refuse_broken_text(body: bytes) -> None:
    """Raises the problem 422 that names the first field with NUL or a lone surrogate; returns when there is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    for path, text in _texts(document, ()):
        if "\x00" in text or _SURROGATES.search(text):
            name = ".".join(path) or "body"
            raise Problem(
                422,
                "Some fields are not valid",
                detail="Holds NUL or half a surrogate pair",
                field=name,
                allowed=_UNICODE_ALLOWED,
            )


def _depth(body: bytes) -> int:
    deepest = depth = 0
    for match in _OPENING.finditer(body):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a parsed document with its path; names of fields count as texts too."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield (*path, name), name
            yield from _texts(member, (*path, name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _texts(member, (*path, str(index)))
