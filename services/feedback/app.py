"""Composition root: the only file that wires feedback together."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from services.feedback import api, pages
from services.feedback.config import FeedbackSettings
from services.feedback.consumers import consumers
from services.feedback.desk import Desk
from services.feedback.domain.receipts import ReceiptKeys
from services.feedback.handlers import store_reports
from services.feedback.metrics import FeedbackMetrics
from services.feedback.projection import PublicIncidents
from shared.batches import Consumption
from shared.catalogue import CatalogueFile
from shared.groupcommit import GroupCommit
from shared.health import Health
from shared.kafka import broker, kafka_problem
from shared.metrics import ConsumerMetrics, HttpMetrics, OutboxMetrics, PoolMetrics, build_info, new_registry
from shared.migrate import StaleSchema, migration_folders, require_current_schema
from shared.postgres import is_busy, open_pool, transaction
from shared.relay import Relay
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "feedback"
FORM_BYTES = 192 * 1024
"""10,000 characters of any script, written as %XX, and the rest of the form."""
REPORT_BYTES = 64 * 1024
MOST_LAG = 10_000
"""Records behind, from which on known faults and stories are too old to be called ready."""
_PACKAGE = "services.feedback"
_CONNECT_RETRY_SECONDS = 1.0
_CONNECT_TRIES = 60

_log = logging.getLogger(__name__)


def build(settings: FeedbackSettings) -> FastAPI:
    """The application of one process. Raises ``CatalogueRefused``; its lifespan raises ``StaleSchema``."""
    process = _Process(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            app.state.desk = await process.start(running)
            yield

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=(api.router(), pages.router()),
        health=process.health,
        metrics=HttpMetrics(process.registry),
        body_limits={"/": FORM_BYTES, "/v1/": REPORT_BYTES},
        hot_routes=api.hot_routes(),
    )
    on_hangup(app, process.reload_catalogue)
    return app


class _Process:
    """What one process is made of: first what needs no event loop, then what ``start`` adds."""

    def __init__(self, settings: FeedbackSettings) -> None:
        self._settings = settings
        self._catalogue = CatalogueFile(settings.catalogue_file)
        self.health = Health(lambda: self._catalogue.current.hash)
        self.registry = new_registry()
        build_info(self.registry, NAME, VERSION)
        self._consumer_metrics = ConsumerMetrics(self.registry)
        self._outbox_metrics = OutboxMetrics(self.registry)
        self._pool_metrics = PoolMetrics(self.registry)
        self._feedback_metrics = FeedbackMetrics(self.registry)

    def reload_catalogue(self) -> None:
        """Reads the catalogue again; raises ``CatalogueRefused`` and keeps the old one when it is wrong."""
        self._catalogue.reload()

    async def start(self, running: AsyncExitStack) -> Desk:
        """Starts everything in order. ``running`` ends it in the opposite one: reports, consumers, relay, pool."""
        pool = await _open_pool(self._settings)
        running.push_async_callback(pool.close)
        await require_current_schema(pool, migration_folders(_PACKAGE))
        self._pool_metrics.watch(pool)
        self._start_relay(running)
        incidents = PublicIncidents(pool)
        following = asyncio.create_task(incidents.run(), name="public-incidents")
        running.callback(following.cancel)
        self._start_consumers(running, pool, incidents)
        commits = GroupCommit(pool, store_reports)
        writing = asyncio.create_task(commits.run(), name="group-commit")

        async def finish_reports() -> None:
            await commits.stop()
            await writing

        running.push_async_callback(finish_reports)
        self._feedback_metrics.watch(incidents, commits)
        keys = ReceiptKeys.derive(self._settings.receipt_key.get_secret_value())
        return Desk(pool, keys, self._catalogue, incidents, commits)

    def _start_relay(self, running: AsyncExitStack) -> None:
        settings = self._settings
        relay = Relay(settings.database_url, settings.kafka_bootstrap_servers, f"{NAME}-relay", self._outbox_metrics)
        stop = asyncio.Event()
        _run_until(running, asyncio.create_task(relay.run(stop), name="relay"), stop)

    def _start_consumers(self, running: AsyncExitStack, pool: asyncpg.Pool, incidents: PublicIncidents) -> None:
        consumption = Consumption(pool, self._settings.kafka_bootstrap_servers, NAME, NAME, self._consumer_metrics)
        kafka = broker(self._settings)
        kafka.include_router(consumers(consumption, incidents.hint_change))
        stop = asyncio.Event()
        _run_until(running, asyncio.create_task(consumption.run(kafka, stop), name="consumers"), stop)
        self._add_checks(pool, kafka, consumption)

    def _add_checks(self, pool: asyncpg.Pool, kafka: KafkaBroker, consumption: Consumption) -> None:
        async def database_problem() -> str | None:
            async with transaction(pool) as connection:
                await connection.execute("select 1")
            return None

        async def schema_problem() -> str | None:
            try:
                await require_current_schema(pool, migration_folders(_PACKAGE))
            except StaleSchema as error:
                return str(error)
            return None

        async def lag_problem() -> str | None:
            lag = sum(consumption.lag().values())
            return f"{lag} records behind" if lag > MOST_LAG else None

        self.health.add("database", database_problem)
        self.health.add("schema", schema_problem)
        self.health.add("broker", lambda: kafka_problem(kafka))
        self.health.add("assignment", consumption.problem)
        self.health.add("lag", lag_problem)


async def _open_pool(settings: FeedbackSettings) -> asyncpg.Pool:
    """The pool, waiting for a database that is still starting. Raises what asyncpg raises when it never comes."""
    for _ in range(_CONNECT_TRIES):
        try:
            return await open_pool(settings.database_url, size=settings.pool_size, application_name=NAME)
        except Exception as error:
            if not is_busy(error):
                raise
            _log.warning("The database is not there yet: %s", type(error).__name__)
            await asyncio.sleep(_CONNECT_RETRY_SECONDS)
    return await open_pool(settings.database_url, size=settings.pool_size, application_name=NAME)


def _run_until(running: AsyncExitStack, task: asyncio.Task[None], stop: asyncio.Event) -> None:
    async def finish() -> None:
        stop.set()
        await task

    running.push_async_callback(finish)
