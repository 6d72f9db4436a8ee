"""The parts of the stack that are Python programs of this repository: services, issuer, and one-shot tools."""

import http.client
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.local.children import Child, StartFailed, last_lines
from deploy.local.plan import HOST, ROOT

BAD_CONFIGURATION = 78
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

    def start(self) -> None:
        """Start it and return when it is ready. Raises StartFailed with the end of its log."""
        shorten(self._log_file)
        since = self._log_file.stat().st_size if self._log_file.exists() else 0
        child = self._launch()
        deadline = time.monotonic() + _READY_SECONDS
        while child.exit_code() is None:
            if self.is_ready():
                return
            if time.monotonic() > deadline:
                child.stop(2)
                raise StartFailed(f"{self._module} was not ready after {_READY_SECONDS:.0f} s: {self._reason(since)}")
            time.sleep(0.1)
        raise StartFailed(f"{self._module} ended with exit code {child.exit_code()}: {self._reason(since)}")

    def restart(self) -> None:
        """Start it again without waiting: what it waits for may itself be starting again."""
        self._launch()

    def is_ready(self) -> bool:
        """Whether it answers 200 now."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=2)
        try:
            connection.request("GET", self._ready_path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

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

    def _reason(self, since: int) -> str:
        return f"see {self._log_file}\n{last_lines(self._log_file, since=since)}"


def run_once(
    module: str, arguments: list[str], env: Mapping[str, str], log_file: Path | None, stopping: threading.Event
) -> None:
    """Run a module of ours to its end, or until ``stopping``. Raises StartFailed unless it ends with 0."""
    since = log_file.stat().st_size if log_file is not None and log_file.exists() else 0
    child = Child([sys.executable, "-m", module, *arguments], log_file=log_file, env=env, cwd=ROOT)
    while not child.wait(0.1):
        if stopping.is_set():
            child.stop(2)
            return
    if child.exit_code() != 0 and not stopping.is_set():
        details = f"\n{last_lines(log_file, since=since)}" if log_file is not None else ""
        raise StartFailed(f"{' '.join([module, *arguments])} ended with exit code {child.exit_code()}.{details}")


def shorten(log_file: Path) -> None:
    """Put a log that has grown large aside as ``….1``, so that logs do not fill the disk over weeks."""
    if log_file.exists() and log_file.stat().st_size > _LARGEST_LOG_BYTES:
        log_file.replace(log_file.with_name(f"{log_file.name}.1"))
