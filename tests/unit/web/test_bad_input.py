"""Bad input of all kinds gets a problem document that names the field and what is allowed, never a 500."""

import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.web import Problem, read_json
from shared.web.reading import check_json
from tests.unit.web import sample
from tests.unit.web.sample import JSON, Report

ROUTES = ["/v1/reports", "/hot/reports"]
DEEP = b'{"anything":' + b"[" * 30_000 + b"]" * 30_000 + b"}"
DEEPISH = b'{"anything":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}"

CASES = {
    "wrong type": (b'{"rating":"five"}', 422, "rating", "a whole number"),
    "rating 6": (b'{"rating":6}', 422, "rating", "at most 5"),
    "rating 0": (b'{"rating":0}', 422, "rating", "at least 1"),
    "unknown word": (b'{"kind":"rant"}', 422, "kind", "'complaint' or 'rating'"),
    "unknown field": (b'{"colour":"red"}', 422, "colour", "no other fields"),
    "not a list": (b'{"drivers":"payment"}', 422, "drivers", "a list"),
    "in a list": (b'{"drivers":["payment",7]}', 422, "drivers.1", "a text"),
    "too long": (b'{"text":"' + b"x" * 4001 + b'"}', 422, "text", "at most 4000 characters"),
    "too large": (b'{"text":"' + b"x" * 1_000_000 + b'"}', 413, "body", "at most 64 kB"),
    "invalid utf-8": (b'{"text":"\xff\xfe\xfa"}', 400, "body", "UTF-8"),
    "raw NUL": (b'{"text":"a\x00b"}', 400, "body", "JSON"),
    "escaped NUL": (b'{"text":"a\\u0000b"}', 422, "text", "NUL"),
    "NUL in any field": (b'{"anything":{"x":["\\u0000"]}}', 422, "anything.x.0", "NUL"),
    "NUL in a name": (b'{"a\\u0000":1}', 422, "a\x00", "NUL"),
    "bell": (b'{"text":"\\u0007"}', 422, "text", "without control characters"),
    "delete": (b'{"text":"\\u007f"}', 422, "text", "without control characters"),
    "lone surrogate": (b'{"text":"\\ud800"}', 422, "text", "valid Unicode"),
    "lone low surrogate": (b'{"text":"\\uDFFF!"}', 422, "text", "valid Unicode"),
    "surrogate anywhere": (b'{"anything":["\\uD83D"]}', 422, "anything.0", "valid Unicode"),
    "deep": (DEEP, 400, "body", "levels of nesting"),
    "rather deep": (DEEPISH, 400, "body", "levels of nesting"),
    "cut off": (b'{"rating":', 400, "body", "one JSON document"),
    "two documents": (b"{}{}", 400, "body", "one JSON document"),
    "a list": (b"[]", 422, "body", "an object"),
    "null": (b"null", 422, "body", "an object"),
    "beyond int64": (b'{"number":9223372036854775808}', 422, "number", "at most 9223372036854775807"),
    "5000 digits": (b'{"number":' + b"9" * 5000 + b"}", 400, "body", "one JSON document"),
    "huge exponent": (b'{"number":1e99999}', 422, "number", "a finite number"),
    "NaN": (b'{"rating":NaN}', 422, "rating", "a finite number"),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", CASES)
async def test_bad_input_is_refused_by_name(client: httpx.AsyncClient, route: str, case: str) -> None:
    """FastAPI routes and hot routes refuse alike: status, field, and what would do."""
    body, status, field, allowed = CASES[case]
    answer = await client.post(route, content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["status"] == status
    assert problem["trace_id"] == answer.headers["trace-id"]
    named = [error for error in problem["errors"] if error["field"] == field]
    assert named, problem
    assert allowed in named[0]["allowed"], problem


@pytest.mark.parametrize("route", ROUTES)
async def test_odd_but_legitimate_input_is_taken(client: httpx.AsyncClient, route: str) -> None:
    """Emoji as surrogate pairs, bidirectional marks, line breaks, a quoted backslash-u0000 and repeated names (the last
    one counts) are what people and programs send."""
    for text, length in (("\U0001f600", 1), ("\u202eabc\u202c", 5), ("a\r\n\tb", 5), ("\\u0000", 6), ("\\ud800", 6)):
        answer = await client.post(route, content=json.dumps({"text": text}).encode(), headers=JSON)
        assert (answer.status_code, answer.json()) == (202, {"length": length}), text
    answer = await client.post(route, content=b'{"text":"a","text":"bb"}', headers=JSON)
    assert answer.json() == {"length": 2}
    answer = await client.post(route, content=b"{}", headers={"content-type": "application/JSON; charset=utf-8"})
    assert answer.status_code == 202


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "a" * 500, "é/ü"])
async def test_another_content_type_is_415(client: httpx.AsyncClient, route: str, content_type: str | None) -> None:
    """A body that does not say it is JSON is not read as such."""
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    answer = await client.post(route, content=b'{"rating":5}', headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 415, answer.text
    assert answer.json()["errors"] == [
        {"field": "Content-Type", "message": "Send application/json", "allowed": "application/json"}
    ]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_chunked_body_is_cut_off_at_the_limit(client: httpx.AsyncClient, route: str) -> None:
    """Without a content length the body is counted while it comes, and no more is read than the limit."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1000
            yield b" " * 1000

    answer = await client.post(route, content=endless(), headers={**JSON, "transfer-encoding": "chunked"})
    assert answer.status_code == 413
    assert answer.json()["errors"][0]["allowed"] == "at most 64 kB"


async def test_limits_differ_by_path_and_the_longest_prefix_wins() -> None:
    """One route may take more than its neighbours."""
    app = sample.build(body_limits={"/hot": 10, "/hot/reports": 100_000})
    async with sample.client_of(app) as client:
        body = b'{"text":"' + b" " * 3000 + b'"}' + b" " * 90_000
        assert (await client.post("/hot/reports", content=body, headers=JSON)).status_code == 202
        refused = await client.post("/hot/fails/busy", content=b"x" * 11)
        assert (refused.status_code, refused.json()["errors"][0]["allowed"]) == (413, "at most 10 bytes")


@pytest.mark.parametrize(
    ("address", "status", "field"),
    [
        ("/v1/reports?limit=0", 422, "limit"),
        ("/v1/reports?limit=501", 422, "limit"),
        ("/v1/reports?limit=many", 422, "limit"),
        ("/v1/reports?cursor=garbage", 422, "cursor"),
        ("/v1/reports?cursor=" + "A" * 2000, 422, "cursor"),
        ("/v1/reports?cursor=%ED%A0%80", 422, "cursor"),
        ("/v1/reports?cursor=a%00b", 422, "cursor"),
        ("/v1/reports?limit=%00", 422, "limit"),
        ("/v1/reports?%00=1", 422, ""),
        ("/v1/reports/%00", 422, "path"),
        ("/v1/reports/9223372036854775808", 422, "number"),
        ("/v1/reports/" + "9" * 5000, 422, "number"),
        ("/v1/reports/%ff", 422, "number"),
    ],
)
async def test_bad_addresses_are_refused_by_name(
    client: httpx.AsyncClient, address: str, status: int, field: str
) -> None:
    """Query and path parameters are named like fields of a body."""
    answer = await client.get(address)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field


async def test_404_and_405_are_problem_documents(client: httpx.AsyncClient) -> None:
    """The framework's own refusals have the same shape; 405 says what is allowed."""
    for method, address, status in (
        ("GET", "/nope", 404),
        ("DELETE", "/v1/reports", 405),
        ("GET", "/hot/reports", 405),
    ):
        answer = await client.request(method, address)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
    assert answer.headers["allow"] == "POST"


async def test_what_was_sent_is_not_repeated(client: httpx.AsyncClient) -> None:
    """A problem tells the field, not the value: problems end in logs of clients."""
    for route in ROUTES:
        answer = await client.post(route, json={"rating": sample.SECRET, "number": sample.SECRET})
        assert answer.status_code == 422
        assert sample.SECRET not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65 + b'\\"' * 1_000_000,
        b"[" * 65 + b'"' * 2_000_000,
        b'{"a":"b\\n"},' * 160_000,
        b"[" * 65 + b"\\" * 2_000_000,
    ],
)
def test_the_depth_of_hostile_bodies_is_measured_in_one_pass(body: bytes) -> None:
    """Two megabytes of quotes and backslashes cost less than two seconds; with a second look at each byte, hours."""
    started = time.process_time()
    with pytest.raises(Problem):
        read_json(Report, body)
    assert time.process_time() - started < 2


def test_unclosed_texts_do_not_hide_or_add_depth() -> None:
    """Brackets inside of texts count for nothing, escaped quotes do not end a text, brackets after one count."""
    for deep in (b'"\\"",' + b"[" * 65, b"[" * 65 + b'"', b'"a\\\\"' + b"[" * 65):
        with pytest.raises(Problem) as refusal:
            check_json(deep)
        assert refusal.value.status == 400
    for flat in (b'"' + b"[" * 65, b'"\\"' + b"[" * 65, b'"' + b"[" * 65 + b"\\", b"[]" * 65):
        check_json(flat)


@given(
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "rating", "drivers", "x"]), inner),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_reading_any_bytes_gives_a_model_or_a_problem(body: bytes) -> None:
    """No input makes ``read_json`` raise anything but a problem of 400 or 422 that names a field."""
    try:
        read_json(Report, body)
    except Problem as problem:
        assert problem.status in (400, 422)
        assert problem.errors
        problem.response()
