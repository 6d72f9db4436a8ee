"""Cursors."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.web import Problem, decode_cursor, encode_cursor
from shared.web.paging import _check

VALUES = st.lists(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.uuids()
    | st.datetimes(timezones=st.just(UTC)),
    max_size=4,
)


@given(VALUES)
def test_a_cursor_gives_back_what_it_was_made_of(values: list[Any]) -> None:
    """Values and their types survive; the text is safe in a URL."""
    text = encode_cursor(values)
    assert text.isascii()
    assert not set(text) & set("+/=&?#% ")
    if len(text) <= 1000:
        assert decode_cursor(text) == tuple(values)


@given(st.text(max_size=300))
def test_garbage_is_refused_as_a_problem_that_names_the_cursor(text: str) -> None:
    """No text that was not made by ``encode_cursor`` gets through, and none raises anything but the problem."""
    with pytest.raises(Problem) as refused:
        decode_cursor(text)
    assert refused.value.status == 422
    assert refused.value.errors[0].field == "cursor"


@given(VALUES, st.integers(0, 10_000), st.characters(codec="ascii"))
def test_a_changed_cursor_is_refused(values: list[Any], place: int, letter: str) -> None:
    """One changed character is found, but for the unused bits of the last one."""
    text = encode_cursor(values)
    place %= len(text) - 1
    if len(text) > 1000 or text[place] == letter:
        return
    with pytest.raises(Problem):
        decode_cursor(text[:place] + letter + text[place + 1 :])


def test_types_and_number_are_checked_when_told() -> None:
    """A cursor of another list, with other sort values, does not reach the database."""
    text = encode_cursor([datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1)])
    assert decode_cursor(text, datetime, UUID) == (datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1))
    for expected in ((datetime,), (UUID, datetime), (datetime, UUID, int)):
        with pytest.raises(Problem):
            decode_cursor(text, *expected)


def test_instants_keep_their_moment_and_naive_ones_are_refused() -> None:
    """Another zone comes back as the same moment in UTC."""
    berlin = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert decode_cursor(encode_cursor([berlin]), datetime) == (berlin,)
    with pytest.raises(ValueError, match="time zone"):
        encode_cursor([datetime(2026, 7, 1)])


@pytest.mark.parametrize(
    "forged",
    [[2**63], [-(2**63) - 1], [True], [{"t": "2026-07-01T12:00:00"}], [{"t": "0001-01-01T00:00:00+14:00"}], [{"t": 7}]],
)
def test_what_no_database_could_take_is_refused(forged: list[Any]) -> None:
    """The check sum is no secret: whoever makes a cursor of their own gets a problem, not an error of the database."""
    payload = json.dumps(forged).encode()
    text = base64.urlsafe_b64encode(_check(payload) + payload).rstrip(b"=").decode()
    with pytest.raises(Problem) as refused:
        decode_cursor(text, (int, datetime))
    assert refused.value.errors[0].field == "cursor"
