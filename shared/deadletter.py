"""Dead letters: a record that cannot be processed goes to ``<topic>.dlq`` with its reason, through the outbox.

``python -m shared.redelivery list | show | resend`` (``make dlq``) is the person's side of it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat as uuids
from aiokafka import ConsumerRecord

from shared.outbox import MAX_RECORD_BYTES, OutboxRows, append_row
from shared.records import Headers, encode_headers

SUFFIX = ".dlq"
OWN_HEADERS = "dlq_"
CUT = "payload_cut_from_bytes"
"""Own header of a dead letter that holds only the beginning of its payload: it can be shown, not sent again."""
WINDOW = 1000
CEILING_SHARE = 0.2
CEILING_COUNT = 50


class CeilingReached(Exception):
    """Too large a share of the recent records would be dead letters: more likely our fault than theirs."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused record. ``reason`` is one line without the payload; ``attempts`` counts the tries to process it."""

    record: ConsumerRecord
    reason: str
    attempts: int


class Ceiling:
    """Watches the share of dead letters among the last records of one topic; in memory, so a restart begins anew."""

    def __init__(self, *, window: int = WINDOW, share: float = CEILING_SHARE, count: int = CEILING_COUNT) -> None:
        self._outcomes: deque[bool] = deque(maxlen=window)
        self._share = share
        self._count = count

    def check(self, processed: int, dead: int) -> None:
        """Raises ``CeilingReached`` when these outcomes would take the share beyond the ceiling; counts nothing."""
        if not dead:
            return
        outcomes = deque(self._outcomes, maxlen=self._outcomes.maxlen)
        outcomes.extend([False] * processed + [True] * dead)
        refused = sum(outcomes)
        if refused >= self._count and refused / len(outcomes) > self._share:
            raise CeilingReached(f"{refused} of the last {len(outcomes)} records would be dead letters")

    def count(self, processed: int, dead: int) -> None:
        """Counts the outcomes of a committed batch."""
        self._outcomes.extend([False] * processed + [True] * dead)


def dead_letter_rows(letters: Sequence[DeadLetter]) -> OutboxRows:
    """The outbox rows of refused records: payload, key and headers as they came, what we know in ``dlq_*`` headers."""
    rows = OutboxRows([], [], [], [], [])
    for letter in letters:
        record = letter.record
        key = _text(record.key)
        headers: list[tuple[str, bytes | None]] = [*record.headers, *_own_headers(letter)]
        if record.key is not None and key is None:
            headers.append((f"{OWN_HEADERS}key", record.key))
        payload = record.value
        if payload is not None and len(payload) + len(encode_headers(headers)) > MAX_RECORD_BYTES:
            headers.append((f"{OWN_HEADERS}{CUT}", str(len(payload)).encode()))
            payload = payload[: MAX_RECORD_BYTES // 2]
        append_row(
            rows,
            event_id=_id_of(record.headers),
            topic=f"{record.topic}{SUFFIX}",
            key=key,
            headers=headers,
            payload=payload,
        )
    return rows


def original_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers of the refused record as it came."""
    return [(name, value) for name, value in headers if not name.startswith(OWN_HEADERS)]


def own_header(headers: Headers, name: str) -> str:
    """What we noted: reason, attempts, topic, partition, offset, at or ``CUT``; empty when missing."""
    value = dict(headers).get(f"{OWN_HEADERS}{name}")
    return value.decode(errors="replace") if value else ""


def _own_headers(letter: DeadLetter) -> list[tuple[str, bytes]]:
    record = letter.record
    noted = {
        "reason": letter.reason[:1000],
        "attempts": str(letter.attempts),
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return [(f"{OWN_HEADERS}{name}", value.encode()) for name, value in noted.items()]


def _text(key: bytes | None) -> str | None:
    if key is None or b"\0" in key:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _id_of(headers: Headers) -> UUID:
    try:
        return UUID((dict(headers).get("ce_id") or b"").decode())
    except ValueError:
        return uuids.uuid7()
