"""The local stack: what is started with which environment, in which order, and stopped in the reverse one."""

import os
import secrets
import threading
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local.children import StartFailed
from deploy.local.jars import have_jars, kafka_version
from deploy.local.kafka import Kafka
from deploy.local.keeper import Keeper, Part
from deploy.local.parts import Module, run_once, shorten
from deploy.local.plan import HOST, ROOT, SERVICES, Plan
from deploy.local.postgres import Postgres, ServiceDatabase, is_empty, provision, write_secret
from deploy.local.programs import find_programs

# together below ten seconds, so that a Ctrl-C is over by then even when every part hangs
_SERVICE_GRACE_SECONDS = 4.5
_SERVER_GRACE_SECONDS = 3.0


class Stack:
    """One stack on one data directory."""

    def __init__(self, plan: Plan, data_dir: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._data_dir = data_dir
        self._say = say
        self.stopping = threading.Event()
        self._servers: list[Keeper] = []
        self._services: list[Keeper] = []
        self._databases: dict[str, ServiceDatabase] = {}

    def start(self) -> None:
        """Start everything and return when all is ready. Raises StartFailed; ``stop`` is still to be called then."""
        # side by side: the broker's JVM takes the longest, migrations need no broker, and the issuer needs nobody
        self._at_once([self._prepare_kafka, self._prepare_databases, *self._issuer()])
        if self.stopping.is_set():
            return
        write_secret(self._plan.environment_file, self._environment_text())
        self._at_once([self._start_of(service) for service in SERVICES])
        for keeper in [*self._servers, *self._services]:
            keeper.watch()

    def stop(self) -> None:
        """Stop the services and the issuer first, then broker and database; at most ten seconds."""
        self.stopping.set()
        _end_all(self._services, lambda part: part.stop(grace_seconds=_SERVICE_GRACE_SECONDS))
        if self._plan.fresh:  # their data is removed next, so that nothing needs to be written back
            _end_all(self._servers, lambda part: part.kill())
        else:
            _end_all(self._servers, lambda part: part.stop(grace_seconds=_SERVER_GRACE_SECONDS))
        self._plan.environment_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End everything at once: the person has no patience left."""
        self.stopping.set()
        for keeper in [*self._services, *self._servers]:
            keeper.part.kill()
        self._plan.environment_file.unlink(missing_ok=True)

    def environment(self) -> dict[str, str]:
        """What services and tools are told about this stack; the person's own variables stay as they are."""
        plan = self._plan
        told = {
            "KAFKA_BOOTSTRAP_SERVERS": plan.bootstrap_servers,
            "OIDC_ISSUER": plan.issuer,
            "FEEDBACK_RECEIPT_KEY": os.environ.get("FEEDBACK_RECEIPT_KEY") or self._receipt_key(),
            "PORT_OFFSET": str(plan.offset),
        }
        for service in SERVICES:
            prefix = service.upper()
            told[f"{prefix}_URL"] = plan.service_url(service)
            told[f"{prefix}_PORT"] = str(plan.ports[f"{prefix}_PORT"])
            told[f"{prefix}_DATABASE_URL"] = (
                plan.foreign.get(f"{prefix}_DATABASE_URL") or self._databases[service].app_dsn
            )
            told[f"{prefix}_MIGRATION_DATABASE_URL"] = self._owner_dsn(service)
        return told

    def has_no_report(self) -> bool:
        """Whether nobody has reported anything yet, so that the demonstration disturbs nothing."""
        return is_empty(self._owner_dsn("feedback"), "report")

    def send_demo(self) -> None:
        """Run the demonstration to its end, its output is ours. Raises StartFailed when it does not end well."""
        run_once("deploy.demo", [], self._child_environment(), None, self.stopping)

    def table(self) -> list[tuple[str, str, str, str]]:
        """Component, version, address and state of every part."""
        plan, product = self._plan, product_version()
        rows = []
        if plan.own_postgres:
            rows.append(("PostgreSQL", find_programs().version, f"{HOST}:{plan.ports['POSTGRES_PORT']}", "ready"))
        for service in SERVICES:
            if f"{service.upper()}_DATABASE_URL" in plan.foreign:
                rows.append((f"{service}'s database", "", "as configured", "yours"))
        rows.append(
            ("Apache Kafka", kafka_version(), plan.bootstrap_servers, "ready")
            if plan.own_kafka
            else ("Apache Kafka", "", plan.bootstrap_servers, "yours")
        )
        rows.append(
            ("OIDC issuer", product, plan.issuer, "ready, for development only")
            if plan.own_issuer
            else ("OIDC issuer", "", plan.issuer, "yours")
        )
        rows += [(service, product, plan.service_url(service), "ready") for service in SERVICES]
        return rows

    def _prepare_databases(self) -> None:
        if self._plan.own_postgres:
            self._start_postgres()
        if not self.stopping.is_set():
            self._at_once([self._migration_of(service) for service in SERVICES])

    def _start_postgres(self) -> None:
        log_file = self._plan.log_dir / "postgres.log"
        shorten(log_file)
        postgres = Postgres(self._data_dir / "postgres", self._plan.ports["POSTGRES_PORT"], log_file)
        self._keep(self._servers, "PostgreSQL", postgres).start()
        if self.stopping.is_set():
            return
        own = [service for service in SERVICES if f"{service.upper()}_DATABASE_URL" not in self._plan.foreign]
        self._databases = provision(postgres.admin_dsn, own)

    def _prepare_kafka(self) -> None:
        if self._plan.own_kafka:
            self._start_kafka()
        if not self.stopping.is_set():
            env = {**self._plan.inherited(os.environ), "KAFKA_BOOTSTRAP_SERVERS": self._plan.bootstrap_servers}
            run_once("deploy.kafka.topics", [], env, self._plan.log_dir / "topics.log", self.stopping)

    def _start_kafka(self) -> None:
        if not have_jars():
            # in a process of its own: the resolver would stay in our memory for as long as the stack runs
            run_once("deploy.local.jars", [], os.environ, None, self.stopping)
        if self.stopping.is_set():
            return
        log_file = self._plan.log_dir / "kafka.log"
        shorten(log_file)
        ports = self._plan.ports
        kafka = Kafka(self._data_dir / "kafka", ports["KAFKA_PORT"], ports["KAFKA_CONTROLLER_PORT"], log_file)
        self._keep(self._servers, "Apache Kafka", kafka).start()

    def _migration_of(self, service: str) -> Callable[[], None]:
        log_file = self._plan.log_dir / f"migrate-{service}.log"
        arguments = [f"services.{service}"]
        return lambda: run_once("shared.migrate", arguments, self._child_environment(service), log_file, self.stopping)

    def _issuer(self) -> list[Callable[[], None]]:
        if not self._plan.own_issuer:
            return []
        env = {
            **self._plan.inherited(os.environ),
            "PYTHONUNBUFFERED": "1",
            "OIDC_ISSUER": self._plan.issuer,
            "BLITZ_DEV_ISSUER": "1",
            "ISSUER_PORT": str(self._plan.ports["ISSUER_PORT"]),
            "ISSUER_KEY_FILE": str(self._data_dir / "issuer-keys.json"),
        }
        log_file = self._plan.log_dir / "issuer.log"
        port = self._plan.ports["ISSUER_PORT"]
        issuer = Module("deploy.local.issuer", port, "/.well-known/openid-configuration", env, log_file)
        return [self._keep(self._services, "OIDC issuer", issuer).start]

    def _start_of(self, service: str) -> Callable[[], None]:
        env = self._child_environment(service)
        for other in SERVICES:  # a service is told neither another's database nor the role that owns its tables
            env.pop(f"{other.upper()}_MIGRATION_DATABASE_URL", None)
            if other != service:
                env.pop(f"{other.upper()}_DATABASE_URL", None)
        if service != "feedback":
            env.pop("FEEDBACK_RECEIPT_KEY", None)
        port = self._plan.ports[f"{service.upper()}_PORT"]
        part = Module(f"services.{service}", port, "/health/ready", env, self._plan.log_dir / f"{service}.log")
        return self._keep(self._services, service, part).start

    def _keep(self, among: list[Keeper], name: str, part: Part) -> Keeper:
        keeper = Keeper(name, part, self.stopping, self._say)
        among.append(keeper)
        return keeper

    def _child_environment(self, service: str | None = None) -> dict[str, str]:
        return {**self._plan.inherited(os.environ, service), **self.environment(), "PYTHONUNBUFFERED": "1"}

    def _environment_text(self) -> str:
        return "".join(f"{name}={value}\n" for name, value in sorted(self.environment().items()))

    def _owner_dsn(self, service: str) -> str:
        """The role that owns the tables: the person's, else their only one, else ours."""
        prefix = service.upper()
        named = self._plan.foreign.get(f"{prefix}_MIGRATION_DATABASE_URL")
        return named or self._plan.foreign.get(f"{prefix}_DATABASE_URL") or self._databases[service].owner_dsn

    def _receipt_key(self) -> str:
        path = self._data_dir / "receipt-key"
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(48))
        return path.read_text()

    def _at_once(self, actions: Iterable[Callable[[], None]]) -> None:
        """Run all in threads and wait for all; the first failure is raised, unless the stack is being stopped."""
        with ThreadPoolExecutor(max_workers=8) as pool:
            pending = [pool.submit(action) for action in actions]
        for each in pending:
            error = each.exception()
            if error is not None and not (self.stopping.is_set() and isinstance(error, StartFailed | OSError)):
                raise error


def _end_all(keepers: Iterable[Keeper], how: Callable[[Part], None]) -> None:
    """End all parts in threads and wait for all."""
    threads = [threading.Thread(target=keeper.end, args=(how,)) for keeper in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def product_version() -> str:
    """The version of this product, from pyproject.toml."""
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version


def read_environment_file(path: Path) -> Mapping[str, str]:
    """What a running stack wrote down for the tools; empty when none runs."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines)
