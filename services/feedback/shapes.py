"""The shapes of HTTP: what comes in and what goes out, as the contract names them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints

from services.feedback.domain.incidents import Incident
from services.feedback.domain.report import LONGEST_TEXT
from services.feedback.domain.story import ReceiptState
from shared.events.vocabulary import Channel, Driver, Kind

_Word = Annotated[str, StringConstraints(max_length=64)]


class ReportBody(BaseModel):
    """What a client sends in. At least a rating or a text; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    office: _Word = Field(examples=["JC-001"])
    service: _Word = "other"
    channel: Channel = Channel.WEB
    kind: Kind | None = Field(
        default=None,
        description="default: rating without a text; with one, praise beside a rating of 4 or 5, else complaint",
    )
    lang: Annotated[str, StringConstraints(max_length=35)] | None = Field(
        default=None, description="BCP 47 tag; an unknown one is stored as other; default: Accept-Language"
    )
    rating: Annotated[int, Strict(), Field(ge=1, le=5)] | None = None
    drivers: Annotated[tuple[Driver, ...], Field(max_length=64)] = ()
    text: Annotated[str, StringConstraints(max_length=LONGEST_TEXT)] | None = None
    joins_incident: UUID | None = Field(default=None, description="incident_id of a known fault: me too")


class Fault(BaseModel):
    """A known fault. ``affected`` is null below three; ``score`` is null where nothing was matched by text."""

    model_config = ConfigDict(frozen=True)

    incident_id: UUID
    title: str
    public_text: str | None
    workaround: str | None
    lang: str
    since: datetime
    affected: int | None
    score: float | None = None


class Guard(BaseModel):
    """A warning that the text is really something else, e.g. a legal objection."""

    model_config = ConfigDict(frozen=True)

    kind: str
    title: str
    text: str
    links: tuple[str, ...]
    phones: tuple[str, ...]


class ReportAnswer(BaseModel):
    """Given only after the report is durably stored. The receipt is shown once and stored nowhere."""

    model_config = ConfigDict(frozen=True)

    receipt: str = Field(examples=["7Q4M-0ZKT-9R2C-XW8H-5"])
    report_id: UUID
    kind: Kind
    masked_text: str
    known_faults: tuple[Fault, ...]
    guards: tuple[Guard, ...]


class LookupBody(BaseModel):
    """A receipt as typed: case, spaces and hyphens do not matter, O is 0, I and L are 1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    receipt: Annotated[str, StringConstraints(max_length=64)]


class StoryEntry(BaseModel):
    """One thing that happened, in plain words."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    text: str


class StoryAnswer(BaseModel):
    """What became of a report. ``affected`` is null when unknown or below three."""

    model_config = ConfigDict(frozen=True)

    state: ReceiptState
    story: tuple[StoryEntry, ...]
    affected: int | None
    can_verdict: bool


class CatalogueEntry(BaseModel):
    """An office or a service. ``name`` by language."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: dict[str, str]


class PublicCatalogue(BaseModel):
    """What everyone may know of the catalogue."""

    model_config = ConfigDict(frozen=True)

    offices: tuple[CatalogueEntry, ...]
    services: tuple[CatalogueEntry, ...]


class KnownFaults(BaseModel):
    """All public faults, most people affected first."""

    model_config = ConfigDict(frozen=True)

    items: tuple[Fault, ...]


def fault_of(incident: Incident, lang: str) -> Fault:
    """An incident as the public sees it: texts in ``lang``, else in German, else its title alone."""
    found_lang, words = incident.words_in(lang)
    return Fault(
        incident_id=incident.incident_id,
        title=words.title if words else incident.title,
        public_text=words.text if words else None,
        workaround=words.workaround if words else None,
        lang=found_lang,
        since=incident.first_seen_at,
        affected=incident.affected,
    )
