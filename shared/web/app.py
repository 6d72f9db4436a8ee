"""The application factory that all services share."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.utils import get_openapi
from prometheus_client.exposition import choose_encoder
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.groupcommit import Overloaded
from shared.health import Health
from shared.metrics import HttpMetrics
from shared.postgres import DatabaseBusy
from shared.web.access import ANYONE, Verifier
from shared.web.edge import Edge
from shared.web.hot import HotRoute
from shared.web.problems import MEDIA_TYPE, ProblemDocument
from shared.web.reading import check_parsed_json
from shared.web.refusals import Refusals, Translate, unavailable

VERSION = "0.1.0"
_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}
_PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused; the problem names the field", "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}}},
    "5XX": {"description": "Not possible at the moment", "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}}},
}


class ServiceApp(FastAPI):
    """FastAPI behind ``Edge``, without the layers that the edge replaces. Hot routes appear in its OpenAPI document."""

    edge: Callable[[ASGIApp, "ServiceApp"], Edge]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = AsyncExitStackMiddleware(self.router)
        app = ExceptionMiddleware(app, handlers=self.exception_handlers)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return self.edge(app, self)

    def openapi(self) -> dict[str, Any]:
        """OpenAPI 3.1 of all routes, the hot ones as if FastAPI served them."""
        if not self.openapi_schema:
            described = [route.described() for route in self.routes if isinstance(route, HotRoute)]
            for route in described:
                route.responses = {**_PROBLEM_RESPONSES, **route.responses}
            schema = get_openapi(
                title=self.title, version=self.version, openapi_version="3.1.0", routes=[*self.routes, *described]
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            document = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(document.pop("$defs", {}))
            schemas["Problem"] = document
            self.openapi_schema = schema
        return self.openapi_schema


Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def create_app(
    *,
    title: str,
    settings: object,
    lifespan: Lifespan,
    routers: Sequence[APIRouter],
    health: Health,
    metrics: HttpMetrics,
    body_limits: Mapping[str, int] | None = None,
    hot_routes: Sequence[HotRoute] = (),
    verifier: Verifier | None = None,
    busy: Mapping[type[Exception], Translate] | None = None,
    asyncapi: Callable[[], dict[str, Any]] = dict,
) -> FastAPI:
    """One service's application.

    ``body_limits`` are bytes by path prefix, the longest prefix wins, 64 kB elsewhere. ``verifier`` checks tokens (also
    settable later as ``app.state.verifier``). ``busy`` adds exceptions that mean "try again" to the database's and the
    group commit's. ``asyncapi`` renders the document of what the service listens to and announces; asked once.
    """
    refusals = Refusals({DatabaseBusy: unavailable, Overloaded: unavailable, **(busy or {})})
    app = ServiceApp(
        title=title,
        version=VERSION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        responses=_PROBLEM_RESPONSES,
        dependencies=[Depends(_check_body)],
        exception_handlers=refusals.handlers(),
    )
    app.state.settings = settings
    app.state.verifier = verifier
    routes = [*hot_routes, *_plumbing(health, metrics, app, cache(asyncapi))]
    app.router.routes.extend(routes)
    for router in routers:
        app.include_router(router)
    limits = dict(body_limits or {})
    app.edge = lambda inner, built: Edge(
        inner, built, hot_routes=routes, metrics=metrics, body_limits=limits, refusals=refusals
    )
    return app


async def _check_body(request: Request) -> None:
    """Refuses NUL and deep nesting in the JSON that FastAPI has read; it does nothing for routes that stream."""
    body = getattr(request, "_body", None)
    if body and request.headers.get("content-type", "").startswith("application/"):
        check_parsed_json(body)


def _plumbing(
    health: Health, metrics: HttpMetrics, app: FastAPI, asyncapi: Callable[[], dict[str, Any]]
) -> list[HotRoute]:
    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        readiness = await health.readiness()
        return JSONResponse(readiness.document(), 200 if readiness.ready else 503)

    async def exposition(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"Content-Type": content_type})

    async def openapi(_: Request) -> Response:
        return JSONResponse(app.openapi())

    async def events(_: Request) -> Response:
        return JSONResponse(asyncapi())

    endpoints = {
        "/health/live": live,
        "/health/ready": ready,
        "/metrics": exposition,
        "/openapi.json": openapi,
        "/asyncapi": events,
    }
    return [
        HotRoute(path, endpoint, methods=["GET"], access=ANYONE, in_schema=False)
        for path, endpoint in endpoints.items()
    ]
