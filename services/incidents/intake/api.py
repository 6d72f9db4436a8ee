"""HTTP in for programs and staff: ``POST /v1/errors`` and ``POST /v1/heat``."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.incidents import wire
from services.incidents.desk import Desk, Offer, Receipt, desk_of
from services.incidents.domain.lifecycle import may_name
from services.incidents.intake.errors import ErrorBody, NewError, error_from_body
from services.incidents.intake.sentry_event import believable
from services.incidents.store import get_named_incident
from shared.auth import Principal, Role, hot
from shared.catalogue import Catalogue
from shared.events import HeatReportedV1
from shared.postgres import transaction
from shared.tracing import current_traceparent
from shared.web import CleanText, FieldError, Problem, read_json, require_json
from shared.web.hot import HotRoute
from shared.web.problems import field_errors
from shared.web.reading import check_json, malformed_json

MAX_ERRORS = 1000
MAX_EVENTS_IN_COMPANY = 16
"""Requests with more events wait in a queue of their own, whose commits take few of them."""
ERROR_BODY_BYTES = 2 * 1024 * 1024


class RefusedError(BaseModel):
    """One error of an array that was not taken."""

    model_config = ConfigDict(frozen=True)

    index: int
    field: str
    reason: str
    allowed: str | None = None


class ErrorReceipt(BaseModel):
    """What became of the errors of one request; everything accepted is durable."""

    model_config = ConfigDict(frozen=True)

    accepted: int
    duplicate: int
    refused: list[RefusedError]


class HeatBody(BaseModel):
    """A press of the heat button. It says what is hot where, never who pressed.

    ``topic`` is taken and goes no further: heat is announced for good, and a free text may name a person in words that
    no masking knows. It will be announced once it is a word of a closed list.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    office: str = Field(max_length=64)
    service: str = Field(max_length=64)
    topic: CleanText | None = Field(default=None, max_length=200, description="checked, not kept")
    incident_id: UUID | None = Field(
        default=None, description="a public incident, or one that touches an office of yours"
    )
    at: AwareDatetime | None = None


class HeatReceipt(BaseModel):
    """``counted`` is false when this office and service have pressed within the same ten minutes."""

    model_config = ConfigDict(frozen=True)

    heat_id: UUID
    counted: bool


def hot_routes() -> list[HotRoute]:
    """Both routes, described for OpenAPI by their models."""
    one_or_many = Annotated[ErrorBody | list[ErrorBody], Field(description=f"one error, or up to {MAX_ERRORS}")]
    return [
        hot(
            "/v1/errors",
            report_errors,
            methods=["POST"],
            allows=[Role.INTEGRATION],
            request=one_or_many,
            response=ErrorReceipt,
            status=202,
            summary="Report technical errors",
        ),
        hot(
            "/v1/heat",
            report_heat,
            methods=["POST"],
            allows=[Role.FRONTLINE],
            request=HeatBody,
            response=HeatReceipt,
            status=202,
            summary="Say that people are upset about a service",
        ),
    ]


async def report_errors(request: Request) -> Response:
    """Takes one error or an array; refuses single ones with their index, and all together as a problem."""
    desk = desk_of(request)
    require_json(request)
    desk.intake.refuse_when_overloaded()
    principal: Principal = request.scope["principal"]
    offered = _read_document(await request.body())
    single = isinstance(offered, dict)
    taken: list[NewError] = []
    refused: list[RefusedError] = []
    now = desk.clock()
    for index, item in enumerate([offered] if single else offered):
        await asyncio.sleep(0)  # masking a large error takes a while, and nobody else is served meanwhile
        error = _read_error(item, desk.catalogue.current, principal, now)
        if isinstance(error, NewError):
            taken.append(error)
        else:
            refused.append(RefusedError(index=index, field=error.field, reason=error.message, allowed=error.allowed))
    desk.intake_metrics.count("http", "refused", len(refused))
    if refused and not taken:
        raise Problem(422, "Some fields are not valid", errors=_all_refused(refused, single=single))
    receipt = await submit_errors(desk, "http", taken)
    answer = ErrorReceipt(accepted=receipt.accepted, duplicate=receipt.duplicate, refused=refused)
    return JSONResponse(answer.model_dump(), 202)


async def submit_errors(desk: Desk, source: str, errors: Sequence[NewError]) -> Receipt:
    """Makes the errors of one request durable and counts what became of them."""
    queue = desk.intake if len(errors) <= MAX_EVENTS_IN_COMPANY else desk.bulk_intake
    receipt = await queue.submit(Offer(tuple(error.event for error in errors), current_traceparent()))
    desk.intake_metrics.count(source, "accepted", receipt.accepted)
    desk.intake_metrics.count(source, "duplicate", receipt.duplicate)
    for error in errors:
        if error.clock_corrected:
            desk.intake_metrics.correct_clock()
    return receipt


async def report_heat(request: Request) -> Response:
    """Takes one press; a repeated one within ten minutes is answered alike and not counted."""
    desk = desk_of(request)
    require_json(request)
    desk.intake.refuse_when_overloaded()
    principal: Principal = request.scope["principal"]
    body = read_json(HeatBody, await request.body())
    catalogue = desk.catalogue.current
    if body.service not in catalogue.services:
        raise _unknown("service", catalogue.services)
    now = desk.clock()
    if body.office not in catalogue.offices or not catalogue.offices[body.office].is_valid_on(now.date()):
        raise _unknown("office", catalogue.offices)
    principal.require_office(body.office)
    if body.incident_id is not None:
        await _require_namable(desk, principal, body.incident_id, now)
    at = believable(body.at, now) or now
    event = HeatReportedV1(
        heat_id=wire.heat_id(body.office, body.service, at),
        office=body.office,
        service=body.service,
        heat_topic=None,
        incident_id=body.incident_id,
        at=at,
    )
    receipt = await desk.intake.submit(Offer((event,), current_traceparent()))
    desk.intake_metrics.count("heat", "accepted", receipt.accepted)
    desk.intake_metrics.count("heat", "duplicate", receipt.duplicate)
    answer = HeatReceipt(heat_id=event.heat_id, counted=receipt.accepted == 1)
    return JSONResponse(answer.model_dump(mode="json"), 202)


async def _require_namable(desk: Desk, principal: Principal, incident_id: UUID, now: datetime) -> None:
    """Raises the problem 422, the same for an unknown incident as for one that may not be named (``may_name``)."""
    async with transaction(desk.pool) as connection:
        named = await get_named_incident(connection, incident_id)
    if named is None or not may_name(named, principal.offices, now):
        allowed = "a public incident, or one that touches an office of yours"
        raise Problem(422, "Some fields are not valid", detail="Unknown incident", field="incident_id", allowed=allowed)


def _read_error(item: object, catalogue: Catalogue, principal: Principal, now: datetime) -> NewError | FieldError:
    try:
        body = ErrorBody.model_validate(item)
    except ValidationError as error:
        return field_errors(error.errors(include_url=False, include_input=False))[0]
    if body.service not in catalogue.services:
        return FieldError("service", "Unknown service", ", ".join(catalogue.services))
    if body.office is not None and not (body.office in catalogue.offices and principal.may_see(body.office)):
        return FieldError("office", "Unknown office", "an office of the catalogue that the token is for")
    if not (body.message.strip() or body.type or body.frames):
        return FieldError("message", "Nothing to recognise the error by", "a message, a type or frames")
    return error_from_body(body, now)


def _read_document(body: bytes) -> Any:
    check_json(body)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise malformed_json() from None
    if not isinstance(document, dict | list):
        raise Problem(422, "Some fields are not valid", field="body", allowed="an error or an array of errors")
    if isinstance(document, list) and not 1 <= len(document) <= MAX_ERRORS:
        allowed = f"1 to {MAX_ERRORS} errors"
        raise Problem(422, "Some fields are not valid", detail="Wrong number of errors", field="body", allowed=allowed)
    return document


def _all_refused(refused: list[RefusedError], *, single: bool) -> list[FieldError]:
    return [
        FieldError(error.field if single else f"{error.index}.{error.field}", error.reason, error.allowed)
        for error in refused
    ]


def _unknown(field: str, allowed: Any) -> Problem:
    return Problem(422, "Some fields are not valid", detail=f"Unknown {field}", field=field, allowed=", ".join(allowed))
