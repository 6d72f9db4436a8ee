"""Prometheus metrics with bounded labels. One registry per application, one process per port, no multiprocess mode.

Every label value comes from code (route templates, topics, closed words), never from a request.
"""

import sys
from collections.abc import Callable
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_EXEMPLAR_SECONDS = 0.25


def new_registry() -> CollectorRegistry:
    """A registry with the metrics of the process, the platform and the garbage collector."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class HttpMetrics:
    """Requests and their latency by route template."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "blitz_http_requests",
            "HTTP requests answered, by method, route template and status (499: the client went away).",
            ("method", "route", "status"),
            registry=registry,
        )
        self._duration = Histogram(
            "blitz_http_request_duration_seconds",
            "Time from the request's headers to the end of the answer.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.in_flight = 0
        """Requests that are being answered; a plain number, read when scraped."""
        Gauge(
            "blitz_http_requests_in_flight", "HTTP requests that are being answered.", registry=registry
        ).set_function(lambda: float(self.in_flight))
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Counts one answer. ``route`` is a template; a slow one leaves its trace as an OpenMetrics exemplar."""
        children = self._children.get((method, route, status))
        if children is None:
            children = self._labelled(method, route, status)
        children[0].inc()
        if trace_id is not None and seconds >= _EXEMPLAR_SECONDS:
            children[1].observe(seconds, {"trace_id": trace_id})
        else:
            children[1].observe(seconds)

    def _labelled(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        method = bounded_method(method)
        children = (self._requests.labels(method, route, str(status)), self._duration.labels(method, route))
        self._children[method, route, status] = children
        return children


def bounded_method(method: str) -> str:
    """The method, or ``other`` for a word that no route knows."""
    return method if method in _METHODS else "other"


class ConsumerMetrics:
    """What a service reads from Kafka. ``topic`` is a topic of the contract, ``outcome`` one of the words below."""

    OUTCOMES = ("processed", "duplicate", "dead_lettered", "retried", "missed")

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "blitz_consumer_events",
            f"Records read, by topic and outcome ({', '.join(self.OUTCOMES)}; missed: retention took them unread).",
            ("topic", "outcome"),
            registry=registry,
        )
        self.lag = Gauge(
            "blitz_consumer_lag_records", "Records behind the end of the topic.", ("topic",), registry=registry
        )
        self.batch_duration = Histogram(
            "blitz_consumer_batch_duration_seconds",
            "Time of one batch from its first record to its commit.",
            ("topic",),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.stopped = Gauge(
            "blitz_consumer_stopped", "1 when the consumer stopped itself and waits for a person.", registry=registry
        )

    def count(self, topic: str, outcome: str, amount: int = 1) -> None:
        """Counts ``amount`` records. Raises ``ValueError`` for an outcome that is not in ``OUTCOMES``."""
        if outcome not in self.OUTCOMES:
            raise ValueError(f"outcome {outcome!r} is none of {', '.join(self.OUTCOMES)}")
        self.events.labels(topic, outcome).inc(amount)

    def set_lag(self, topic: str, records: int) -> None:
        """Sets how many records the consumer is behind, summed over its partitions of ``topic``."""
        self.lag.labels(topic).set(records)

    def observe_batch(self, topic: str, seconds: float) -> None:
        """Records how long one batch took."""
        self.batch_duration.labels(topic).observe(seconds)


class OutboxMetrics:
    """What waits to be published and what was."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Gauge("blitz_outbox_rows", "Rows that wait to be published.", registry=registry)
        self.oldest_age = Gauge(
            "blitz_outbox_oldest_age_seconds", "Age of the oldest row that waits.", registry=registry
        )
        self.active = Gauge(
            "blitz_outbox_relay_active", "1 in the process whose relay holds the lock.", registry=registry
        )
        self.published = Counter("blitz_outbox_published", "Rows published and removed.", registry=registry)
        self.failures = Counter("blitz_outbox_publish_failures", "Attempts to publish that failed.", registry=registry)

    def set_depth(self, rows: int, oldest_age_seconds: float) -> None:
        """Sets how many rows wait and how old the oldest is."""
        self.rows.set(rows)
        self.oldest_age.set(oldest_age_seconds)


class Pool(Protocol):
    """The part of ``asyncpg.Pool`` that is measured."""

    def get_size(self) -> int: ...
    def get_idle_size(self) -> int: ...
    def get_max_size(self) -> int: ...


class PoolMetrics:
    """Connections of the database pool, read when scraped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "blitz_db_pool_connections",
            "Connections of the pool by state (idle, used); max is the pool's limit.",
            ("state",),
            registry=registry,
        )

    def watch(self, pool: Pool) -> None:
        """Reads ``pool`` from now on."""
        states: dict[str, Callable[[], float]] = {
            "idle": lambda: float(pool.get_idle_size()),
            "used": lambda: float(pool.get_size() - pool.get_idle_size()),
            "max": lambda: float(pool.get_max_size()),
        }
        for state, read in states.items():
            self.connections.labels(state).set_function(read)


def build_info(registry: CollectorRegistry, service: str, version: str) -> None:
    """The constant series that says what runs here."""
    info = Gauge(
        "blitz_build_info", "Always 1; the labels say what runs.", ("service", "version", "python"), registry=registry
    )
    info.labels(service, version, f"{sys.version_info.major}.{sys.version_info.minor}").set(1)
