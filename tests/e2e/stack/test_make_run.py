"""``make run`` as a person meets it, on real PostgreSQL and real Kafka."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.jars import kafka_version
from deploy.local.postgres import psql
from deploy.local.programs import remove_home
from deploy.local.stack import read_environment_file
from tests.e2e.stack.running import ROOT, MakeRun, free_offset, wait_until

pytestmark = pytest.mark.timeout(300)
SERVICE_PORTS = {"feedback": 8001, "incidents": 8002, "reporting": 8003}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeRun]:
    """A running stack on fresh data."""
    # as someone who works with another PostgreSQL: none of this may reach the connections to ours
    another = {"PGHOST": "db.example", "PGSSLMODE": "verify-full", "PGOPTIONS": "-c nonsense=1"}
    output = tmp_path_factory.mktemp("fresh") / "output"
    stack = MakeRun(output, FRESH="1", PORT_OFFSET=str(free_offset()), **another)
    try:
        stack.wait_until_ready()
        yield stack
    finally:
        stack.end()
        remove(str(stack.offset))


def test_one_table_names_every_component_with_version_address_and_state(fresh: MakeRun) -> None:
    """PostgreSQL, Kafka, issuer and the three services, each on its moved port."""
    lines = fresh.text().splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("component"))
    rows = {line.split("  ")[0]: line for line in lines[header + 1 : header + 7]}
    assert set(rows) == {"PostgreSQL", "Apache Kafka", "OIDC issuer", *SERVICE_PORTS}
    assert kafka_version() in rows["Apache Kafka"]
    assert f"127.0.0.1:{15432 + fresh.offset}" in rows["PostgreSQL"]
    for name, port in SERVICE_PORTS.items():
        assert fresh.url(port, "") in rows[name]
        assert "ready" in rows[name]
    assert "\033" not in fresh.text()


def test_every_part_listens_on_loopback_only(fresh: MakeRun) -> None:
    """Nothing of a development stack can be reached from another machine."""
    inodes = set()
    for pid in fresh.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and cells[9] in inodes:
                listening.append(cells[1].split(":")[0])
    assert len(listening) >= 7
    assert set(listening) <= loopback


def test_a_token_of_the_running_stack_is_all_that_make_token_prints(fresh: MakeRun) -> None:
    """So that it can be used in $(…)."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-s", "token", "role=quality_manager", "offices=JC-001"],
        cwd=ROOT,
        env={**environment, "PORT_OFFSET": str(fresh.offset)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(".") == 2
    assert len(done.stdout.split()) == 1


def test_the_image_health_check_asks_the_service(fresh: MakeRun) -> None:
    """0 for a ready service, 1 where nobody answers."""
    for port, expected in ((8003 + fresh.offset, 0), (1, 1)):
        environment = {"PATH": os.environ["PATH"], "REPORTING_PORT": str(port)}
        done = subprocess.run([sys.executable, "-m", "deploy.healthcheck"], cwd=ROOT, env=environment, check=False)
        assert done.returncode == expected


def test_a_taken_port_is_named_with_the_variable_that_moves_it(fresh: MakeRun, tmp_path: Path) -> None:
    """A second stack on the same ports starts nothing and says what to do."""
    second = MakeRun(tmp_path / "output", FRESH="1", PORT_OFFSET=str(fresh.offset))
    try:
        assert second.wait() != 0
        assert f"Port {8001 + fresh.offset} (feedback) is taken" in second.text()
        assert "FEEDBACK_PORT" in second.text()
        assert "PORT_OFFSET" in second.text()
        assert "Traceback" not in second.text()
    finally:
        second.end()
    assert fresh.is_ready(8001)


@pytest.mark.parametrize("name", SERVICE_PORTS)
def test_a_service_that_dies_is_started_again(fresh: MakeRun, name: str) -> None:
    """And the person is told."""
    pid = fresh.pid_of(f"-m services.{name}")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: f"{name} ended (killed by signal 9)" in fresh.text(), 10, "the death is told")
    wait_until(lambda: fresh.is_ready(SERVICE_PORTS[name]), 40, f"{name} is ready again")
    assert fresh.pid_of(f"-m services.{name}") != pid


def test_ctrl_c_stops_everything_within_ten_seconds_and_removes_fresh_data(fresh: MakeRun) -> None:
    """The last test of this stack: no process, no data and no description of it is left."""
    assert len(fresh.processes()) > 8
    assert fresh.interrupt() < 10
    assert fresh.processes() == {}
    assert "Everything is stopped" in fresh.text()
    assert not (ROOT / ".local" / f"running-{fresh.offset}.env").exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(fresh.url(8001, "/health/live"), timeout=2)


@pytest.mark.parametrize("running", ["-m deploy.local ", "initdb", "kafka.Kafka", "-m shared.migrate"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_the_start_stops_everything_within_ten_seconds(
    tmp_path: Path, running: str, number: signal.Signals
) -> None:
    """Whatever is being started at that moment: nothing comes up after it, and no process and no data is left."""
    stack = MakeRun(tmp_path / "output", FRESH="1", PORT_OFFSET=str(free_offset()))
    logs = ROOT / ".local" / f"logs-{stack.offset}"
    try:
        wait_until(lambda: "Starting Blitzableiter" in stack.text(), 60, "it says that it starts")
        wait_until(lambda: any(running in line for line in stack.processes().values()), 60, f"{running} runs")
        begun = time.monotonic()
        os.kill(stack.pid_of("-m deploy.local "), number)
        stack.wait()
        assert time.monotonic() - begun < 10
        assert stack.processes() == {}
        assert "Everything is stopped." in stack.text()
        assert "Traceback" not in stack.text()
        assert not (logs / "feedback.log").exists()
        if running in {"-m deploy.local ", "initdb"}:
            assert not (logs / "kafka.log").exists() or "Server started" not in (logs / "kafka.log").read_text()
    finally:
        stack.end()
        remove(str(stack.offset))


def test_data_is_kept_between_runs_and_a_killed_supervisor_leaves_no_orphan(tmp_path: Path) -> None:
    """Killed with SIGKILL, its children end by themselves; the next start finds the data."""
    offset = str(free_offset())
    first = MakeRun(tmp_path / "first", PORT_OFFSET=offset)
    data = ROOT / ".local" / f"data-{offset}"
    try:
        first.wait_until_ready()
        assert (data / "receipt-key").stat().st_mode & 0o777 == 0o600
        key = (data / "receipt-key").read_text()
        query(offset, "CREATE TABLE kept_between_runs (n int); INSERT INTO kept_between_runs VALUES (42)")

        beside = MakeRun(tmp_path / "beside", PORT_OFFSET=offset)
        try:
            assert beside.wait() != 0
            assert "A stack runs on" in beside.text()
        finally:
            beside.end()

        os.kill(first.pid_of("-m deploy.local "), signal.SIGKILL)
        took = wait_until(lambda: not first.processes(), 15, "all children have ended")
        assert took < 10

        second = MakeRun(tmp_path / "second", PORT_OFFSET=offset)
        try:
            second.wait_until_ready()
            assert query(offset, "SELECT n FROM kept_between_runs").strip() == "42"
            assert (data / "receipt-key").read_text() == key
            assert second.interrupt() < 10
            assert second.processes() == {}
        finally:
            second.end()
    finally:
        first.end()
        remove(offset)


def query(offset: str, sql: str) -> str:
    """Run SQL in the feedback database of a running stack as the owner of its tables."""
    known = read_environment_file(ROOT / ".local" / f"running-{offset}.env")
    arguments = ["--tuples-only", "--no-align", f"--command={sql}"]
    return psql(known["FEEDBACK_MIGRATION_DATABASE_URL"], arguments, {}, "the test's query failed")


def remove(offset: str) -> None:
    """Remove what a stack of this offset left in the checkout."""
    remove_home(ROOT / ".local" / f"data-{offset}" / "postgres")
    for name in ("data", "logs"):
        shutil.rmtree(ROOT / ".local" / f"{name}-{offset}", ignore_errors=True)
