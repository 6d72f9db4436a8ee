"""Log lines: JSON, with the trace, and without the values that exceptions carry."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pytest
from fastapi.exceptions import ResponseValidationError
from pydantic import BaseModel, ValidationError

from shared import logs
from shared.tracing import use_traceparent

SECRET = "Frau Geheim"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class _Model(BaseModel):
    rating: int


class Output:
    """What was written to standard output, as parsed lines."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    """Logging as a service configures it, and as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    logs.configure("feedback", "info")
    yield Output(stream)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    request_logger = logging.getLogger(logs.REQUEST_LOGGER)
    request_logger.handlers.clear()


def test_a_line_has_its_fields_and_its_trace(output: Output) -> None:
    """time, level, logger, message, service, trace_id; one line each, whatever the message holds."""
    with use_traceparent(f"00-{TRACE}-b7ad6b7169203331-01"):
        logging.getLogger("services.feedback").info("two\nlines and \u2028 more")
    logging.getLogger("aiokafka.consumer").warning("joined")
    logging.getLogger("services.feedback").debug("not shown")
    first, second = output.lines()
    assert set(first) == {"time", "level", "logger", "message", "service", "trace_id"}
    assert (first["level"], first["service"], first["trace_id"]) == ("INFO", "feedback", TRACE)
    assert first["message"] == "two\nlines and \u2028 more"
    assert (second["logger"], second["trace_id"]) == ("aiokafka.consumer", None)


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def _invalid() -> BaseException:
    with pytest.raises(ValidationError) as caught:
        _Model.model_validate({"rating": SECRET})
    return caught.value


def _unique_violation() -> BaseException:
    return asyncpg.PostgresError.new(
        {
            "C": "23505",
            "M": f"duplicate key value ({SECRET})",
            "D": f"Key (text)=({SECRET}) already exists.",
            "n": "report_pkey",
            "t": "report",
        }
    )


def _chained() -> BaseException:
    try:
        try:
            raise ValueError(SECRET)
        except ValueError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as outer:
        return outer


ERRORS: dict[str, Callable[[], BaseException]] = {
    "a plain error": lambda: _raised(ValueError(SECRET)),
    "a missing key": lambda: _raised(KeyError(SECRET)),
    "pydantic repeats the input": _invalid,
    "PostgreSQL repeats the row": lambda: _raised(_unique_violation()),
    "a cause": _chained,
    "a group": lambda: _raised(BaseExceptionGroup("several", [ValueError(SECRET), KeyError(1)])),
    "FastAPI repeats the answer": lambda: _raised(ResponseValidationError([{"loc": (), "input": SECRET}])),
    "no unicode": lambda: _raised(UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET)),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_exception_is_logged_with_type_and_stack_but_without_values(output: Output, kind: str) -> None:
    """Also where a library puts the exception's text into its message, as FastStream and asyncio do."""
    error = ERRORS[kind]()
    logging.getLogger("faststream").error(f"{type(error).__name__}: {error}", exc_info=error)
    logging.getLogger("asyncio").error(f"Task exception was never retrieved: exception={error!r}", exc_info=error)
    assert "Geheim" not in output.stream.getvalue()
    for line in output.lines():
        assert line["exception"][0]["type"].endswith(type(error).__name__)
        assert any("test_logs.py" in frame for frame in line["exception"][0]["stack"] + line["exception"][-1]["stack"])


def test_a_database_error_is_told_by_its_names(output: Output) -> None:
    """State, constraint and table are ours and safe; they are what one needs."""
    logging.getLogger("x").error("failed", exc_info=_raised(_unique_violation()))
    [line] = output.lines()
    assert line["exception"][0]["sqlstate"] == "23505"
    assert line["exception"][0]["constraint"] == "report_pkey"
    assert line["exception"][0]["table"] == "report"


def test_a_chain_is_told_whole_and_ends_with_cycles(output: Output) -> None:
    """Causes follow; an exception that causes itself does not hang the log."""
    error = _chained()
    assert error.__cause__ is not None
    error.__cause__.__cause__ = error
    logging.getLogger("x").error("failed", exc_info=error)
    [line] = output.lines()
    assert [one["type"] for one in line["exception"]] == ["builtins.RuntimeError", "builtins.ValueError"]


async def test_request_lines_are_whole_ordered_and_flushed(output: Output) -> None:
    """Method, template, status, duration and trace; other lines come after them; alone they come within a moment."""
    logs.log_request("POST", "/v1/reports", 202, 0.0123, TRACE)
    logging.getLogger("x").info("afterwards")
    request, other = output.lines()
    assert request.pop("time") <= other["time"]
    assert request == {
        "level": "INFO",
        "logger": "blitzableiter.request",
        "message": "request",
        "service": "feedback",
        "trace_id": TRACE,
        "method": "POST",
        "route": "/v1/reports",
        "status": 202,
        "duration_ms": 12.3,
    }
    logs.log_request("GET", "/", 200, 0.001, TRACE)
    async with asyncio.timeout(5):
        while len(output.lines()) < 3:
            await asyncio.sleep(0.01)


def test_the_servers_own_access_log_stays_silent(output: Output) -> None:
    """It would hold addresses and queries; httpx would log URLs."""
    logging.getLogger("uvicorn.access").info('127.0.0.1 - "GET /?q=Geheim"')
    logging.getLogger("httpx").info("HTTP Request: GET http://x/?q=Geheim")
    assert output.lines() == []


def test_an_unknown_level_is_refused() -> None:
    """A misspelt level is told at start."""
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("feedback", "loud")
