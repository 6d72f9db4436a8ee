"""One batch of raw records, one transaction: watermark, event ids, effect, dead letters, announcements.

Pure of Kafka clients: records and watermarks come in, what was committed goes out. A batch that fails on its data is
halved in savepoints until the bad records stand alone; these alone are dead-lettered, the order of the rest is kept.
"""

import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import asyncpg
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from shared.deadletter import Ceiling, DeadLetter, dead_letter_rows
from shared.events import Envelope, Event
from shared.failpoints import reach
from shared.inbox import StaleWatermark, move_watermarks, remember_events
from shared.outbox import insert_rows
from shared.postgres import is_busy, transaction
from shared.tracing import use_traceparent

E = TypeVar("E", bound=Event)
AfterCommit = Callable[[], object]
Record: TypeAlias = ConsumerRecord

MAX_TRIES = 3
# Wrong on our side of the fence: no record is to blame, and none may be dead-lettered for it.
_OPERATIONAL: tuple[type[BaseException], ...] = (
    StaleWatermark,
    MemoryError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
)


@dataclass(frozen=True, slots=True)
class Received(Generic[E]):
    """One event with its CloudEvents attributes and its place in the log."""

    event: E
    envelope: Envelope
    partition: int
    offset: int


Handler = Callable[[asyncpg.Connection, Sequence[Received[E]]], Awaitable[AfterCommit | None]]


@dataclass(slots=True)
class Outcome:
    """What one committed batch did. ``positions``: the new watermark by partition."""

    positions: Mapping[int, int]
    processed: int = 0
    duplicates: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    after_commit: list[AfterCommit] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Decoded(Generic[E]):
    record: Record
    received: Received[E]


class _Refused(ValueError):
    """A refusal of ours; its words repeat nothing of the record."""


def blames_the_record(error: BaseException) -> bool:
    """Whether trying the same record again can only fail again: not busy, and not a fault of schema or rights."""
    return isinstance(error, Exception) and not is_busy(error) and not isinstance(error, _OPERATIONAL)


class Processing(Generic[E]):
    """Processes batches of one topic for one handler."""

    def __init__(self, pool: asyncpg.Pool, event_type: type[E], handler: Handler[E], ceiling: Ceiling) -> None:
        self.topic = event_type.topic
        self._pool = pool
        self._event_type = event_type
        self._handler = handler
        self._ceiling = ceiling

    async def commit(self, cluster: str, records: Sequence[Record], watermarks: Mapping[int, int]) -> Outcome:
        """Processes what lies at or above the watermarks and commits it with the new ones.

        ``records`` are in order within each partition; ``watermarks`` has all their partitions. Raises
        ``DatabaseBusy``, ``StaleWatermark``, ``CeilingReached`` or an operational error: then nothing was done.
        """
        fresh = [record for record in records if record.offset >= watermarks[record.partition]]
        moves: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for record in fresh:
            moves[record.partition] = (watermarks[record.partition], record.offset + 1)
        outcome = Outcome({partition: move[1] for partition, move in moves.items()})
        if not fresh:
            return outcome
        decoded, undecodable = self._decode(fresh)
        async with transaction(self._pool) as connection:
            await move_watermarks(connection, cluster, self.topic, moves)
            outcome.dead.extend(undecodable)
            await self._apply(connection, decoded, outcome, tries=1)
            self._ceiling.check(outcome.processed + outcome.duplicates, len(outcome.dead))
            if outcome.dead:
                await insert_rows(connection, dead_letter_rows(outcome.dead))
            reach("in-the-middle-of-a-batch")
        reach("after-commit-before-offset")
        self._ceiling.count(outcome.processed + outcome.duplicates, len(outcome.dead))
        return outcome

    def _decode(self, records: Sequence[Record]) -> tuple[list[_Decoded[E]], list[DeadLetter]]:
        decoded: list[_Decoded[E]] = []
        dead: list[DeadLetter] = []
        for record in records:
            try:
                envelope = Envelope.from_headers([(name, value or b"") for name, value in record.headers])
                if envelope.type != self.topic:
                    raise _Refused("ce_type is not the type of this topic")
                event = self._event_type.model_validate_json(record.value or b"")
            except (ValueError, RecursionError) as error:
                dead.append(DeadLetter(record, describe(error), 1))
                continue
            decoded.append(_Decoded(record, Received(event, envelope, record.partition, record.offset)))
        return decoded, dead

    async def _apply(
        self, connection: asyncpg.Connection, batch: Sequence[_Decoded[E]], outcome: Outcome, *, tries: int
    ) -> None:
        if not batch:
            return
        try:
            with use_traceparent(batch[0].received.envelope.traceparent if len(batch) == 1 else None):
                async with connection.transaction():
                    new, after_commit = await self._handle(connection, [decoded.received for decoded in batch])
        except Exception as error:
            if not blames_the_record(error):
                raise
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._apply(connection, batch[:middle], outcome, tries=tries + 1)
                await self._apply(connection, batch[middle:], outcome, tries=tries + 1)
            elif tries < MAX_TRIES:
                await self._apply(connection, batch, outcome, tries=tries + 1)
            else:
                outcome.dead.append(DeadLetter(batch[0].record, describe(error), tries))
            return
        outcome.processed += new
        outcome.duplicates += len(batch) - new
        if after_commit is not None:
            outcome.after_commit.append(after_commit)

    async def _handle(
        self, connection: asyncpg.Connection, batch: Sequence[Received[E]]
    ) -> tuple[int, AfterCommit | None]:
        unseen = await remember_events(connection, self.topic, [one.envelope.id for one in batch])
        new: list[Received[E]] = []
        for one in batch:
            if one.envelope.id in unseen:
                unseen.discard(one.envelope.id)
                new.append(one)
        return len(new), (await self._handler(connection, new)) if new else None


def describe(error: Exception) -> str:
    """One line for a person that repeats nothing of the payload: class, fields or constraint, never values."""
    if isinstance(error, ValidationError):
        parts = (
            f"{'.'.join(str(part) for part in detail['loc']) or 'body'}: {detail['type']}"
            for detail in error.errors(include_input=False, include_context=False, include_url=False)[:10]
        )
        return f"{error.title}: {', '.join(parts)}"
    if isinstance(error, asyncpg.PostgresError):
        named = [name for name in (error.constraint_name, error.column_name, error.table_name) if name]
        return f"{type(error).__name__}: {', '.join(named) or error.sqlstate}"
    if type(error) is _Refused:
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{place}"
