"""Receipts and known faults: fed by what incidents announces, in any order, and told from feedback's own tables."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.feedback.store import measure_incidents
from shared.events import Envelope, Event, EventId, IncidentChangedV1, PublicText, SignalLinkedV1, Transition
from shared.events.incidents import SignalCounts
from shared.events.vocabulary import Cause, IncidentState, SignalKind
from shared.kafka import open_producer
from shared.postgres import load_queries
from tests.fixtures.waiting import eventually
from tests.integration.feedback.conftest import Feedback, Json, new_key, rating

OBSERVED, CONFIRMED, FIXED = IncidentState.OBSERVED, IncidentState.CONFIRMED, IncidentState.FIXED
TEXTS = {
    "de": PublicText(title="Hochladen gestört", text="Der Upload bricht ab.", workaround="Per Post senden."),
    "en": PublicText(title="Upload broken", text="The upload stops."),
}


def incident(
    incident_id: UUID, *states: IncidentState, begun: datetime | None = None, reports: int = 5, **changes: Any
) -> IncidentChangedV1:
    """An incident that entered these states one minute after another, from ``begun`` on."""
    start = begun or datetime.now(UTC)
    fields: dict[str, Any] = {
        "incident_id": incident_id,
        "version": len(states),
        "state": states[-1],
        "merged_into": None,
        "title": "upload abort",
        "service": "document-upload",
        "offices": ("JC-001",),
        "langs": ("de",),
        "cause": Cause.SYSTEM,
        "severity": "high",
        "counts": SignalCounts(report=reports),
        "first_seen_at": start,
        "last_seen_at": start,
        "public_text": TEXTS,
        "transitions": tuple(Transition(state=s, at=start + timedelta(minutes=n)) for n, s in enumerate(states)),
        "changed_at": start,
    }
    return IncidentChangedV1(**fields | changes)


def link(report_id: str, incident_id: UUID | None, version: int = 1) -> SignalLinkedV1:
    """A report's link."""
    now = datetime.now(UTC)
    return SignalLinkedV1(
        signal_id=uuid4(), signal_kind=SignalKind.REPORT, source_id=report_id, incident=incident_id, from_incident=None,
        link_version=version, layer="lexical", score=0.9, rule=None, concepts=(), grouping_version="1", office="JC-001",
        service="document-upload", at=now, linked_at=now,
    )  # fmt: skip


async def announce(feedback: Feedback, events: Iterable[Event]) -> None:
    """Publishes events as the incidents service does, one after the other."""
    producer = await open_producer(feedback.bootstrap_servers, "test")
    for event in events:
        envelope = Envelope(
            id=EventId(uuid4()), type=event.topic, source="incidents", time=datetime.now(UTC), subject=event.key()
        )
        await producer.send_and_wait(
            event.topic, event.model_dump_json().encode(), key=event.key().encode(), headers=envelope.to_headers()
        )
    await producer.stop()


async def story(feedback: Feedback, receipt: str, lang: str = "de") -> Json:
    """What the receipt tells."""
    answer = await feedback.lookup(receipt, **{"Accept-Language": lang})
    assert answer.status_code == 200
    told: Json = answer.json()
    return told


async def test_the_story_of_a_report(feedback: Feedback) -> None:
    """Received, then linked and confirmed, then fixed; in the reader's language, with the shared count."""
    accepted = (await feedback.report({"office": "JC-001", "text": "Upload kaputt"})).json()
    told = await story(feedback, accepted["receipt"])
    assert (told["state"], [entry["text"] for entry in told["story"]]) == ("received", ["Ihre Meldung ist angekommen."])

    the_one = uuid4()
    await announce(feedback, [link(accepted["report_id"], the_one), incident(the_one, OBSERVED, CONFIRMED)])
    told = await eventually(
        lambda: story(feedback, accepted["receipt"]), until=lambda told: told["state"] == "in_progress"
    )
    assert any("Hochladen gestört" in entry["text"] for entry in told["story"])
    assert (told["affected"], told["can_verdict"]) == (5, False)

    await announce(feedback, [incident(the_one, OBSERVED, CONFIRMED, FIXED)])
    told = await eventually(
        lambda: story(feedback, accepted["receipt"].lower(), "en"), until=lambda told: told["state"] == "fixed"
    )
    assert told["story"][-1]["text"] == "The fault is fixed."
    assert told["can_verdict"]


async def test_wrong_receipts_get_the_same_bytes(feedback: Feedback) -> None:
    """Unknown, mistyped and nonsense: one answer, byte for byte."""
    receipt = (await feedback.report(rating())).json()["receipt"]
    unknown = ["0000-0000-0000-0000-0", receipt[:-1] + ("0" if receipt[-1] != "0" else "1"), "nonsense", "", "\u202e"]
    answers = [await feedback.lookup(code) for code in unknown]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}


async def test_every_order_ends_the_same(feedback: Feedback) -> None:
    """Links and incidents in every order, twice each: the same story, the highest versions."""
    accepted = (await feedback.report(rating())).json()
    first, second = uuid4(), uuid4()
    begun = datetime.now(UTC)
    events: Sequence[Event] = [
        link(accepted["report_id"], first, 1),
        link(accepted["report_id"], second, 2),
        incident(first, OBSERVED, CONFIRMED, begun=begun, merged_into=second, state=IncidentState.MERGED, version=3),
        incident(second, OBSERVED, CONFIRMED, FIXED, begun=begun),
    ]
    tables = set()
    for order in itertools.permutations(events):
        await feedback.database.execute("truncate report_link, incident_projection")
        await announce(feedback, [*order, *order])
        await eventually(lambda: _is_settled(feedback), what="both incidents and the second link")
        tables.add(str(await feedback.database.fetch("select * from incident_projection order by incident_id")))
        tables.add(str(await feedback.database.fetch("select * from report_link")))
    assert len(tables) == 2
    assert (await story(feedback, accepted["receipt"]))["state"] == "fixed"


async def _is_settled(feedback: Feedback) -> bool:
    version = await feedback.database.fetchval("select link_version from report_link")
    return version == 2 and await feedback.count("incident_projection") == 2


async def test_a_report_that_left_its_incident(feedback: Feedback) -> None:
    """An unlinked report is received again, and signals that are no reports are passed over."""
    accepted = (await feedback.report(rating())).json()
    the_one = uuid4()
    error = link("event-77", the_one).model_copy(update={"signal_kind": SignalKind.ERROR})
    confirmed = incident(the_one, OBSERVED, CONFIRMED)
    await announce(feedback, [error, confirmed, link(accepted["report_id"], the_one, 1)])
    await eventually(lambda: story(feedback, accepted["receipt"]), until=lambda told: told["state"] == "in_progress")
    await announce(feedback, [link(accepted["report_id"], None, 2)])
    await eventually(lambda: story(feedback, accepted["receipt"]), until=lambda told: told["state"] == "received")
    assert await feedback.count("report_link") == 1


async def test_known_faults(feedback: Feedback) -> None:
    """Public incidents are listed within seconds, in the language asked for; small counts and candidates are not."""
    shown, small, old = uuid4(), uuid4(), uuid4()
    long_ago = datetime.now(UTC) - timedelta(days=15)
    await announce(
        feedback,
        [
            incident(uuid4(), OBSERVED, IncidentState.CANDIDATE),
            incident(old, OBSERVED, CONFIRMED, FIXED, begun=long_ago),
            incident(small, OBSERVED, CONFIRMED, reports=2, service="payment", public_text={}),
            incident(shown, OBSERVED, CONFIRMED),
        ],
    )
    items = await eventually(lambda: _faults(feedback, "en"), until=lambda items: len(items) == 2, within=10)
    assert [(item["incident_id"], item["title"], item["lang"], item["affected"]) for item in items] == [
        (str(shown), "Upload broken", "en", 5),
        (str(small), "upload abort", "de", None),
    ]
    assert [item["workaround"] for item in await _faults(feedback, "tr")] == ["Per Post senden.", None]

    answer = await feedback.report({"office": "JC-001", "service": "document-upload", "text": "Upload", "lang": "de"})
    assert [fault["title"] for fault in answer.json()["known_faults"]] == ["Hochladen gestört"]


async def _faults(feedback: Feedback, lang: str) -> list[Json]:
    items: list[Json] = (await feedback.client.get("/v1/known-faults", params={"lang": lang})).json()["items"]
    return items


async def test_me_too(feedback: Feedback) -> None:
    """A report may join a public incident; its retry is answered even when the incident is no longer public."""
    the_one = uuid4()
    await announce(feedback, [incident(the_one, OBSERVED, CONFIRMED)])
    await eventually(lambda: _faults(feedback, "de"))
    body, key = rating(joins_incident=str(the_one)), new_key()
    first = await feedback.report(body, key=key)
    assert first.status_code == 202
    await announce(feedback, [incident(the_one, OBSERVED, CONFIRMED, IncidentState.CLOSED)])
    await eventually(lambda: _faults(feedback, "de"), until=lambda items: not items)
    again, new = await asyncio.gather(feedback.report(body, key=key), feedback.report(body, key=new_key()))
    assert (again.status_code, again.json()["receipt"]) == (202, first.json()["receipt"])
    assert (new.status_code, new.json()["errors"][0]["field"]) == (422, "joins_incident")


async def test_what_is_never_shown_costs_nothing(feedback: Feedback) -> None:
    """Whether public incidents changed is asked every second: of the index that leads to them, past all others."""
    insert = """
        insert into incident_projection (incident_id, version, state, title, service, reports, first_seen_at, entered,
                                         words)
        select gen_random_uuid(), 1, $1, 'x', 'payment', 1, now(), '[]', '{}' from generate_series(1, $2)"""
    await feedback.database.execute(insert, "observed", 20_000)
    await feedback.database.execute(insert, "confirmed", 20)
    await feedback.database.execute("analyze incident_projection")
    queries = load_queries(Path("services/feedback/queries.sql"))
    plan = await feedback.database.fetch(f"explain {queries.measure_incidents.sql}")
    assert "incident_projection_shown" in str(plan)
    seen = [await measure_incidents(feedback.database)]
    for change in (
        "update incident_projection set version = 2 where incident_id = $1",
        "update incident_projection set version = 3, state = 'observed' where incident_id = $1",
        "update incident_projection set version = 4, state = 'fixed' where incident_id = $1",
    ):
        await feedback.database.execute(change, await _one_shown(feedback))
        seen.append(await measure_incidents(feedback.database))
    assert len(set(seen)) == len(seen)
    await feedback.database.execute("update incident_projection set version = 9 where state = 'observed'")
    assert await measure_incidents(feedback.database) == seen[-1]


async def _one_shown(feedback: Feedback) -> UUID:
    found: UUID = await feedback.database.fetchval(
        "select incident_id from incident_projection where version > 1 or state = 'confirmed' "
        "order by version desc limit 1"
    )
    return found


async def test_the_public_catalogue(feedback: Feedback) -> None:
    """Offices and services with names, and nothing that is not for everybody."""
    answer = await feedback.client.get("/v1/catalogue")
    assert {"JC-001", "JC-012"} <= {office["id"] for office in answer.json()["offices"]}
    assert "other" in {service["id"] for service in answer.json()["services"]}
    assert "duty" not in answer.text
    assert "key" not in answer.text
