"""HTTP in for Sentry SDKs: ``POST /api/{project}/envelope/`` and ``/store/``, opened by the DSN's key."""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.incidents.desk import Desk, desk_of
from services.incidents.intake.api import submit_errors
from services.incidents.intake.decompression import BodyRefused, decompress, decompress_start
from services.incidents.intake.envelope import (
    MAX_HEADER_BYTES,
    Envelope,
    EnvelopeRefused,
    parse_envelope,
    parse_envelope_header,
    parse_object,
)
from services.incidents.intake.errors import NewError, error_from_sentry, sentry_event_id
from shared.auth import ANYONE, hot
from shared.catalogue import SentryProject
from shared.groupcommit import Overloaded
from shared.postgres import DatabaseBusy
from shared.web import Problem
from shared.web.hot import HotRoute
from shared.web.refusals import unavailable

Endpoint = Callable[[Request], Awaitable[Response]]

SENTRY_BODY_BYTES = 1024 * 1024
_KEY = re.compile(r"(?:^|[\s,])sentry_key=([0-9a-fA-F]{1,64})(?=$|[\s,])")
_ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After, X-Sentry-Error, X-Sentry-Rate-Limits",
}
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Encoding, Content-Type, X-Sentry-Auth, sentry-trace, "
    "baggage, traceparent",
    "Access-Control-Max-Age": "86400",
}
_BODY = {
    "requestBody": {"content": {"application/x-sentry-envelope": {"schema": {"type": "string", "format": "binary"}}}}
}


def hot_routes() -> list[HotRoute]:
    """Open to anyone who has the key of a project; SDKs know no bearer token. With and without the last slash.

    SDKs in browsers send from the pages of other origins: those may send and read the answer, as they carry no
    credentials but the key.
    """
    routes = []
    for name, endpoint, summary in (
        ("envelope", take_envelope, "Sentry envelope"),
        ("store", take_event, "Sentry event (old protocol)"),
    ):
        for slash in ("/", ""):
            path = f"/api/{{project}}/{name}{slash}"
            routes += [
                hot(
                    path,
                    _from_any_origin(endpoint),
                    methods=["POST"],
                    allows=ANYONE,
                    response=dict[str, str],
                    summary=summary,
                    openapi_extra=_BODY,
                    in_schema=bool(slash),
                ),
                hot(path, allow_origin, methods=["OPTIONS"], allows=ANYONE, in_schema=False),
            ]
    return routes


def _from_any_origin(endpoint: Endpoint) -> Endpoint:
    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except (Overloaded, DatabaseBusy) as error:
            problem = unavailable(error)
            problem.headers.update(_ANY_ORIGIN)
            raise problem from error
        except Problem as problem:
            problem.headers.update(_ANY_ORIGIN)
            raise
        response.headers.update(_ANY_ORIGIN)
        return response

    return answer


async def allow_origin(_: Request) -> Response:
    """What a browser asks before it sends from another origin (the Fetch standard's preflight)."""
    return Response(status_code=204, headers=_PREFLIGHT)


async def take_envelope(request: Request) -> Response:
    """Keeps the error events of an envelope; other items are answered, counted and dropped."""
    desk = desk_of(request)
    desk.intake.refuse_when_overloaded()
    project_id, project = _project(request, desk)
    key = _offered_key(request)
    try:
        # Nothing but the first line is looked at before the key has been.
        _require_key(project, await _key_in_body(request) if key is None else key)
        envelope = parse_envelope(await _body(request))
    except (BodyRefused, EnvelopeRefused) as error:
        raise _refused(desk, error) from None
    for item_type, amount in envelope.dropped.items():
        desk.intake_metrics.drop(item_type, amount)
    return await _accept(desk, project_id, project, envelope)


async def take_event(request: Request) -> Response:
    """Keeps one bare event."""
    desk = desk_of(request)
    desk.intake.refuse_when_overloaded()
    project_id, project = _project(request, desk)
    _require_key(project, _offered_key(request))
    try:
        payload = parse_object(await _body(request), "body")
    except (BodyRefused, EnvelopeRefused) as error:
        raise _refused(desk, error) from None
    return await _accept(desk, project_id, project, Envelope({}, (payload,)))


async def _accept(desk: Desk, project_id: str, project: SentryProject, envelope: Envelope) -> Response:
    received_at = desk.clock()
    offered = envelope.headers.get("event_id")
    errors: list[NewError] = []
    for payload in envelope.events:
        await asyncio.sleep(0)  # masking a large event takes a while, and nobody else is served meanwhile
        # Only the first may take the envelope's id: two events of one id would swallow each other.
        event_id = sentry_event_id(payload.get("event_id"), None if errors else offered)
        errors.append(
            error_from_sentry(
                payload, project_id=project_id, project=project, event_id=event_id, received_at=received_at
            )
        )
    if not errors:
        return JSONResponse({"id": sentry_event_id(offered)} if offered else {})
    await submit_errors(desk, "sentry", errors)
    return JSONResponse({"id": errors[0].event.event_id})


def _project(request: Request, desk: Desk) -> tuple[str, SentryProject]:
    project_id = request.path_params["project"]
    project = desk.catalogue.current.sentry_projects.get(project_id)
    if project is None:
        raise Problem(404, "Unknown project", field="project", allowed="a project of the catalogue")
    return project_id, project


async def _body(request: Request) -> bytes:
    return decompress(await request.body(), request.headers.get("content-encoding", ""))


async def _key_in_body(request: Request) -> str | None:
    """The key of the DSN that an envelope may name in its header; proxies and tunnels send it there alone."""
    encoding = request.headers.get("content-encoding", "")
    start = decompress_start(await request.body(), encoding, MAX_HEADER_BYTES + 1)
    return _key_of_dsn(parse_envelope_header(start).get("dsn"))


def _refused(desk: Desk, error: BodyRefused | EnvelopeRefused) -> Problem:
    desk.intake_metrics.count("sentry", "refused")
    field = error.field if isinstance(error, EnvelopeRefused) else "body"
    return Problem(error.status, "The body can't be read", detail=str(error), field=field, allowed=error.allowed)


def _offered_key(request: Request) -> str | None:
    for header in ("x-sentry-auth", "authorization"):
        value = request.headers.get(header, "")
        if value[:7].lower() == "sentry " and (match := _KEY.search(value)):
            return match.group(1)
    return request.query_params.get("sentry_key")


def _key_of_dsn(dsn: object) -> str | None:
    try:
        return urlsplit(dsn).username if isinstance(dsn, str) else None
    except ValueError:
        return None


def _require_key(project: SentryProject, key: str | None) -> None:
    allowed = "sentry_key in X-Sentry-Auth or in the query"
    if key is None:
        raise Problem(401, "No key", field="sentry_key", allowed=allowed)
    if not hmac.compare_digest(key.encode("utf-8", "replace"), project.public_key.encode()):
        raise Problem(403, "Wrong key", field="sentry_key", allowed="the key of the project's DSN")
