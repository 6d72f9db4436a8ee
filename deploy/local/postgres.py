"""A real PostgreSQL server in a data directory: for ``make run`` and for the tests.

Loopback only, no Unix socket, scram passwords, durable commits (fsync and synchronous_commit on).
"""

import hashlib
import hmac
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.local.children import Child, StartFailed, last_lines, run_to_end, size_of, wait_until_ready
from deploy.local.programs import Home, find_programs, make_home, remove_home

SERVICE_SQL = Path(__file__).parent.parent / "postgres" / "service.sql"
START_SECONDS = 60.0
_MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class ServiceDatabase:
    """How one service reaches its database: as the role it runs as, and as the role that owns the tables."""

    app_dsn: str
    owner_dsn: str


class Postgres:
    """One server; its data outlives it and may be started again."""

    def __init__(self, data_dir: Path, port: int, log_file: Path) -> None:
        """``data_dir`` is made on the first start and also holds the superuser's password (mode 0600)."""
        self._data_dir = data_dir.absolute()
        self._port = port
        self._log_file = log_file.absolute()
        self._child: Child | None = None

    @property
    def admin_dsn(self) -> str:
        """The superuser's connection to the database ``postgres``. The server must have been started once."""
        password = (self._data_dir / "admin-password").read_text().strip()
        return f"postgresql://postgres:{password}@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """Process id of the running postmaster."""
        if self._child is None:
            raise StartFailed("PostgreSQL is not running.")
        return self._child.pid

    def exit_code(self) -> int | None:
        """None while the server runs, else how it ended."""
        return self._child.exit_code() if self._child is not None else 0

    def start(self, stopping: threading.Event | None = None) -> None:
        """Start the server and return when it accepts connections. Raises StartFailed with the reason.

        Gives up, with nothing left running, once ``stopping``.
        """
        stopping = stopping or threading.Event()
        home = make_home(self._data_dir, find_programs())
        if not (home.cluster / "PG_VERSION").exists():
            self._create_cluster(home, stopping)
        self._require_same_major(home)
        since = size_of(self._log_file)
        settings = [argument for name, value in _SETTINGS.items() for argument in ("-c", f"{name}={value}")]
        self._child = Child(
            [str(home.programs.folder / "postgres"), "-D", str(home.cluster), "-p", str(self._port), *settings],
            log_file=self._log_file,
            env=_environment(),
            cwd=home.cluster if home.user is None else Path("/"),
            user=home.user,
            group=home.group,
            farewell=signal.SIGINT,
        )
        self._wait_until_ready(self._child, home, since, stopping)

    def restart(self, stopping: threading.Event) -> None:
        """Start again after it died."""
        self.start(stopping)

    def stop(self, mode: str = "fast", grace_seconds: float = 8.0) -> None:
        """Stop the server in one of pg_ctl's modes, ``smart``, ``fast`` or ``immediate``; kill it after the grace."""
        if self._child is not None:
            self._child.stop(grace_seconds, _MODES[mode])
            self._child = None

    def kill(self) -> None:
        """End at once, without a checkpoint: ``start`` recovers the data."""
        self.stop("immediate", grace_seconds=2.0)

    def remove(self) -> None:
        """Remove all data of a stopped server."""
        remove_home(self._data_dir)

    def _create_cluster(self, home: Home, stopping: threading.Event) -> None:
        since = size_of(self._log_file)
        password_file = self._data_dir / "admin-password"
        if not password_file.exists():
            write_secret(password_file, secrets.token_urlsafe(32))
        with tempfile.NamedTemporaryFile(mode="w") as readable_once:  # initdb, as another user, cannot read ours
            readable_once.write(password_file.read_text())
            readable_once.flush()
            if home.user is not None:
                os.chown(readable_once.name, home.user, -1)
            code = run_to_end(
                [
                    str(home.programs.folder / "initdb"),
                    f"--pgdata={home.cluster}",
                    "--username=postgres",
                    f"--pwfile={readable_once.name}",
                    "--auth=scram-sha-256",
                    *locale_arguments(home.programs.major),
                ],
                log_file=self._log_file,
                stopping=stopping,
                env=_environment(),
                cwd=Path("/"),
                user=home.user,
                group=home.group,
            )
        if code != 0:
            _empty(home.cluster)
            reason = last_lines(self._log_file, since=since)
            raise StartFailed(f"PostgreSQL's initdb failed in {home.cluster}:\n{reason}")

    def _require_same_major(self, home: Home) -> None:
        found = (home.cluster / "PG_VERSION").read_text().strip()
        if found != str(home.programs.major):
            raise StartFailed(
                f"The data in {self._data_dir} was written by PostgreSQL {found}, here is {home.programs.version}: "
                "make clean removes it, FRESH=1 leaves it alone."
            )

    def _wait_until_ready(self, child: Child, home: Home, since: int, stopping: threading.Event) -> None:
        pid_file = home.cluster / "postmaster.pid"
        problem = wait_until_ready(child, lambda: _is_ready(pid_file, child.pid), stopping, seconds=START_SECONDS)
        if problem is not None:
            reason = last_lines(self._log_file, since=since)
            raise StartFailed(f"PostgreSQL {problem} (log: {self._log_file}):\n{reason}")


def provision(admin_dsn: str, services: Iterable[str]) -> dict[str, ServiceDatabase]:
    """Give every service its database and its two roles; idempotent.

    The passwords are derived from the superuser's, so that nothing else needs to be kept.
    """
    key = (urlsplit(admin_dsn).password or secrets.token_urlsafe(32)).encode()
    databases: dict[str, ServiceDatabase] = {}
    for service in services:
        owner, app = (
            hmac.new(key, f"{service}_{role}".encode(), hashlib.sha256).hexdigest() for role in ("owner", "app")
        )
        told = {"SERVICE": service, "OWNER_PASSWORD": owner, "APP_PASSWORD": app}
        psql(admin_dsn, [f"--file={SERVICE_SQL}"], told, f"The database of {service} cannot be set up")
        place = f"{urlsplit(admin_dsn).hostname}:{urlsplit(admin_dsn).port}/{service}"
        databases[service] = ServiceDatabase(
            app_dsn=f"postgresql://{service}_app:{app}@{place}",
            owner_dsn=f"postgresql://{service}_owner:{owner}@{place}",
        )
    return databases


def is_empty(dsn: str, table: str) -> bool:
    """Whether a table holds no row. Raises StartFailed when it cannot be asked."""
    query = f"SELECT NOT EXISTS (SELECT FROM {table})"  # noqa: S608 - a name of ours, never input
    answer = psql(dsn, ["--tuples-only", "--no-align", f"--command={query}"], {}, f"Table {table} cannot be read")
    return answer.strip() == "t"


def psql(dsn: str, arguments: list[str], told: dict[str, str], failure: str) -> str:
    """Run psql and return its output; raises StartFailed beginning with ``failure``.

    The password and what it is ``told`` travel by environment, where other users cannot see them.
    """
    address = urlsplit(dsn)
    done = subprocess.run(
        [str(find_programs().folder / "psql"), "--no-psqlrc", "--no-password", *arguments],
        env={
            **_environment(),
            **told,
            "PGHOST": address.hostname or "127.0.0.1",
            "PGPORT": str(address.port or 5432),
            "PGUSER": unquote(address.username or "postgres"),
            "PGPASSWORD": unquote(address.password or ""),
            "PGDATABASE": address.path.lstrip("/") or "postgres",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StartFailed(f"{failure}: {done.stderr.strip()}")
    return done.stdout


def write_secret(path: Path, value: str) -> None:
    """Write a secret that only the owner of the file may read, never readable in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as secret:
        secret.write(value)


def _environment() -> dict[str, str]:
    """An environment without PG* variables of the person at the keyboard, which would win over ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def locale_arguments(major: int) -> list[str]:
    """Sorting by code point in UTF-8, the same on every system; the builtin provider came with version 17."""
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
    return ["--encoding=UTF8", *builtin, "--locale=C"]


def _is_ready(pid_file: Path, pid: int) -> bool:
    """Whether postmaster.pid is of this process and its eighth line says ready."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
