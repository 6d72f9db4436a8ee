"""Taking in reports: stored before answered, once per key, announced twice, the original nowhere."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import asyncpg
import httpx

from shared.events import FeedbackSubmittedV1, FeedbackWordedV1
from tests.fixtures.broker import read_topic
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.waiting import eventually
from tests.integration.feedback.conftest import Feedback, new_key, rating

SECRETS = {
    "[PHONE]": "0170 1234567",
    "[EMAIL]": "lena.hoffmann@gmx.de",
    "[IBAN]": "DE89 3704 0044 0532 0130 00",
    "[TAX_ID]": "49729806357",
    "[PENSION_NUMBER]": "65 170839 J 003",
}


async def test_the_answer_and_the_row(feedback: Feedback) -> None:
    """202 carries the receipt, the masked text and the kind; the row holds the facts and no word more."""
    body = {
        "office": "JC-002", "service": "payment", "channel": "phone", "lang": "xx", "rating": 1,
        "drivers": ["employee", "payment", "employee"], "text": "Kein Geld\u202e! Tel. 0170 1234567",
    }  # fmt: skip
    answer = await feedback.report(body)
    assert answer.status_code == 202
    told = answer.json()
    assert re.fullmatch(r"([0-9A-Z]{4}-){4}[0-9A-Z]", told.pop("receipt"))
    [row] = [dict(one) for one in await feedback.database.fetch("select * from report")]
    assert told == {
        "report_id": str(row["report_id"]), "kind": "complaint", "masked_text": "Kein Geld! Tel. [PHONE]",
        "known_faults": [], "guards": [],
    }  # fmt: skip
    derived = {"report_id", "receipt_hash", "body_hash", "submitted_at"}
    assert {name: row[name] for name in row if name not in derived} == {
        "office": "JC-002", "service": "payment", "channel": "phone", "lang": "other", "kind": "complaint", "rating": 1,
        "drivers": ["employee", "payment"], "text": "Kein Geld! Tel. [PHONE]", "joins_incident": None,
        "cause": "system", "blames_person": True,
    }  # fmt: skip


async def test_defaults(feedback: Feedback) -> None:
    """Service other, channel web, language by Accept-Language, kind by what is there."""
    await feedback.report(rating(), **{"Accept-Language": "uk-UA,de;q=0.5"})
    [row] = await feedback.database.fetch("select service, channel, lang, kind, text, drivers from report")
    assert tuple(row) == ("other", "web", "uk", "rating", "", [])


async def test_one_key_is_one_report(feedback: Feedback) -> None:
    """The same key and body give the same answer, spelled differently too; another body is refused."""
    key = new_key()
    first = await feedback.report({"office": "JC-001", "text": "Gru\u0308\u00dfe"}, key=key)
    again = await feedback.report({"text": "  Grüße\u200b", "service": "other", "office": "JC-001"}, key=key)
    other = await feedback.report({"office": "JC-001", "text": "Etwas anderes"}, key=key)
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert first.json() == again.json()
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await feedback.count("report") == 1


async def test_a_weak_key_is_refused(feedback: Feedback) -> None:
    """Fewer than 128 bits could be guessed, and with it the receipt."""
    answer = await feedback.report(rating(), key="short")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_the_same_moment(feedback: Feedback, service_process: Callable[..., ServiceProcess]) -> None:
    """One key posted many times at once to two instances: one row, one pair of events, one receipt for all."""
    second = service_process("feedback", database_of=feedback.place).start().wait_ready()
    keys = [new_key() for _ in range(5)]
    async with httpx.AsyncClient(base_url=second.url, timeout=30) as other:
        answers = await asyncio.gather(
            *(
                client.post("/v1/reports", json=rating(), headers={"Idempotency-Key": key})
                for _ in range(10)
                for key in keys
                for client in (feedback.client, other)
            )
        )
    assert {answer.status_code for answer in answers} == {202}
    assert len({(answer.json()["receipt"], answer.json()["report_id"]) for answer in answers}) == 5
    assert await feedback.count("report") == 5
    await published(feedback, 5)


async def test_five_hundred_at_once(feedback: Feedback) -> None:
    """500 concurrent posts: 500 receipts, 500 rows, 500 events on each topic, each with the key of its report."""
    bodies = [{"office": "JC-001", "text": f"Upload bricht ab, Vorgang {number}"} for number in range(500)]
    answers = await asyncio.gather(*(feedback.report(body, key=new_key()) for body in bodies))
    assert Counter(answer.status_code for answer in answers) == {202: 500}
    assert len({answer.json()["receipt"] for answer in answers}) == 500
    reports = {answer.json()["report_id"]: answer.json()["masked_text"] for answer in answers}
    assert await feedback.count("report") == 500
    await published(feedback, 500)
    for topic in (FeedbackSubmittedV1.topic, FeedbackWordedV1.topic):
        records = await read_topic(feedback.bootstrap_servers, topic)
        assert {record.key.decode() for record in records} == reports.keys()
    words = [FeedbackWordedV1.model_validate_json(record.value) for record in records]
    assert {str(event.report_id): event.text for event in words} == reports


async def test_the_trace_follows(feedback: Feedback) -> None:
    """The request's trace id is in the headers of both events."""
    await feedback.report(rating(), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await published(feedback, 1)
    for topic in (FeedbackSubmittedV1.topic, FeedbackWordedV1.topic):
        [record] = await read_topic(feedback.bootstrap_servers, topic)
        assert b"0af7651916cd43dd8448eb211c80319c" in dict(record.headers)["ce_traceparent"]


async def test_the_original_is_nowhere(feedback: Feedback) -> None:
    """After reports full of identifiers, none is in any table, topic, log line or metric; nor a receipt or a key."""
    key = new_key()
    text = ", ".join(SECRETS.values())
    accepted = await feedback.report({"office": "JC-001", "text": text}, key=key, **{"User-Agent": "canary-agent/1.0"})
    assert accepted.json()["masked_text"] == ", ".join(SECRETS)
    await feedback.report({"office": text, "text": text})
    await feedback.report({"office": "JC-001", "text": [text]})
    await feedback.lookup(accepted.json()["receipt"])
    await published(feedback, 1)
    records = [
        record
        for topic in (FeedbackSubmittedV1.topic, FeedbackWordedV1.topic)
        for record in await read_topic(feedback.bootstrap_servers, topic)
    ]
    places = {
        "tables": await dump(feedback.database),
        "topics": " ".join(repr((record.key, record.value, record.headers)) for record in records),
        "metrics": (await feedback.client.get("/metrics")).text,
        "logs": feedback.process.log(),
    }
    canaries = [*SECRETS.values(), *(secret.replace(" ", "") for secret in SECRETS.values())]
    canaries += ["lena", "canary-agent", key, accepted.json()["receipt"], accepted.json()["receipt"].replace("-", "")]
    assert [(place, canary) for place, words in places.items() for canary in canaries if canary in words] == []


async def published(feedback: Feedback, reports: int) -> None:
    """Waits until both events of so many reports have left the outbox."""
    await eventually(lambda: feedback.count("outbox"), until=lambda rows: rows == 0, what="an empty outbox")
    for topic in (FeedbackSubmittedV1.topic, FeedbackWordedV1.topic):
        records = await read_topic(feedback.bootstrap_servers, topic)
        assert len(records) == reports
        assert len({UUID(record.key.decode()) for record in records}) == reports


async def dump(database: asyncpg.Connection) -> str:
    """All rows of all tables as text."""
    tables = await database.fetch("select tablename from pg_tables where schemaname = 'public'")
    rows = [await database.fetch(f'select to_jsonb(t)::text from "{table[0]}" t') for table in tables]
    return "\n".join(row[0] for table in rows for row in table)
