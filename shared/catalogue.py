"""The catalogue: offices, services and thresholds of one installation, one file for all services.

Read whole or refused whole. ``CatalogueFile`` re-reads it on request (SIGHUP) and keeps the old one if the new fails.
"""

import hashlib
import tomllib
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator


class CatalogueRefused(ValueError):
    """The file is not a valid catalogue; the message names the file, the field and what is allowed."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Office(_Entry):
    """One office. ``valid_to`` is exclusive."""

    name: str
    land: str = Field(pattern=r"^(BW|BY|BE|BB|HB|HH|HE|MV|NI|NW|RP|SL|SN|ST|SH|TH)$")
    time_zone: str = "Europe/Berlin"
    team_size: int = Field(ge=5, description="people of the smallest team that figures are shown for")
    duty_contact: str
    valid_from: date = date(2005, 1, 1)
    valid_to: date | None = None

    def is_valid_on(self, day: date) -> bool:
        """Whether the office exists on ``day``."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        ZoneInfo(value)
        return value


class Service(_Entry):
    """A service of the office as clients know it. ``name`` by language, German required."""

    name: dict[str, str]
    weight: float = Field(ge=0, le=10, description="existential weight: 10 = no money for food")
    needs: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _has_german(cls, value: dict[str, str]) -> dict[str, str]:
        if not value.get("de"):
            raise ValueError("needs a German name ('de')")
        return value


class SentryProject(_Entry):
    """A program that may send error events with the DSN key ``public_key``; its errors count for ``service``."""

    public_key: str = Field(pattern=r"^[0-9a-f]{32}$")
    service: str
    office: str | None = None


class Evidence(_Entry):
    """The least independent evidence before an observed group shows as a candidate."""

    reports: int = Field(default=3, ge=1)
    offices: int = Field(default=2, ge=1)
    errors: int = Field(default=3, ge=1)
    heat: int = Field(default=2, ge=1)


class Catalogue(_Entry):
    """The whole file. ``offices``, ``services`` and ``sentry_projects`` are keyed by id."""

    offices: dict[str, Office]
    services: dict[str, Service]
    sentry_projects: dict[str, SentryProject] = {}
    evidence: Evidence = Evidence()
    hash: str = ""
    """First 16 hex digits of the file's SHA-256; shown in every ``/health/ready``."""

    @model_validator(mode="after")
    def _references_exist(self) -> "Catalogue":
        if "other" not in self.services:
            raise ValueError("services: 'other' is missing, it is the default of every report")
        for key, service in self.services.items():
            if unknown := set(service.needs) - set(self.services):
                raise ValueError(f"services.{key}.needs: unknown service {sorted(unknown)}")
        for key, project in self.sentry_projects.items():
            if project.service not in self.services:
                raise ValueError(f"sentry_projects.{key}.service: unknown service {project.service!r}")
            if project.office is not None and project.office not in self.offices:
                raise ValueError(f"sentry_projects.{key}.office: unknown office {project.office!r}")
        return self


def load_catalogue(path: Path) -> Catalogue:
    """Reads and checks ``path``. Raises ``CatalogueRefused``."""
    try:
        content = path.read_bytes()
        fields = tomllib.loads(content.decode())
        return Catalogue.model_validate({**fields, "hash": hashlib.sha256(content).hexdigest()[:16]})
    except OSError as error:
        raise CatalogueRefused(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueRefused(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise CatalogueRefused(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class CatalogueFile:
    """The catalogue in force. ``current`` is replaced as a whole by ``reload``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.current = load_catalogue(path)

    def reload(self) -> Catalogue:
        """Reads the file again. Raises ``CatalogueRefused`` and keeps the one in force when it is wrong."""
        self.current = load_catalogue(self._path)
        return self.current
