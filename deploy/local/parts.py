"""The parts of the stack that are Python programs of this repository: services, issuer, and one-shot tools."""

import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from deploy.local.children import Child, StartFailed, last_lines, run_to_end, size_of, wait_until_ready
from deploy.local.plan import HOST, ROOT

_READY_SECONDS = 60.0
_LARGEST_LOG_BYTES = 20_000_000


class Module:
    """A module of ours that serves HTTP on one port and says at ``ready_path`` when it is ready."""

    def __init__(self, module: str, port: int, ready_path: str, env: Mapping[str, str], log_file: Path) -> None:
        self._module = module
        self._port = port
        self._ready_path = ready_path
        self._env = env
        self._log_file = log_file
        self._child: Child | None = None

    def start(self, stopping: threading.Event) -> None:
        """Start it and return when it is ready. Raises StartFailed with the end of its log.

        Gives up, with nothing left running, once ``stopping``.
        """
        shorten(self._log_file)
        since = size_of(self._log_file)
        problem = wait_until_ready(self._launch(), self.is_ready, stopping, seconds=_READY_SECONDS)
        if problem is not None:
            reason = last_lines(self._log_file, since=since)
            raise StartFailed(f"{self._module} {problem} (log: {self._log_file}):\n{reason}")

    def restart(self, stopping: threading.Event) -> None:
        """Start it again without waiting: what it waits for may itself be starting again."""
        if not stopping.is_set():
            self._launch()

    def is_ready(self) -> bool:
        """Whether it answers 200 now."""
        # by hand: http.client brings TLS and e-mail along, 5 MB for as long as the stack runs
        request = f"GET {self._ready_path} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection((HOST, self._port), timeout=2) as connection:
                connection.sendall(request.encode())
                status_line = connection.makefile("rb").readline(100)
        except OSError:
            return False
        return status_line.split()[1:2] == [b"200"]

    def exit_code(self) -> int | None:
        """None while it runs, else how it ended."""
        return self._child.exit_code() if self._child is not None else 0

    def stop(self, *, grace_seconds: float) -> None:
        """Ask it to end, kill it after the grace."""
        if self._child is not None:
            self._child.stop(grace_seconds)

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    def _launch(self) -> Child:
        self._child = Child([sys.executable, "-m", self._module], log_file=self._log_file, env=self._env, cwd=ROOT)
        return self._child


def run_once(
    module: str, arguments: list[str], env: Mapping[str, str], log_file: Path | None, stopping: threading.Event
) -> None:
    """Run a module of ours to its end, or until ``stopping``. Raises StartFailed unless it ends with 0."""
    since = size_of(log_file) if log_file is not None else 0
    command = [sys.executable, "-m", module, *arguments]
    code = run_to_end(command, log_file=log_file, stopping=stopping, env=env, cwd=ROOT)
    if code != 0 and not stopping.is_set():
        details = f"\n{last_lines(log_file, since=since)}" if log_file is not None else ""
        raise StartFailed(f"{' '.join([module, *arguments])} ended with exit code {code}.{details}")


def shorten(log_file: Path) -> None:
    """Put a log that has grown large aside as ``….1``, so that logs do not fill the disk over weeks."""
    if log_file.exists() and log_file.stat().st_size > _LARGEST_LOG_BYTES:
        log_file.replace(log_file.with_name(f"{log_file.name}.1"))
