"""A process as a service is: ``python -m tests.integration.web.program <port> <limits as JSON>``."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from shared import logs
from shared.auth import ANYONE, anyone, hot
from shared.health import Health
from shared.metrics import HttpMetrics, new_registry
from shared.migrate import StaleSchema
from shared.server import Limits, on_hangup, serve
from shared.web import create_app


@dataclass(frozen=True)
class Address:
    host: str
    port: int


async def _echo(request: Request) -> Response:
    return Response(str(len(await request.body())))


async def _slow(request: Request) -> Response:
    print("slow begun", flush=True)
    await asyncio.sleep(float(request.query_params["seconds"]))
    return Response("finished")


async def _endless(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            print("stream ended", flush=True)

    return StreamingResponse(chunks())


async def _lazy_reader(request: Request) -> Response:
    await asyncio.sleep(2.5)
    return Response(str(len(await request.body())))


def _router() -> APIRouter:
    router = APIRouter()

    @router.post("/v1/echo", dependencies=[anyone()])
    async def echo(request: Request) -> int:
        return len(await request.body())

    return router


@contextlib.asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    print("opened", flush=True)
    yield
    print("closed", flush=True)


@contextlib.asynccontextmanager
async def _stale(app: FastAPI) -> AsyncIterator[None]:
    if app.title:
        raise StaleSchema("the schema lacks 0002; run: python -m shared.migrate services.sample")
    yield


def main(port: int, limits: Limits, *, stale: bool) -> int:
    logs.configure("sample", "INFO")
    app = create_app(
        title="sample",
        settings=None,
        lifespan=_stale if stale else _lifespan,
        routers=[_router()],
        health=Health(),
        metrics=HttpMetrics(new_registry()),
        body_limits={"/lazy": 10_000_000},
        hot_routes=[
            hot("/echo", _echo, methods=["POST", "GET"], allows=ANYONE),
            hot("/slow", _slow, methods=["GET"], allows=ANYONE),
            hot("/endless", _endless, methods=["GET"], allows=ANYONE),
            hot("/lazy", _lazy_reader, methods=["POST"], allows=ANYONE),
        ],
    )

    def fails() -> None:
        raise ValueError("Frau Geheim")

    on_hangup(app, fails)
    on_hangup(app, lambda: print("reloaded", flush=True))
    return serve(app, Address("127.0.0.1", port), limits)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Limits(**json.loads(sys.argv[2])), stale="stale" in sys.argv))
