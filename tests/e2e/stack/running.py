"""A real ``make run`` in a process of its own, and every process that belongs to it."""

import os
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent
_MARK = "BLITZ_TEST_STACK"
_PORTS = (8001, 8002, 8003, 8009, 15432, 19092, 19093)
READY = "Ctrl-C stops everything in order"


def free_offset() -> int:
    """An offset at which all ports of a stack are free just now.

    All stay below 32768, where systems begin to give ports to outgoing connections: a client that tries to reach a
    stopped server there may be given that very port, connect to itself and keep the server from coming back.
    """
    for offset in random.sample(range(2_000, 13_000, 10), 200):
        if all(_is_free(port + offset) for port in _PORTS):
            return offset
    raise AssertionError("no offset is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition and return how long it took. Fails after the deadline."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - begun


class MakeRun:
    """One ``make run``; all of its processes carry a mark in their environment, so that none can hide."""

    def __init__(self, output: Path, **variables: str) -> None:
        self.output = output
        self.mark = uuid.uuid4().hex
        self.offset = int(variables["PORT_OFFSET"])
        foreign = re.compile("(FEEDBACK|INCIDENTS|REPORTING|KAFKA|OIDC|POSTGRES|ISSUER)_|MAKE|PYTEST")
        kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        with output.open("wb") as file:
            self._make = subprocess.Popen(
                ["make", "run"],
                cwd=ROOT,
                env={**kept, "DEMO": "0", **variables, _MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def wait_until_ready(self) -> float:
        """Wait until it says that everything runs; the seconds it took."""
        wait_until(lambda: READY in self.text() or self._make.poll() is not None, 150, "the stack is ready")
        assert READY in self.text(), self.text()
        found = re.search(r"Ready after ([\d.]+) s", self.text())
        assert found is not None
        return float(found.group(1))

    def url(self, port: int, path: str) -> str:
        """An address of this stack by the usual port."""
        return f"http://127.0.0.1:{port + self.offset}{path}"

    def is_ready(self, port: int) -> bool:
        """Whether the service of this usual port says that it is ready."""
        try:
            with urllib.request.urlopen(self.url(port, "/health/ready"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def processes(self) -> dict[int, str]:
        """All living processes that carry the mark: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                marked = f"{_MARK}={self.mark}".encode() in (entry / "environ").read_bytes()
                if marked:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # gone meanwhile
                continue
        return found

    def pid_of(self, command: str) -> int:
        """The one process whose command line holds ``command``."""

        def found() -> list[int]:
            return [pid for pid, line in self.processes().items() if command in line and "read -r word" not in line]

        wait_until(
            lambda: len(found()) == 1, 5, f"one process runs {command}"
        )  # a new child is its parent's twin first
        return found()[0]

    def interrupt(self) -> float:
        """Ctrl-C, as a terminal sends it: to make and the supervisor at once. Returns the seconds until the end."""
        begun = time.monotonic()
        os.killpg(self._make.pid, signal.SIGINT)
        self._make.wait(30)
        return time.monotonic() - begun

    def wait(self) -> int:
        """Wait for the end of make and return its exit code."""
        return self._make.wait(60)

    def end(self) -> None:
        """Stop it whatever its state is, at the end of a test."""
        if self._make.poll() is None:
            os.killpg(self._make.pid, signal.SIGTERM)
            self._make.wait(30)
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
