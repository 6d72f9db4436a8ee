"""The application without its servers."""

from services.reporting.app import build
from services.reporting.config import ReportingSettings
from services.reporting.connections import figures_dsn
from shared.auth import Role, route_accesses, undeclared_routes


def test_every_route_says_who_may() -> None:
    """Figures are for reporters and quality managers."""
    app = build(ReportingSettings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert undeclared_routes(app) == []
    guarded = {route.path: route.access.roles for route in route_accesses(app) if route.access and route.access.roles}
    assert set(guarded) == {"/v1/satisfaction", "/v1/causes", "/v1/timings"}
    assert set(guarded.values()) == {frozenset({Role.REPORTER, Role.QUALITY_MANAGER})}


def test_connections_find_the_build_that_is_meant() -> None:
    """What the address says already stays; the search path is ours."""
    dsn = figures_dsn("postgresql://a:b@h:1/d?sslmode=require&search_path=x", "figures_next")
    assert dsn.startswith("postgresql://a:b@h:1/d?sslmode=require&search_path=figures_next%2Cpublic&")
