"""The outermost ASGI layer: trace, limits, hot routes, security headers, metrics and the last word on errors.

One layer instead of a stack: every layer costs each request a coroutine and a closure, and the hot routes must stay
close to a server that does nothing.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.logs import log_request
from shared.metrics import UNMATCHED, HttpMetrics, bounded_method
from shared.tracing import enter_trace, leave_trace
from shared.web.hot import HotRoute
from shared.web.problems import Problem
from shared.web.refusals import Refusals

logger = logging.getLogger(__name__)

DEFAULT_BODY_LIMIT = 64 * 1024
CLIENT_GONE = 499
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'"
)
_SECURITY_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_NO_STORE = (b"cache-control", b"no-store")

Endpoint = Callable[[Request], Awaitable[Response]]


class Edge:
    """Wraps the application. ``body_limits`` are bytes by path prefix, the longest prefix wins."""

    def __init__(
        self,
        inner: ASGIApp,
        app: FastAPI,
        *,
        hot_routes: Sequence[HotRoute],
        metrics: HttpMetrics,
        body_limits: Mapping[str, int],
        refusals: Refusals,
    ) -> None:
        self._inner = inner
        self._app = app
        self._metrics = metrics
        self._refusals = refusals
        self._limits = sorted(body_limits.items(), key=lambda item: -len(item[0]))
        self._limit_by_route: dict[str, int] = {}
        self._exact: dict[tuple[str, str], tuple[HotRoute, Endpoint]] = {}
        self._patterns: list[tuple[HotRoute, Endpoint]] = []
        for route in hot_routes:
            if route.param_convertors:
                self._patterns.append((route, route.endpoint))
                continue
            for method in route.methods or ():
                self._exact[method, route.path] = (route, route.endpoint)
        self._templates: dict[int, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started_at = time.perf_counter()
        traceparent = length = None
        chunked = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                chunked = True
            elif name == b"traceparent":
                traceparent = value.decode("latin-1")
        current, token = enter_trace(traceparent)
        trace_id = current[3:35]
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *_SECURITY_HEADERS, (b"trace-id", trace_id.encode())]
                for name, _ in headers:
                    if name == b"cache-control":
                        break
                else:
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        metrics = self._metrics
        metrics.in_flight += 1
        try:
            limit = self._limit(scope["path"])
            if length is not None and _exceeds(length, limit):
                raise _too_large(limit)
            if chunked:
                receive = _limited(receive, limit)
            if b"%00" in scope["query_string"] or "\x00" in scope["path"]:
                raise _nul_in_address(scope)
            await self._dispatch(scope, receive, answer)
        except ClientDisconnect:
            status = status or CLIENT_GONE
        except Exception as error:  # the last word: nothing unexpected reaches the client or the server's own log
            await self._refuse(error, status, scope, receive, answer)
        finally:
            metrics.in_flight -= 1
            seconds = time.perf_counter() - started_at
            status = status or CLIENT_GONE
            method = bounded_method(scope["method"])
            route = self._template(scope)
            metrics.observe(method, route, status, seconds, trace_id)
            log_request(method, route, status, seconds, trace_id)
            leave_trace(token)

    async def _dispatch(self, scope: Scope, receive: Receive, answer: Send) -> None:
        found = self._exact.get((scope["method"], scope["path"]))
        if found is None and self._patterns:
            found = self._match(scope)
        if found is None:
            await self._inner(scope, receive, answer)
            return
        scope["route"] = found[0]
        response = await found[1](Request(scope, receive, answer))
        await response(scope, receive, answer)

    def _match(self, scope: Scope) -> tuple[HotRoute, Endpoint] | None:
        for route, endpoint in self._patterns:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                scope.update(child_scope)
                return route, endpoint
        return None

    async def _refuse(self, error: Exception, status: int, scope: Scope, receive: Receive, answer: Send) -> None:
        problem = self._refusals.problem_of(error)
        if problem is None:
            logger.error("Unexpected error while answering %s", self._template(scope), exc_info=error)
            problem = Problem(500, "Something went wrong here", detail="It was logged under this trace_id")
        if status:
            raise _AnswerBroken from None  # too late for another status: the server closes the connection
        await problem.response()(scope, receive, answer)

    def _limit(self, path: str) -> int:
        for prefix, limit in self._limits:
            if path.startswith(prefix):
                return limit
        return DEFAULT_BODY_LIMIT

    def _template(self, scope: Scope) -> str:
        """The route template: a value from code, whatever was requested."""
        route = scope.get("route")
        if isinstance(route, HotRoute):
            return route.path_format
        if route is None:
            return self._template_of_path(scope)
        if not self._templates:
            self._templates = _templates(self._app)
        found = self._templates.get(id(route)) or self._templates.get(id(scope.get("endpoint")))
        return found or UNMATCHED

    def _template_of_path(self, scope: Scope) -> str:
        """For what is refused before it is routed, a body too large for instance."""
        for context in iter_route_contexts(self._app.routes):
            pattern = getattr(context.original_route, "path_regex", None) and context.path_regex
            if pattern is not None and pattern.match(scope["path"]):
                return context.path_format or UNMATCHED
        return UNMATCHED


class _AnswerBroken(Exception):
    """The answer had begun when an error came; uvicorn closes the connection so that the client sees the break."""


def _templates(app: FastAPI) -> dict[int, str]:
    """Templates by the identity of route and endpoint; both live as long as the application."""
    found: dict[int, str] = {}
    for context in iter_route_contexts(app.routes):
        template = context.path_format or context.path
        if template is not None:
            found.setdefault(id(context.original_route), template)
            if context.endpoint is not None:
                found.setdefault(id(context.endpoint), template)
    return found


def _exceeds(length: bytes, limit: int) -> bool:
    try:
        return int(length) > limit
    except ValueError:
        raise Problem(400, "The request can't be read", field="Content-Length", allowed="a whole number") from None


def _too_large(limit: int) -> Problem:
    allowed = f"at most {limit // 1024} kB" if limit >= 1024 else f"at most {limit} bytes"
    return Problem(413, "The body is too large", detail=f"Send {allowed}", field="body", allowed=allowed)


class BodyTooLarge(HTTPException):
    """Raised while a body of unknown length is read. An ``HTTPException``, as FastAPI hides any other as a 400."""

    def __init__(self, limit: int) -> None:
        super().__init__(413)
        self.problem = _too_large(limit)


def _limited(receive: Receive, limit: int) -> Receive:
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise BodyTooLarge(limit)
        return message

    return limited


def _nul_in_address(scope: Scope) -> Problem:
    names: list[Any] = []
    if "\x00" not in scope["path"]:
        query = scope["query_string"].decode("latin-1")
        names = [name.replace("\x00", "") for name, value in parse_qsl(query, True) if "\x00" in name + value]
    return Problem(
        422, "Some fields are not valid", detail="Holds NUL", field=names[0] if names else "path", allowed="no NUL"
    )
