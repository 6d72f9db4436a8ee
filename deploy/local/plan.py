"""What one local stack is to be: its ports, its directories, and which parts the person brings along.

Read once from the environment: PORT_OFFSET, FRESH, DEMO, one ``…_PORT`` per part, and the variables that name parts of
one's own (KAFKA_BOOTSTRAP_SERVERS, OIDC_ISSUER, ``<SERVICE>_DATABASE_URL``).
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.children import StartFailed

ROOT = Path(__file__).parent.parent.parent
LOCAL = ROOT / ".local"
SERVICES = ("feedback", "incidents", "reporting")
HOST = "127.0.0.1"
_DEFAULT_PORTS = {
    "FEEDBACK_PORT": 8001,
    "INCIDENTS_PORT": 8002,
    "REPORTING_PORT": 8003,
    "ISSUER_PORT": 8009,
    "POSTGRES_PORT": 15432,
    "KAFKA_PORT": 19092,
    "KAFKA_CONTROLLER_PORT": 19093,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """One local stack. ``foreign`` holds the variables by which the person brings parts of their own."""

    offset: int
    ports: Mapping[str, int]
    fresh: bool
    demo: bool
    foreign: Mapping[str, str]

    @property
    def suffix(self) -> str:
        """Keeps the directories of stacks on different ports apart; empty for the usual ports."""
        return f"-{self.offset}" if self.offset else ""

    @property
    def log_dir(self) -> Path:
        """Where every part writes its log."""
        return LOCAL / f"logs{self.suffix}"

    @property
    def environment_file(self) -> Path:
        """What the tools (make token, rebuild, dlq, demo) need to know of this stack while it runs."""
        return environment_file(self.offset)

    @property
    def own_postgres(self) -> bool:
        """Whether a PostgreSQL is to be started: some service has no database of the person's own."""
        return any(f"{service.upper()}_DATABASE_URL" not in self.foreign for service in SERVICES)

    @property
    def own_kafka(self) -> bool:
        """Whether a Kafka is to be started."""
        return "KAFKA_BOOTSTRAP_SERVERS" not in self.foreign

    @property
    def own_issuer(self) -> bool:
        """Whether the development issuer is to be started."""
        return "OIDC_ISSUER" not in self.foreign

    @property
    def bootstrap_servers(self) -> str:
        """Kafka's address, ours or theirs."""
        return self.foreign.get("KAFKA_BOOTSTRAP_SERVERS", f"{HOST}:{self.ports['KAFKA_PORT']}")

    @property
    def issuer(self) -> str:
        """The address of the OIDC issuer, ours or theirs."""
        return self.foreign.get("OIDC_ISSUER", f"http://{HOST}:{self.ports['ISSUER_PORT']}")

    def inherited(self, environ: Mapping[str, str], service: str | None = None) -> dict[str, str]:
        """What a child gets of the person's environment.

        Their PG* variables (PGSSLMODE=require, say) speak of a PostgreSQL of theirs and would break the connections to
        ours. ``service``: the one whose database counts; without it, PG* stays only when all databases are theirs.
        """
        ours = f"{service.upper()}_DATABASE_URL" not in self.foreign if service else self.own_postgres
        return {name: value for name, value in environ.items() if not (ours and name.startswith("PG"))}

    def service_url(self, service: str) -> str:
        """Where a service answers."""
        return f"http://{HOST}:{self.ports[f'{service.upper()}_PORT']}"


def read_plan(environ: Mapping[str, str]) -> Plan:
    """Read the environment. Raises StartFailed naming the variable that makes no sense."""
    offset = _number(environ, "PORT_OFFSET", 0)
    ports = {name: _number(environ, name, default + offset) for name, default in _DEFAULT_PORTS.items()}
    for name, port in ports.items():
        if not 1 <= port <= 65535:
            raise StartFailed(f"{name} would be {port}, which is no port: choose another PORT_OFFSET or {name}.")
    names = ["KAFKA_BOOTSTRAP_SERVERS", "OIDC_ISSUER"]
    names += [
        f"{service.upper()}_{kind}" for service in SERVICES for kind in ("DATABASE_URL", "MIGRATION_DATABASE_URL")
    ]
    foreign = {name: environ[name] for name in names if environ.get(name)}
    return Plan(
        offset=offset,
        ports=ports,
        fresh=_switch(environ, "FRESH", default=False),
        # into a database of the person's own, invented complaints come only when asked for
        demo=_switch(environ, "DEMO", default="FEEDBACK_DATABASE_URL" not in foreign),
        foreign=foreign,
    )


def environment_file(offset: int) -> Path:
    """The file that describes the running stack of one offset to the tools."""
    return LOCAL / f"running{f'-{offset}' if offset else ''}.env"


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    try:
        return int(text)
    except ValueError:
        raise StartFailed(f"{name} is {text!r}, and must be a whole number.") from None


def _switch(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = (environ.get(name) or ("1" if default else "0")).lower()
    if text not in {"0", "1", "true", "false", "yes", "no"}:
        raise StartFailed(f"{name} is {text!r}, and must be 1 or 0.")
    return text in {"1", "true", "yes"}


def require_free_ports(plan: Plan) -> None:
    """Raises StartFailed naming the first port that is taken and the variables that move it."""
    for name, port in plan.ports.items():
        if name == "POSTGRES_PORT" and not plan.own_postgres:
            continue
        if name.startswith("KAFKA") and not plan.own_kafka:
            continue
        if name == "ISSUER_PORT" and not plan.own_issuer:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                part = name.removesuffix("_PORT").replace("_", " ").lower()
                raise StartFailed(
                    f"Port {port} ({part}) is taken by another program. {name}=<port> moves this one, "
                    f"PORT_OFFSET=100 moves all ports of the stack."
                ) from None
