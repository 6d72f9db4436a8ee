"""Which exception is which problem: one place for FastAPI routes, hot routes and the edge."""

import http
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.web.problems import Problem, invalid_fields
from shared.web.reading import is_json, malformed_json, too_deep, unsupported_media_type

Translate = Callable[[Exception], Problem]
Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]
RETRY_AFTER_SECONDS = (1, 5)


def unavailable(error: Exception) -> Problem:
    """503 with a ``Retry-After`` of 1–5 s: the error's own ``retry_after_seconds``, else by chance, so that clients do
    not come back all at once. It says nothing of what was stored: the connection may have been lost after the commit.
    """
    least, most = RETRY_AFTER_SECONDS
    asked = getattr(error, "retry_after_seconds", None)
    chance = random.randint(least, most)  # noqa: S311 - spreads load, guards nothing
    seconds = chance if asked is None else min(max(round(asked), least), most)
    return Problem(
        503,
        "Too busy at the moment",
        detail="Please try again shortly; with the same Idempotency-Key nothing is stored twice",
        headers={"Retry-After": str(seconds)},
    )


def _of_http_exception(error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    problem = getattr(error, "problem", None)
    if isinstance(problem, Problem):
        return problem
    try:
        phrase = http.HTTPStatus(error.status_code).phrase
    except ValueError:
        phrase = "Refused"
    detail = error.detail if isinstance(error.detail, str) and error.detail != phrase else None
    if error.status_code == 400 and error.__cause__ is not None:  # FastAPI could not parse the body
        return too_deep() if isinstance(error.__cause__, RecursionError) else malformed_json()
    return Problem(error.status_code, phrase, detail=detail, headers=error.headers)


def _same(error: Exception) -> Problem:
    assert isinstance(error, Problem)
    return error


class Refusals:
    """The mapping. ``busy`` are the exceptions that mean "try again": they become 503 with ``Retry-After``."""

    def __init__(self, busy: Mapping[type[Exception], Translate]) -> None:
        self._translations: dict[type[Exception], Translate] = {
            Problem: _same,
            HTTPException: _of_http_exception,
            **busy,
        }

    def problem_of(self, error: Exception) -> Problem | None:
        """The problem to answer with, ``None`` for an exception nobody expected."""
        for cls in type(error).__mro__:
            translate = self._translations.get(cls)
            if translate is not None:
                return translate(error)
        return None

    def handlers(self) -> dict[int | type[Exception], Handler]:
        """Exception handlers for the FastAPI application."""
        return {**dict.fromkeys(self._translations, self._handle), RequestValidationError: self._handle_validation}

    async def _handle(self, _: Request, error: Exception) -> Response:
        problem = self.problem_of(error)
        assert problem is not None
        return problem.response()

    async def _handle_validation(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _of_validation(request, error).response()


def _of_validation(request: Request, error: RequestValidationError) -> Problem:
    errors = error.errors()
    first = errors[0] if errors else {}
    if first.get("type") == "json_invalid":
        return malformed_json(f"{first.get('ctx', {}).get('error', '')} at position {first['loc'][-1]}")
    of_body = [one for one in errors if tuple(one["loc"]) == ("body",)]
    content_type = request.headers.get("content-type", "")
    if of_body and isinstance(of_body[0].get("input"), bytes) and not is_json(content_type):
        return unsupported_media_type()
    return invalid_fields(errors)
