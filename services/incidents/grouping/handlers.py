"""Signals become incidents: known ones are linked in parallel, new ones founded one after another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg
import uuid_utils.compat as uuids

from services.incidents import wire
from services.incidents.domain import titles
from services.incidents.domain.grouping import SimilarityPolicy
from services.incidents.domain.lifecycle import UNCLEAR_CAUSE, Outcome, absorb, observe
from services.incidents.domain.model import (
    Decision,
    Evidence,
    Incident,
    IncidentId,
    Signal,
    SignalId,
    SignalKind,
    State,
)
from services.incidents.grouping import store as grouping_store
from services.incidents.grouping.batch import SignalBatch, final_incidents
from services.incidents.grouping.memory import Representatives
from services.incidents.metrics import GroupingMetrics
from services.incidents.store import (
    StoredIncident,
    insert_decisions,
    insert_incidents,
    lock_incidents,
    queries,
    take_title_numbers,
    update_incidents,
)
from shared.catalogue import Catalogue, CatalogueFile
from shared.outbox import Announcement, announce

ERROR_CAUSE = "system"


@dataclass(slots=True)
class _Changes:
    """What a batch does to incidents, collected before anything is written."""

    stored: dict[IncidentId, StoredIncident]
    current: dict[IncidentId, Incident]
    founded: set[IncidentId]
    traces: dict[IncidentId, str | None]
    decisions: list[tuple[UUID, Decision]]
    decided_by: dict[SignalId, UUID]

    def apply(self, outcome: Outcome, signal: Signal) -> None:
        self.current[outcome.incident.id] = outcome.incident
        self.traces[outcome.incident.id] = signal.traceparent
        for decision in outcome.decisions:
            decision_id = uuids.uuid7()
            self.decisions.append((decision_id, decision))
            self.decided_by.setdefault(signal.id, decision_id)

    def entered_state(self, incident: IncidentId) -> bool:
        """Whether the incident is new or in another state than it was when the batch began."""
        before = self.stored.get(incident)
        return before is None or len(before.incident.transitions) != len(self.current[incident].transitions)


class SignalGrouping:
    """The use case of all three consumers. One instance per process; it holds the representatives."""

    def __init__(
        self,
        catalogue: CatalogueFile,
        memory: Representatives,
        metrics: GroupingMetrics,
        clock: Callable[[], datetime],
        policy: SimilarityPolicy | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._memory = memory
        self._metrics = metrics
        self._clock = clock
        self._policy = policy or SimilarityPolicy()

    async def take_in(self, connection: asyncpg.Connection, offered: Sequence[Signal]) -> Callable[[], None]:
        """Stores and groups ``offered``; what is stored already changes nothing.

        Returns what to run after the commit. Raises what the database raises.
        """
        if self._memory.last_founding is None:
            await self._memory.load(connection)
        known = await grouping_store.list_known_signals(connection, [signal.id for signal in offered])
        fresh = {signal.id: signal for signal in offered if signal.id not in known}
        repeated = len(offered) - len(fresh)
        batch = SignalBatch(fresh.values(), self._memory, self._policy)
        now = self._clock()
        changes = await self._place(connection, batch, now)
        await self._write(connection, batch, changes, now)

        def after_commit() -> None:
            batch.workspace.commit()
            placed = [(signal, batch.placements.get(signal.id)) for signal in batch.signals]
            self._metrics.count(placed, len(changes.founded), repeated)
            self._metrics.representatives.set(len(self._memory))

        return after_commit

    async def _place(self, connection: asyncpg.Connection, batch: SignalBatch, now: datetime) -> _Changes:
        await batch.look(connection, self._policy)
        founders: dict[IncidentId, Signal] = {}
        unknown = await batch.place(connection)
        if unknown:
            # From here to the commit nobody else founds: look once more, then found what is still unknown.
            await queries.lock_creation(connection)
            await batch.look_again(connection)
            for signal in unknown:
                placement = batch.placement_of(signal)
                if placement is not None and batch.may_join(placement):
                    batch.join(signal, placement)
                    continue
                incident = IncidentId(uuids.uuid7())
                batch.found(signal, incident)
                founders[incident] = signal
        targets = {placement.incident for placement in batch.placements.values()} - founders.keys()
        batch.redirect(await final_incidents(connection, targets))
        targets = {placement.incident for placement in batch.placements.values()} - founders.keys()
        changes = _Changes(await lock_incidents(connection, targets), {}, set(founders), {}, [], {})
        changes.current = {incident: stored.incident for incident, stored in changes.stored.items()}
        for incident, signal in founders.items():
            changes.apply(observe(self._new_incident(incident, signal), now), signal)
        self._absorb(batch, changes, now)
        await self._name(connection, changes, founders)
        return changes

    def _absorb(self, batch: SignalBatch, changes: _Changes, now: datetime) -> None:
        catalogue = self._catalogue.current.evidence
        policy = Evidence(catalogue.reports, catalogue.offices, catalogue.errors, catalogue.heat)
        for signal in batch.signals:
            placement = batch.placements.get(signal.id)
            if placement is not None:
                changes.apply(absorb(changes.current[placement.incident], signal, policy, now), signal)

    def _new_incident(self, incident: IncidentId, signal: Signal) -> Incident:
        return Incident(
            id=incident,
            title="",
            state=State.OBSERVED,
            service=signal.service,
            cause=ERROR_CAUSE if signal.kind is SignalKind.ERROR else UNCLEAR_CAUSE,
            first_seen_at=signal.at,
            last_seen_at=signal.at,
        )

    async def _name(
        self, connection: asyncpg.Connection, changes: _Changes, founders: Mapping[IncidentId, Signal]
    ) -> None:
        """Titles for what is new, and again for what has become a candidate: by then more reasons are known."""
        wanted: dict[IncidentId, str] = {}
        for incident in changes.current.values():
            founder = founders.get(incident.id)
            promoted = incident.state is State.CANDIDATE and changes.entered_state(incident.id)
            if founder is None and not promoted:
                continue
            title = _title(self._catalogue.current, incident, founder)
            if title is not None and title != incident.title.rpartition(" (")[0] and title != incident.title:
                wanted[incident.id] = title
        numbers = await take_title_numbers(connection, list(wanted.values()))
        for incident_id, title in wanted.items():
            named = titles.numbered(title, numbers[title].pop(0))
            changes.current[incident_id] = replace(changes.current[incident_id], title=named)

    async def _write(
        self, connection: asyncpg.Connection, batch: SignalBatch, changes: _Changes, now: datetime
    ) -> None:
        current, traces = changes.current, changes.traces
        founded = [(current[incident], traces.get(incident)) for incident in changes.founded]
        changed = [incident for incident in current.values() if incident.id not in changes.founded]
        announced = {incident for incident in current if changes.entered_state(incident)}
        await insert_incidents(connection, founded, now)
        await update_incidents(
            connection,
            [(incident, traces.get(incident.id), incident.id in announced) for incident in changed],
            now,
        )
        await insert_decisions(connection, changes.decisions)
        await grouping_store.insert_groups(connection, batch.new_groups.values())
        await grouping_store.insert_signals(connection, batch.signals, batch.placements, changes.decided_by, now)
        await announce(connection, [*_links(batch, now), *_faces(changes, announced, now)], wire.SOURCE)


def _title(catalogue: Catalogue, incident: Incident, founder: Signal | None) -> str | None:
    """The title by what is known now; None when the one it has says more."""
    entry = catalogue.services.get(incident.service)
    service = entry.name["de"] if entry is not None else incident.service
    if founder is not None and founder.kind is SignalKind.ERROR:
        return titles.error_title(service, founder.error_label)
    if incident.counts.error:
        return None
    if incident.counts.report:
        return titles.report_title(service, incident.drivers)
    return titles.heat_title(service)


def _links(batch: SignalBatch, now: datetime) -> Iterable[Announcement]:
    for signal in batch.signals:
        placement = batch.placements.get(signal.id)
        if placement is not None:
            yield Announcement(wire.signal_linked(signal, placement, now), traceparent=signal.traceparent)


def _faces(changes: _Changes, announced: set[IncidentId], now: datetime) -> Iterable[Announcement]:
    for incident_id in announced:
        stored = changes.stored.get(incident_id)
        event = wire.incident_changed(changes.current[incident_id], stored.public_text if stored else None, now)
        yield Announcement(event, traceparent=changes.traces.get(incident_id))
