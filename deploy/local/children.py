"""Child processes in groups of their own that never outlive the process that started them.

Invariant: whoever starts a child also starts a watcher, a tiny shell that holds the reading end of a pipe. When the
starter is gone, however it went, the pipe closes and the watcher ends the child's whole group.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_LOOK_SECONDS = 0.05
_STOP_SECONDS = 2.0
_WATCH = """
read -r word && exit 0
kill -s "$1" -- "-$2" 2>/dev/null
left=60
while [ $left -gt 0 ] && kill -s 0 -- "-$2" 2>/dev/null; do sleep 0.1; left=$((left - 1)); done
kill -s KILL -- "-$2" 2>/dev/null
"""


class StartFailed(Exception):
    """A part of the stack cannot start; the message is one plain sentence for the person at the keyboard."""


class Child:
    """One running program, leader of a process group of its own, so that a Ctrl-C does not reach it by itself."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log_file: Path | None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        group: int | None = None,
        farewell: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start ``argv``; its output is appended to ``log_file``, or goes where ours goes when that is None.

        ``user`` and ``group`` are numeric ids to run as, for a parent that is root. ``farewell`` is the signal that
        asks this program to end in good order.
        """
        self._farewell = farewell
        self._dismissal = threading.Lock()
        self._watcher: subprocess.Popen[bytes] | None = None
        with contextlib.ExitStack() as files:
            if log_file is not None:
                log_file.parent.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=files.enter_context(log_file.open("ab")) if log_file is not None else None,
                stderr=subprocess.STDOUT if log_file is not None else None,
                env=dict(env) if env is not None else None,
                cwd=cwd,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )
        try:
            self._watcher = self._start_watcher()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id, equal to the id of its group."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """The exit code (negative: killed by that signal), or None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_watcher()
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; a group that is gone is no error."""
        if self._process.poll() is None:
            self._signal_group(number)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the end; False when it still runs after the time."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        self._dismiss_watcher()
        return True

    def stop(self, grace_seconds: float, farewell: signal.Signals | None = None) -> None:
        """Ask it to end, and kill the group when it has not after ``grace_seconds``."""
        self.send(farewell or self._farewell)
        if not self.wait(grace_seconds):
            self.kill()

    def kill(self) -> None:
        """End the whole group at once and collect the leader."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._dismiss_watcher()

    def _start_watcher(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", self._farewell.name.removeprefix("SIG"), str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
        except PermissionError:  # macOS says so of a group that holds nothing but a zombie
            return

    def _dismiss_watcher(self) -> None:
        with self._dismissal:  # the thread that starts a part and the one that stops it may both see its end
            watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        channel: IO[bytes] | None = watcher.stdin
        if channel is not None:
            try:
                channel.write(b"done\n")
                channel.close()
            except BrokenPipeError:
                channel.close()
        watcher.wait()


def run_to_end(
    argv: Sequence[str],
    *,
    log_file: Path | None,
    stopping: threading.Event,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    group: int | None = None,
) -> int | None:
    """Run a program to its end and return its exit code; None when it was ended because of ``stopping``."""
    child = Child(argv, log_file=log_file, env=env, cwd=cwd, user=user, group=group)
    while not child.wait(_LOOK_SECONDS):
        if stopping.is_set():
            child.stop(_STOP_SECONDS)
            return None
    return child.exit_code()


def wait_until_ready(
    child: Child, is_ready: Callable[[], bool], stopping: threading.Event, *, seconds: float
) -> str | None:
    """Wait for a program that is starting: None when it is ready, else in words why it will not be.

    It is ended when the time is over or when the stack is being stopped.
    """
    deadline = time.monotonic() + seconds
    while child.exit_code() is None:
        if is_ready():
            return None
        if time.monotonic() > deadline:
            child.stop(_STOP_SECONDS)
            return f"was not ready after {seconds:.0f} s"
        if stopping.wait(_LOOK_SECONDS):
            child.stop(_STOP_SECONDS)
            return "was stopped while it started"
    return f"ended with exit code {child.exit_code()} while it started"


def size_of(log_file: Path) -> int:
    """Its size in bytes, 0 when it is not there: where the next program that writes to it begins."""
    return log_file.stat().st_size if log_file.exists() else 0


def last_lines(log_file: Path, count: int = 12, since: int = 0) -> str:
    """The end of a log from byte ``since`` on, for the message of a failed start."""
    try:
        with log_file.open("rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-count:])
