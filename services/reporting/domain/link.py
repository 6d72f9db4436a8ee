"""Where a report belongs: the newest word of incidents about it."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Link:
    """A report's place; ``incident_id`` is None after it left."""

    report_id: UUID
    signal_id: UUID
    link_version: int
    incident_id: UUID | None

    def rank(self) -> tuple[int, str, str]:
        """Orders the links of one report; the rest decides only if a version was ever announced in two forms."""
        return (self.link_version, str(self.signal_id), str(self.incident_id))
