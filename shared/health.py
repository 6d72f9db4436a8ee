"""Liveness and readiness. A process is live when its loop answers, ready when everything it needs answers too."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Check = Callable[[], Awaitable[str | None]]
CHECK_SECONDS = 2.0
FRESH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the checks said; ``checks`` maps a name to ``ok`` or the reason."""

    ready: bool
    checks: dict[str, str] = field(default_factory=dict)
    catalogue: str = ""

    def document(self) -> dict[str, object]:
        """The body of ``/health/ready``."""
        return {
            "status": "ready" if self.ready else "not ready",
            "catalogue": self.catalogue,
            "checks": self.checks,
        }


class Health:
    """Named checks, run together. The answer is kept for half a second, so that probes never become load."""

    def __init__(self, catalogue_hash: Callable[[], str] = str, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalogue_hash = catalogue_hash
        self._clock = clock
        self._checks: dict[str, Check] = {}
        self._lock = asyncio.Lock()
        self._last: tuple[float, Readiness] | None = None

    def add(self, name: str, check: Check) -> None:
        """``check`` returns ``None`` when fine, else the reason in plain words. ``ValueError`` for a name in use."""
        if name in self._checks:
            raise ValueError(f"there is already a check named {name!r}")
        self._checks[name] = check

    async def readiness(self) -> Readiness:
        """Runs all checks, each at most ``CHECK_SECONDS``. Never raises: a check that fails is a reason."""
        async with self._lock:
            if self._last is not None and self._clock() - self._last[0] < FRESH_SECONDS:
                return self._last[1]
            reasons = await asyncio.gather(*(_reason(check) for check in self._checks.values()))
            checks = dict(zip(self._checks, reasons, strict=True))
            result = Readiness(all(reason == "ok" for reason in reasons), checks, self._catalogue_hash())
            self._last = (self._clock(), result)
            return result


async def _reason(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check() or "ok"
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:  # a check's failure is its answer; only the type is told, messages may hold values
        return f"check failed: {type(error).__name__}"
