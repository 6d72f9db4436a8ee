"""The edge on a real service: who may name what, browsers from elsewhere, keys before bodies, old ids."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.incidents.intake import handlers
from shared.web import encode_cursor
from tests.fixtures.broker import read_topic
from tests.fixtures.waiting import eventually
from tests.integration.incidents.conftest import NOW, Workshop
from tests.integration.incidents.running import ENVELOPE_PATH, SENTRY_KEY, Service, send
from tests.integration.incidents.test_service import envelope, event_item, worded


def press(**fields: Any) -> dict[str, Any]:
    """A press of the heat button in JC-002."""
    return {"office": "JC-002", "service": "document-upload", **fields}


async def test_heat_may_name_what_is_public_or_ones_own(service: Service) -> None:
    """Naming a foreign incident would make it visible: refused like an unknown one, until it is public."""
    await send(service.bootstrap_servers, [worded("Formular hängt beim Absenden", office="JC-001")])
    [incident] = service.wait_incidents(bool)
    named = press(incident_id=incident["id"])
    refusals = [
        service.call("POST", "/v1/heat", role="frontline", offices="JC-002", json=body)
        for body in (named, press(incident_id=str(uuid4())))
    ]
    documents = [answer.json() | {"trace_id": ""} for answer in refusals]
    assert [answer.status_code for answer in refusals] == [422, 422] and documents[0] == documents[1]
    assert documents[0]["errors"][0]["field"] == "incident_id"
    assert service.incidents(offices="JC-002") == []
    own = {**named, "office": "JC-001"}
    assert service.call("POST", "/v1/heat", role="frontline", offices="JC-001", json=own).status_code == 202
    service.call("POST", f"/v1/incidents/{incident['id']}/confirm")
    assert service.call("POST", "/v1/heat", role="frontline", offices="JC-002", json=named).status_code == 202
    [seen] = service.wait_incidents(bool, "?state=any&office=JC-002")
    assert (seen["id"], seen["offices"], seen["counts"]["heat"]) == (incident["id"], ["JC-001", "JC-002"], 2)


async def test_the_topic_of_heat_is_kept_nowhere(service: Service) -> None:
    """A free text of staff is taken, and neither announced for good nor stored."""
    body = press(topic="Frau Erika Huber 0171 2345678")
    assert service.call("POST", "/v1/heat", role="frontline", json=body).status_code == 202
    [record] = await eventually(lambda: read_topic(service.bootstrap_servers, "heat.reported.v1"))
    assert json.loads(record.value)["heat_topic"] is None and b"Erika" not in record.value


async def test_the_message_of_an_error_reaches_no_title(service: Service) -> None:
    """A title is public and kept for good: without type and place it is a neutral one."""
    body = {"service": "payment", "message": "no account for Erika Huber"}
    assert service.call("POST", "/v1/errors", role="integration", json=body).status_code == 202
    [incident] = service.wait_incidents(bool)
    assert incident["title"] == "Auszahlung: technischer Fehler"
    records = await eventually(lambda: read_topic(service.bootstrap_servers, "incident.changed.v1"))
    assert not [record for record in records if b"Erika" in record.value]


def test_the_key_is_asked_before_the_items(service: Service) -> None:
    """Without the right key in the first line, nobody looks at the rest, be it broken or endless."""
    wrong = envelope(({"type": "event"}, b"no json"), header={"dsn": f"http://{'0' * 32}@host/1"})
    answer = service.call("POST", "/api/1/envelope/", role=None, content=wrong)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (403, "sentry_key")
    none = envelope(({"type": "event"}, b"no json"))
    assert service.call("POST", "/api/1/envelope/", role=None, content=none).status_code == 401
    right = envelope(event_item(), header={"dsn": f"http://{SENTRY_KEY}@host/1"})
    assert service.call("POST", "/api/1/envelope/", role=None, content=right).status_code == 200


def test_browsers_of_other_origins_may_send(service: Service) -> None:
    """The preflight is answered, and every answer, refusals included, may be read by the page that sent."""
    asked = {"Origin": "https://portal.example", "Access-Control-Request-Method": "POST"}
    for path in (ENVELOPE_PATH, "/api/1/store/", "/api/1/envelope"):
        preflight = service.call("OPTIONS", path, role=None, headers=asked)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert "X-Sentry-Auth" in preflight.headers["access-control-allow-headers"]
    taken = service.call("POST", ENVELOPE_PATH, role=None, content=envelope(event_item()))
    refused = service.call("POST", "/api/1/envelope/?sentry_key=00", role=None, content=envelope(event_item()))
    assert (taken.status_code, refused.status_code) == (200, 403)
    assert {answer.headers["access-control-allow-origin"] for answer in (taken, refused)} == {"*"}
    private = service.call("GET", "/v1/incidents", headers=asked)
    assert "access-control-allow-origin" not in private.headers


def test_a_forged_cursor_is_refused(service: Service) -> None:
    """A number that no column holds: 422 and never a 500."""
    service.call("POST", ENVELOPE_PATH, role=None, content=envelope(event_item()))
    [incident] = service.wait_incidents(bool)
    for number, status in ((2**63, 422), (2**62, 200), (-5, 200)):
        log = f"/v1/incidents/{incident['id']}/log?cursor={encode_cursor((number,))}"
        assert service.call("GET", log).status_code == status
        page = f"/v1/incidents?sort=signals&cursor={encode_cursor(('signals', number, uuid4()))}"
        assert service.call("GET", page).status_code == status


async def test_all_old_ids_are_forgotten_in_one_turn(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: bounded pieces until none is left, and young ones stay."""
    monkeypatch.setattr(handlers, "FORGET_ROWS", 10)
    insert = "insert into accepted_event select gen_random_uuid(), $1 from generate_series(1, $2)"
    await workshop.rows(insert, NOW - timedelta(days=8), 95)
    await workshop.rows(insert, NOW - timedelta(days=6), 3)
    stop = asyncio.Event()
    forgetting = asyncio.create_task(handlers.keep_forgetting(workshop.pool, workshop.clock, stop))

    async def left() -> int:
        [row] = await workshop.rows("select count(*) as left from accepted_event")
        return int(row["left"])

    await eventually(left, until=lambda number: number == 3, within=10)
    stop.set()
    await forgetting
