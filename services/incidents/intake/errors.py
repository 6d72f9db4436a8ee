"""Errors from outside become events of ours: who sent them, for which service, when. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from services.incidents import wire
from services.incidents.intake.sentry_event import (
    LEVELS,
    believable,
    clean_code_name,
    clean_message,
    clean_name,
    clean_transaction,
    read_fingerprint,
    read_frames,
    read_sentry_event,
    read_trace_id,
)
from shared.catalogue import SentryProject
from shared.events import ErrorReportedV1
from shared.web import CleanText

MAX_EVENT_ID = 64


class ErrorFrame(BaseModel):
    """One stack frame; the place of the error last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    module: CleanText | None = None
    function: CleanText | None = None
    filename: CleanText | None = None
    lineno: int | None = None
    in_app: bool | None = None


class ErrorBody(BaseModel):
    """One error of ``POST /v1/errors``. Needs a message, a type or frames; too long texts are cut, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    service: str = Field(max_length=64)
    message: CleanText = ""
    type: CleanText | None = None
    frames: list[ErrorFrame] = []
    office: str | None = Field(default=None, max_length=64)
    at: AwareDatetime | None = None
    event_id: CleanText | None = Field(default=None, min_length=1, max_length=MAX_EVENT_ID)
    fingerprint: list[CleanText] = []
    level: CleanText | None = None
    platform: CleanText | None = None
    release: CleanText | None = None
    environment: CleanText | None = None
    transaction: CleanText | None = None
    trace_id: CleanText | None = None


@dataclass(frozen=True, slots=True)
class NewError:
    """An event ready to be announced; ``clock_corrected``: the sender's time could not be true."""

    event: ErrorReportedV1
    clock_corrected: bool


def error_from_body(body: ErrorBody, received_at: datetime) -> NewError:
    """An error sent as JSON. Its ``event_id`` is unique within the service; without one every copy counts."""
    project = f"service:{body.service}"
    event_id = body.event_id or uuid4().hex
    at = believable(body.at, received_at)
    event = ErrorReportedV1(
        error_id=wire.error_id(project, event_id),
        event_id=event_id,
        project=project,
        service=body.service,
        office=body.office,
        type=clean_name(body.type) or "",
        message=clean_message(body.message),
        frames=read_frames([frame.model_dump() for frame in body.frames]),
        fingerprint=read_fingerprint(list(body.fingerprint)),
        level=body.level if body.level in LEVELS else "error",
        platform=clean_name(body.platform),
        release=clean_code_name(body.release),
        environment=clean_name(body.environment),
        transaction=clean_transaction(body.transaction),
        trace_id=read_trace_id(body.trace_id),
        at=at or received_at,
        received_at=received_at,
    )
    return NewError(event, body.at is not None and at is None)


def error_from_sentry(
    payload: Mapping[str, Any], *, project_id: str, project: SentryProject, event_id: str, received_at: datetime
) -> NewError:
    """An event of a Sentry SDK; service and office come from the project, never from the event."""
    facts = read_sentry_event(payload)
    at = believable(facts.at, received_at)
    event = ErrorReportedV1(
        error_id=wire.error_id(project_id, event_id),
        event_id=event_id,
        project=project_id,
        service=project.service,
        office=project.office,
        type=facts.type,
        message=facts.message,
        frames=facts.frames,
        fingerprint=facts.fingerprint,
        level=facts.level,
        platform=facts.platform,
        release=facts.release,
        environment=facts.environment,
        transaction=facts.transaction,
        trace_id=facts.trace_id,
        at=at or received_at,
        received_at=received_at,
    )
    return NewError(event, facts.at is not None and at is None)


def sentry_event_id(*offered: object) -> str:
    """The first usable id of ``offered`` as 32 hex digits without dashes, else a new one."""
    for value in offered:
        text = value.replace("-", "").lower() if isinstance(value, str) else ""
        if len(text) == 32 and all(char in "0123456789abcdef" for char in text):
            return text
    return uuid4().hex
