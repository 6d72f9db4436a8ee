"""Composition root: the only file that wires feedback together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI

from services.feedback import api, pages
from services.feedback.config import FeedbackSettings
from services.feedback.consumers import consumers
from services.feedback.desk import Desk
from services.feedback.domain.receipts import ReceiptKeys
from services.feedback.handlers import store_reports
from services.feedback.metrics import FeedbackMetrics
from services.feedback.projection import PublicIncidents
from shared.events import FeedbackSubmittedV1, FeedbackWordedV1, IncidentChangedV1, SignalLinkedV1
from shared.kafka import asyncapi_document
from shared.process import Plumbing
from shared.server import on_hangup
from shared.web import create_app
from shared.web.app import VERSION

NAME = "feedback"
LISTENS_TO = (SignalLinkedV1, IncidentChangedV1)
ANNOUNCES = (FeedbackSubmittedV1, FeedbackWordedV1)
FORM_BYTES = 1024 * 1024
"""More than a form may hold: whoever wrote too much gets the text back, and not a refusal by the plumbing."""
REPORT_BYTES = 64 * 1024


def build(settings: FeedbackSettings) -> FastAPI:
    """The application of one process. Raises ``CatalogueRefused``; its lifespan raises ``StaleSchema``."""
    plumbing = Plumbing(NAME, settings)
    metrics = FeedbackMetrics(plumbing.registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            app.state.desk = await _start(plumbing, settings, metrics, running)
            yield

    app = create_app(
        title=NAME,
        settings=settings,
        lifespan=lifespan,
        routers=(api.router(), pages.router()),
        health=plumbing.health,
        metrics=plumbing.http_metrics,
        asyncapi=lambda: asyncapi_document(title=NAME, version=VERSION, consumes=LISTENS_TO, announces=ANNOUNCES),
        body_limits={"/": FORM_BYTES, "/v1/": REPORT_BYTES},
        hot_routes=api.hot_routes(),
    )
    on_hangup(app, plumbing.reload_catalogue)
    return app


async def _start(
    plumbing: Plumbing, settings: FeedbackSettings, metrics: FeedbackMetrics, running: AsyncExitStack
) -> Desk:
    pool = await plumbing.open_pool(running)
    plumbing.start_relay(running)
    incidents = PublicIncidents(pool)
    following = asyncio.create_task(incidents.run(), name="public-incidents")
    running.callback(following.cancel)
    plumbing.start_consumers(running, pool, lambda consumption: consumers(consumption, incidents.hint_change))
    commits = plumbing.start_group_commit(running, pool, store_reports)
    metrics.watch(incidents, commits)
    keys = ReceiptKeys.derive(settings.receipt_key.get_secret_value())
    return Desk(pool, keys, plumbing.catalogue, incidents, commits)
