"""Keeps the parts of a stack alive: starts a part again when it dies, with growing pauses."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from deploy.local.children import StartFailed

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


class Part(Protocol):
    """Anything that runs as one child process: PostgreSQL, Kafka, a service."""

    def start(self, stopping: threading.Event) -> None:
        """Start and return when ready. Raises StartFailed, soon and with nothing left running once ``stopping``."""

    def restart(self, stopping: threading.Event) -> None:
        """Start again after it died. Raises StartFailed as ``start`` does."""

    def exit_code(self) -> int | None:
        """None while it runs."""

    def stop(self, *, grace_seconds: float) -> None:
        """End in good order, or be killed after the grace."""

    def kill(self) -> None:
        """End at once."""


class Keeper:
    """Watches over one part from its first start to the stop of the stack."""

    def __init__(self, name: str, part: Part, stopping: threading.Event, say: Callable[[str], None]) -> None:
        """``stopping`` ends the watch; ``say`` tells the person what happened, one line each."""
        self.name = name
        self.part = part
        self._stopping = stopping
        self._say = say
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the part for the first time. Raises StartFailed."""
        self.part.start(self._stopping)

    def watch(self) -> None:
        """Watch in a thread of its own from now on."""
        self._thread = threading.Thread(target=self._watch, name=f"keeper-{self.name}", daemon=True)
        self._thread.start()

    def end(self, how: Callable[[Part], None]) -> None:
        """End the part after ``stopping`` was set, also one that is being started again at this moment."""
        how(self.part)
        if self._thread is not None:
            self._thread.join()
            how(self.part)

    def _watch(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        since = time.monotonic()
        while not self._stopping.wait(_LOOK_SECONDS):
            code = self.part.exit_code()
            if code is None:
                continue
            if time.monotonic() - since > _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            self._say(f"{self.name} ended ({describe(code)}); it is started again in {pause:g} s")
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            since = time.monotonic()
            try:
                self.part.restart(self._stopping)
            except (StartFailed, OSError) as error:  # a full disk and too many processes pass as well
                if not self._stopping.is_set():
                    self._say(f"{self.name} does not start: {error}")
            else:
                self._say(f"{self.name} runs again")


def describe(exit_code: int) -> str:
    """An exit code in words."""
    return f"killed by signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
