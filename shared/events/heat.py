"""Staff heat: "I am getting anger about X". Never who pressed."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from shared.events.envelope import Event


class HeatReportedV1(Event):
    """One press of the heat button; counts once per office, service and ten minutes."""

    topic: ClassVar[str] = "heat.reported.v1"

    heat_id: UUID
    office: str
    service: str
    heat_topic: str | None
    incident_id: UUID | None
    at: datetime

    def key(self) -> str:
        return self.office
