"""JSON lines on standard output, with the trace that each belongs to, and without personal data.

Messages of exceptions hold values: pydantic repeats the input, PostgreSQL the row. So a line tells an exception's type
and its stack; its message only where it is known to hold none.
"""

import asyncio
import atexit
import json
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import asyncpg
from pythonjsonlogger.json import JsonFormatter

from shared.tracing import current_trace_id

REQUEST_LOGGER = "blitzableiter.request"
FLUSH_SECONDS = 0.25
WITHHELD = "[withheld]"
_QUIET = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "uvicorn.access": logging.CRITICAL}
_request_logger = logging.getLogger(REQUEST_LOGGER)


def configure(service: str, level: str) -> None:
    """Sends everything of this process to standard output as JSON lines. ``level`` is a name as in ``INFO``; raises
    ``ValueError`` for another."""
    requests = RequestLines(service, sys.stdout)
    _request_logger.handlers[:] = [requests]
    _request_logger.propagate = False
    handler = _InOrder(sys.stdout, requests)
    handler.setFormatter(Formatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "aiokafka", "faststream", "fastapi", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
    logging.captureWarnings(True)


def log_request(method: str, route: str, status: int, seconds: float, trace_id: str) -> None:
    """One line for one answered request: never a path, a query, an address or a user agent."""
    if _request_logger.isEnabledFor(logging.INFO):
        for handler in _request_logger.handlers:
            if isinstance(handler, RequestLines):
                handler.add(method, route, status, seconds, trace_id)


class RequestLines(logging.Handler):
    """Request lines, written together four times a second: one system call and one formatting each would cost a hot
    route more than its own work. Any other line flushes them first, so the order is kept; SIGKILL may lose a moment.
    """

    def __init__(self, service: str, stream: TextIO) -> None:
        super().__init__()
        self._tail = f'", "level": "INFO", "logger": "{REQUEST_LOGGER}", "message": "request", "service": '
        self._tail += json.dumps(service)
        self._stream = stream
        self._lines: list[str] = []
        self._second = 0
        self._second_text = ""
        atexit.register(self.flush)

    def add(self, method: str, route: str, status: int, seconds: float, trace_id: str) -> None:
        """Keeps one line; ``method`` and ``route`` are words of ours and need no escaping."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(
            f'{{"time": "{self._second_text}.{int((now - second) * 1000):03d}+00:00{self._tail}, '
            f'"trace_id": "{trace_id}", '
            f'"method": "{method}", "route": "{route}", "status": {status}, "duration_ms": {seconds * 1000:.2f}}}\n'
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Nothing else is logged under this name."""

    def flush(self) -> None:
        """Writes what is kept."""
        lines, self._lines = self._lines, []
        if lines and not self._stream.closed:
            self._stream.write("".join(lines))
            self._stream.flush()


class _InOrder(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, requests: RequestLines) -> None:
        super().__init__(stream)
        self._requests = requests

    def emit(self, record: logging.LogRecord) -> None:
        self._requests.flush()
        super().emit(record)


class Formatter(JsonFormatter):
    """``time level logger message service trace_id``; ``trace_ids`` for a batch; ``exception`` with type and stack.

    Of a record's extra fields only these two are written: what is not named here never reaches a log.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_values(record.getMessage(), error),
            "service": self._service,
            "trace_id": getattr(record, "trace_id", None) or current_trace_id(),
        }
        if trace_ids := getattr(record, "trace_ids", ()):
            line["trace_ids"] = trace_ids
        if error is not None:
            line["exception"] = describe_exception(error)
        return self.jsonify_log_record(line)


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """The chain of an exception, outermost first: type, what is safe of its message, and the stack."""
    return [
        {
            "type": f"{type(one).__module__}.{type(one).__qualname__}",
            **_safe_facts(one),
            "stack": [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(one.__traceback__)
            ],
        }
        for one in _chain(error)
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        one = pending.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            pending.extend(one.exceptions)
        following = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if following is not None:
            pending.append(following)


def _safe_facts(error: BaseException) -> dict[str, Any]:
    if isinstance(error, asyncpg.PostgresError):
        facts = {"sqlstate": error.sqlstate, "constraint": error.constraint_name, "table": error.table_name}
        return {name: value for name, value in facts.items() if value}
    if isinstance(error, OSError) and error.errno is not None:
        return {"errno": error.errno}
    return {}


def _without_values(message: str, error: BaseException | None) -> str:
    """``message`` without the texts of the exceptions that it may quote (FastStream and asyncio do)."""
    if error is None:
        return message
    for one in _chain(error):
        for text in (repr(one), str(one), *(str(argument) for argument in one.args)):
            if len(text) > 2:
                message = message.replace(text, WITHHELD)
    return message
