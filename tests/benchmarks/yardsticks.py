"""The yardsticks: small honest applications as most would write them. None of them is slowed down.

``uvicorn tests.benchmarks.yardsticks:usual`` needs ``YARDSTICK_DATABASE_URL``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from uuid import uuid4

import asyncpg
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

CREATE = """
CREATE TABLE IF NOT EXISTS usual_report (
    id uuid PRIMARY KEY, office text NOT NULL, service text NOT NULL, channel text NOT NULL, lang text,
    kind text NOT NULL, rating int, text text, submitted_at timestamptz NOT NULL DEFAULT now()
)
"""
INSERT = (
    "INSERT INTO usual_report (id, office, service, channel, lang, kind, rating, text) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)"
)


class UsualReport(BaseModel):
    office: str
    service: str = "other"
    channel: str = "web"
    lang: str | None = None
    kind: Literal["complaint", "rating", "praise", "suggestion"] = "complaint"
    rating: int | None = None
    text: str | None = None


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["YARDSTICK_DATABASE_URL"], min_size=8, max_size=8) as pool:
        await pool.execute(CREATE)
        app.state.pool = pool
        yield


usual = FastAPI(lifespan=_pool)


@usual.post("/v1/reports", status_code=202)
async def usual_report(report: UsualReport, request: Request) -> dict[str, str]:
    """The usual way: a pydantic body, one INSERT a request."""
    identifier = uuid4()
    await request.app.state.pool.execute(
        INSERT, identifier, report.office, report.service, report.channel, report.lang, report.kind, report.rating,
        report.text,
    )  # fmt: skip
    return {"report_id": str(identifier)}


async def _nothing(request: Request) -> JSONResponse:
    return JSONResponse({"report_id": "0"}, status_code=202)


bare = Starlette(routes=[Route("/v1/reports", _nothing, methods=["POST"])])
