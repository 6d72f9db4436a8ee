"""What holds for each service alike, without its servers."""

import os
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from services.feedback import app as feedback
from services.feedback.config import FeedbackSettings
from services.feedback.consumers import consumers as feedback_consumers
from services.incidents import app as incidents
from services.incidents.config import IncidentsSettings
from services.incidents.consumers import consumers as incidents_consumers
from services.reporting import app as reporting
from services.reporting.config import ReportingSettings
from services.reporting.consumers import consumers as reporting_consumers
from shared.auth import undeclared_routes
from shared.events import Event
from shared.process import run_service
from shared.server import EX_CONFIG
from shared.settings import ServiceSettings

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
SERVICES = [
    pytest.param("feedback", FeedbackSettings, feedback.build, id="feedback"),
    pytest.param("incidents", IncidentsSettings, incidents.build, id="incidents"),
    pytest.param("reporting", ReportingSettings, reporting.build, id="reporting"),
]
Build = Callable[[ServiceSettings], FastAPI]


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that each service must be told."""
    for name in os.environ:
        if name.startswith(("FEEDBACK_", "INCIDENTS_", "REPORTING_")):
            monkeypatch.delenv(name)
    for prefix in ("FEEDBACK", "INCIDENTS", "REPORTING"):
        monkeypatch.setenv(f"{prefix}_DATABASE_URL", NOWHERE)
    monkeypatch.setenv("FEEDBACK_RECEIPT_KEY", "k" * 32)


@pytest.mark.parametrize(("name", "settings_type", "build"), SERVICES)
def test_every_route_says_who_may(name: str, settings_type: type[ServiceSettings], build: Build) -> None:
    """A route that declares nothing is found."""
    app = build(settings_type())
    assert undeclared_routes(app) == []
    app.add_api_route("/forgotten", lambda: None)
    assert [route for route in undeclared_routes(app) if "/forgotten" in route], name


@pytest.mark.parametrize(("name", "settings_type", "build"), SERVICES)
def test_missing_configuration_is_named(
    name: str,
    settings_type: type[ServiceSettings],
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 78 and a sentence with the variable."""
    monkeypatch.delenv(f"{name.upper()}_DATABASE_URL")
    assert run_service(name, settings_type, build) == EX_CONFIG
    assert f"{name.upper()}_DATABASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "settings_type", "build"), SERVICES)
def test_a_wrong_catalogue_is_refused(
    name: str,
    settings_type: type[ServiceSettings],
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Exit code 78, and the sentence names the file, the field and what is wrong."""
    catalogue = tmp_path_factory.mktemp("catalogue") / "catalogue.toml"
    catalogue.write_text('[offices.JC-001]\nname = "Muster"\nland = "XX"\nteam_size = 8\nduty_contact = "x"\n')
    monkeypatch.setenv("CATALOGUE_FILE", str(catalogue))
    assert run_service(name, settings_type, build) == EX_CONFIG
    said = capsys.readouterr().err
    assert str(catalogue) in said
    assert "offices.JC-001.land" in said


class _Recorder:
    """Stands in for the consumption and notes what is subscribed to."""

    def __init__(self) -> None:
        self.topics: set[str] = set()

    def subscribe(self, router: object, event_type: type[Event], handler: object) -> None:
        self.topics.add(event_type.topic)


def test_what_is_documented_is_what_is_subscribed_to() -> None:
    """``/asyncapi`` is rendered from LISTENS_TO; the subscribers must not drift from it."""
    subscribing: dict[str, tuple[Callable[..., object], tuple[type[Event], ...], tuple[object, ...]]] = {
        "feedback": (feedback_consumers, feedback.LISTENS_TO, (None,)),
        "incidents": (incidents_consumers, incidents.LISTENS_TO, (None, None)),
        "reporting": (reporting_consumers, reporting.LISTENS_TO, (None,)),
    }
    for name, (consumers, listens_to, arguments) in subscribing.items():
        recorder = _Recorder()
        consumers(recorder, *arguments)
        assert recorder.topics == {event_type.topic for event_type in listens_to}, name


@pytest.mark.parametrize(("name", "settings_type", "build"), SERVICES)
async def test_documents(name: str, settings_type: type[ServiceSettings], build: Build) -> None:
    """``/openapi.json`` is OpenAPI 3.1 and ``/asyncapi`` is AsyncAPI 3 with a channel for each topic."""
    transport = httpx.ASGITransport(app=build(settings_type()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        routes = (await client.get("/openapi.json")).json()
        events = (await client.get("/asyncapi")).json()
    assert routes["openapi"].startswith("3.1")
    assert events["asyncapi"].startswith("3.")
    module = {"feedback": feedback, "incidents": incidents, "reporting": reporting}[name]
    addresses = {channel["address"] for channel in events["channels"].values()}
    assert {event.topic for event in (*module.LISTENS_TO, *module.ANNOUNCES)} <= addresses
