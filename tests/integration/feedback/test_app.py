"""What the application declares: who may use each route, and what OpenAPI says of the hot ones."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from services.feedback.app import build
from services.feedback.config import FeedbackSettings
from shared.auth import undeclared_routes


@pytest.fixture
def settings() -> FeedbackSettings:
    """Settings of a process that is never started."""
    catalogue = Path("deploy/catalogue.toml")
    return FeedbackSettings(
        database_url="postgresql://localhost/feedback", receipt_key=SecretStr("x" * 32), catalogue_file=catalogue
    )


def test_every_route_says_who_may(settings: FeedbackSettings) -> None:
    """No route without a declaration."""
    assert undeclared_routes(build(settings)) == []


def test_openapi_describes_the_hot_routes(settings: FeedbackSettings) -> None:
    """The hand-written routes are there with their bodies, the pages are not."""
    paths = build(settings).openapi()["paths"]
    assert set(paths) == {"/v1/reports", "/v1/receipts/lookup", "/v1/known-faults", "/v1/catalogue"}
    post = paths["/v1/reports"]["post"]
    assert "202" in post["responses"]
    assert post["parameters"][0]["name"] == "Idempotency-Key"
    assert "ReportBody" in str(post["requestBody"])
