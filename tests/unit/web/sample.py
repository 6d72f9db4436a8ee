"""A small application with a FastAPI route and a hot route of the same shape, as the services have them."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import httpx
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.auth import (
    ANYONE,
    ANYONE_OR_PRINCIPAL,
    Principal,
    Role,
    allow,
    anyone,
    hot,
    optional_principal,
    principal_or_none,
)
from shared.groupcommit import Overloaded
from shared.health import Health
from shared.metrics import HttpMetrics, new_registry
from shared.postgres import DatabaseBusy
from shared.web import DEFAULT_LIMIT, CleanText, Cursor, Int64, Limit, Page, create_app, decode_cursor, read_json
from shared.web.access import Verifier
from shared.web.reading import require_json

SECRET = "Frau Geheim wohnt in der Lindenallee"
JSON = {"content-type": "application/json"}


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["complaint", "rating"] = "complaint"
    rating: int | None = Field(default=None, ge=1, le=5)
    text: CleanText = Field(default="", max_length=4000)
    number: Int64 = 0
    drivers: list[str] = []
    anything: Any = None


class Accepted(BaseModel):
    length: int


def _router() -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.post("/reports", status_code=202, dependencies=[anyone()])
    async def post_report(report: Report) -> Accepted:
        return Accepted(length=len(report.text))

    @router.get("/reports", dependencies=[anyone()])
    async def list_reports(limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Page[Accepted]:
        if cursor is not None:
            decode_cursor(cursor, int)
        return Page(items=[], total=limit)

    @router.get("/reports/{number}", dependencies=[anyone()])
    async def get_report(number: Int64) -> Accepted:
        return Accepted(length=number % 7)

    @router.get("/guarded/{office}")
    async def guarded(office: str, principal: Principal = allow(Role.REPORTER)) -> dict[str, str]:
        principal.require_office(office)
        return {"subject": principal.subject}

    @router.get("/optional")
    async def optional(principal: Principal | None = optional_principal()) -> dict[str, str | None]:
        return {"subject": principal.subject if principal else None}

    @router.post("/fails/{how}", dependencies=[anyone()])
    async def fails(how: str) -> None:
        raise {"busy": DatabaseBusy("gone"), "overloaded": Overloaded(3.4), "bug": RuntimeError(SECRET)}[how]

    return router


async def _hot_report(request: Request) -> Response:
    require_json(request)
    report = read_json(Report, await request.body())
    return JSONResponse({"length": len(report.text)}, 202)


async def _hot_guarded(request: Request) -> Response:
    principal: Principal = request.scope["principal"]
    return JSONResponse({"subject": principal.subject, "project": request.path_params["project"]})


async def _hot_optional(request: Request) -> Response:
    principal = await principal_or_none(request)
    return JSONResponse({"subject": principal.subject if principal else None})


async def _hot_fails(request: Request) -> Response:
    raise {"busy": DatabaseBusy("gone"), "overloaded": Overloaded(3.4), "bug": RuntimeError(SECRET)}[
        request.path_params["how"]
    ]


@contextlib.asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def build(
    verifier: Verifier | None = None, health: Health | None = None, body_limits: Mapping[str, int] | None = None
) -> FastAPI:
    return create_app(
        title="sample",
        settings=None,
        lifespan=_lifespan,
        routers=[_router()],
        health=health or Health(),
        metrics=HttpMetrics(new_registry()),
        body_limits=body_limits,
        verifier=verifier,
        hot_routes=[
            hot(
                "/hot/reports",
                _hot_report,
                methods=["POST"],
                allows=ANYONE,
                request=Report,
                response=Accepted,
                status=202,
                summary="Hand in a report",
            ),
            hot("/hot/{project}/guarded", _hot_guarded, methods=["GET"], allows=[Role.INTEGRATION]),
            hot("/hot/optional", _hot_optional, methods=["GET"], allows=ANYONE_OR_PRINCIPAL),
            hot("/hot/fails/{how}", _hot_fails, methods=["POST"], allows=ANYONE),
        ],
    )


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sample")
