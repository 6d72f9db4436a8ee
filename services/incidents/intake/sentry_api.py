"""HTTP in for Sentry SDKs: ``POST /api/{project}/envelope/`` and ``/store/``, opened by the DSN's key."""

import hmac
import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.incidents.desk import Desk, desk_of
from services.incidents.intake.api import submit_errors
from services.incidents.intake.decompression import BodyRefused, decompress
from services.incidents.intake.envelope import Envelope, EnvelopeRefused, parse_envelope, parse_object
from services.incidents.intake.errors import NewError, error_from_sentry, sentry_event_id
from shared.auth import ANYONE, hot
from shared.catalogue import SentryProject
from shared.web import Problem
from shared.web.hot import HotRoute

SENTRY_BODY_BYTES = 1024 * 1024
_KEY = re.compile(r"(?:^|[\s,])sentry_key=([0-9a-fA-F]{1,64})(?=$|[\s,])")
_BODY = {
    "requestBody": {"content": {"application/x-sentry-envelope": {"schema": {"type": "string", "format": "binary"}}}}
}


def hot_routes() -> list[HotRoute]:
    """Open to anyone who has the key of a project; SDKs know no bearer token. With and without the last slash."""
    return [
        hot(
            f"/api/{{project}}/{name}{slash}",
            endpoint,
            methods=["POST"],
            allows=ANYONE,
            response=dict[str, str],
            summary=summary,
            openapi_extra=_BODY,
            in_schema=bool(slash),
        )
        for name, endpoint, summary in (
            ("envelope", take_envelope, "Sentry envelope"),
            ("store", take_event, "Sentry event (old protocol)"),
        )
        for slash in ("/", "")
    ]


async def take_envelope(request: Request) -> Response:
    """Keeps the error events of an envelope; other items are answered, counted and dropped."""
    desk = desk_of(request)
    desk.intake.refuse_when_overloaded()
    project_id, project = _project(request, desk)
    key = _offered_key(request)
    if key is not None:
        _require_key(project, key)
    try:
        envelope = parse_envelope(await _body(request))
    except (BodyRefused, EnvelopeRefused) as error:
        raise _refused(desk, error) from None
    if key is None:
        _require_key(project, _key_of_dsn(envelope.headers.get("dsn")))
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
