"""Signals become incidents in the database: once, explainably, whatever runs at the same time."""

import asyncio
import json
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from services.incidents.domain.model import IncidentId
from shared.events.vocabulary import Kind
from shared.postgres import transaction
from shared.records import decode_headers
from tests.integration.incidents.conftest import NOW, TRACEPARENT, Workshop, error, heat, report

DUMP = """
select (select jsonb_agg(to_jsonb(i) order by i.id) from incident i) as incidents,
       (select jsonb_agg(to_jsonb(s) order by s.id) from signal s) as signals,
       (select jsonb_agg(to_jsonb(g) order by g.id) from signal_group g) as groups,
       (select jsonb_agg(to_jsonb(d) order by d.id) from decision d) as decisions,
       (select count(*) from outbox) as announced
"""


async def test_equal_words_are_one_incident_and_become_a_candidate(workshop: Workshop) -> None:
    """Three reports that differ in numbers and case only: one incident, a candidate by the evidence minimum, logged."""
    grouping = workshop.grouping()
    await workshop.feed(grouping, report("Der Upload meldet Fehler 4711 seit 3 Tagen"))
    await workshop.feed(
        grouping,
        report("der upload meldet Fehler 99 seit 12 Tagen!"),
        report("Der Upload meldet Fehler 1 seit 1 Tagen"),
    )
    [incident] = await workshop.rows("select * from incident")
    assert (incident["state"], incident["count_report"]) == ("candidate", 3)
    assert [step["state"] for step in incident["transitions"]] == ["observed", "candidate"]
    log = await workshop.rows("select kind, actor from decision order by sequence")
    assert [(row["kind"], row["actor"]) for row in log] == [("observe", "system"), ("candidate", "system")]


async def test_two_processes_in_parallel_create_one_fault_once(workshop: Workshop) -> None:
    """Ten faults reported to two processes at the same moment, many times over, are ten incidents."""
    one, two = workshop.grouping(), workshop.grouping()
    texts = [f"Störung {word} betrifft alle Formulare hier" for word in "abcdefghij"]
    for _ in range(5):
        await asyncio.gather(
            workshop.feed(one, *(report(text) for text in texts), *(error(f"f_{text[8]}") for text in texts)),
            workshop.feed(two, *(report(text) for text in reversed(texts)), *(error(f"f_{t[8]}") for t in texts)),
        )
    groups = await workshop.rows("select kind, count(*) as n from signal_group group by 1")
    assert {row["kind"]: row["n"] for row in groups} == {"report": 10, "error": 10}
    [errors] = await workshop.rows(
        "select count(*) as n, min(count_error) as least from incident where count_error > 0"
    )
    assert (errors["n"], errors["least"]) == (10, 10)
    [reports] = await workshop.rows("select sum(count_report) as n from incident")
    assert reports["n"] == 100


async def test_replay_changes_nothing(workshop: Workshop) -> None:
    """The same signals again, to the same process and to a new one: every table and the outbox stay as they are."""
    words = [report("Anhang verschwindet nach dem Absenden"), report(""), report("Danke", kind=Kind.PRAISE)]
    signals = [*words, error(), heat()]
    grouping = workshop.grouping()
    await workshop.feed(grouping, *signals)
    before = await workshop.rows(DUMP)
    workshop.clock.pass_by(hours=3)
    await workshop.feed(grouping, *signals)
    await workshop.feed(workshop.grouping(), *reversed(signals))
    assert await workshop.rows(DUMP) == before


async def test_a_rolled_back_batch_leaves_nothing_in_memory(workshop: Workshop) -> None:
    """A batch whose transaction fails can be taken in again and founds its incident then."""
    grouping = workshop.grouping()
    signal = report("Kontoauszug hochladen bricht immer ab")
    with pytest.raises(RuntimeError):
        async with transaction(workshop.pool) as connection:
            await grouping.take_in(connection, [signal])
            raise RuntimeError("killed before the commit")
    await workshop.feed(grouping, signal, report("Kontoauszug hochladen bricht leider immer ab"))
    assert len(await workshop.rows("select 1 from incident")) == 1


async def test_a_report_without_words_makes_no_incident(workshop: Workshop) -> None:
    """Ratings, praise and suggestions are stored beside all incidents; nothing is dropped."""
    await workshop.feed(
        workshop.grouping(),
        report("", kind=Kind.RATING),
        report("Sehr nette Beratung", kind=Kind.PRAISE),
        report("Bitte samstags öffnen", kind=Kind.SUGGESTION),
    )
    assert len(await workshop.rows("select 1 from signal where incident_id is null")) == 3
    assert not await workshop.rows("select 1 from incident")


async def test_a_report_joins_the_incident_it_names(workshop: Workshop) -> None:
    """ "Me too" joins the named incident, with words or without; an unknown one is no reason to lose the report."""
    grouping = workshop.grouping()
    first = report("Portal wirft mich nach der Anmeldung hinaus")
    await workshop.feed(grouping, first)
    incident = await workshop.incident_of(first)
    silent = report("", kind=Kind.RATING, joins_incident=incident)
    other = report("Ganz andere Worte über den Aufzug", joins_incident=incident)
    lost = report("Noch einmal etwas anderes hier", joins_incident=uuid4())
    await workshop.feed(grouping, silent, other, lost)
    assert await workshop.incident_of(silent) == await workshop.incident_of(other) == incident
    assert await workshop.incident_of(lost) not in (None, incident)


async def test_heat_counts_once_per_office_service_and_ten_minutes(workshop: Workshop) -> None:
    """Presses within ten minutes are one signal; another office makes the evidence sufficient."""
    grouping = workshop.grouping()
    await workshop.feed(grouping, heat(), heat(NOW + timedelta(minutes=4)), heat(NOW + timedelta(minutes=9)))
    [incident] = await workshop.rows("select * from incident")
    assert (incident["count_heat"], incident["state"]) == (1, "observed")
    await workshop.feed(grouping, heat(NOW + timedelta(minutes=5), office="JC-002"))
    [incident] = await workshop.rows("select * from incident")
    assert (incident["count_heat"], incident["state"], incident["offices"]) == (2, "candidate", ["JC-001", "JC-002"])


async def test_heat_goes_to_the_latest_incident_of_its_service(workshop: Workshop) -> None:
    """With a candidate in the same service and office, heat strengthens it instead of making a group of its own."""
    grouping = workshop.grouping()
    reports = [report("Upload bricht mit Fehler ab") for _ in range(3)]
    await workshop.feed(grouping, *reports)
    press = heat(NOW + timedelta(minutes=30))
    await workshop.feed(grouping, press)
    assert await workshop.incident_of(press) == await workshop.incident_of(reports[0])


async def test_errors_are_grouped_by_fingerprint_only(workshop: Workshop) -> None:
    """Other numbers and addresses in the message change nothing; another place in the code is another fault."""
    grouping = workshop.grouping()
    same = [error() for _ in range(3)]
    other = error("scan_for_viruses")
    await workshop.feed(grouping, *same, other)
    assert len({await workshop.incident_of(one) for one in same}) == 1
    assert await workshop.incident_of(other) != await workshop.incident_of(same[0])
    [candidate] = await workshop.rows("select title, cause from incident where state = 'candidate'")
    assert candidate["title"] == "Unterlagen hochladen: TimeoutError in upload.documents.store"
    assert candidate["cause"] == "system"


async def test_titles_never_hold_a_clients_words_and_are_numbered(workshop: Workshop) -> None:
    """Two faults that would be called the same are told apart by a number."""
    await workshop.feed(
        workshop.grouping(), report("Alpha Kamel frisst Gras", drivers=()), report("Zylinder ohne Hut", drivers=())
    )
    titles = sorted(row["title"] for row in await workshop.rows("select title from incident"))
    assert titles == ["Unterlagen hochladen: gemeldete Störung", "Unterlagen hochladen: gemeldete Störung (2)"]


async def test_evidence_after_the_fix_regresses(workshop: Workshop) -> None:
    """A report written before the fix that comes late only counts; one written after it regresses the incident."""
    grouping = workshop.grouping()
    first = report("Upload bricht mit Fehler ab")
    await workshop.feed(grouping, first)
    incident = await workshop.incident_of(first)
    fixed_at = (NOW + timedelta(hours=2)).isoformat()
    await workshop.rows(
        "update incident set state = 'fixed', transitions = transitions || $2::jsonb where id = $1",
        *(incident, [{"state": "fixed", "at": fixed_at}]),
    )
    await workshop.feed(grouping, report("Upload bricht mit Fehler ab", submitted_at=NOW + timedelta(hours=1)))
    assert (await workshop.rows("select state from incident"))[0]["state"] == "fixed"
    await workshop.feed(grouping, report("Upload bricht mit Fehler ab", submitted_at=NOW + timedelta(hours=3)))
    assert (await workshop.rows("select state from incident"))[0]["state"] == "regressed"


async def test_likeness_never_adds_to_a_rejected_incident(workshop: Workshop) -> None:
    """The same words return to it, alike words found a new one, although memory still knows the old."""
    grouping = workshop.grouping()
    first = report("Dokumente hochladen klappt seit gestern nirgends")
    await workshop.feed(grouping, first)
    rejected = await workshop.incident_of(first)
    await workshop.rows("update incident set state = 'rejected' where id = $1", rejected)
    alike = report("Dokumente hochladen klappt seit heute nirgends mehr")
    same = report("Dokumente hochladen klappt seit gestern nirgends")
    await workshop.feed(grouping, alike, same)
    assert await workshop.incident_of(alike) not in (None, rejected)
    assert await workshop.incident_of(same) == rejected


async def test_links_follow_a_merge(workshop: Workshop) -> None:
    """What would join a merged incident joins the one it was merged into."""
    grouping = workshop.grouping()
    one, two = report("Dokumente hochladen scheitert überall"), report("Telefon klingelt ins Leere", service="phone")
    await workshop.feed(grouping, one, two)
    source, target = await workshop.incident_of(one), await workshop.incident_of(two)
    await workshop.rows("update incident set state = 'merged', merged_into = $2 where id = $1", source, target)
    late = report("Dokumente hochladen scheitert überall")
    await workshop.feed(grouping, late, alike := report("Dokumente hochladen scheitert leider überall"))
    assert await workshop.incident_of(late) == await workshop.incident_of(alike) == target


async def test_links_are_explained_and_announced_without_words(workshop: Workshop) -> None:
    """A link holds layer, score, rule, terms and version; its announcement holds no term and keeps the trace."""
    grouping = workshop.grouping()
    await workshop.feed(grouping, report("Dokumente hochladen scheitert überall"))
    alike = report("Dokumente hochladen scheitert leider überall")
    await workshop.feed(grouping, alike)
    [link] = await workshop.rows("select * from signal where id = $1", alike.id)
    assert (link["layer"], link["grouping_version"], link["link_version"]) == ("similarity", "1", 1)
    assert "dokumente" in link["terms"] and 0.5 < link["score"] <= 1 and link["nearest"]
    outbox = await workshop.rows("select * from outbox where topic = 'signal.linked.v1' order by id")
    payload = json.loads(outbox[-1]["payload"])
    assert payload["signal_id"] == str(alike.id) and "dokumente" not in outbox[-1]["payload"].decode().casefold()
    headers = dict(decode_headers(outbox[-1]["headers"]))
    assert headers["ce_traceparent"] == TRACEPARENT.encode()


async def test_the_decision_log_is_append_only(workshop: Workshop) -> None:
    """Update, delete and truncate of a decision are refused by the database."""
    await workshop.feed(workshop.grouping(), error())
    for statement in ("update decision set reason = 'other'", "delete from decision", "truncate decision cascade"):
        with pytest.raises((asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)):
            await workshop.rows(statement)
    assert len(await workshop.rows("select 1 from decision")) == 1


async def test_a_hundred_reports_of_one_text_in_one_batch(workshop: Workshop) -> None:
    """Signals of one batch see one another: one incident, a hundred links, versions that rise."""
    signals = [report("Upload bricht mit Fehler ab") for _ in range(100)]
    await workshop.feed(workshop.grouping(), *signals)
    [incident] = await workshop.rows("select id, count_report, version from incident")
    assert incident["count_report"] == 100
    versions = [
        json.loads(row["payload"])["version"]
        for row in await workshop.rows("select payload from outbox where topic = 'incident.changed.v1' order by id")
    ]
    assert versions == [incident["version"]]
    assert IncidentId(incident["id"]) == await workshop.incident_of(signals[-1])
