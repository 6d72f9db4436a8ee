"""``/metrics`` of the running service: clean, bounded, and never going back."""

import shutil
import subprocess
from datetime import timedelta
from random import Random
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.waiting import eventually
from tests.integration.reporting.conftest import Service
from tests.integration.reporting.log import caught_up, publish
from tests.integration.reporting.streams import START, heat, incident, random_stream, received, report

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(text: str, prefix: str = "blitz_") -> dict[Sample, float]:
    """All samples of one scrape by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(prefix)
    }


async def shown(service: Service, name: str, total: float) -> dict[Sample, float]:
    """Waits until the samples of one metric add up to ``total``; the whole scrape."""

    async def scrape() -> dict[Sample, float]:
        return samples(service.metrics())

    return await eventually(
        scrape, until=lambda found: sum(v for (n, _), v in found.items() if n == name) == total, what=f"{name} {total}"
    )


def monotonic(before: dict[Sample, float], after: dict[Sample, float]) -> list[Sample]:
    """The counters of the domain that went back or went missing."""
    domain = ("blitz_reports", "blitz_ratings", "blitz_complaints_total", "blitz_heat", "blitz_incident_time")
    return [key for key, value in before.items() if key[0].startswith(domain) and after.get(key, -1) < value]


async def test_domain_metrics_are_clean_and_continue_after_a_restart(service: Service) -> None:
    """promtool has nothing to say; the figures are those of the events; after a kill the counters go on from the
    database, and never show less than before."""
    checker = shutil.which("promtool")
    assert checker, "promtool is missing (Debian package prometheus)"
    hour = timedelta(hours=1)
    complaints = [
        report(Random(n), START, kind="complaint", cause="system" if n < 3 else "decision", rating=n % 5 + 1,
               service="payment", channel="web")
        for n in range(8)
    ]  # fmt: skip
    events = [
        *complaints,
        incident(UUID(int=1), 1, [("observed", START), ("confirmed", START + 3 * hour), ("fixed", START + 27 * hour)]),
        heat(UUID(int=5), "payment", START),
    ]
    await publish(service.bootstrap_servers, [received(event, n, START) for n, event in enumerate(events)])
    await caught_up(service.bootstrap_servers, service.database)
    found = await shown(service, "blitz_heat_total", 1)
    assert found["blitz_reports_total", (("channel", "web"), ("kind", "complaint"), ("service", "payment"))] == 8
    assert found["blitz_ratings_total", (("rating", "1"), ("service", "payment"))] == 2
    assert found["blitz_complaints_total", (("cause", "system"),)] == 3
    assert found["blitz_incidents", (("state", "fixed"),)] == 1
    assert found["blitz_incidents", (("state", "confirmed"),)] == 0
    assert found["blitz_system_error_share_ratio", ()] == 3 / 8
    assert found["blitz_incident_time_to_acknowledge_seconds_bucket", (("le", "14400.0"),)] == 1
    assert found["blitz_incident_time_to_acknowledge_seconds_bucket", (("le", "7200.0"),)] == 0
    assert found["blitz_incident_time_to_fix_seconds_sum", ()] == 24 * 3600
    command = [checker, "check", "metrics"]
    check = subprocess.run(command, input=service.metrics(), capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, "")

    service.process.kill()
    service.process.start().wait_ready()
    first_scrape = samples(service.metrics())
    assert monotonic(found, first_scrape) == []
    await publish(service.bootstrap_servers, random_stream(11))
    await caught_up(service.bootstrap_servers, service.database)
    later = samples(service.metrics())
    assert monotonic(first_scrape, later) == []


async def test_hostile_labels_stay_bounded(service: Service) -> None:
    """Services nobody knows count as "other", unknown paths as one route; no office and no language in any label; the
    scrape stays small."""
    events = [report(Random(n), START, service=f"service-{n}", office=f"JC-{n}") for n in range(3000)]
    await publish(service.bootstrap_servers, [received(event, n, START) for n, event in enumerate(events)])
    await caught_up(service.bootstrap_servers, service.database)
    for n in range(50):
        service.get(f"/nothing/{n}", token="x")
    found = await shown(service, "blitz_reports_total", 3000)
    assert {dict(labels).get("service") for name, labels in found if name == "blitz_reports_total"} == {"other"}
    assert not {label for _, labels in found for label, _ in labels} & {"office", "lang", "language"}
    text = service.metrics()
    assert sum(not line.startswith("#") for line in text.splitlines()) < 5000


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=1.0.0", "text/plain"])
async def test_openmetrics_by_negotiation(service: Service, accept: str) -> None:
    """The format asked for is given."""
    answer = httpx.get(f"{service.process.url}/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(accept.split(";", maxsplit=1)[0])
    assert answer.text.rstrip().endswith("# EOF") == accept.startswith("application/openmetrics")
