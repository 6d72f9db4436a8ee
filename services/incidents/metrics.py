"""The metrics of incidents. Labels are closed sets; none carries an office, a language, a service or a person."""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.incidents.domain.model import Placement, Signal, State

NO_LAYER = "none"


class GroupingMetrics:
    """What became of signals."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._signals = Counter(
            "blitz_signals",
            "Signals stored, by kind and the layer that placed them (none: stored beside all incidents).",
            ("kind", "layer"),
            registry=registry,
        )
        self._repeated = Counter(
            "blitz_signals_repeated", "Signals that were stored already and changed nothing.", registry=registry
        )
        self._founded = Counter("blitz_incidents_founded", "Incidents that a signal made.", registry=registry)
        self.representatives = Gauge(
            "blitz_grouping_representatives", "Texts in memory that new ones are compared with.", registry=registry
        )

    def count(self, placed_signals: Iterable[tuple[Signal, Placement | None]], founded: int, repeated: int) -> None:
        """Counts one committed batch: its signals with their places, and how many incidents it founded."""
        placed = Tally(
            (signal.kind.value, placement.layer if placement else NO_LAYER) for signal, placement in placed_signals
        )
        for (kind, layer), amount in placed.items():
            self._signals.labels(kind, layer).inc(amount)
        self._founded.inc(founded)
        self._repeated.inc(repeated)


class IntakeMetrics:
    """What the edge took and what it left."""

    OUTCOMES = ("accepted", "duplicate", "refused")

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "blitz_intake_events",
            "Error events and heat presses at the edge, by source (http, sentry, heat) and outcome.",
            ("source", "outcome"),
            registry=registry,
        )
        self._dropped = Counter(
            "blitz_envelope_items_dropped",
            "Items of Sentry envelopes that are answered and not kept, by type.",
            ("type",),
            registry=registry,
        )
        self._adjusted = Counter(
            "blitz_intake_clock_corrections",
            "Events whose clock was so far off that their arrival counts instead.",
            registry=registry,
        )

    def count(self, source: str, outcome: str, amount: int = 1) -> None:
        """Counts events of one source."""
        if amount:
            self._events.labels(source, outcome).inc(amount)

    def drop(self, item_type: str, amount: int = 1) -> None:
        """Counts envelope items that nobody keeps; ``item_type`` comes from a closed set."""
        self._dropped.labels(item_type).inc(amount)

    def correct_clock(self) -> None:
        """Counts an event whose own time could not be true."""
        self._adjusted.inc()


class IncidentMetrics:
    """How many incidents there are, by state; set by the task that announces counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._incidents = Gauge(
            "blitz_incidents_stored", "Incidents in the table, by state.", ("state",), registry=registry
        )

    def set_states(self, counts: dict[str, int]) -> None:
        """Sets every state, those without an incident too."""
        for state in State:
            self._incidents.labels(state.value).set(counts.get(state.value, 0))
