"""HTTP in for people: the list of incidents, one incident, its signals with their why, its decision log."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response

from services.incidents.desk import UsesDesk
from services.incidents.domain.lifecycle import OPEN_STATES, PUBLIC_DAYS_AFTER_FIX, PUBLIC_STATES
from services.incidents.domain.model import State
from services.incidents.store import StoredIncident
from services.incidents.triage import api as triage_api
from services.incidents.triage import store
from services.incidents.triage.handlers import read_incident, seer_of
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
from shared.postgres import transaction
from shared.web import DEFAULT_LIMIT, CleanText, Cursor, Limit, Page, Problem, decode_cursor, encode_cursor

ANY_STATE = "any"
PREFIX = "/v1/incidents"

Manager = Annotated[Principal, allow(Role.QUALITY_MANAGER)]
ManagerOrFrontline = Annotated[Principal, allow(Role.QUALITY_MANAGER, Role.FRONTLINE)]


def api() -> APIRouter:
    """Everything under ``/v1/incidents``."""
    router = APIRouter(prefix=PREFIX, tags=["incidents"])
    router.add_api_route("", list_incidents, methods=["GET"], summary="Incidents")
    router.add_api_route("/{incident_id}", get_incident, methods=["GET"], summary="One incident")
    router.add_api_route("/{incident_id}/signals", list_signals, methods=["GET"], summary="Its signals with their why")
    router.add_api_route("/{incident_id}/log", list_decisions, methods=["GET"], summary="Its decision log")
    triage_api.add_routes(router)
    return router


async def list_incidents(
    *,
    desk: UsesDesk,
    principal: ManagerOrFrontline,
    state: Annotated[str | None, Query(max_length=200, description="states by comma, or `any`")] = None,
    service: Annotated[CleanText | None, Query(max_length=64)] = None,
    office: Annotated[CleanText | None, Query(max_length=64)] = None,
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
        states = public if states is None else tuple(known for known in states if known in public)
        fixed_since = desk.clock() - timedelta(days=PUBLIC_DAYS_AFTER_FIX)
    wanted = IncidentFilter(states, service, office, principal.offices, q or None, fixed_since)
    async with transaction(desk.pool) as connection:
        found = await store.list_incidents(connection, wanted, sort, after=_place(cursor, sort), max_rows=limit + 1)
        total = await store.count_incidents(connection, wanted)
    items = [
        show_incident(stored, desk.catalogue.current, with_owner=principal.has(Role.QUALITY_MANAGER))
        for stored in found[:limit]
    ]
    following = _cursor(found[limit - 1], sort) if len(found) > limit else None
    return Page[IncidentOut](items=items, next=following, total=total)


async def get_incident(desk: UsesDesk, principal: Manager, incident_id: UUID, response: Response) -> IncidentOut:
    """One incident; its ETag is for `If-Match`."""
    async with transaction(desk.pool) as connection:
        stored = await read_incident(connection, incident_id, seer_of(principal))
    response.headers["ETag"] = f'"{stored.incident.version}"'
    return show_incident(stored, desk.catalogue.current)


async def list_signals(
    desk: UsesDesk, principal: Manager, incident_id: UUID, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Page[SignalOut]:
    """Newest first; of foreign offices none, even when the incident touches them too."""
    after: Any = decode_cursor(cursor, datetime, UUID) if cursor is not None else None
    async with transaction(desk.pool) as connection:
        known = (await read_incident(connection, incident_id, seer_of(principal))).incident.id
        rows = await store.list_signals(connection, known, principal.offices, after=after, max_rows=limit + 1)
        total = await store.count_signals(connection, known, principal.offices)
    following = encode_cursor((rows[limit - 1]["at"], rows[limit - 1]["id"])) if len(rows) > limit else None
    return Page[SignalOut](items=[show_signal(row) for row in rows[:limit]], next=following, total=total)


async def list_decisions(
    desk: UsesDesk, principal: Manager, incident_id: UUID, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Page[DecisionOut]:
    """Who decided what, when and why; automatic steps too."""
    after: Any = decode_cursor(cursor, int)[0] if cursor is not None else 0
    async with transaction(desk.pool) as connection:
        known = (await read_incident(connection, incident_id, seer_of(principal))).incident.id
        rows = await store.list_decisions(connection, known, after=after, max_rows=limit + 1)
        total = await store.count_decisions(connection, known)
    following = encode_cursor((rows[limit - 1]["sequence"],)) if len(rows) > limit else None
    return Page[DecisionOut](items=[show_decision(row) for row in rows[:limit]], next=following, total=total)


def _states(text: str | None) -> tuple[State, ...] | None:
    """None for all; the open ones when nothing is asked for."""
    if text is None or not text.strip():
        return OPEN_STATES
    if text.strip() == ANY_STATE:
        return None
    try:
        return tuple(State(part.strip()) for part in text.split(","))
    except ValueError:
        allowed = ", ".join((ANY_STATE, *State))
        raise Problem(
            422, "Some fields are not valid", detail="Unknown state", field="state", allowed=allowed
        ) from None


def _place(cursor: str | None, sort: Sort) -> tuple[Any, Any] | None:
    """The place after which the page begins. A cursor of another order is refused: it would skip incidents."""
    if cursor is None:
        return None
    order, value, last_id = decode_cursor(cursor, str, int if sort is Sort.SIGNALS else datetime, UUID)
    if order != sort.value:
        raise Problem(422, "Some fields are not valid", field="cursor", allowed="`next` of a page of the same `sort`")
    return value, last_id


def _cursor(last: StoredIncident, sort: Sort) -> str:
    incident = last.incident
    match sort:
        case Sort.LAST_SEEN:
            return encode_cursor((sort.value, incident.last_seen_at, incident.id))
        case Sort.FIRST_SEEN:
            return encode_cursor((sort.value, incident.first_seen_at, incident.id))
        case Sort.SIGNALS:
            return encode_cursor((sort.value, incident.counts.total, incident.id))
