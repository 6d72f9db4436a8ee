"""Children, and who keeps them alive: what fails, dies or is stopped leaves nothing behind."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.children import Child, StartFailed, run_to_end, wait_until_ready
from deploy.local.keeper import Keeper
from deploy.local.parts import Module

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


class Fragile:
    """A part that is dead, and fails to start again as often as it has errors."""

    def __init__(self, *errors: Exception, restarting: Callable[[], None] = lambda: None) -> None:
        self._errors = list(errors)
        self._restarting = restarting
        self.runs = False
        self.restarted = threading.Event()

    def start(self, stopping: threading.Event) -> None:
        self.restart(stopping)

    def restart(self, stopping: threading.Event) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self._restarting()
        self.runs = True
        self.restarted.set()

    def exit_code(self) -> int | None:
        return None if self.runs else 1

    def stop(self, *, grace_seconds: float) -> None:
        self.runs = False

    def kill(self) -> None:
        self.runs = False


def wait_until(condition: Callable[[], bool]) -> None:
    """Fail when it does not come true within 10 s."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), StartFailed("the port is taken")])
def test_a_part_that_cannot_be_started_again_is_tried_again(error: Exception) -> None:
    """A full disk passes; the keeper says what is wrong and goes on."""
    stopping, said = threading.Event(), list[str]()
    part = Fragile(error)
    keeper = Keeper("part", part, stopping, said.append)
    keeper.watch()
    wait_until(lambda: part.runs)
    stopping.set()
    keeper.end(lambda each: each.kill())
    assert f"part does not start: {error}" in said


def test_a_part_that_is_being_started_again_while_all_is_stopped_is_stopped_too() -> None:
    """The end waits for the keeper, which may be just about to start a new process."""
    stopping, begun = threading.Event(), threading.Event()

    def restarting() -> None:
        begun.set()
        assert stopping.wait(10)
        time.sleep(0.2)

    part = Fragile(restarting=restarting)
    keeper = Keeper("part", part, stopping, lambda line: None)
    keeper.watch()
    assert begun.wait(10)
    stopping.set()
    keeper.end(lambda each: each.kill())
    assert part.restarted.wait(10)
    assert not part.runs


def test_a_child_that_cannot_be_watched_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its watcher it could outlive us."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(popen(*arguments, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(BlockingIOError):
        Child(SLEEP, log_file=None)
    assert started[0].returncode == -9


def test_waiting_for_a_start_ends_when_all_is_stopped() -> None:
    """And the program that was starting has ended then."""
    stopping = threading.Event()
    child = Child(SLEEP, log_file=None)
    threading.Timer(0.2, stopping.set).start()
    assert wait_until_ready(child, lambda: False, stopping, seconds=30) == "was stopped while it started"
    assert child.exit_code() is not None


def test_a_program_that_runs_to_its_end_is_ended_when_all_is_stopped() -> None:
    """Its exit code otherwise."""
    stopping = threading.Event()
    assert run_to_end([sys.executable, "-c", "raise SystemExit(3)"], log_file=None, stopping=stopping) == 3
    threading.Timer(0.2, stopping.set).start()
    assert run_to_end(SLEEP, log_file=None, stopping=stopping) is None


def test_a_part_that_is_launched_after_the_stop_does_not_stay(tmp_path: Path) -> None:
    """Neither at its first start nor when it is started again."""
    stopping = threading.Event()
    stopping.set()
    module = Module("http.server", 1, "/", {"PATH": "/usr/bin"}, tmp_path / "log")
    with pytest.raises(StartFailed, match="was stopped while it started"):
        module.start(stopping)
    assert module.exit_code() is not None
    module.restart(stopping)
    assert module.exit_code() is not None
