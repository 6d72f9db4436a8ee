"""The domain's own metrics, read from the small totals of the database: they continue after a restart.

Label values come from closed words and from the catalogue; anything else counts as ``other``. No office, no language.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from math import inf
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.reporting import readings
from services.reporting.domain.incident import BUCKETS, Measure
from services.reporting.domain.rollup import CAUSES, RATINGS
from services.reporting.readings import Totals
from shared.catalogue import Catalogue
from shared.events.vocabulary import Cause, Channel, IncidentState, Kind
from shared.repeating import repeat

REFRESH_SECONDS = 2.0
MAX_SERVICES = 100
"""Services of the catalogue with a series of their own: 100 × (24 reports + 5 ratings + 1 heat) = 3,000 series."""
OTHER = "other"
_CHANNELS = frozenset(channel.value for channel in Channel)
_KINDS = frozenset(kind.value for kind in Kind)


class FiguresCollector(Collector):
    """Shows the totals as they were last read. Shows nothing before the first reading: 0 would look like a reset."""

    def __init__(self, registry: CollectorRegistry, catalogue: Callable[[], Catalogue]) -> None:
        self._catalogue = catalogue
        self._shown: list[Metric] = []
        registry.register(self)

    async def run(self, pool: asyncpg.Pool, stop: asyncio.Event) -> None:
        """Reads the totals every ``REFRESH_SECONDS`` until ``stop``. When they can't be read, the last ones stay."""
        await repeat("reading the totals", lambda: self.refresh(pool), stop, REFRESH_SECONDS)

    async def refresh(self, pool: asyncpg.Pool) -> None:
        """Reads the totals once. Raises ``DatabaseBusy``."""
        async with readings.snapshot(pool) as conn:
            totals = await readings.get_totals(conn)
        self.show(totals, read_at=time.time())

    def show(self, totals: Totals, read_at: float) -> None:
        """From now on scrapes show these totals, read at this Unix time; the work per scrape is to write them down."""
        services = frozenset(list(self._catalogue().services)[:MAX_SERVICES])
        self._shown = [
            *_reports(totals.reports, services),
            *_causes(totals.reports),
            _states(totals.states),
            *(_histogram(measure, totals.buckets[measure]) for measure in Measure),
            _heat(totals.heat, services),
            *_freshness(totals, read_at),
        ]

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not collect to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        yield from self._shown


def _freshness(totals: Totals, read_at: float) -> Iterator[Metric]:
    newest = GaugeMetricFamily(
        "blitz_figures_newest_event_timestamp_seconds",
        "Unix time of the newest event in the figures, by topic.",
        labels=["topic"],
    )
    for topic, at in sorted(totals.newest.items()):
        newest.add_metric([topic], at.timestamp())
    yield newest
    yield GaugeMetricFamily(
        "blitz_figures_read_timestamp_seconds", "Unix time of the last reading of the totals.", value=read_at
    )


def _reports(rows: list[dict[str, Any]], services: Collection[str]) -> Iterator[Metric]:
    counts: Counter[tuple[str, str, str]] = Counter()
    ratings: Counter[tuple[str, str]] = Counter()
    for row in rows:
        service = _known(row["service"], services)
        counts[service, _known(row["channel"], _CHANNELS), _known(row["kind"], _KINDS)] += row["n"]
        for rating in RATINGS:
            ratings[service, str(rating)] += row[f"rating_{rating}"]
    reports = CounterMetricFamily("blitz_reports", "Reports, each counted once.", labels=["service", "channel", "kind"])
    for labels, n in sorted(counts.items()):
        reports.add_metric(labels, n)
    yield reports
    rated = CounterMetricFamily("blitz_ratings", "Ratings from 1 (worst) to 5.", labels=["service", "rating"])
    for rating_labels, n in sorted(ratings.items()):
        rated.add_metric(rating_labels, n)
    yield rated


def _causes(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    complaints = [row for row in rows if row["kind"] == Kind.COMPLAINT]
    judged = {cause: sum(row[f"judged_{cause.value}"] for row in complaints) for cause in CAUSES}
    in_force = {cause: sum(row[f"cause_{cause.value}"] for row in complaints) for cause in CAUSES}
    arrived = CounterMetricFamily("blitz_complaints", "Complaints by the cause judged on arrival.", labels=["cause"])
    for cause, n in judged.items():
        arrived.add_metric([cause.value], n)
    yield arrived
    now = GaugeMetricFamily(
        "blitz_complaints_in_force",
        "Complaints by their cause in force; they move between causes when an incident is confirmed.",
        labels=["cause"],
    )
    for cause, n in in_force.items():
        now.add_metric([cause.value], n)
    yield now
    share = GaugeMetricFamily(
        "blitz_system_error_share_ratio",
        "Share of all complaints whose cause in force is system; absent without complaints.",
    )
    if total := sum(in_force.values()):
        share.add_metric([], in_force[Cause.SYSTEM] / total)
    yield share


def _states(states: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily("blitz_incidents", "Incidents by their present state.", labels=["state"])
    for state in IncidentState:
        family.add_metric([state.value], states.get(state.value, 0))
    return family


_HISTOGRAMS = {
    Measure.ACKNOWLEDGE: "From an incident's first observation to its first confirmation, wall clock.",
    Measure.FIX: "From an incident's first confirmation to its first fix, wall clock.",
}


def _histogram(measure: Measure, buckets: Mapping[float, tuple[int, float]]) -> Metric:
    family = HistogramMetricFamily(f"blitz_incident_time_to_{measure.value}_seconds", _HISTOGRAMS[measure])
    cumulative, total_seconds, shown = 0, 0.0, []
    for bound in BUCKETS[measure]:
        n, seconds = buckets.get(bound, (0, 0.0))
        cumulative += n
        total_seconds += seconds
        shown.append(("+Inf" if bound == inf else f"{bound:.1f}", float(cumulative)))
    family.add_metric([], shown, total_seconds)
    return family


def _heat(heat: Mapping[str, int], services: Collection[str]) -> Metric:
    counts: Counter[str] = Counter()
    for service, n in heat.items():
        counts[_known(service, services)] += n
    family = CounterMetricFamily("blitz_heat", "Presses of the heat button that counted.", labels=["service"])
    for service, n in sorted(counts.items()):
        family.add_metric([service], n)
    return family


def _known(value: str, known: Collection[str]) -> str:
    return value if value in known else OTHER
