"""What the local stack makes of its environment."""

import socket

import pytest

from deploy.local.children import StartFailed
from deploy.local.plan import read_plan, require_free_ports
from tests.fixtures.servers import free_port
from tests.unit.deploy.containers import SETTINGS


def test_default_ports_are_those_of_the_services() -> None:
    """One truth for 8001, 8002, 8003."""
    ports = read_plan({}).ports
    for name, settings in SETTINGS.items():
        assert ports[f"{name.upper()}_PORT"] == settings.model_fields["port"].default


def test_an_offset_moves_all_ports_and_one_variable_moves_one() -> None:
    """Two stacks run side by side."""
    usual, moved = read_plan({}).ports, read_plan({"PORT_OFFSET": "100", "KAFKA_PORT": "29092"}).ports
    assert {name: moved[name] - usual[name] for name in usual if name != "KAFKA_PORT"} == {
        name: 100 for name in usual if name != "KAFKA_PORT"
    }
    assert moved["KAFKA_PORT"] == 29092


def test_stacks_of_different_offsets_share_no_directory() -> None:
    """Logs, data and the file that tools read."""
    one, two = read_plan({}), read_plan({"PORT_OFFSET": "100"})
    assert one.log_dir != two.log_dir
    assert one.environment_file != two.environment_file


def test_parts_of_ones_own_are_not_started() -> None:
    """What the person names wins: no broker, no issuer; PostgreSQL only while some service still needs it."""
    plan = read_plan({"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "OIDC_ISSUER": "https://login.example"})
    assert (plan.own_kafka, plan.own_issuer, plan.own_postgres) == (False, False, True)
    assert (plan.bootstrap_servers, plan.issuer) == ("kafka.example:9092", "https://login.example")
    urls = {f"{name.upper()}_DATABASE_URL": "postgresql://db.example/x" for name in SETTINGS}
    assert read_plan(urls).own_postgres is False
    del urls["REPORTING_DATABASE_URL"]
    assert read_plan(urls).own_postgres is True


def test_no_demonstration_goes_into_a_database_of_ones_own_unless_asked_for() -> None:
    """Invented complaints among real ones would be hard to find again."""
    own = {"FEEDBACK_DATABASE_URL": "postgresql://db.example/feedback"}
    assert read_plan({}).demo is True
    assert read_plan(own).demo is False
    assert read_plan({**own, "DEMO": "1"}).demo is True


@pytest.mark.parametrize(
    ("variable", "value"), [("PORT_OFFSET", "many"), ("PORT_OFFSET", "60000"), ("FRESH", "maybe"), ("KAFKA_PORT", "x")]
)
def test_a_senseless_variable_is_refused_by_name(variable: str, value: str) -> None:
    """A plain sentence instead of a traceback."""
    with pytest.raises(StartFailed, match=variable):
        read_plan({variable: value})


def test_a_taken_port_is_named_with_the_variables_that_move_it() -> None:
    """The port, the part, its own variable and the offset."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartFailed, match=rf"Port {port} \(reporting\).*REPORTING_PORT.*PORT_OFFSET"):
            require_free_ports(read_plan({"REPORTING_PORT": str(port), "PORT_OFFSET": "31000"}))


def test_variables_of_another_postgresql_do_not_reach_ours() -> None:
    """PGSSLMODE=require would break every connection to a local server; a database of one's own may need it."""
    environ = {"PGSSLMODE": "require", "PGPASSFILE": "/home/me/.pgpass", "PATH": "/bin"}
    ours = read_plan(environ)
    assert ours.inherited(environ) == ours.inherited(environ, "feedback") == {"PATH": "/bin"}
    environ["FEEDBACK_DATABASE_URL"] = "postgresql://db.example/feedback"
    mixed = read_plan(environ)
    assert mixed.inherited(environ, "feedback") == environ
    assert "PGSSLMODE" not in mixed.inherited(environ, "incidents")
    environ |= {f"{name.upper()}_DATABASE_URL": "postgresql://db.example/x" for name in SETTINGS}
    assert read_plan(environ).inherited(environ) == environ


def test_ports_of_single_servers_in_tests_are_never_those_of_a_whole_stack() -> None:
    """Both are taken at random in the same range, by tests that run side by side."""
    of_stacks = {port % 10 for port in read_plan({"PORT_OFFSET": "2000"}).ports.values()}
    assert not of_stacks & {free_port() % 10 for _ in range(100)}
