"""Representatives of incidents in memory: the texts that new ones are compared with. One instance per process, bounded.

Filled from the database at start and kept by what this process commits; what other processes found is read under the
lock of creation. It only ever speeds up a decision: states and merge targets are read from the database each time.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from services.incidents import store
from services.incidents.domain.grouping import Alike
from services.incidents.domain.model import GroupId, IncidentId, Signal
from shared.text.similarity import SimilarityIndex, TextFeatures, features_of

MAX_REPRESENTATIVES = 8_000
"""About 7 kB each."""
REPRESENTATIVES_PER_INCIDENT = 8
NEIGHBOURS = 5


@dataclass(frozen=True, slots=True)
class Representative:
    """One text that stands for its incident."""

    group: GroupId
    incident: IncidentId
    service: str
    office: str | None
    last_seen_at: datetime


def representative_from_row(row: store.Row) -> Representative:
    """One row of ``signal_group``."""
    return Representative(
        GroupId(row["id"]), IncidentId(row["incident_id"]), row["service"], row["office"], row["last_seen_at"]
    )


class Representatives:
    """Everything this process compares new texts with."""

    def __init__(self, max_representatives: int = MAX_REPRESENTATIVES) -> None:
        self._max = max_representatives
        self._known: OrderedDict[GroupId, Representative] = OrderedDict()
        self._index: SimilarityIndex[GroupId] = SimilarityIndex()
        self._per_incident: Counter[IncidentId] = Counter()
        self._loading = asyncio.Lock()
        self.last_founding: int | None = None
        """The founding up to which this process knows all; None until it was loaded."""

    def __len__(self) -> int:
        return len(self._known)

    async def load(self, connection: asyncpg.Connection) -> None:
        """Fills the memory with the representatives last seen, once; whoever comes meanwhile waits until it is full.

        The position is read first, so that no founding is missed, and kept last: a load that fails is repeated.
        """
        async with self._loading:
            if self.last_founding is not None:
                return
            position = await store.queries.get_last_founding(connection)
            rows = [row async for row in store.queries.list_representatives(connection, max_rows=self._max)]
            for row in reversed(rows):
                self._add(representative_from_row(row), features_of(row["sample"]))
            self.last_founding = position

    async def read_foundings(self, connection: asyncpg.Connection) -> set[IncidentId]:
        """Learns what other processes have founded, and says which; complete when the lock of creation is held."""
        founded: set[IncidentId] = set()
        async for row in store.queries.list_foundings_after(connection, after=self.last_founding or 0):
            if row["representative"]:
                self._add(representative_from_row(row), features_of(row["sample"]))
            self.last_founding = row["founding"]
            founded.add(IncidentId(row["incident_id"]))
        return founded

    def open_workspace(self) -> "Workspace":
        """A view for one transaction; nothing of it is kept unless it is committed."""
        return Workspace(self)

    def _add(self, representative: Representative, features: TextFeatures) -> None:
        if not features.features:
            return
        self._drop(representative.group)
        self._known[representative.group] = representative
        self._per_incident[representative.incident] += 1
        self._index.add(representative.group, features)
        while len(self._known) > self._max:
            self._drop(next(iter(self._known)))

    def _drop(self, group: GroupId) -> None:
        known = self._known.pop(group, None)
        if known is not None:
            self._per_incident[known.incident] -= 1
            if not self._per_incident[known.incident]:
                del self._per_incident[known.incident]
            self._index.discard(group)


class Workspace:
    """What one transaction sees: the memory, what it adds itself, and what it found to have ended or moved."""

    def __init__(self, memory: Representatives) -> None:
        self._memory = memory
        self._added: dict[GroupId, tuple[Representative, TextFeatures]] = {}
        self._per_incident: Counter[IncidentId] = Counter()
        self._index: SimilarityIndex[GroupId] = SimilarityIndex()
        self._hits: dict[GroupId, datetime] = {}
        self._moved: dict[IncidentId, IncidentId | None] = {}
        self._features: dict[str, TextFeatures] = {}

    def nearest(self, signal: Signal) -> list[Alike]:
        """Known groups whose words are like the signal's, best first; those of ended incidents are left out."""
        found = []
        for neighbour in self._memory._index.nearest(self.features(signal.text), NEIGHBOURS, also=self._index):
            known = self._representative(neighbour.key)
            incident = self._moved.get(known.incident, known.incident)
            if incident is None:
                continue
            last_seen_at = max(known.last_seen_at, self._hits.get(known.group, known.last_seen_at))
            found.append(
                Alike(
                    known.group, incident, neighbour.score, neighbour.terms, known.service, known.office, last_seen_at
                )
            )
        return found

    def features(self, text: str) -> TextFeatures:
        """The features of ``text``, computed once per transaction."""
        known = self._features.get(text)
        if known is None:
            known = self._features[text] = features_of(text)
        return known

    def wants_more_of(self, incident: IncidentId) -> bool:
        """Whether another representative of ``incident`` would be kept."""
        return self._memory._per_incident[incident] + self._per_incident[incident] < REPRESENTATIVES_PER_INCIDENT

    def add(self, representative: Representative, text: str) -> None:
        """Makes a new representative findable within this transaction."""
        features = self.features(text)
        if features.features:
            self._added[representative.group] = (representative, features)
            self._per_incident[representative.incident] += 1
            self._index.add(representative.group, features)

    def seen(self, groups: Iterable[GroupId], at: datetime) -> None:
        """Notes that these groups were met again."""
        for group in groups:
            self._hits[group] = max(at, self._hits.get(group, at))

    def move(self, incident: IncidentId, into: IncidentId | None) -> None:
        """The incident was merged ``into`` another one, or takes no more texts by likeness (None)."""
        self._moved[incident] = into

    def commit(self) -> None:
        """Keeps everything in the memory: after the transaction's commit, never before."""
        memory = self._memory
        for group, at in self._hits.items():
            known = memory._known.get(group)
            if known is not None:
                memory._known[group] = replace(known, last_seen_at=max(at, known.last_seen_at))
                memory._known.move_to_end(group)
        for representative, features in self._added.values():
            memory._add(representative, features)
        self._settle_moves()

    def _settle_moves(self) -> None:
        memory = self._memory
        if not self._moved:
            return
        for known in [known for known in memory._known.values() if known.incident in self._moved]:
            into = self._moved[known.incident]
            if into is None:
                memory._drop(known.group)
            else:
                memory._known[known.group] = replace(known, incident=into)
                memory._per_incident[known.incident] -= 1
                memory._per_incident[into] += 1

    def _representative(self, group: GroupId) -> Representative:
        added = self._added.get(group)
        return added[0] if added is not None else self._memory._known[group]
