"""CloudEvents 1.0 in Kafka's binary mode: the attributes travel as ``ce_*`` headers, the body is the event's JSON."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, NewType
from uuid import UUID

from pydantic import BaseModel, ConfigDict

EventId = NewType("EventId", UUID)
KafkaHeaders = list[tuple[str, bytes]]

SPEC_VERSION = "1.0"


class Event(BaseModel):
    """What happened, in the past tense. Additive change only; a break is a new class and a new topic."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: ClassVar[str]

    def key(self) -> str:
        """The Kafka key: what must keep its order stays together."""
        raise TypeError(f"{type(self).__name__} declares no key")


class Envelope(BaseModel):
    """The CloudEvents attributes of one record. ``time`` is UTC; ``traceparent`` is W3C Trace Context."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: EventId
    type: str
    source: str
    time: datetime
    subject: str
    traceparent: str | None = None

    def to_headers(self) -> KafkaHeaders:
        """The record headers of binary content mode (CloudEvents Kafka protocol binding 1.0.2, section 3.2)."""
        headers: KafkaHeaders = [
            ("ce_specversion", SPEC_VERSION.encode()),
            ("ce_id", str(self.id).encode()),
            ("ce_type", self.type.encode()),
            ("ce_source", self.source.encode()),
            ("ce_time", self.time.isoformat().encode()),
            ("ce_subject", self.subject.encode()),
            ("content-type", b"application/json"),
        ]
        if self.traceparent:
            headers.append(("ce_traceparent", self.traceparent.encode()))
        return headers

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes]]) -> "Envelope":
        """Reads the attributes back. Raises ``ValueError`` (pydantic's) naming what is missing or malformed."""
        found = {name[3:]: value.decode() for name, value in headers if name.startswith("ce_")}
        if found.get("specversion") != SPEC_VERSION:
            raise ValueError(f"ce_specversion is {found.get('specversion')!r}, expected {SPEC_VERSION!r}")
        return cls.model_validate(found)
