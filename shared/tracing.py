"""W3C Trace Context: one ``traceparent`` follows a report from the request through Kafka into all services.

Only the identifiers travel; there is no tracing back end to feed. A header that is malformed starts a new trace, as the
recommendation asks (https://www.w3.org/TR/trace-context/, section 3.2.2).
"""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

_CURRENT: ContextVar[str] = ContextVar("traceparent")
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
# Identifiers must differ, not be secret: no system call for each request. Seeded by the system, once per process.
_dice = random.Random()  # noqa: S311
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


def parse_traceparent(header: str | None) -> tuple[str, str, str] | None:
    """``(trace id, parent span id, flags)`` of a well-formed header, else ``None``. Higher versions are read as far
    as version 00 knows them."""
    match = _FORM.fullmatch(header) if header else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return trace_id, span_id, flags


def next_traceparent(header: str | None) -> str:
    """A ``traceparent`` for the work that begins here: same trace and a new span, or a new trace without a header."""
    incoming = parse_traceparent(header)
    if incoming is None:
        return f"00-{_dice.getrandbits(128) or 1:032x}-{_dice.getrandbits(64) or 1:016x}-01"
    return f"00-{incoming[0]}-{_dice.getrandbits(64) or 1:016x}-{incoming[2]}"


def start_trace(header: str | None) -> str:
    """Makes ``next_traceparent(header)`` the current one of this task and returns it."""
    value = next_traceparent(header)
    _CURRENT.set(value)
    return value


def current_traceparent() -> str:
    """The current ``traceparent``; outside of any trace a new one is started."""
    value = _CURRENT.get("")
    return value or start_trace(None)


def current_trace_id() -> str | None:
    """The 32 hexadecimal digits of the current trace, or ``None`` outside of any."""
    value = _CURRENT.get("")
    return value[3:35] if value else None


def enter_trace(header: str | None) -> tuple[str, Token[str]]:
    """As ``start_trace``, with the token for ``leave_trace``; for callers that can't afford a context manager."""
    value = next_traceparent(header)
    return value, _CURRENT.set(value)


def leave_trace(token: Token[str]) -> None:
    """Restores what was current before ``enter_trace``."""
    _CURRENT.reset(token)


@contextmanager
def use_traceparent(value: str | None) -> Iterator[str]:
    """Continues the trace of ``value`` (a stored header or ``None``) inside the block, as a new span."""
    current, token = enter_trace(value)
    try:
        yield current
    finally:
        leave_trace(token)
