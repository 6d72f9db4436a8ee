"""What holds for each service alike, without its servers."""

import os
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from services.feedback import app as feedback
from services.feedback.config import FeedbackSettings
from services.incidents import app as incidents
from services.incidents.config import IncidentsSettings
from services.reporting import app as reporting
from services.reporting.config import ReportingSettings
from shared.auth import undeclared_routes
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
