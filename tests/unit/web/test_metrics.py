"""The exposition as Prometheus reads it."""

import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from shared.metrics import ConsumerMetrics, HttpMetrics, OutboxMetrics, PoolMetrics, build_info, new_registry

PROMTOOL = shutil.which("promtool")


class _Pool:
    def get_size(self) -> int:
        return 5

    def get_idle_size(self) -> int:
        return 2

    def get_max_size(self) -> int:
        return 8


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """A registry with every metric of the plumbing in use."""
    found = new_registry()
    http = HttpMetrics(found)
    http.observe("GET", "/v1/reports", 200, 0.01)
    http.observe("GET", "/v1/reports", 200, 0.7, "0af7651916cd43dd8448eb211c80319c")
    consumer = ConsumerMetrics(found)
    for outcome in ConsumerMetrics.OUTCOMES:
        consumer.count("feedback.worded.v1", outcome, 3)
    consumer.set_lag("feedback.worded.v1", 12)
    consumer.observe_batch("feedback.worded.v1", 0.2)
    outbox = OutboxMetrics(found)
    outbox.set_depth(7, 1.5)
    outbox.published.inc()
    PoolMetrics(found).watch(_Pool())
    build_info(found, "feedback", "0.1.0")
    yield found


def test_values_are_read_back(registry: CollectorRegistry) -> None:
    """The names and labels that dashboards and alerts rely on."""
    value = registry.get_sample_value
    assert value("blitz_consumer_events_total", {"topic": "feedback.worded.v1", "outcome": "dead_lettered"}) == 3
    assert value("blitz_consumer_lag_records", {"topic": "feedback.worded.v1"}) == 12
    assert value("blitz_outbox_rows") == 7
    assert value("blitz_outbox_oldest_age_seconds") == 1.5
    assert value("blitz_db_pool_connections", {"state": "used"}) == 3
    assert value("blitz_db_pool_connections", {"state": "idle"}) == 2
    assert value("blitz_db_pool_connections", {"state": "max"}) == 8
    assert value("blitz_http_requests_total", {"method": "GET", "route": "/v1/reports", "status": "200"}) == 2
    assert value("process_resident_memory_bytes")
    assert value("python_gc_objects_collected_total", {"generation": "0"}) is not None


def test_an_outcome_of_ones_own_is_refused(registry: CollectorRegistry) -> None:
    """Labels are closed words."""
    with pytest.raises(ValueError, match="none of"):
        ConsumerMetrics(CollectorRegistry()).count("topic", "exploded")


def test_two_applications_do_not_share_a_registry() -> None:
    """No global registry: two in one process count apart."""
    first, second = new_registry(), new_registry()
    HttpMetrics(first).observe("GET", "/", 200, 0.1)
    HttpMetrics(second)
    assert (
        second.get_sample_value("blitz_http_requests_total", {"method": "GET", "route": "/", "status": "200"}) is None
    )


@pytest.mark.skipif(PROMTOOL is None, reason="apt-get update && apt-get install -y prometheus")
async def test_promtool_finds_nothing_to_complain_about(registry: CollectorRegistry, client: httpx.AsyncClient) -> None:
    """`promtool check metrics` on all metrics of the plumbing and on the sample's own answer."""
    from prometheus_client import generate_latest  # noqa: PLC0415

    await client.get("/v1/reports")
    for text in (generate_latest(registry), (await client.get("/metrics")).content):
        assert PROMTOOL is not None
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_openmetrics_is_given_to_those_who_ask(client: httpx.AsyncClient) -> None:
    """Content negotiation: OpenMetrics with exemplars, else the plain text format."""
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    asked = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert asked.headers["content-type"].startswith("application/openmetrics-text")
    assert asked.text.endswith("# EOF\n")
    assert list(text_string_to_metric_families(asked.text))  # type: ignore[no-untyped-call]


def test_a_slow_request_leaves_its_trace_as_exemplar(registry: CollectorRegistry) -> None:
    """From the slow bucket one gets to the log lines; fast requests pay nothing for it."""
    from prometheus_client.openmetrics.exposition import generate_latest  # noqa: PLC0415

    text = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    lines = [line for line in text.splitlines() if "trace_id=" in line]
    assert len(lines) == 1
    assert 'le="1.0"' in lines[0]
    assert "0af7651916cd43dd8448eb211c80319c" in lines[0]
