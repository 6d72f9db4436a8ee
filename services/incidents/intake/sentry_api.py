"""HTTP in for Sentry SDKs: ``POST /api/{project}/envelope/`` and ``/store/``, opened by the key of the project's DSN."""

import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.incidents.intake.decompression import BodyRefused, decompress
from services.incidents.intake.envelope import Envelope, EnvelopeRefused, parse_envelope, parse_object
from services.incidents.intake.errors import NewError, error_from_sentry, sentry_event_id
from services.incidents.intake.handlers import Intake, Offer
from services.incidents.metrics import IntakeMetrics
from shared.auth import ANYONE, hot
from shared.catalogue import CatalogueFile, SentryProject
from shared.tracing import current_traceparent
from shared.web import Problem
from shared.web.hot import HotRoute

SENTRY_BODY_BYTES = 1024 * 1024
_KEY = re.compile(r"(?:^|[\s,])sentry_key=([0-9a-fA-F]{1,64})(?=$|[\s,])")
_BODY = {
    "requestBody": {"content": {"application/x-sentry-envelope": {"schema": {"type": "string", "format": "binary"}}}}
}


class SentryApi:
    """The protocol's routes with what they need."""

    def __init__(
        self, intake: Intake, catalogue: CatalogueFile, metrics: IntakeMetrics, clock: Callable[[], datetime]
    ) -> None:
        self._intake = intake
        self._catalogue = catalogue
        self._metrics = metrics
        self._clock = clock

    def routes(self) -> list[HotRoute]:
        """Open to anyone who has the key of a project; SDKs know no bearer token."""
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
                ("envelope", self.take_envelope, "Sentry envelope"),
                ("store", self.take_event, "Sentry event (old protocol)"),
            )
            for slash in ("/", "")
        ]

    async def take_envelope(self, request: Request) -> Response:
        """Keeps the error events of an envelope; other items are answered, counted and dropped."""
        self._intake.refuse_when_overloaded()
        project_id, project = self._project(request)
        key = _offered_key(request)
        if key is not None:
            _require_key(project, key)
        body = await self._body(request)
        try:
            envelope = parse_envelope(body)
        except EnvelopeRefused as error:
            raise self._refused(error) from None
        if key is None:
            _require_key(project, _key_of_dsn(envelope.headers.get("dsn")))
        for item_type, amount in envelope.dropped.items():
            self._metrics.drop(item_type, amount)
        return await self._accept(project_id, project, envelope)

    async def take_event(self, request: Request) -> Response:
        """Keeps one bare event."""
        self._intake.refuse_when_overloaded()
        project_id, project = self._project(request)
        _require_key(project, _offered_key(request))
        body = await self._body(request)
        try:
            payload = parse_object(body, "body")
        except EnvelopeRefused as error:
            raise self._refused(error) from None
        return await self._accept(project_id, project, Envelope({}, (payload,)))

    async def _accept(self, project_id: str, project: SentryProject, envelope: Envelope) -> Response:
        received_at = self._clock()
        offered = envelope.headers.get("event_id")
        errors: list[NewError] = []
        for payload in envelope.events:
            # Only the first may take the envelope's id: two events of one id would swallow each other.
            event_id = sentry_event_id(payload.get("event_id"), None if errors else offered)
            errors.append(_read(payload, project_id, project, event_id, received_at))
        if errors:
            receipt = await self._intake.submit(Offer(tuple(error.event for error in errors), current_traceparent()))
            self._metrics.count("sentry", "accepted", receipt.accepted)
            self._metrics.count("sentry", "duplicate", receipt.duplicate)
            for error in errors:
                if error.clock_corrected:
                    self._metrics.correct_clock()
            return JSONResponse({"id": errors[0].event.event_id})
        return JSONResponse({"id": sentry_event_id(offered)} if offered else {})

    def _project(self, request: Request) -> tuple[str, SentryProject]:
        project_id = request.path_params["project"]
        project = self._catalogue.current.sentry_projects.get(project_id)
        if project is None:
            raise Problem(404, "Unknown project", field="project", allowed="a project of the catalogue")
        return project_id, project

    async def _body(self, request: Request) -> bytes:
        body = await request.body()
        try:
            return decompress(body, request.headers.get("content-encoding", ""))
        except BodyRefused as error:
            self._metrics.count("sentry", "refused")
            field = "Content-Encoding" if error.status == 415 else "body"
            raise Problem(
                error.status, "The body can't be read", detail=str(error), field=field, allowed=error.allowed
            ) from None

    def _refused(self, error: EnvelopeRefused) -> Problem:
        self._metrics.count("sentry", "refused")
        return Problem(
            error.status, "The body can't be read", detail=str(error), field=error.field, allowed=error.allowed
        )


def _read(
    payload: Mapping[str, Any], project_id: str, project: SentryProject, event_id: str, received_at: datetime
) -> NewError:
    return error_from_sentry(
        payload, project_id=project_id, project=project, event_id=event_id, received_at=received_at
    )


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
