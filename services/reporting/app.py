"""The composition root of reporting: the only file that wires."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
from fastapi import FastAPI

from services.reporting.api import api
from services.reporting.config import ReportingSettings
from services.reporting.connections import figures_dsn
from services.reporting.consumers import consumers
from services.reporting.metrics import FiguresCollector
from shared.events import Event, FeedbackSubmittedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1
from shared.kafka import asyncapi_document
from shared.process import Plumbing
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "reporting"
LISTENS_TO = (FeedbackSubmittedV1, HeatReportedV1, SignalLinkedV1, IncidentChangedV1)
ANNOUNCES: tuple[type[Event], ...] = ()


class _Database:
    """The pool, which exists only while the application runs."""

    pool: asyncpg.Pool | None = None

    def __call__(self) -> asyncpg.Pool:
        assert self.pool is not None, "the application has not started"
        return self.pool


def build(settings: ReportingSettings) -> FastAPI:
    """The application; it connects when its lifespan begins. Raises ``CatalogueRefused``."""
    plumbing = Plumbing(NAME, settings)
    catalogue = plumbing.catalogue
    collector = FiguresCollector(plumbing.registry, lambda: catalogue.current)
    database = _Database()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            pool = database.pool = await plumbing.open_pool(running, figures_dsn(settings.database_url))
            app.state.verifier = await plumbing.token_verifier(running)
            await collector.refresh(pool)
            plumbing.keep_running(running, "collector", lambda stop: collector.run(pool, stop))
            plumbing.start_relay(running)
            plumbing.start_consumers(
                running, pool, lambda consumption: consumers(consumption, lambda: catalogue.current)
            )
            yield

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=[api(database, lambda: catalogue.current, settings.smallest_group)],
        health=plumbing.health,
        metrics=plumbing.http_metrics,
        asyncapi=lambda: asyncapi_document(title=NAME, version=VERSION, consumes=LISTENS_TO, announces=ANNOUNCES),
    )
    on_hangup(app, plumbing.reload_catalogue)
    return app
