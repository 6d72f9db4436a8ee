"""One batch on its way: what is known, where each signal goes, what is founded. Lives for one transaction."""

from collections.abc import Iterable
from dataclasses import replace

import asyncpg

from services.incidents.domain.grouping import (
    ExactFingerprint,
    Layer,
    NamedIncident,
    RecentOfService,
    SimilarityPolicy,
    SimilarWords,
    place_by_first_sure,
)
from services.incidents.domain.model import GroupId, IncidentId, Placement, Signal, SignalId, SignalKind, State
from services.incidents.grouping import store
from services.incidents.grouping.memory import Representative, Representatives, Workspace
from services.incidents.grouping.store import NewGroup

ENDED_STATES = (State.REJECTED, State.CLOSED)
"""Likeness never adds to these; the same fingerprint does."""
MAX_MERGE_STEPS = 8
MAX_LOOKS = 4


class SignalBatch:
    """Places the signals of one transaction. ``placements`` is complete after ``place`` and ``found``."""

    def __init__(self, signals: Iterable[Signal], memory: Representatives, policy: SimilarityPolicy) -> None:
        self.signals = list(signals)
        self.workspace: Workspace = memory.open_workspace()
        self.placements: dict[SignalId, Placement] = {}
        self.new_groups: dict[GroupId, NewGroup] = {}
        self._memory = memory
        self._groups: dict[GroupId, IncidentId] = {}
        self._named: dict[IncidentId, IncidentId] = {}
        self._recent: dict[tuple[str, str | None], IncidentId] = {}
        self._checked: set[IncidentId] = set()
        self._layers: tuple[Layer, ...] = (
            NamedIncident(self._named),
            RecentOfService(self._recent),
            ExactFingerprint(self._groups),
            SimilarWords(self.workspace.nearest, policy),
        )

    async def look(self, connection: asyncpg.Connection, policy: SimilarityPolicy) -> None:
        """Reads what the layers look into: groups, named incidents, the latest incidents for heat."""
        await self._read_groups(connection)
        await self._read_named(connection, {signal.joins for signal in self.signals if signal.joins is not None})
        heat = [signal for signal in self.signals if signal.kind is SignalKind.HEAT]
        if heat:
            since = min(signal.at for signal in heat) - policy.window
            places = [(signal.service, signal.office) for signal in heat]
            self._recent.update(await store.list_recent_incidents(connection, places, since))

    async def look_again(self, connection: asyncpg.Connection) -> None:
        """Under the lock of creation: what other processes founded since."""
        self._checked |= await self._memory.read_foundings(connection)
        await self._read_groups(connection)

    async def place(self, connection: asyncpg.Connection) -> list[Signal]:
        """Places what a layer is sure about; returns the signals that would have to found an incident."""
        waiting = [signal for signal in self.signals if signal.id not in self.placements]
        unplaced: list[Signal] = []
        for _ in range(MAX_LOOKS):
            doubtful: list[tuple[Signal, Placement]] = []
            for signal in waiting:
                placement = self.placement_of(signal)
                if placement is None:
                    unplaced.append(signal)
                elif not self.may_join(placement):
                    doubtful.append((signal, placement))
                else:
                    self.join(signal, placement)
            if not doubtful:
                break
            await self._check(connection, {placement.incident for _, placement in doubtful})
            waiting = [signal for signal, _ in doubtful]
        else:
            unplaced.extend(waiting)
        return [signal for signal in unplaced if signal.groupable and signal.group is not None]

    def placement_of(self, signal: Signal) -> Placement | None:
        """What the first sure layer says; a signal that is not groupable follows only what its sender named."""
        return place_by_first_sure(self._layers if signal.groupable else self._layers[:1], signal)

    def may_join(self, placement: Placement) -> bool:
        """Likeness comes from memory, which may be behind: its incident must have been read in this transaction."""
        return placement.layer != SimilarWords.name or placement.incident in self._checked

    def join(self, signal: Signal, placement: Placement) -> None:
        """``signal`` goes where ``placement`` says."""
        self.placements[signal.id] = placement
        self.workspace.seen(placement.nearest[:1], signal.at)
        # A sender's "me too" says nothing about the words beside it: only likeness teaches new words.
        if signal.group is not None and placement.layer == SimilarWords.name:
            self._add_group(signal, placement.incident, founding=False)

    def found(self, signal: Signal, incident: IncidentId) -> None:
        """``signal`` makes ``incident``; later signals of the batch may join it."""
        placement = Placement(incident, "founding", 1.0, "first of its kind")
        self.placements[signal.id] = placement
        self._checked.add(incident)
        self._add_group(signal, incident, founding=True)

    def redirect(self, final: dict[IncidentId, IncidentId]) -> None:
        """Sends placements on to what their incidents were merged into."""
        for signal_id, placement in self.placements.items():
            target = final.get(placement.incident, placement.incident)
            if target != placement.incident:
                self.placements[signal_id] = replace(placement, incident=target)
        for group_id, group in self.new_groups.items():
            self.new_groups[group_id] = replace(group, incident=final.get(group.incident, group.incident))

    def _add_group(self, signal: Signal, incident: IncidentId, *, founding: bool) -> None:
        if signal.group is None:
            return
        worth_comparing = signal.kind is SignalKind.REPORT and self.workspace.wants_more_of(incident)
        self._groups[signal.group.id] = incident
        self.new_groups[signal.group.id] = NewGroup(signal, incident, founding, worth_comparing)
        if worth_comparing:
            known = Representative(signal.group.id, incident, signal.service, signal.office, signal.at)
            self.workspace.add(known, signal.text)

    async def _check(self, connection: asyncpg.Connection, incidents: set[IncidentId]) -> None:
        """Reads the states of incidents that words are like: an ended one is left out, a merged one sends on."""
        states = await store.list_incident_states(connection, incidents)
        for incident in incidents:
            state, into = states.get(incident, (State.REJECTED, None))
            if state is State.MERGED or state in ENDED_STATES:
                self.workspace.move(incident, into)
            else:
                self._checked.add(incident)

    async def _read_groups(self, connection: asyncpg.Connection) -> None:
        unknown = {
            signal.group.id: signal
            for signal in self.signals
            if signal.group is not None and signal.group.id not in self._groups
        }
        for group, (incident, state) in (await store.list_groups(connection, unknown)).items():
            # Heat is recognised by its service alone: what was closed or rejected last year is not meant.
            if unknown[group].kind is SignalKind.HEAT and state in ENDED_STATES:
                continue
            self._groups[group] = incident

    async def _read_named(self, connection: asyncpg.Connection, named: Iterable[IncidentId]) -> None:
        for incident in await store.list_incident_states(connection, named):
            self._named[incident] = incident


async def final_incidents(connection: asyncpg.Connection, ids: Iterable[IncidentId]) -> dict[IncidentId, IncidentId]:
    """Each id with what it was merged into in the end (itself when it was not)."""
    final = {incident: incident for incident in ids}
    for _ in range(MAX_MERGE_STEPS):
        states = await store.list_incident_states(connection, set(final.values()))
        onward = {incident: into for incident, (_, into) in states.items() if into is not None}
        if not onward:
            break
        final = {first: IncidentId(onward.get(last, last)) for first, last in final.items()}
    return final
