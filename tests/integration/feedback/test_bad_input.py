"""Bad input: a problem document that names the field and what is allowed, and never a 500."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.feedback.texts import ENGLISH
from tests.integration.feedback.conftest import Feedback, rating

JSON = {"Content-Type": "application/json"}

FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"rating": 2}, "office"),
    (rating(office="JC-999"), "office"),
    (rating(office=7), "office"),
    (rating(office="JC-001" * 50), "office"),
    (rating(service="unknown"), "service"),
    (rating(service=None), "service"),
    (rating(rating=6), "rating"),
    (rating(rating=0), "rating"),
    (rating(rating="2"), "rating"),
    (rating(rating=True), "rating"),
    (rating(rating=2.5), "rating"),
    (rating(rating=10**30), "rating"),
    (rating(channel="fax"), "channel"),
    (rating(kind="anger"), "kind"),
    (rating(lang=["de"]), "lang"),
    (rating(lang="x" * 36), "lang"),
    (rating(drivers="employee"), "drivers"),
    (rating(drivers=["nobody"]), "drivers.0"),
    (rating(drivers=["other"] * 65), "drivers"),
    (rating(text=5), "text"),
    (rating(text={"a": "b"}), "text"),
    (rating(text="x" * 10_001), "text"),
    (rating(text="NUL \x00 inside"), "text"),
    (rating(joins_incident="not-an-id"), "joins_incident"),
    (rating(joins_incident=str(uuid4())), "joins_incident"),
    ({"office": "JC-001"}, "text"),
    ({"office": "JC-001", "text": " \u200b\u202e \n"}, "text"),
]

BODIES: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", JSON, 400, "body"),
    (b"{", JSON, 400, "body"),
    (b"[]", JSON, 422, "body"),
    (b"null", JSON, 422, "body"),
    (b'{"office": "JC-001", "text": "\xff\xfe"}', JSON, 400, "body"),
    (b'{"office": "JC-001", "text": "\\ud800"}', JSON, 422, "text"),
    (b'{"office": "JC-001", "text": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", JSON, 400, "body"),
    (json.dumps(rating(text="x" * 1_000_000)).encode(), JSON, 413, "body"),
    (json.dumps(rating()).encode(), {"Content-Type": "text/plain"}, 415, "Content-Type"),
    (json.dumps(rating()).encode(), {}, 415, "Content-Type"),
    (b"office=JC-001&rating=2", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
]


async def test_wrong_fields_are_named(feedback: Feedback) -> None:
    """Every wrong field: 422, its name, and what would be allowed."""
    for body, field in FIELDS:
        answer = await feedback.client.post("/v1/reports", content=json.dumps(body), headers=JSON)
        _is_problem(answer, 422, field)
    assert await feedback.count("report") == 0


async def test_wrong_bodies_are_refused(feedback: Feedback) -> None:
    """Broken syntax, encoding, nesting, size and content type each have their status."""
    for body, headers, status, field in BODIES:
        _is_problem(await feedback.client.post("/v1/reports", content=body, headers=headers), status, field)
    assert await feedback.count("report") == 0


async def test_a_body_in_pieces_is_limited_too(feedback: Feedback) -> None:
    """Without a length, the limit holds for what arrives."""

    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 10_000

    _is_problem(await feedback.client.post("/v1/reports", content=pieces(), headers=JSON), 413, "body")


async def test_what_is_odd_but_allowed(feedback: Feedback) -> None:
    """Unknown fields are ignored, bidi and other invisible controls removed, emoji and all scripts kept."""
    text = "\u202eنظام 😡 👩‍💻\u2069 не працює\x07"
    answer = await feedback.report({"office": "JC-001", "text": text, "invitation": "X", "surprise": [1]})
    assert answer.status_code == 202
    assert answer.json()["masked_text"] == "نظام 😡 👩💻 не працює"


async def test_the_longest_text(feedback: Feedback) -> None:
    """10,000 characters of a script with long encodings are accepted."""
    answer = await feedback.report({"office": "JC-001", "text": "ш" * 10_000})
    assert answer.status_code == 202


@pytest.mark.parametrize("body", [{"receipt": 5}, {}, {"receipt": "x" * 65}, {"receipt": None}])
async def test_a_receipt_must_be_text(feedback: Feedback, body: dict[str, Any]) -> None:
    """A look-up without a receipt names the field."""
    _is_problem(await feedback.client.post("/v1/receipts/lookup", json=body), 422, "receipt")


async def test_pages_never_break(feedback: Feedback) -> None:
    """Whatever a form sends, the page is shown again."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    bodies = [
        b"",
        b"\xff\xfe",
        b"rating=9",
        b"drivers=x&office=JC-001",
        b"&" * 200,
        b"a=b&" * 200,
        b"text=%00&rating=%00",
    ]
    bodies += [b"office=%22%3E%3Cscript%3E&text=%3Cscript%3Ealert(1)%3C/script%3E", b"key=short&office=JC-999&rating=1"]
    answers = await asyncio.gather(*(feedback.client.post("/", content=body, headers=form) for body in bodies))
    assert {answer.status_code for answer in answers} == {422}
    assert not any("<script" in answer.text for answer in answers)
    odd = ["/?lang=xx", "/?office=%22", "/?lang=" + "x" * 5000, "/receipt?lang=en", "/static/none/../../app.py"]
    assert {(await feedback.client.get(path)).status_code for path in odd} <= {200, 404}


async def test_a_form_that_is_too_large_is_shown_again(feedback: Feedback) -> None:
    """Whoever wrote far too much gets the page with the whole text, in their language, and nothing is stored."""
    words = "Zu viel. " * 30_000
    answer = await feedback.client.post("/?lang=en", data={"office": "JC-001", "text": words})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert ENGLISH.error_text in answer.text and words in answer.text
    assert await feedback.count("report") == 0


def _is_problem(answer: httpx.Response, status: int, field: str) -> None:
    assert answer.status_code == status, (field, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["errors"][0]["field"] == field, document
    assert document["errors"][0]["allowed"], document
