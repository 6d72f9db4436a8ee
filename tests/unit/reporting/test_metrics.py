"""The domain's metrics at their largest: a catalogue of many services, every label in use."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.reporting.domain.incident import BUCKETS, Measure
from services.reporting.domain.rollup import CAUSES, RATINGS
from services.reporting.metrics import MAX_SERVICES, FiguresCollector
from services.reporting.readings import Totals
from shared.catalogue import Catalogue, load_catalogue
from shared.events.vocabulary import Channel, IncidentState, Kind


@pytest.fixture
def crowded() -> Catalogue:
    """More services than have a series of their own."""
    catalogue = load_catalogue(Path("deploy/catalogue.toml"))
    payment = catalogue.services["payment"]
    return catalogue.model_copy(update={"services": {f"s{n}": payment for n in range(MAX_SERVICES + 50)}})


def everything(catalogue: Catalogue) -> Totals:
    """Every combination of labels, some services beyond the catalogue among them."""
    counts = {f"rating_{rating}": rating for rating in RATINGS}
    counts |= {f"{prefix}_{cause.value}": 3 for prefix in ("cause", "judged") for cause in CAUSES}
    services = [*catalogue.services, "unknown", "'; drop table"]
    rows: list[dict[str, Any]] = [
        {"service": service, "channel": channel.value, "kind": kind.value, "n": 15, **counts}
        for service in services
        for channel in Channel
        for kind in Kind
    ]
    return Totals(
        reports=rows,
        states={state.value: 1 for state in IncidentState},
        buckets={measure: dict.fromkeys(BUCKETS[measure], (1, 5.0)) for measure in Measure},
        heat=dict.fromkeys(services, 2),
        newest={"feedback.submitted.v1": datetime(2026, 1, 1, tzinfo=UTC)},
    )


def scraped(totals: Totals, catalogue: Catalogue) -> tuple[str, float]:
    """The text of a scrape, and the least processor time of several in seconds."""
    registry = CollectorRegistry()
    collector = FiguresCollector(registry, lambda: catalogue)
    assert generate_latest(registry) == b"", "nothing is shown before the first reading"
    collector.show(totals, read_at=0.0)
    seconds = []
    for _ in range(5):
        begun = time.process_time()
        text = generate_latest(registry).decode()
        seconds.append(time.process_time() - begun)
    return text, min(seconds)


def test_series_stay_bounded_and_no_report_is_lost(crowded: Catalogue) -> None:
    """Services beyond the limit and beyond the catalogue count as "other": few series, and the sum is whole."""
    totals = everything(crowded)
    text, _ = scraped(totals, crowded)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert sum(len(family.samples) for family in families.values()) < 4000
    reports = [sample for sample in families["blitz_reports"].samples if sample.name == "blitz_reports_total"]
    assert sum(sample.value for sample in reports) == 15 * len(totals.reports)
    assert {sample.labels["service"] for sample in reports} == {*list(crowded.services)[:MAX_SERVICES], "other"}


def test_a_scrape_of_an_ordinary_catalogue_is_quick() -> None:
    """At most 20 ms of one processor."""
    catalogue = load_catalogue(Path("deploy/catalogue.toml"))
    assert scraped(everything(catalogue), catalogue)[1] < 0.020


def test_histograms_are_cumulative(crowded: Catalogue) -> None:
    """Each bucket holds the ones below it; the last one holds all."""
    text, _ = scraped(everything(crowded), crowded)
    [family] = [
        family for family in text_string_to_metric_families(text) if family.name == "blitz_incident_time_to_fix_seconds"
    ]
    buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    assert buckets == list(range(1, len(BUCKETS[Measure.FIX]) + 1))
    assert [sample.value for sample in family.samples if sample.name.endswith("_count")] == [buckets[-1]]
