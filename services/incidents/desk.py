"""What the routes of incidents work with; made once the database is open."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, cast

import asyncpg
from fastapi import Depends
from starlette.requests import Request

from services.incidents.metrics import IntakeMetrics
from shared.catalogue import CatalogueFile
from shared.events import ErrorReportedV1, HeatReportedV1
from shared.groupcommit import GroupCommit

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Offer:
    """The events of one request with the trace that they belong to."""

    events: tuple[ErrorReportedV1 | HeatReportedV1, ...]
    traceparent: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """How many events of one request were new."""

    accepted: int
    duplicate: int


Intake = GroupCommit[Offer, Receipt]


@dataclass(frozen=True, slots=True)
class Desk:
    """One per application, in ``app.state.desk``."""

    pool: asyncpg.Pool
    catalogue: CatalogueFile
    intake: Intake
    bulk_intake: Intake
    """For requests of many events: few of them make one statement, so that it ends well before its timeout."""
    intake_metrics: IntakeMetrics
    clock: Clock


def desk_of(request: Request) -> Desk:
    """The desk of the application that serves ``request``."""
    return cast(Desk, request.app.state.desk)


UsesDesk = Annotated[Desk, Depends(desk_of)]
