"""Composition root: the only file that wires incidents together."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import httpx
from fastapi import FastAPI
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from services.incidents.api import api
from services.incidents.config import IncidentsSettings
from services.incidents.consumers import consumers
from services.incidents.desk import Desk
from services.incidents.grouping.handlers import SignalGrouping
from services.incidents.grouping.memory import Representatives
from services.incidents.intake.api import ERROR_BODY_BYTES
from services.incidents.intake.api import hot_routes as intake_routes
from services.incidents.intake.handlers import accept_offers, keep_forgetting
from services.incidents.intake.sentry_api import SENTRY_BODY_BYTES
from services.incidents.intake.sentry_api import hot_routes as sentry_routes
from services.incidents.metrics import GroupingMetrics, IncidentMetrics, IntakeMetrics
from services.incidents.triage.announcing import keep_announcing
from shared.batches import Consumption
from shared.catalogue import CatalogueFile
from shared.groupcommit import GroupCommit
from shared.health import Health
from shared.kafka import broker, kafka_problem
from shared.metrics import ConsumerMetrics, HttpMetrics, OutboxMetrics, PoolMetrics, build_info, new_registry
from shared.migrate import StaleSchema, migration_folders, require_current_schema
from shared.oidc import TokenVerifier
from shared.postgres import is_busy, open_pool, transaction
from shared.relay import Relay
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "incidents"
MOST_LAG = 10_000
"""Records behind, from which on the picture is too old to be called ready."""
_PACKAGE = "services.incidents"
_CONNECT_RETRY_SECONDS = 1.0
_CONNECT_TRIES = 60
_TOKEN_KEYS_SECONDS = 5.0

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The clock of this service."""
    return datetime.now(UTC)


class _Measured:
    """The metrics that are fed by what the lifespan starts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.consumers = ConsumerMetrics(registry)
        self.outbox = OutboxMetrics(registry)
        self.pool = PoolMetrics(registry)
        self.intake = IntakeMetrics(registry)
        self.grouping = GroupingMetrics(registry)
        self.incidents = IncidentMetrics(registry)


def build(settings: IncidentsSettings) -> FastAPI:
    """The application of one process. Raises ``CatalogueRefused``; its lifespan raises ``StaleSchema``."""
    catalogue = CatalogueFile(settings.catalogue_file)
    health = Health(lambda: catalogue.current.hash)
    registry = new_registry()
    build_info(registry, NAME, VERSION)
    measured = _Measured(registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            await _start(
                app=app, settings=settings, catalogue=catalogue, health=health, measured=measured, running=running
            )
            yield

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=(api(),),
        health=health,
        metrics=HttpMetrics(registry),
        body_limits={"/api/": SENTRY_BODY_BYTES, "/v1/errors": ERROR_BODY_BYTES},
        hot_routes=(*intake_routes(), *sentry_routes()),
    )

    def reload_catalogue() -> None:
        catalogue.reload()

    on_hangup(app, reload_catalogue)
    return app


async def _start(
    *,
    app: FastAPI,
    settings: IncidentsSettings,
    catalogue: CatalogueFile,
    health: Health,
    measured: _Measured,
    running: AsyncExitStack,
) -> None:
    """Starts everything in order. ``running`` ends it in the opposite one: intake, consumers, relay, pool."""
    pool = await _open_pool(settings)
    running.push_async_callback(pool.close)
    await require_current_schema(pool, migration_folders(_PACKAGE))
    measured.pool.watch(pool)
    client = await running.enter_async_context(httpx.AsyncClient(timeout=_TOKEN_KEYS_SECONDS))
    app.state.verifier = TokenVerifier(
        settings.oidc_issuer, settings.oidc_audience, settings.oidc_roles_claim, settings.oidc_offices_claim, client
    )

    relay = Relay(settings.database_url, settings.kafka_bootstrap_servers, f"{NAME}-relay", measured.outbox)
    stop_relay = asyncio.Event()
    _run_until(running, asyncio.create_task(relay.run(stop_relay), name="relay"), stop_relay)

    stop_tasks = asyncio.Event()
    announcing = keep_announcing(pool, measured.incidents, utc_now, stop_tasks)
    _run_until(running, asyncio.create_task(announcing, name="announcing"), stop_tasks)
    forgetting = keep_forgetting(pool, utc_now, stop_tasks)
    _run_until(running, asyncio.create_task(forgetting, name="forgetting"), stop_tasks)

    grouping = SignalGrouping(catalogue, Representatives(), measured.grouping, utc_now)
    consumption = Consumption(pool, settings.kafka_bootstrap_servers, NAME, NAME, measured.consumers)
    kafka = broker(settings)
    kafka.include_router(consumers(consumption, grouping, utc_now))
    stop_consumers = asyncio.Event()
    consuming = asyncio.create_task(consumption.run(kafka, stop_consumers), name="consumers")
    _run_until(running, consuming, stop_consumers)

    intake = GroupCommit(pool, accept_offers)
    writing = asyncio.create_task(intake.run(), name="group-commit")

    async def finish_intake() -> None:
        await intake.stop()
        await writing

    running.push_async_callback(finish_intake)
    app.state.desk = Desk(pool, catalogue, intake, measured.intake, utc_now)
    _add_checks(health, pool, kafka, consumption)


def _add_checks(health: Health, pool: asyncpg.Pool, kafka: KafkaBroker, consumption: Consumption) -> None:
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

    health.add("database", database_problem)
    health.add("schema", schema_problem)
    health.add("broker", lambda: kafka_problem(kafka))
    health.add("assignment", consumption.problem)
    health.add("lag", lag_problem)


async def _open_pool(settings: IncidentsSettings) -> asyncpg.Pool:
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
