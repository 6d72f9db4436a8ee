"""Every route of incidents says who may use it, and the OpenAPI document shows them all."""

from services.incidents.app import build
from services.incidents.config import IncidentsSettings
from shared.auth import undeclared_routes


def test_every_route_declares_who_may() -> None:
    """No route is open by accident; those of the contract are documented."""
    app = build(IncidentsSettings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert undeclared_routes(app) == []
    paths = app.openapi()["paths"]
    for path in ("/v1/errors", "/v1/heat", "/api/{project}/envelope/", "/api/{project}/store/", "/v1/incidents"):
        assert path in paths
    amendments = ("assign", "severity", "cause", "comment")
    for command in ("confirm", "reject", "mitigate", "fix", "close", "reopen", *amendments):
        assert "post" in paths[f"/v1/incidents/{{incident_id}}/{command}"]
