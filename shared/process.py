"""What the process of every service is made of; a composition root adds its own use cases and routes.

What is started later ends earlier: intake, consumers, relay, pool. So each part can finish what it has begun.
"""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import asyncpg
import httpx
from fastapi import FastAPI
from faststream.kafka import KafkaBroker, KafkaRouter
from pydantic import ValidationError

from shared.batches import Consumption
from shared.catalogue import CatalogueFile, CatalogueRefused
from shared.groupcommit import GroupCommit, Write
from shared.health import Health
from shared.kafka import broker, kafka_problem
from shared.logs import configure
from shared.metrics import ConsumerMetrics, HttpMetrics, OutboxMetrics, PoolMetrics, build_info, new_registry
from shared.migrate import StaleSchema, migration_folders, require_current_schema
from shared.oidc import TokenVerifier
from shared.postgres import is_busy, open_pool, transaction
from shared.relay import Relay
from shared.server import EX_CONFIG, serve
from shared.settings import ServiceSettings
from shared.web.app import VERSION

Settings = TypeVar("Settings", bound=ServiceSettings)
Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_LAG = 10_000
"""Records behind, from which on what a service shows is too old to be called ready."""
CONNECT_SECONDS = 60.0
CONNECT_RETRY_SECONDS = 1.0
CLOSE_SECONDS = 5.0
TOKEN_KEYS_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.1
EX_SOFTWARE = 70

_log = logging.getLogger(__name__)


class TaskDied(Exception):
    """A task that the process cannot do without ended untold. The process has ended in order; another shall start."""


class Plumbing:
    """Catalogue, health and metrics at once; pool, relay, consumers and tasks as the lifespan starts them."""

    def __init__(self, name: str, settings: ServiceSettings) -> None:
        """Raises ``CatalogueRefused``."""
        self.name = name
        self.settings = settings
        self.catalogue = CatalogueFile(settings.catalogue_file)
        self.health = Health(lambda: self.catalogue.current.hash)
        self.registry = new_registry()
        build_info(self.registry, name, VERSION)
        self.http_metrics = HttpMetrics(self.registry)
        self._consumer_metrics = ConsumerMetrics(self.registry)
        self._outbox_metrics = OutboxMetrics(self.registry)
        self._pool_metrics = PoolMetrics(self.registry)
        self._folders = migration_folders(f"services.{name}")
        self._wake_relay: Callable[[], object] | None = None
        self._ending = False

    def reload_catalogue(self) -> None:
        """Reads the catalogue again. Raises ``CatalogueRefused`` and keeps the one in force when it is wrong."""
        _log.info("catalogue %s is in force", self.catalogue.reload().hash)

    async def open_pool(self, running: AsyncExitStack, dsn: str = "") -> asyncpg.Pool:
        """The pool, after waiting for the database for about a minute. ``dsn`` replaces that of the settings.

        Raises ``StaleSchema``, or what asyncpg raises when the database never comes.
        """
        pool = await self._connect(dsn or self.settings.database_url)
        running.push_async_callback(_close, pool)
        await require_current_schema(pool, self._folders)
        self._pool_metrics.watch(pool)
        self._add_database_checks(pool)
        return pool

    async def token_verifier(self, running: AsyncExitStack) -> TokenVerifier:
        """Checks bearer tokens of the configured issuer."""
        client = await running.enter_async_context(httpx.AsyncClient(timeout=TOKEN_KEYS_SECONDS))
        chosen = self.settings
        return TokenVerifier(
            chosen.oidc_issuer, chosen.oidc_audience, chosen.oidc_roles_claim, chosen.oidc_offices_claim, client
        )

    def start_relay(self, running: AsyncExitStack) -> Relay:
        """Publishes the outbox while this process holds the lock. What is started later wakes it after its commits."""
        servers = self.settings.kafka_bootstrap_servers
        relay = Relay(self.settings.database_url, servers, f"{self.name}-relay", self._outbox_metrics)
        self._wake_relay = relay.wake
        self.keep_running(running, "relay", relay.run)
        return relay

    def start_consumers(
        self, running: AsyncExitStack, pool: asyncpg.Pool, subscribe: Callable[[Consumption], KafkaRouter]
    ) -> None:
        """Consumes what the router of ``subscribe`` listens to, and adds broker, assignment and lag to readiness."""
        servers = self.settings.kafka_bootstrap_servers
        consumption = Consumption(
            *(pool, servers, self.name, self.name, self._consumer_metrics), committed=self._wake_relay
        )
        kafka = broker(self.settings)
        kafka.include_router(subscribe(consumption))
        self.keep_running(running, "consumers", lambda stop: consumption.run(kafka, stop))
        self._add_kafka_checks(kafka, consumption)

    def start_group_commit(
        self,
        running: AsyncExitStack,
        pool: asyncpg.Pool,
        write: Write[Item, Result],
        *,
        max_batch: int = 256,
        max_waiting: int = 1024,
    ) -> GroupCommit[Item, Result]:
        """A queue of writes that share transactions; drained at the end. The limits count items."""
        commits = GroupCommit(pool, write, max_batch=max_batch, max_waiting=max_waiting, committed=self._wake_relay)
        self._look_after(running, "group-commit", commits.run(), commits.stop)
        return commits

    def keep_running(
        self, running: AsyncExitStack, name: str, work: Callable[[asyncio.Event], Awaitable[None]]
    ) -> None:
        """Runs ``work(stop)`` as a task; at the end sets ``stop`` and waits until it has finished.

        A task that ends untold takes the process with it, in order: one that lacks a part only looks ready.
        """
        stop = asyncio.Event()

        async def tell() -> None:
            stop.set()

        self._look_after(running, name, work(stop), tell)

    def _look_after(
        self, running: AsyncExitStack, name: str, work: Awaitable[None], tell: Callable[[], Awaitable[None]]
    ) -> None:
        task = asyncio.ensure_future(work)
        told = False

        def on_end(ended: "asyncio.Future[None]") -> None:
            error = None if ended.cancelled() else ended.exception()
            if error is not None or not told:
                _log.critical("the task %s of this process died", name, exc_info=error)
            if not told:
                self._ask_to_end()

        async def finish() -> None:
            nonlocal told
            self._ending = True
            died = task.done()
            told = True
            await tell()
            await asyncio.wait({task})
            if died:
                raise TaskDied(f"the task {name} died")

        task.add_done_callback(on_end)
        running.push_async_callback(finish)

    def _ask_to_end(self) -> None:
        """Asks the server by the signal that any supervisor would send; again as long as nobody listens to it yet."""
        if self._ending:
            return
        if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, None):
            asyncio.get_running_loop().call_later(ASK_AGAIN_SECONDS, self._ask_to_end)
        else:
            signal.raise_signal(signal.SIGTERM)

    async def _connect(self, dsn: str) -> asyncpg.Pool:
        until = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                return await open_pool(dsn, size=self.settings.pool_size, application_name=self.name)
            except Exception as error:
                if time.monotonic() >= until or not is_busy(error):
                    raise
                _log.warning("the database is not there yet: %s", type(error).__name__)
            await asyncio.sleep(CONNECT_RETRY_SECONDS)

    def _add_database_checks(self, pool: asyncpg.Pool) -> None:
        async def database() -> str | None:
            async with transaction(pool) as connection:
                await connection.execute("select 1")
            return None

        async def schema() -> str | None:
            try:
                await require_current_schema(pool, self._folders)
            except StaleSchema as error:
                return str(error)
            return None

        self.health.add("database", database)
        self.health.add("schema", schema)

    def _add_kafka_checks(self, kafka: KafkaBroker, consumption: Consumption) -> None:
        async def lag() -> str | None:
            behind = consumption.lag().items()
            return "; ".join(f"{topic}: {lag} records behind" for topic, lag in behind if lag > MOST_LAG) or None

        self.health.add("broker", lambda: kafka_problem(kafka))
        self.health.add("assignment", consumption.problem)
        self.health.add("lag", lag)


def run_service(name: str, settings_type: type[Settings], build: Callable[[Settings], FastAPI]) -> int:
    """Runs one process until SIGTERM; returns the exit code.

    78 for settings, catalogue or schema that do not fit; 70 when a part of the process died and it ended for that.
    """
    try:
        settings = settings_type()
        configure(name, settings.log_level)
        app = build(settings)
    except ValidationError as error:
        for wrong in error.errors(include_input=False, include_url=False):
            field = ".".join(str(part) for part in wrong["loc"])
            # Settings with an alias are named by it, the others carry the service's prefix.
            variable = field if field.isupper() else f"{name}_{field}".upper()
            print(f"{name} can't start: setting {variable}: {wrong['msg']}", file=sys.stderr)
        return EX_CONFIG
    except (CatalogueRefused, ValueError) as error:
        print(f"{name} can't start: {error}", file=sys.stderr)
        return EX_CONFIG
    try:
        return serve(app, settings)
    except TaskDied as error:
        print(f"{name} ended by itself: {error}", file=sys.stderr)
        return EX_SOFTWARE


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
    except TimeoutError:
        pool.terminate()
