"""The outbox: events written in the business transaction, published afterwards by the ``Relay``.

Nothing here commits. What is stored is published untouched, headers and payload.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import asyncpg
import uuid_utils.compat as uuids

from shared.events import Envelope, Event, EventId
from shared.postgres import load_queries
from shared.records import Headers, encode_headers
from shared.relay import Relay
from shared.tracing import current_traceparent

_queries = load_queries(Path(__file__).parent / "messaging.sql")

MAX_RECORD_BYTES = 1_000_000

__all__ = ["Announcement", "OutboxRows", "Relay", "announce", "append_row", "insert_rows", "outbox_rows"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event to announce. ``id`` None: a new one; ``traceparent`` None: that of the current request."""

    event: Event
    id: EventId | None = None
    traceparent: str | None = None


class OutboxRows(NamedTuple):
    """Column arrays of one ``unnest`` insert into ``outbox``, in this order and with these types.

    ``insert into outbox (event_id, topic, key, headers, payload) select * from
    unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])``
    """

    event_ids: list[UUID]
    topics: list[str]
    keys: list[str | None]
    headers: list[bytes]
    payloads: list[bytes | None]


def outbox_rows(announcements: Sequence[Announcement], source: str, now: datetime | None = None) -> OutboxRows:
    """The rows of these announcements, so that a service can write its own rows and the outbox in one statement.

    ``source`` is the announcing service (``ce_source``). Raises ``ValueError`` when an event is too large for a record.
    """
    rows = OutboxRows([], [], [], [], [])
    time = now or datetime.now(UTC)
    for announcement in announcements:
        event = announcement.event
        key = event.key()
        envelope = Envelope(
            id=announcement.id or EventId(uuids.uuid7()),
            type=event.topic,
            source=source,
            time=time,
            subject=key,
            traceparent=announcement.traceparent or current_traceparent() or None,
        )
        append_row(
            rows,
            event_id=envelope.id,
            topic=event.topic,
            key=key,
            headers=envelope.to_headers(),
            payload=event.model_dump_json().encode(),
        )
    return rows


def append_row(
    rows: OutboxRows, *, event_id: UUID, topic: str, key: str | None, headers: Headers, payload: bytes | None
) -> None:
    """Adds one record as it shall be published. Raises ``ValueError`` when the broker would refuse its size."""
    encoded = encode_headers(headers)
    if len(payload or b"") + len(encoded) > MAX_RECORD_BYTES:
        raise ValueError(f"{topic}: {len(payload or b'')} bytes are too many for one record of {MAX_RECORD_BYTES}")
    rows.event_ids.append(event_id)
    rows.topics.append(topic)
    rows.keys.append(key)
    rows.headers.append(encoded)
    rows.payloads.append(payload)


async def announce(connection: asyncpg.Connection, announcements: Sequence[Announcement], source: str) -> None:
    """Writes the announcements into the outbox: inside the caller's transaction, one statement, order kept."""
    if announcements:
        await insert_rows(connection, outbox_rows(announcements, source))


async def insert_rows(connection: asyncpg.Connection, rows: OutboxRows) -> None:
    """Writes prepared rows: inside the caller's transaction, one statement, order kept."""
    await _queries.insert_outbox(connection, **rows._asdict())
