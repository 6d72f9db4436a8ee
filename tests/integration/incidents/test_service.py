"""The running service on real PostgreSQL and Kafka: from HTTP and Kafka to incidents, decisions and announcements."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.events import EventId, FeedbackWordedV1
from shared.events.vocabulary import Cause, Kind, Language
from tests.fixtures.broker import read_topic
from tests.fixtures.processes import ServiceProcess
from tests.integration.incidents.running import ENVELOPE_PATH, SENTRY_KEY, Service, send

FAULTY_PROGRAM = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], send_default_pii=True, release="upload@1.2.3", shutdown_timeout=10)
sentry_sdk.set_user({"email": "erika.mustermann@example.org", "ip_address": "198.51.100.7"})
sentry_sdk.add_breadcrumb(message="client Erika opened the form")

def store_document(secret_local_variable):
    raise RuntimeError(f"no space for {secret_local_variable} of erika.mustermann@example.org")

for number in range(3):
    try:
        store_document(f"file-{number}-4711")
    except RuntimeError:
        sentry_sdk.capture_exception()
sentry_sdk.flush(10)
"""


def worded(text: str, report_id: UUID | None = None, office: str = "JC-001", **changes: Any) -> tuple[EventId, Any]:
    """A report as feedback announces it."""
    event = FeedbackWordedV1(
        report_id=report_id or uuid4(),
        text=text,
        office=office,
        service="document-upload",
        lang=Language.DE,
        kind=Kind.COMPLAINT,
        drivers=(),
        cause=Cause.UNCLEAR,
        blames_person=False,
        joins_incident=None,
        submitted_at=datetime.now(UTC),
    )
    return EventId(uuid4()), event.model_copy(update=changes)


def envelope(*items: tuple[dict[str, Any], bytes], header: dict[str, Any] | None = None) -> bytes:
    """A Sentry envelope of these items."""
    lines = [json.dumps(header or {}).encode()]
    for item, payload in items:
        lines += [json.dumps({**item, "length": len(payload)}).encode(), payload]
    return b"\n".join(lines) + b"\n"


def event_item(**fields: Any) -> tuple[dict[str, Any], bytes]:
    """An event item with a message."""
    return {"type": "event"}, json.dumps({"message": "out of paper", **fields}).encode()


async def test_an_unchanged_sentry_sdk_delivers(service: Service, tmp_path: Path) -> None:
    """Three exceptions of a real SDK become one incident; user, breadcrumbs and variables reach no topic."""
    program = tmp_path / "upload_program.py"
    program.write_text(FAULTY_PROGRAM)
    dsn = service.process.url.replace("http://", f"http://{SENTRY_KEY}@") + "/1"
    subprocess.run([sys.executable, str(program), dsn], check=True, timeout=60)
    [incident] = service.wait_incidents(lambda found: bool(found) and found[0]["counts"]["error"] == 3)
    assert incident["state"] == "candidate" and incident["service"] == "document-upload"
    assert incident["title"].startswith("Unterlagen hochladen: RuntimeError in ")
    assert incident["title"].endswith("store_document")
    records = await read_topic(service.bootstrap_servers, "error.reported.v1")
    seen = b"".join((record.value or b"") for record in records).decode() + service.process.log()
    assert len(records) == 3 and "upload@1.2.3" in seen
    for private in ("erika", "198.51.100.7", "opened the form", "secret_local_variable"):
        assert private not in seen.casefold()


async def test_a_repeated_sentry_event_changes_nothing(service: Service) -> None:
    """The same event_id again, and with other content, is one error; each is answered with its id."""
    event_id = uuid4().hex
    for message in ("out of paper", "out of paper", "something else"):
        body = envelope(event_item(event_id=event_id, message=message), header={"event_id": event_id})
        answer = service.call("POST", ENVELOPE_PATH, role=None, content=body)
        assert (answer.status_code, answer.json()) == (200, {"id": event_id})
    store = f"/api/1/store/?sentry_key={SENTRY_KEY}"
    again = service.call("POST", store, role=None, json={"event_id": event_id, "message": "x"})
    assert again.json() == {"id": event_id}
    [incident] = service.wait_incidents(bool)
    assert incident["counts"]["error"] == 1
    assert service.metric('blitz_intake_events_total{outcome="duplicate",source="sentry"}') == 3


def test_other_envelope_items_are_answered_and_counted(service: Service) -> None:
    """Transactions, sessions, attachments and client reports are dropped; unknown types are one label."""
    items = [({"type": name}, b"{}") for name in ("transaction", "session", "attachment", "client_report", "x" * 50)]
    answer = service.call("POST", ENVELOPE_PATH, role=None, content=envelope(*items))
    assert (answer.status_code, answer.json()) == (200, {})
    for name in ("transaction", "session", "attachment", "client_report", "other"):
        assert service.metric(f'blitz_envelope_items_dropped_total{{type="{name}"}}') == 1


def test_what_opens_no_envelope(service: Service) -> None:
    """A missing or wrong key, an unknown project, a damaged body or unknown encoding: a problem that names it."""
    wrong_key = "/api/1/envelope/?sentry_key=" + "0" * 32
    cases: list[tuple[str, dict[str, str], bytes, int, str]] = [
        ("/api/1/envelope/", {}, envelope(event_item()), 401, "sentry_key"),
        (wrong_key, {}, envelope(event_item()), 403, "sentry_key"),
        ("/api/99/envelope/?sentry_key=" + SENTRY_KEY, {}, envelope(event_item()), 404, "project"),
        (ENVELOPE_PATH, {"Content-Encoding": "gzip"}, envelope(event_item()), 400, "body"),
        (ENVELOPE_PATH, {"Content-Encoding": "rot13"}, envelope(event_item()), 415, "body"),
        (ENVELOPE_PATH, {}, b"no json", 400, "envelope header"),
        (ENVELOPE_PATH, {}, b'{}\n{"type": "event", "length": 99999}\n{}', 400, "items.0.length"),
        (ENVELOPE_PATH, {}, envelope(({"type": "event"}, b"[" * 100_000)), 400, "items.0"),
        (ENVELOPE_PATH, {}, envelope(*[({"type": "session"}, b"{}")] * 101), 413, "items"),
        (ENVELOPE_PATH, {}, b"x" * 1_100_000, 413, "body"),
    ]
    for path, headers, body, status, field in cases:
        answer = service.call("POST", path, role=None, headers=headers, content=body)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (status, field), answer.text


def test_strange_events_are_taken_with_what_is_usable(service: Service) -> None:
    """No message, deep stacks, wrong types, cyclic causes, invalid UTF-8, clocks far off: accepted, never a 500."""
    frames = [{"function": f"f{n}", "in_app": True, "vars": {"x": "secret"}} for n in range(5000)]
    cycle = {"type": "E", "value": "v", "mechanism": {"exception_id": 0, "parent_id": 0}}
    events = [
        b"{}",
        json.dumps({"exception": {"values": [{"type": "Deep", "stacktrace": {"frames": frames}}]}}).encode(),
        json.dumps({"exception": {"values": [cycle, cycle]}}).encode(),
        json.dumps({"exception": [1, None, "x"], "message": {"formatted": 3}, "timestamp": "now", "level": 9}).encode(),
        json.dumps({"message": "far off", "timestamp": 4e9, "contexts": [], "threads": {"values": "x"}}).encode(),
        b'{"message": "broken \xff\xfe bytes \\ud800 and \\u0000"}',
    ]
    for payload in events:
        answer = service.call("POST", ENVELOPE_PATH, role=None, content=envelope(({"type": "event"}, payload)))
        assert answer.status_code == 200, (payload[:80], answer.text)
    service.wait_incidents(lambda found: sum(i["counts"]["error"] for i in found) == len(events))


def test_a_gzip_bomb_is_refused_with_flat_memory(service: Service) -> None:
    """A hundred bombs of 300 MB each: 413, and the process grows by less than 50 MB."""
    bomb = gzip.compress(b"\0" * 300_000_000)
    before = _resident_bytes(service.process.pid)
    for _ in range(100):
        answer = httpx.post(
            f"{service.process.url}{ENVELOPE_PATH}", content=bomb, headers={"Content-Encoding": "gzip"}, timeout=20
        )
        assert answer.status_code == 413 and answer.json()["errors"][0]["field"] == "body"
    assert _resident_bytes(service.process.pid) - before < 50_000_000


def test_bad_errors_get_a_problem_that_names_the_field(service: Service) -> None:
    """Wrong types, unknown services and offices, NUL, invalid UTF-8, deep nesting: never a 500."""
    cases = [
        (b'{"service": "nothing", "message": "x"}', 422, "service"),
        (b'{"service": "payment", "message": 7}', 422, "message"),
        (b'{"service": "payment"}', 422, "message"),
        (b'{"service": "payment", "message": "x", "office": "JC-999"}', 422, "office"),
        (b'{"service": "payment", "message": "x", "at": "yesterday"}', 422, "at"),
        (b'{"service": "payment", "message": "a\\u0000b"}', 422, "message"),
        (b'{"service": "payment", "message": "\xff\xfe"}', 400, "body"),
        (b'{"service": ', 400, "body"),
        (b"[" * 5000 + b"]" * 5000, 400, "body"),
        (b"[]", 422, "body"),
        (b'"text"', 422, "body"),
        (b'[{"service": "nothing", "message": "x"}]', 422, "0.service"),
        (b"[" + b",".join([b'{"service": "payment", "message": "x"}'] * 1001) + b"]", 422, "body"),
        (b" " * 2_200_000, 413, "body"),
    ]
    for body, status, field in cases:
        answer = service.call("POST", "/v1/errors", role="integration", content=body)
        assert answer.status_code == status, (body[:60], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] == field
    plain = service.call("POST", "/v1/errors", role="integration", headers={"Content-Type": "text/plain"}, content=b"x")
    assert plain.status_code == 415


def test_errors_in_an_array_are_taken_one_by_one(service: Service) -> None:
    """Good ones count, repeated ones change nothing, bad ones are named; clocks a year off count as their arrival."""
    good = {"service": "payment", "message": "ledger locked", "event_id": "e-1", "at": "2020-01-01T00:00:00Z"}
    ahead = {"service": "payment", "message": "ledger locked", "at": "2099-01-01T00:00:00Z"}
    body = [good, good, ahead, {"service": 1}]
    answer = service.call("POST", "/v1/errors", role="integration", json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["duplicate"]) == (2, 1)
    assert (told["refused"][0]["index"], told["refused"][0]["field"]) == (3, "service")
    [incident] = service.wait_incidents(lambda found: bool(found) and found[0]["counts"]["error"] == 2)
    assert incident["first_seen_at"] > "2026"
    assert service.metric("blitz_intake_clock_corrections_total") == 3


def test_heat_counts_once_and_only_for_ones_own_office(service: Service) -> None:
    """A second press within ten minutes is answered and not counted; a foreign office does not exist."""
    press = {"office": "JC-001", "service": "payment", "topic": "late money", "at": datetime.now(UTC).isoformat()}
    first = service.call("POST", "/v1/heat", role="frontline", offices="JC-001", json=press)
    second = service.call("POST", "/v1/heat", role="frontline", offices="JC-001", json=press)
    assert (first.status_code, first.json()["counted"], second.json()["counted"]) == (202, True, False)
    foreign = service.call("POST", "/v1/heat", role="frontline", offices="JC-002", json=press)
    assert foreign.status_code == 404
    assert service.call("POST", "/v1/heat", role="reporter", json=press).status_code == 403
    [incident] = service.wait_incidents(bool)
    assert incident["counts"]["heat"] == 1 and incident["title"] == "Auszahlung: Häufung von Ärger am Schalter"


async def test_the_life_of_an_incident_over_http(service: Service) -> None:
    """Observed → confirmed → mitigating → fixed → closed → reopened, each logged and announced with rising versions."""
    await send(service.bootstrap_servers, [worded("Upload bricht ab"), worded("Anruf", office="JC-002")])
    [incident] = service.wait_incidents(bool, "?state=any&office=JC-001&q=unterlagen")
    path = f"/v1/incidents/{incident['id']}"
    early = service.call("POST", f"{path}/fix", json={"reason": "too early"})
    assert early.status_code == 409 and early.json()["errors"][0]["allowed"] == "confirmed, mitigating, regressed"
    assert service.call("POST", f"{path}/confirm", role=None).status_code == 401
    assert service.call("POST", f"{path}/confirm", role="frontline").status_code == 403
    states = []
    for command in ("confirm", "mitigate", "fix", "close", "reopen"):
        answer = service.call("POST", f"{path}/{command}", json={"reason": f"because {command}"})
        assert answer.status_code == 200, answer.text
        states.append(answer.json()["state"])
    assert states == ["confirmed", "mitigating", "fixed", "closed", "confirmed"]
    assert answer.json()["cause"] == "system"
    log = service.call("GET", f"{path}/log").json()
    assert [line["kind"] for line in log["items"]] == ["observe", "confirm", "mitigate", "fix", "close", "reopen"]
    assert log["items"][1]["reason"] == "because confirm" and log["items"][1]["before"]["state"] == "observed"
    signals = service.call("GET", f"{path}/signals").json()
    assert signals["total"] == 1 and signals["items"][0]["link"]["layer"] == "founding"
    faces = await _announced(service, incident["id"], lambda found: len(found) == 6)
    versions = [face["version"] for face in faces]
    assert versions == sorted(set(versions)) and "owner" not in faces[0]
    assert [step["state"] for step in faces[-1]["transitions"]] == ["observed", *states]


async def test_two_managers_on_one_incident(service: Service) -> None:
    """A stale If-Match is refused with what was decided since; evidence that came in meanwhile is no conflict."""
    await send(service.bootstrap_servers, [worded("Upload bricht ab und zu ab")])
    [incident] = service.wait_incidents(bool)
    path = f"/v1/incidents/{incident['id']}"
    etag = service.call("GET", path).headers["ETag"]
    await send(service.bootstrap_servers, [worded("Upload bricht ab und zu ab")])
    service.wait_incidents(lambda found: found[0]["counts"]["report"] == 2)
    assert service.call("POST", f"{path}/confirm", headers={"If-Match": etag}).status_code == 200
    stale = service.call("POST", f"{path}/severity", headers={"If-Match": etag}, json={"severity": "high"})
    assert stale.status_code == 409
    assert "confirm: observed → confirmed" in [error["message"] for error in stale.json()["errors"]]
    amended = service.call("POST", f"{path}/severity", json={"severity": "high"}).json()
    assert amended["severity"] == "high"
    assert service.call("POST", f"{path}/cause", json={"cause": "process"}).json()["cause"] == "process"
    assert service.call("POST", f"{path}/cause", json={"cause": "weather"}).status_code == 422
    assert service.call("POST", f"{path}/comment", json={"reason": "called the vendor"}).status_code == 200
    assert service.call("POST", f"{path}/assign").json()["owner"]


async def test_foreign_offices_do_not_exist(service: Service) -> None:
    """An incident of another office is 404 on every route and in no list; frontline sees public ones of its own."""
    await send(service.bootstrap_servers, [worded("Formular hängt beim Absenden")])
    [incident] = service.wait_incidents(bool)
    path = f"/v1/incidents/{incident['id']}"
    for method, route in (("GET", ""), ("GET", "/signals"), ("GET", "/log"), ("POST", "/confirm"), ("POST", "/reject")):
        assert service.call(method, f"{path}{route}", offices="JC-002").status_code == 404, route
        assert service.call(method, f"/v1/incidents/{uuid4()}{route}").status_code == 404
    assert service.incidents(offices="JC-002") == []
    assert service.call("GET", "/v1/incidents?office=JC-001", offices="JC-002").status_code == 404
    assert service.incidents("", role="frontline", offices="JC-001") == []
    assert service.call("POST", f"{path}/confirm").status_code == 200
    [seen] = service.incidents("?state=any", role="frontline", offices="JC-001")
    assert (seen["id"], seen["owner"]) == (incident["id"], None)
    assert service.incidents("", role="frontline", offices="JC-002") == []


async def test_pages_show_every_incident_once(service: Service) -> None:
    """Every order is walked by cursors without loss or repetition; a cursor of another order is refused."""
    texts = ["Aufzug steckt fest", "Brief verloren", "Telefon besetzt", "Geld fehlt", "Formular leer", "Termin falsch"]
    await send(service.bootstrap_servers, [worded(text) for n, text in enumerate(texts) for _ in range(n % 3 + 1)])
    total = len(service.wait_incidents(lambda found: sum(i["counts"]["report"] for i in found) == 12))
    assert total == len(texts)
    for sort in ("last_seen", "first_seen", "signals"):
        seen: list[str] = []
        cursor, last_cursor = "", ""
        while True:
            page = service.call("GET", f"/v1/incidents?state=any&sort={sort}&limit=2{cursor}").json()
            seen += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = last_cursor = f"&cursor={page['next']}"
        assert len(seen) == len(set(seen)) == total == page["total"]
        other = "signals" if sort != "signals" else "last_seen"
        assert service.call("GET", f"/v1/incidents?state=any&sort={other}{last_cursor}").status_code == 422
    assert service.call("GET", "/v1/incidents?cursor=nonsense").status_code == 422
    assert service.call("GET", "/v1/incidents?state=broken").json()["errors"][0]["field"] == "state"


async def test_a_killed_service_loses_and_doubles_nothing(
    service: Service, service_process: Callable[..., ServiceProcess]
) -> None:
    """SIGKILL in the middle of a stream, everything sent again with new event ids: every report counts once."""
    ids = [uuid4() for _ in range(300)]
    texts = [f"Upload bricht ab bei Schritt {step} heute" for step in "xyz"]
    events = [worded(texts[n % 3], report_id) for n, report_id in enumerate(ids)]
    await send(service.bootstrap_servers, events)
    service.wait_incidents(bool)
    service.process.kill()
    await send(service.bootstrap_servers, [(EventId(uuid4()), event) for _, event in events])
    service.process.start().wait_ready()
    service.wait_incidents(lambda found: sum(i["counts"]["report"] for i in found) == 300, within=30)
    last = {i["id"]: i["counts"]["report"] for i in service.incidents()}
    for incident_id, count in last.items():
        faces = await _announced(service, incident_id, reports(count))
        versions = [face["version"] for face in faces]
        assert versions == sorted(set(versions))
    linked = await read_topic(service.bootstrap_servers, "signal.linked.v1")
    assert {json.loads(record.value)["source_id"] for record in linked} == {str(report_id) for report_id in ids}


async def test_counts_are_announced_at_most_once_a_second(service: Service) -> None:
    """Forty reports one after another over about two seconds: few announcements, the last one with all of them."""
    started = datetime.now(UTC)
    for _ in range(40):
        await send(service.bootstrap_servers, [worded("Upload bricht seit gestern ab")])
    [incident] = service.wait_incidents(lambda found: bool(found) and found[0]["counts"]["report"] == 40)
    faces = await _announced(service, incident["id"], reports(40))
    seconds = (datetime.now(UTC) - started).total_seconds()
    mere_counts = [face for face in faces if face["counts"]["report"] not in (1, 3)]
    assert len(mere_counts) <= seconds + 2


def reports(number: int) -> Callable[[list[Any]], bool]:
    """Whether the latest announcement counts so many reports."""
    return lambda faces: bool(faces[-1]["counts"]["report"] == number)


async def _announced(service: Service, incident_id: str, until: Callable[[list[Any]], bool]) -> list[Any]:
    """What was announced of one incident, oldest first, once it satisfies ``until``."""
    deadline = datetime.now(UTC).timestamp() + 15
    while True:
        records = await read_topic(service.bootstrap_servers, "incident.changed.v1")
        # A relay that was killed may send a record twice: the same event id, which every inbox drops.
        unique = {dict(record.headers)["ce_id"]: record for record in records if record.key == incident_id.encode()}
        faces = [json.loads(record.value) for record in unique.values()]
        if faces and until(faces):
            return faces
        assert datetime.now(UTC).timestamp() < deadline, faces[-1:] or "nothing announced"


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
