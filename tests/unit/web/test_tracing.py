"""W3C trace context."""

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st

from shared.tracing import (
    current_trace_id,
    current_traceparent,
    next_traceparent,
    parse_traceparent,
    start_trace,
    use_traceparent,
)

FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_good_header_keeps_its_trace_and_gets_a_new_span() -> None:
    """The work here is a child of the caller's span, in the caller's trace, with its flags."""
    mine = next_traceparent(GOOD)
    assert mine[3:35] == TRACE
    assert mine[36:52] != "b7ad6b7169203331"
    assert mine.endswith("-01")


def test_headers_that_break_the_recommendation_start_a_new_trace() -> None:
    """Zero ids, version ff, upper case, wrong lengths and tails on version 00 are not continued."""
    broken = [
        "",
        "garbage",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        GOOD.upper(),
        GOOD + "-more",
        GOOD + "\n",
        GOOD[:-1],
        f"00-{TRACE[:-1]}-b7ad6b7169203331-01",
        GOOD.replace("0af", "０af"),
    ]
    for header in broken:
        assert parse_traceparent(header) is None, header
        assert next_traceparent(header)[3:35] != TRACE, header


def test_a_later_version_is_read_as_far_as_known() -> None:
    """Version 01 with more fields still names the trace."""
    assert parse_traceparent("01" + GOOD[2:] + "-more") == (TRACE, "b7ad6b7169203331", "01")


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-f-]{50,60}", fullmatch=True))
def test_any_header_gives_a_well_formed_traceparent(header: str) -> None:
    """Whatever comes in, what goes on is well-formed and has no zero id."""
    value = next_traceparent(header)
    assert FORM.fullmatch(value)
    assert parse_traceparent(value) is not None


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8))
def test_parsing_reverses_formatting(trace: bytes, span: bytes) -> None:
    """Every id but zero survives."""
    parsed = parse_traceparent(f"00-{trace.hex()}-{span.hex()}-00")
    assert parsed == ((trace.hex(), span.hex(), "00") if any(trace) and any(span) else None)


async def test_tasks_have_traces_of_their_own() -> None:
    """A trace started in one task is not seen by its sibling, and a block restores what was before."""

    async def inside() -> str:
        return start_trace(None)[3:35]

    first, second = await asyncio.gather(inside(), inside())
    assert first != second
    with use_traceparent(GOOD) as outer:
        assert current_traceparent() == outer
        with use_traceparent(None):
            assert current_trace_id() != TRACE
        assert current_trace_id() == TRACE
