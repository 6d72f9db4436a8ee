"""Technical error events, normalised and scrubbed at the edge of incidents."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.events.envelope import Event


class Frame(BaseModel):
    """One stack frame; the outermost call first, the place of the error last (as Sentry sends them)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    module: str | None = None
    function: str | None = None
    filename: str | None = None
    lineno: int | None = None
    in_app: bool | None = None


class ErrorReportedV1(Event):
    """One technical error: no request data, no breadcrumbs, no local variables, no user."""

    topic: ClassVar[str] = "error.reported.v1"

    error_id: UUID
    event_id: str
    """The sender's own id of the event; unique within ``project``."""
    project: str
    service: str
    office: str | None
    type: str
    message: str
    frames: tuple[Frame, ...]
    fingerprint: tuple[str, ...]
    level: str
    platform: str | None
    release: str | None
    environment: str | None
    transaction: str | None
    trace_id: str | None
    at: datetime
    received_at: datetime

    def key(self) -> str:
        return str(self.error_id)
