"""The composition root of reporting: the only file that wires."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg
import httpx
from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from services.reporting.api import api
from services.reporting.config import ReportingSettings
from services.reporting.connections import figures_dsn
from services.reporting.consumers import consumers
from services.reporting.metrics import FiguresCollector
from shared import kafka
from shared.auth import TokenVerifier
from shared.batches import Consumption
from shared.catalogue import CatalogueFile
from shared.health import Health
from shared.metrics import ConsumerMetrics, HttpMetrics, OutboxMetrics, PoolMetrics, build_info, new_registry
from shared.migrate import StaleSchema, migration_folders, require_current_schema
from shared.postgres import is_busy, open_pool
from shared.relay import Relay
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "reporting"
FOLDERS = migration_folders("services.reporting")
START_SECONDS = 60.0
BEHIND_RECORDS = 50_000
"""So far behind the log, the figures are called not ready."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """What exists only while the application runs."""

    pool: asyncpg.Pool | None = None
    consumption: Consumption | None = None

    def database(self) -> asyncpg.Pool:
        assert self.pool is not None, "the application has not started"
        return self.pool


def build(settings: ReportingSettings) -> FastAPI:
    """The application; it connects when its lifespan begins. Raises ``CatalogueRefused``."""
    catalogue = CatalogueFile(settings.catalogue_file)
    registry = new_registry()
    build_info(registry, NAME, VERSION)
    consumer_metrics, outbox_metrics = ConsumerMetrics(registry), OutboxMetrics(registry)
    pool_metrics = PoolMetrics(registry)
    collector = FiguresCollector(registry, lambda: catalogue.current)
    broker = kafka.broker(settings)
    running = _Running()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = running.pool = await _open_pool(settings)
        pool_metrics.watch(pool)
        consumption = Consumption(pool, settings.kafka_bootstrap_servers, NAME, NAME, consumer_metrics)
        broker.include_router(consumers(consumption, lambda: catalogue.current))
        relay = Relay(settings.database_url, settings.kafka_bootstrap_servers, "reporting-relay", outbox_metrics)
        async with httpx.AsyncClient(timeout=5) as client:
            app.state.verifier = TokenVerifier(
                settings.oidc_issuer,
                settings.oidc_audience,
                settings.oidc_roles_claim,
                settings.oidc_offices_claim,
                client,
            )
            await collector.refresh(pool)
            running.consumption = consumption
            async with _background(consumption, broker, relay, collector, pool):
                yield
        await _close(pool)

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=[api(running.database, lambda: catalogue.current, settings.smallest_group)],
        health=_health(running, broker, lambda: catalogue.current.hash),
        metrics=HttpMetrics(registry),
    )
    on_hangup(app, lambda: _log.info("catalogue %s is in force", catalogue.reload().hash))
    return app


@contextlib.asynccontextmanager
async def _background(
    consumption: Consumption, broker: KafkaBroker, relay: Relay, collector: FiguresCollector, pool: asyncpg.Pool
) -> AsyncIterator[None]:
    """Runs consumers, relay and collector. Ends in this order: consumers finish their batches, the relay flushes."""
    stops = [asyncio.Event() for _ in range(3)]
    tasks = [
        asyncio.create_task(consumption.run(broker, stops[0]), name="consumers"),
        asyncio.create_task(relay.run(stops[1]), name="relay"),
        asyncio.create_task(collector.run(pool, stops[2]), name="collector"),
    ]
    for task in tasks:
        task.add_done_callback(_log_death)
    try:
        yield
    finally:
        for stop, task in zip(stops, tasks, strict=True):
            stop.set()
            await asyncio.wait({task}, timeout=15)


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("%s died", task.get_name(), exc_info=task.exception())


async def _open_pool(settings: ReportingSettings) -> asyncpg.Pool:
    """Waits for the database for a while, then checks the schema. Raises ``StaleSchema`` or what asyncpg raises."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            dsn = figures_dsn(settings.database_url)
            pool = await open_pool(dsn, size=settings.pool_size, application_name=NAME)
        except Exception as error:
            if not is_busy(error) or asyncio.get_running_loop().time() > deadline:
                raise
            _log.warning("the database is not there: %s", type(error).__name__)
            await asyncio.sleep(0.5)
            continue
        try:
            await require_current_schema(pool, FOLDERS)
        except BaseException:
            await _close(pool)
            raise
        return pool


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), 5)
    except TimeoutError:
        pool.terminate()


def _health(running: _Running, broker: KafkaBroker, catalogue_hash: Callable[[], str]) -> Health:
    health = Health(catalogue_hash)

    async def database() -> str | None:
        return None if await running.database().fetchval("select 1") == 1 else "the database does not answer"

    async def schema() -> str | None:
        try:
            await require_current_schema(running.database(), FOLDERS)
        except StaleSchema as error:
            return str(error)
        return None

    async def consuming() -> str | None:
        return "not started" if running.consumption is None else await running.consumption.problem()

    async def lag() -> str | None:
        behind = {} if running.consumption is None else running.consumption.lag()
        late = [f"{topic}: {records} records behind" for topic, records in behind.items() if records > BEHIND_RECORDS]
        return "; ".join(late) or None

    health.add("database", database)
    health.add("schema", schema)
    health.add("kafka", lambda: kafka.kafka_problem(broker))
    health.add("consumers", consuming)
    health.add("lag", lag)
    return health
