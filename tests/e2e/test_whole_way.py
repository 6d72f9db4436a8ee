"""One complaint all the way, and many at once."""

import json
from collections.abc import Callable
from uuid import uuid4

import httpx

from tests.e2e.product import Product, complaint, log_lines
from tests.fixtures.broker import read_topic
from tests.fixtures.waiting import eventually

PRIVATE = {
    "e-mail": "erika.muster@post.example",
    "phone": "0171 2345678",
    "iban": "DE89 3704 0044 0532 0130 00",
    "tax id": "86095742719",
    "pension number": "65 070649 C 103",
}
TOPICS = ("feedback.submitted.v1", "feedback.worded.v1", "signal.linked.v1", "incident.changed.v1")


async def test_one_complaint_all_the_way(product: Callable[..., Product]) -> None:
    """Reports → incident → confirmed → story on the receipt → figures; one trace id in the logs of all services."""
    running = product()
    trace_id = uuid4().hex
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            running.url("feedback", "/v1/reports"),
            json=complaint(),
            headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
        )
        assert answer.status_code == 202, answer.text
        await running.submit_all([complaint(), complaint()])
        await running.settled(3)

        manager = {"Authorization": f"Bearer {await running.token('quality_manager')}"}
        page = (await client.get(running.url("incidents", "/v1/incidents?state=any"), headers=manager)).json()
        assert [incident["counts"]["report"] for incident in page["items"]] == [3]
        incident = page["items"][0]
        confirm = running.url("incidents", f"/v1/incidents/{incident['id']}/confirm")
        confirmed = await client.post(confirm, json={"reason": "seen"}, headers=manager)
        assert confirmed.json()["state"] == "confirmed", confirmed.text

        async def receipt() -> dict[str, object]:
            found = await client.post(
                running.url("feedback", "/v1/receipts/lookup"), json={"receipt": answer.json()["receipt"]}
            )
            assert found.status_code == 200
            state: dict[str, object] = found.json()
            return state

        story = await eventually(receipt, until=lambda found: found["state"] == "in_progress")
        assert len(str(story["story"])) > 20

        async def system_errors() -> int:
            causes = await client.get(running.url("reporting", "/v1/causes"), headers=manager)
            count: int = causes.json()["total"]["causes"]["system"]["n"]
            return count

        await eventually(system_errors, until=lambda count: count == 3)
    for service, process in running.services.items():
        lines = [line for line in log_lines(process) if trace_id in (line["trace_id"], *line.get("trace_ids", ()))]
        assert lines, f"the trace {trace_id} does not appear in the log of {service}"


async def test_five_hundred_at_once(product: Callable[..., Product]) -> None:
    """500 concurrent posts: 500 receipts, 500 rows, one event of each kind for each, in order for each key."""
    running = product()
    accepted = await running.submit_all([complaint(number) for number in range(500)], at_once=500)
    await running.settled(500)
    await running.assert_each_once(accepted)
    for topic in ("feedback.submitted.v1", "feedback.worded.v1"):
        records = await read_topic(running.bootstrap_servers, topic)
        assert {record.key.decode() for record in records} == {one.report_id for one in accepted}
        assert len(records) == 500, topic
    versions: dict[bytes, list[int]] = {}
    for record in await read_topic(running.bootstrap_servers, "incident.changed.v1"):
        versions.setdefault(record.key, []).append(json.loads(record.value)["version"])
    assert versions
    assert all(seen == sorted(set(seen)) for seen in versions.values())


async def test_masked_text_is_nowhere(product: Callable[..., Product]) -> None:
    """The original of a masked item is in no table, no topic, no log and no metric of any service."""
    running = product()
    text = "Bitte melden: " + ", ".join(PRIVATE.values()) + ". Der Upload geht nicht."
    await running.submit_all([complaint(0, text=text), complaint(1, text=text)])
    await running.settled(2)
    needles = {needle for value in PRIVATE.values() for needle in (value, value.replace(" ", ""))}
    haystacks = {}
    for service, process in running.services.items():
        tables = await running.rows(
            service,
            "select format('%I.%I', schemaname, tablename) as name from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema')",
        )
        for table in tables:
            rows = await running.rows(service, f"select t::text as line from {table['name']} t")
            haystacks[f"{service} {table['name']}"] = "\n".join(row["line"] for row in rows)
        haystacks[f"{service} log"] = process.log()
        haystacks[f"{service} metrics"] = httpx.get(running.url(service, "/metrics")).text
    for topic in TOPICS:
        records = await read_topic(running.bootstrap_servers, topic)
        haystacks[topic] = "\n".join(record.value.decode() for record in records)
    assert "Der Upload geht nicht" in haystacks["feedback.worded.v1"]
    for name, haystack in haystacks.items():
        assert not [needle for needle in needles if needle in haystack], name
