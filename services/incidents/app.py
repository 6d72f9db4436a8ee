"""Composition root: the only file that wires incidents together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI

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
from shared.events import ErrorReportedV1, FeedbackWordedV1, HeatReportedV1, IncidentChangedV1, SignalLinkedV1
from shared.kafka import asyncapi_document
from shared.process import Plumbing
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "incidents"
LISTENS_TO = (FeedbackWordedV1, ErrorReportedV1, HeatReportedV1)
ANNOUNCES = (ErrorReportedV1, HeatReportedV1, SignalLinkedV1, IncidentChangedV1)


def utc_now() -> datetime:
    """The clock of this service."""
    return datetime.now(UTC)


class _Measured:
    """The service's own metrics."""

    def __init__(self, plumbing: Plumbing) -> None:
        self.intake = IntakeMetrics(plumbing.registry)
        self.grouping = GroupingMetrics(plumbing.registry)
        self.incidents = IncidentMetrics(plumbing.registry)


def build(settings: IncidentsSettings) -> FastAPI:
    """The application of one process. Raises ``CatalogueRefused``; its lifespan raises ``StaleSchema``."""
    plumbing = Plumbing(NAME, settings)
    measured = _Measured(plumbing)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            app.state.desk = await _start(plumbing, measured, running)
            app.state.verifier = await plumbing.token_verifier(running)
            yield

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=(api(),),
        health=plumbing.health,
        metrics=plumbing.http_metrics,
        asyncapi=lambda: asyncapi_document(title=NAME, version=VERSION, consumes=LISTENS_TO, announces=ANNOUNCES),
        body_limits={"/api/": SENTRY_BODY_BYTES, "/v1/errors": ERROR_BODY_BYTES},
        hot_routes=(*intake_routes(), *sentry_routes()),
    )
    on_hangup(app, plumbing.reload_catalogue)
    return app


async def _start(plumbing: Plumbing, measured: _Measured, running: AsyncExitStack) -> Desk:
    catalogue = plumbing.catalogue
    pool = await plumbing.open_pool(running)
    plumbing.start_relay(running)
    plumbing.keep_running(running, "announcing", lambda stop: keep_announcing(pool, measured.incidents, utc_now, stop))
    plumbing.keep_running(running, "forgetting", lambda stop: keep_forgetting(pool, utc_now, stop))
    grouping = SignalGrouping(catalogue, Representatives(), measured.grouping, utc_now)
    plumbing.start_consumers(running, pool, lambda consumption: consumers(consumption, grouping, utc_now))
    intake = plumbing.start_group_commit(running, pool, accept_offers)
    bulk_intake = plumbing.start_group_commit(running, pool, accept_offers, max_batch=4, max_waiting=16)
    return Desk(pool, catalogue, intake, bulk_intake, measured.intake, utc_now)
