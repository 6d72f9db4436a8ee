"""How far a rebuild has come: a bar that moves on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

BAR_WIDTH = 30
BAR_SECONDS = 0.2
LINE_SECONDS = 5.0


class Progress:
    """Shows ``done / total`` records and the rate; ``total`` grows while the live service goes on reading."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._bar = out.isatty()
        self._total = 0
        self._done = 0
        self._done_at_start = 0
        self._started = clock()
        self._shown_at = float("-inf")

    def begin(self, total: int, remaining: int) -> None:
        """``total`` records in the log, of which ``remaining`` are still to be read."""
        self._total = total
        self._done = self._done_at_start = total - remaining
        self._started = self._clock()

    def extend(self, total: int) -> None:
        """More has come meanwhile."""
        self._total = total

    def update(self, remaining: int) -> None:
        """Shows the state, unless it was shown a moment ago."""
        self._done = self._total - remaining
        now = self._clock()
        if now - self._shown_at >= (BAR_SECONDS if self._bar else LINE_SECONDS):
            self._shown_at = now
            self._show(now)

    def say(self, text: str) -> None:
        """One line, below whatever was shown."""
        if self._bar and self._shown_at > float("-inf"):
            self._out.write("\r\x1b[K")
        self._out.write(f"{text}\n")
        self._out.flush()

    def finish(self) -> None:
        """Shows the last state for good."""
        self._show(self._clock())
        if self._bar:
            self._out.write("\n")
        self._out.flush()

    def _show(self, now: float) -> None:
        share = 1.0 if self._total <= 0 else min(1.0, self._done / self._total)
        rate = (self._done - self._done_at_start) / max(now - self._started, 1e-3)
        text = f"{self._done:,} of {self._total:,} records ({share:.0%}), {rate:,.0f}/s"
        if self._bar:
            filled = int(share * BAR_WIDTH)
            self._out.write(f"\r\x1b[K[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}")
        else:
            self._out.write(f"{text}\n")
        self._out.flush()
