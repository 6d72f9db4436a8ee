"""What the use cases work with: made once by the composition root, found by the edges in the application's state."""

from dataclasses import dataclass
from typing import cast
from uuid import UUID

import asyncpg
from starlette.requests import HTTPConnection

from services.feedback.domain.receipts import ReceiptKeys
from services.feedback.projection import PublicIncidents
from services.feedback.store import NewReport
from shared.catalogue import CatalogueFile
from shared.groupcommit import GroupCommit


@dataclass(frozen=True, slots=True)
class Desk:
    """One process's tools."""

    pool: asyncpg.Pool
    keys: ReceiptKeys
    catalogue: CatalogueFile
    incidents: PublicIncidents
    commits: GroupCommit[NewReport, UUID]


def desk_of(connection: HTTPConnection) -> Desk:
    """The desk of the application that serves a request."""
    return cast(Desk, connection.app.state.desk)
