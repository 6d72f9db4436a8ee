"""HTTP in for people: the list of incidents, one incident with its why and its log, and what may be decided."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.incidents.domain.lifecycle import (
    OPEN_STATES,
    PUBLIC_DAYS_AFTER_FIX,
    PUBLIC_STATES,
    Command,
    CommandRefused,
)
from services.incidents.domain.model import IncidentId, Severity, State
from services.incidents.triage import handlers, store
from services.incidents.triage.handlers import Change, IncidentMoved, Seer, UnknownIncident
from services.incidents.triage.store import IncidentFilter, Sort
from services.incidents.triage.views import (
    DecisionOut,
    IncidentOut,
    SignalOut,
    show_decision,
    show_incident,
    show_signal,
)
from shared.auth import Principal, Role, allow
from shared.catalogue import CatalogueFile
from shared.events.vocabulary import Cause
from shared.postgres import transaction
from shared.web import (
    DEFAULT_LIMIT,
    CleanText,
    Cursor,
    FieldError,
    Limit,
    Page,
    Problem,
    decode_cursor,
    encode_cursor,
)

ANY_STATE = "any"
MAX_REASON = 2000

Reason = Annotated[CleanText | None, Field(max_length=MAX_REASON)]
IfMatch = Annotated[str | None, Header(max_length=64, description="the ETag that was seen; 409 when it has changed")]


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


@dataclass(frozen=True, slots=True)
class IncidentsApi:
    """The routes with what they need."""

    pool: asyncpg.Pool
    catalogue: CatalogueFile
    clock: Callable[[], datetime]

    async def list_incidents(
        self,
        principal: Principal,
        wanted: IncidentFilter,
        sort: Sort,
        cursor: str | None,
        limit: int,
    ) -> Page[IncidentOut]:
        """One page of the list."""
        kind = int if sort is Sort.SIGNALS else datetime
        after: Any = None
        if cursor is not None:
            _, value, last = decode_cursor(cursor, _sort_type(sort), kind, UUID)
            after = (value, last)
        async with transaction(self.pool) as connection:
            found = await store.list_incidents(connection, wanted, sort, after=after, max_rows=limit + 1)
            total = await store.count_incidents(connection, wanted)
        page = found[:limit]
        with_owner = principal.has(Role.QUALITY_MANAGER)
        following = None
        if len(found) > limit:
            last = page[-1].incident
            value = {
                Sort.LAST_SEEN: last.last_seen_at,
                Sort.FIRST_SEEN: last.first_seen_at,
                Sort.SIGNALS: last.counts.total,
            }[sort]
            following = encode_cursor((sort.value, value, last.id))
        items = [show_incident(stored, self.catalogue.current, with_owner=with_owner) for stored in page]
        return Page[IncidentOut](items=items, next=following, total=total)

    async def change(
        self, incident_id: UUID, seer: Seer, change: Change, if_match: str | None, response: Response
    ) -> IncidentOut:
        """Applies one decision and answers with the incident and its new ETag."""
        now = self.clock()
        try:
            async with transaction(self.pool) as connection:
                stored = await handlers.change_incident(
                    connection, incident_id, seer, change, seen_version=_version(if_match), now=now
                )
        except UnknownIncident:
            raise Problem(404, "Not found") from None
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
        return show_incident(stored, self.catalogue.current)


def api(pool: asyncpg.Pool, catalogue: CatalogueFile, clock: Callable[[], datetime]) -> APIRouter:
    """The router of ``/v1/incidents``."""
    router = APIRouter(prefix="/v1/incidents", tags=["incidents"])
    incidents = IncidentsApi(pool, catalogue, clock)
    _add_list(router, incidents)
    _add_reading(router, incidents)
    _add_commands(router, incidents)
    _add_amendments(router, incidents)
    return router


def _add_list(router: APIRouter, incidents: IncidentsApi) -> None:
    @router.get("", summary="Incidents")
    async def list_incidents(
        principal: Annotated[Principal, allow(Role.QUALITY_MANAGER, Role.FRONTLINE)],
        state: Annotated[str | None, Query(max_length=200, description="states by comma, or `any`")] = None,
        service: Annotated[str | None, Query(max_length=64)] = None,
        office: Annotated[str | None, Query(max_length=64)] = None,
        q: Annotated[CleanText | None, Query(max_length=200, description="words of the title")] = None,
        sort: Sort = Sort.LAST_SEEN,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[IncidentOut]:
        """Open ones by default; `state=any` shows `observed`, `closed`, `rejected` and `merged` too.

        Frontline sees the public ones of its offices.
        """
        if office is not None:
            principal.require_office(office)
        states = _states(state)
        fixed_since = None
        if not principal.has(Role.QUALITY_MANAGER):
            public = (*PUBLIC_STATES, State.FIXED)
            states = public if states is None else [known for known in states if known in public]
            fixed_since = incidents.clock() - timedelta(days=PUBLIC_DAYS_AFTER_FIX)
        wanted = IncidentFilter(states, service, office, principal.offices, q or None, fixed_since)
        return await incidents.list_incidents(principal, wanted, sort, cursor, limit)


def _add_reading(router: APIRouter, incidents: IncidentsApi) -> None:
    manager = Annotated[Principal, allow(Role.QUALITY_MANAGER)]

    @router.get("/{incident_id}", summary="One incident")
    async def get_incident(incident_id: UUID, principal: manager, response: Response) -> IncidentOut:
        async with transaction(incidents.pool) as connection:
            stored = await _read(connection, incident_id, principal)
        response.headers["ETag"] = f'"{stored.incident.version}"'
        return show_incident(stored, incidents.catalogue.current)

    @router.get("/{incident_id}/signals", summary="Its signals, each with the reason why it is here")
    async def list_signals(
        incident_id: UUID, principal: manager, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[SignalOut]:
        after: Any = decode_cursor(cursor, datetime, UUID) if cursor is not None else None
        async with transaction(incidents.pool) as connection:
            known = (await _read(connection, incident_id, principal)).incident.id
            rows = await store.list_signals(connection, known, principal.offices, after=after, max_rows=limit + 1)
            total = await store.count_signals(connection, known, principal.offices)
        last = rows[limit - 1] if len(rows) > limit else None
        following = encode_cursor((last["at"], last["id"])) if last is not None else None
        return Page[SignalOut](items=[show_signal(row) for row in rows[:limit]], next=following, total=total)

    @router.get("/{incident_id}/log", summary="Its decision log, oldest first")
    async def list_decisions(
        incident_id: UUID, principal: manager, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> Page[DecisionOut]:
        after: Any = decode_cursor(cursor, int)[0] if cursor is not None else 0
        async with transaction(incidents.pool) as connection:
            known = (await _read(connection, incident_id, principal)).incident.id
            rows = await store.list_decisions(connection, known, after=after, max_rows=limit + 1)
            total = await store.count_decisions(connection, known)
        following = encode_cursor((rows[limit - 1]["sequence"],)) if len(rows) > limit else None
        return Page[DecisionOut](items=[show_decision(row) for row in rows[:limit]], next=following, total=total)


def _add_commands(router: APIRouter, incidents: IncidentsApi) -> None:
    manager = Annotated[Principal, allow(Role.QUALITY_MANAGER)]

    def add(name: Command) -> None:
        @router.post(f"/{{incident_id}}/{name.value}", name=name.value, summary=f"{name.value.capitalize()} it")
        async def apply(
            incident_id: UUID,
            principal: manager,
            response: Response,
            body: ReasonBody | None = None,
            if_match: IfMatch = None,
        ) -> IncidentOut:
            seer = _seer(principal)
            change = handlers.command(name, seer, body.reason if body else None, incidents.clock())
            return await incidents.change(incident_id, seer, change, if_match, response)

    for name in Command:
        add(name)


def _add_amendments(router: APIRouter, incidents: IncidentsApi) -> None:
    manager = Annotated[Principal, allow(Role.QUALITY_MANAGER)]

    @router.post("/{incident_id}/cause", summary="Say what lies behind it")
    async def set_cause(
        incident_id: UUID, body: CauseBody, principal: manager, response: Response, if_match: IfMatch = None
    ) -> IncidentOut:
        seer = _seer(principal)
        change = handlers.set_cause(body.cause.value, seer, body.reason, incidents.clock())
        return await incidents.change(incident_id, seer, change, if_match, response)

    @router.post("/{incident_id}/severity", summary="Say how bad it is")
    async def set_severity(
        incident_id: UUID, body: SeverityBody, principal: manager, response: Response, if_match: IfMatch = None
    ) -> IncidentOut:
        seer = _seer(principal)
        change = handlers.set_severity(body.severity, seer, body.reason, incidents.clock())
        return await incidents.change(incident_id, seer, change, if_match, response)

    @router.post("/{incident_id}/assign", summary="Give it an owner")
    async def assign(
        incident_id: UUID, body: AssignBody, principal: manager, response: Response, if_match: IfMatch = None
    ) -> IncidentOut:
        seer = _seer(principal)
        owner = body.owner if "owner" in body.model_fields_set else seer.subject
        change = handlers.assign(owner, seer, body.reason, incidents.clock())
        return await incidents.change(incident_id, seer, change, if_match, response)

    @router.post("/{incident_id}/comment", summary="Add a remark to its log")
    async def comment(
        incident_id: UUID, body: CommentBody, principal: manager, response: Response, if_match: IfMatch = None
    ) -> IncidentOut:
        seer = _seer(principal)
        change = handlers.comment(seer, body.reason, incidents.clock())
        return await incidents.change(incident_id, seer, change, if_match, response)


async def _read(connection: asyncpg.Connection, incident_id: UUID, principal: Principal) -> Any:
    try:
        return await handlers.read_incident(connection, incident_id, _seer(principal))
    except UnknownIncident:
        raise Problem(404, "Not found") from None


def _seer(principal: Principal) -> Seer:
    return Seer(principal.subject, principal.offices)


def _states(text: str | None) -> Any:
    """None for all; the open ones when nothing is asked for."""
    if text is None or not text.strip():
        return OPEN_STATES
    if text.strip() == ANY_STATE:
        return None
    try:
        return [State(part.strip()) for part in text.split(",")]
    except ValueError:
        allowed = ", ".join((ANY_STATE, *State))
        raise Problem(422, "Some fields are not valid", detail="Unknown state", field="state", allowed=allowed) from None


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Problem(422, "Some fields are not valid", field="If-Match", allowed="the ETag of the incident")
    return int(text)


def _sort_type(sort: Sort) -> Any:
    return str


def _moved(error: IncidentMoved) -> Problem:
    changes = [
        FieldError(name, f"{row['kind']}: {row['before'].get(name)} → {value}")
        for row in error.decisions
        for name, value in row["after"].items()
    ]
    detail = f"Decided since: {', '.join(row['kind'] for row in error.decisions) or 'nothing you can have seen'}"
    return Problem(
        409,
        "The incident has changed",
        detail=f"{detail}; now at version {error.version}",
        headers={"ETag": f'"{error.version}"'},
        errors=changes,
    )
