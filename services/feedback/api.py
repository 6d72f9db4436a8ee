"""HTTP in: reports, receipts, known faults and the public part of the catalogue."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.feedback.desk import desk_of
from services.feedback.domain.incidents import Incident
from services.feedback.domain.receipts import MistypedReceipt, is_idempotency_key
from services.feedback.domain.report import Submission, language_of
from services.feedback.handlers import (
    Accepted,
    KeyReused,
    Refused,
    random_key,
    submit_report,
    tell_receipt,
)
from services.feedback.projection import PublicIncidents
from services.feedback.shapes import (
    CatalogueEntry,
    KnownFaults,
    LookupBody,
    PublicCatalogue,
    ReportAnswer,
    ReportBody,
    StoryAnswer,
    StoryEntry,
    fault_of,
)
from services.feedback.texts import texts_accepted, texts_for
from services.feedback.wire import json_text
from shared.auth import ANYONE, anyone, hot
from shared.events.vocabulary import Language
from shared.web.hot import HotRoute
from shared.web.problems import MEDIA_TYPE, Problem
from shared.web.reading import read_json, require_json

FAULTS_WITH_ANSWER: Final = 3

_NO_RECEIPT: Final = json.dumps(
    {
        "type": "about:blank",
        "title": "There is no such receipt",
        "status": 404,
        "detail": "Unknown or expired",
        "errors": [{"field": "receipt", "message": "Unknown or expired", "allowed": "a receipt as it was shown"}],
    }
).encode()
"""The same bytes for every wrong receipt: no trace id, no hint whether it ever was one."""

_KEY_PARAMETER: Final = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "At least 128 random bits: a UUID or 22 to 255 printable ASCII characters. Same key and "
            "body: same answer and one report; same key with another body: 422. Without it, every request is a report.",
            "schema": {"type": "string", "minLength": 22, "maxLength": 255},
        }
    ]
}


class _RenderedFaults:
    """JSON of a service's known faults, rendered once for each state of the incidents and not once a report."""

    def __init__(self) -> None:
        self._of: tuple[Incident, ...] = ()
        self._rendered: dict[tuple[str, str], str] = {}

    def json(self, incidents: PublicIncidents, service: str, lang: str) -> str:
        current = incidents.current
        if not current:
            return "[]"
        if self._of is not current:
            self._of, self._rendered = current, {}
        rendered = self._rendered.get((service, lang))
        if rendered is None:
            faults = (fault_of(one, lang) for one in incidents.of_service(service, FAULTS_WITH_ANSWER))
            rendered = self._rendered[service, lang] = f"[{','.join(fault.model_dump_json() for fault in faults)}]"
        return rendered


def idempotency_key_of(request: Request) -> bytes:
    """The key of the request, else a random one. Raises the problem 422 for one that is too weak."""
    sent = request.headers.get("idempotency-key")
    if sent is None:
        return random_key()
    if not is_idempotency_key(sent):
        raise Problem(
            422,
            "Some fields are not valid",
            detail="The key must carry at least 128 bits",
            field="Idempotency-Key",
            allowed="a UUID, or 22 to 255 printable ASCII characters without spaces",
        )
    return sent.encode()


def problem_of_refusal(error: Refused | KeyReused) -> Problem:
    """422 naming the field."""
    if isinstance(error, Refused):
        return Problem(422, "Some fields are not valid", detail=error.message, field=error.field, allowed=error.allowed)
    return Problem(
        422,
        "The key was used for another report",
        detail="This Idempotency-Key came with another body before",
        field="Idempotency-Key",
        allowed="a new key for a new report, the same body for a retry",
    )


def hot_routes() -> Sequence[HotRoute]:
    """The routes that most requests take, without FastAPI's machinery."""
    faults = _RenderedFaults()

    async def post_report(request: Request) -> Response:
        desk = desk_of(request)
        desk.commits.refuse_when_overloaded()
        require_json(request)
        key = idempotency_key_of(request)
        body = read_json(ReportBody, await request.body())
        submission = Submission(
            body.office, body.service, body.channel, body.kind, body.lang, request.headers.get("accept-language"),
            body.rating, body.drivers, body.text or "", body.joins_incident,
        )  # fmt: skip
        try:
            accepted = await submit_report(desk, submission, key, datetime.now(UTC))
        except (Refused, KeyReused) as error:
            raise problem_of_refusal(error) from None
        return Response(_answer(accepted, faults, desk.incidents), 202, media_type="application/json")

    async def post_lookup(request: Request) -> Response:
        require_json(request)
        body = read_json(LookupBody, await request.body())
        try:
            told = await tell_receipt(desk_of(request), body.receipt)
        except MistypedReceipt:
            told = None
        if told is None:
            return Response(_NO_RECEIPT, 404, media_type=MEDIA_TYPE)
        texts = texts_accepted(request.headers.get("accept-language"), fallback=texts_for(told.lang))
        story = told.story
        title = fault_of(story.incident, texts.lang).title if story.incident else ""
        answer = StoryAnswer(
            state=story.state,
            story=tuple(StoryEntry(at=at, text=texts.moments[what].format(title=title)) for at, what in story.moments),
            affected=story.affected,
            can_verdict=story.can_verdict,
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    return (
        hot(
            "/v1/reports",
            post_report,
            methods=["POST"],
            allows=ANYONE,
            request=ReportBody,
            response=ReportAnswer,
            status=202,
            summary="Send in a report",
            openapi_extra=_KEY_PARAMETER,
        ),
        hot(
            "/v1/receipts/lookup",
            post_lookup,
            methods=["POST"],
            allows=ANYONE,
            request=LookupBody,
            response=StoryAnswer,
            summary="What became of a report",
        ),
    )


def _answer(accepted: Accepted, faults: _RenderedFaults, incidents: PublicIncidents) -> bytes:
    """``ReportAnswer`` as JSON, written directly: the values were checked already."""
    report = accepted.report
    return (
        f'{{"receipt":"{accepted.receipt}","report_id":"{report.report_id}","kind":"{report.kind}",'
        f'"masked_text":{json_text(report.text)},'
        f'"known_faults":{faults.json(incidents, report.service, report.lang)},"guards":[]}}'
    ).encode()


def router() -> APIRouter:
    """All other routes."""
    routes = APIRouter(dependencies=[anyone()])

    @routes.get("/v1/known-faults")
    async def list_known_faults(
        request: Request, lang: Annotated[str | None, Query(max_length=35)] = None
    ) -> KnownFaults:
        """All public faults, texts in the language asked for, else in German."""
        asked = language_of(lang, request.headers.get("accept-language"))
        shown = asked if asked is not Language.OTHER else Language.DE
        return KnownFaults(items=tuple(fault_of(incident, shown) for incident in desk_of(request).incidents.current))

    @routes.get("/v1/catalogue")
    async def get_catalogue(request: Request) -> PublicCatalogue:
        """Offices and services with their names."""
        catalogue = desk_of(request).catalogue.current
        return PublicCatalogue(
            offices=tuple(CatalogueEntry(id=key, name={"de": one.name}) for key, one in catalogue.offices.items()),
            services=tuple(CatalogueEntry(id=key, name=one.name) for key, one in catalogue.services.items()),
        )

    return routes
