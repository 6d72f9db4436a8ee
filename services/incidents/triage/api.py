"""HTTP in for decisions: commands that change the state, and amendments that don't."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, ConfigDict, Field

from services.incidents.desk import Desk, UsesDesk
from services.incidents.domain.lifecycle import Command, CommandRefused
from services.incidents.domain.model import Severity
from services.incidents.triage import handlers
from services.incidents.triage.handlers import Change, IncidentMoved, seer_of
from services.incidents.triage.views import IncidentOut, show_incident
from shared.auth import Principal, Role, allow
from shared.events.vocabulary import Cause
from shared.postgres import transaction
from shared.web import CleanText, FieldError, Problem

MAX_REASON = 2000
MAX_VERSION_DIGITS = 18

Manager = Annotated[Principal, allow(Role.QUALITY_MANAGER)]
IfMatch = Annotated[str | None, Header(max_length=64, description="the ETag that was seen; 409 when it has changed")]
Reason = Annotated[CleanText | None, Field(max_length=MAX_REASON)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ReasonBody(_Body):
    """Why; kept in the decision log."""

    reason: Reason = None


class CauseBody(ReasonBody):
    """What lies behind the reports of this incident."""

    cause: Cause


class SeverityBody(ReasonBody):
    """How bad it is."""

    severity: Severity


class AssignBody(ReasonBody):
    """``owner`` is an opaque subject id; null takes the owner away, left out means oneself."""

    owner: Annotated[CleanText | None, Field(max_length=200)] = None


class CommentBody(_Body):
    """A remark for the decision log."""

    reason: Annotated[CleanText, Field(min_length=1, max_length=MAX_REASON)]


def add_routes(router: APIRouter) -> None:
    """``POST /{incident_id}/confirm`` and all the others."""
    for name in Command:
        router.add_api_route(
            f"/{{incident_id}}/{name.value}",
            _endpoint_of(name),
            methods=["POST"],
            name=f"{name.value}_incident",
            summary=f"{name.value.capitalize()} it",
        )
    for path, endpoint, summary in (
        ("cause", set_cause, "Say what lies behind it"),
        ("severity", set_severity, "Say how bad it is"),
        ("assign", assign, "Give it an owner"),
        ("comment", comment, "Add a remark to its log"),
    ):
        router.add_api_route(f"/{{incident_id}}/{path}", endpoint, methods=["POST"], summary=summary)


def _endpoint_of(name: Command) -> Callable[..., object]:
    async def apply(
        *,
        desk: UsesDesk,
        principal: Manager,
        incident_id: UUID,
        response: Response,
        body: ReasonBody | None = None,
        if_match: IfMatch = None,
    ) -> IncidentOut:
        change = handlers.command(name, seer_of(principal), body.reason if body else None, desk.clock())
        return await _apply(desk, principal, incident_id, change, if_match=if_match, response=response)

    return apply


async def set_cause(
    *,
    desk: UsesDesk,
    principal: Manager,
    incident_id: UUID,
    body: CauseBody,
    response: Response,
    if_match: IfMatch = None,
) -> IncidentOut:
    """It overrides what was judged of its reports."""
    change = handlers.set_cause(body.cause.value, seer_of(principal), body.reason, desk.clock())
    return await _apply(desk, principal, incident_id, change, if_match=if_match, response=response)


async def set_severity(
    *,
    desk: UsesDesk,
    principal: Manager,
    incident_id: UUID,
    body: SeverityBody,
    response: Response,
    if_match: IfMatch = None,
) -> IncidentOut:
    """One of low, medium, high, critical."""
    change = handlers.set_severity(body.severity, seer_of(principal), body.reason, desk.clock())
    return await _apply(desk, principal, incident_id, change, if_match=if_match, response=response)


async def assign(
    *,
    desk: UsesDesk,
    principal: Manager,
    incident_id: UUID,
    response: Response,
    body: AssignBody | None = None,
    if_match: IfMatch = None,
) -> IncidentOut:
    """Without an `owner` it is oneself; null takes the owner away."""
    given = body or AssignBody()
    owner = given.owner if "owner" in given.model_fields_set else principal.subject
    change = handlers.assign(owner, seer_of(principal), given.reason, desk.clock())
    return await _apply(desk, principal, incident_id, change, if_match=if_match, response=response)


async def comment(
    *,
    desk: UsesDesk,
    principal: Manager,
    incident_id: UUID,
    body: CommentBody,
    response: Response,
    if_match: IfMatch = None,
) -> IncidentOut:
    """The incident stays as it is."""
    change = handlers.comment(seer_of(principal), body.reason, desk.clock())
    return await _apply(desk, principal, incident_id, change, if_match=if_match, response=response)


async def _apply(
    desk: Desk, principal: Principal, incident_id: UUID, change: Change, *, if_match: str | None, response: Response
) -> IncidentOut:
    """Applies one decision and answers with the incident and its new ETag."""
    try:
        async with transaction(desk.pool) as connection:
            stored = await handlers.change_incident(
                connection, incident_id, seer_of(principal), change, seen_version=_version(if_match), now=desk.clock()
            )
    except CommandRefused as error:
        raise Problem(
            409,
            "Not possible in this state",
            detail=f"The incident is {error.state}",
            field="state",
            allowed=", ".join(error.allowed),
        ) from None
    except IncidentMoved as error:
        raise _moved(error) from None
    response.headers["ETag"] = f'"{stored.incident.version}"'
    return show_incident(stored, desk.catalogue.current)


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS):
        raise Problem(422, "Some fields are not valid", field="If-Match", allowed="the ETag of the incident")
    return int(text)


def _moved(error: IncidentMoved) -> Problem:
    changes = [
        FieldError(name, f"{row['kind']}: {row['before'].get(name)} → {value}")
        for row in error.decisions
        for name, value in row["after"].items()
        if name != "owner"
    ]
    kinds = ", ".join(row["kind"] for row in error.decisions) or "nothing that this version could know"
    return Problem(
        409,
        "The incident has changed",
        detail=f"Decided since: {kinds}; now at version {error.version}",
        headers={"ETag": f'"{error.version}"'},
        errors=changes,
    )
