"""The figures by HTTP, from events in the real log, against small examples computed by hand."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from shared.batches import Received
from tests.integration.reporting.conftest import Service
from tests.integration.reporting.log import caught_up, publish
from tests.integration.reporting.streams import incident, link, received, report

MONDAY = datetime(2026, 3, 23, 9, 0, tzinfo=UTC)  # ISO week 13, summer time begins on its Sunday
HOUR = timedelta(hours=1)


def numbered(events: list[Any]) -> list[Received[Any]]:
    return [received(event, number, MONDAY) for number, event in enumerate(events)]


def rated(number: int, rating: int | None, at: datetime = MONDAY, **fields: Any) -> Any:
    facts = {"office": "JC-001", "service": "payment", "channel": "web", "lang": "de", "kind": "complaint"}
    return report(
        Random(number), at, **{**facts, "report_id": UUID(int=number), "rating": rating, "cause": "unclear", **fields}
    )


async def test_satisfaction_counts_ratings_by_group_and_hides_small_ones(service: Service) -> None:
    """Mean, share of 4 and 5 with Wilson's interval and distribution are those of the example; two ratings show
    nothing; reports without a rating do not count; a Sunday evening in UTC is Monday in Berlin."""
    sunday_late = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)  # 00:30 on Monday of week 14 in Berlin
    ratings = [5, 4, 4, 2, 1]
    events = [rated(number, rating) for number, rating in enumerate(ratings)]
    events += [rated(10, None), rated(11, 1, lang="tr"), rated(12, 2, lang="tr")]
    events += [rated(20 + number, 3, sunday_late, office="JC-002", kind="rating") for number in range(3)]
    await publish(service.bootstrap_servers, numbered(events))
    await caught_up(service.bootstrap_servers, service.database)

    answer = service.get("/v1/satisfaction?by=lang,week").json()
    groups = {(group["lang"], group["week"]): group for group in answer["groups"]}
    german = groups["de", "2026-W13"]
    assert german["n"] == 5
    assert german["mean"] == pytest.approx(3.2)
    assert german["distribution"] == {"1": 1, "2": 1, "3": 0, "4": 2, "5": 1}
    # 3 of 5: (0.6 + 0.38416 ± 1.96·sqrt(0.048 + 0.0384)) / 1.7683, by hand
    assert german["csat"] == pytest.approx({"share": 0.6, "low": 0.2307, "high": 0.8824}, abs=1e-4)
    assert groups["tr", "2026-W13"] == {"lang": "tr", "week": "2026-W13", "suppressed": True}
    assert groups["de", "2026-W14"]["n"] == 3
    assert answer["total"]["n"] == 10
    assert "Wilson" in answer["definitions"]["interval"]
    assert sum(answer["data_as_of"]["positions"]["feedback.submitted.v1"].values()) >= len(events)

    period = service.get("/v1/satisfaction?from=2026-03-30&to=2026-03-31&by=office").json()
    assert [(group["office"], group["n"]) for group in period["groups"]] == [("JC-002", 3)]
    assert service.get("/v1/satisfaction?from=2026-03-31").json()["total"] == {"suppressed": True}


async def test_causes_follow_the_confirmed_incident(service: Service) -> None:
    """Six complaints, three of them in a confirmed incident of the system: half are system errors; when the incident is
    rejected they fall back to what was judged."""
    number = UUID(int=500)
    candidate = [("candidate", MONDAY), ("confirmed", MONDAY + HOUR)]
    events = [rated(index, None, cause="behaviour" if index < 4 else "process") for index in range(6)]
    events += [rated(7, 5, kind="praise")]
    events += [link(UUID(int=index), number, 1, MONDAY) for index in (0, 1, 4)]
    events += [incident(number, 2, candidate)]
    await publish(service.bootstrap_servers, numbered(events))
    await caught_up(service.bootstrap_servers, service.database)

    total = service.get("/v1/causes").json()["total"]
    assert {cause: share["n"] for cause, share in total["causes"].items()} == {
        "system": 3, "process": 1, "behaviour": 2, "decision": 0, "unclear": 0,
    }  # fmt: skip
    assert total["system_error_share"] == pytest.approx({"share": 0.5, "low": 0.1876, "high": 0.8124}, abs=1e-4)

    rejected = incident(number, 3, [*candidate, ("rejected", MONDAY + 2 * HOUR)])
    await publish(service.bootstrap_servers, [received(rejected, 1000, MONDAY)])
    await caught_up(service.bootstrap_servers, service.database)
    total = service.get("/v1/causes").json()["total"]
    assert total["causes"]["system"]["n"] == 0
    assert total["causes"]["behaviour"]["n"] == 4


async def test_timings_give_median_and_open_ones_apart(service: Service) -> None:
    """Acknowledged after 1, 2 and 9 hours: the median is 2, the 90th percentile 9; a waiting candidate is open, a mere
    observation is not counted at all; one fix took 4 hours, and that incident is back."""
    events = []
    for index, hours in enumerate((1, 2, 9)):
        entered = [("observed", MONDAY), ("candidate", MONDAY), ("confirmed", MONDAY + hours * HOUR)]
        if index == 0:
            entered += [("fixed", MONDAY + 5 * HOUR), ("regressed", MONDAY + 6 * HOUR)]
        events.append(incident(UUID(int=600 + index), 1, entered))
    events.append(incident(UUID(int=610), 1, [("observed", MONDAY), ("candidate", MONDAY + HOUR)]))
    events.append(incident(UUID(int=611), 1, [("observed", MONDAY)]))
    events.append(incident(UUID(int=612), 1, [("candidate", MONDAY), ("confirmed", MONDAY)], offices=("JC-009",)))
    await publish(service.bootstrap_servers, numbered(events))
    await caught_up(service.bootstrap_servers, service.database)

    answer = service.get("/v1/timings?office=JC-001").json()
    assert answer["acknowledge"] == {"n": 3, "median_seconds": 7200.0, "p90_seconds": 32400.0, "open": 1}
    assert answer["fix"] == {"n": 1, "median_seconds": 14400.0, "p90_seconds": 14400.0, "open": 2, "came_back": 1}
    assert service.get("/v1/timings").json()["acknowledge"]["n"] == 4
    nothing = service.get("/v1/timings?from=2026-03-24").json()["acknowledge"]
    assert nothing == {"n": 0, "median_seconds": None, "p90_seconds": None, "open": 0}


async def test_who_asks_sees_their_offices_only(service: Service) -> None:
    """Foreign offices are not counted, and asked for by name they do not exist; other roles are refused."""
    events = [rated(index, 5, office="JC-001" if index < 4 else "JC-002") for index in range(9)]
    incidents = [
        incident(UUID(int=700 + index), 1, [("candidate", MONDAY), ("confirmed", MONDAY + HOUR)], offices=(office,))
        for index, office in enumerate(("JC-001", "JC-002", "JC-002"))
    ]
    await publish(service.bootstrap_servers, numbered([*events, *incidents]))
    await caught_up(service.bootstrap_servers, service.database)

    mine = service.token("reporter", "JC-001")
    assert service.get("/v1/satisfaction?by=office", token=mine).json()["total"]["n"] == 4
    assert service.get("/v1/causes?by=office", token=mine).json()["total"]["n"] == 4
    assert service.get("/v1/timings", token=mine).json()["acknowledge"]["n"] == 1
    for path in ("/v1/satisfaction", "/v1/causes", "/v1/timings"):
        assert service.get(f"{path}?office=JC-002", token=mine).status_code == 404
        assert service.get(f"{path}?office=JC-NOWHERE", token=mine).status_code == 404
        assert service.get(path, token=service.token("frontline")).status_code == 403
        assert service.get(path, token="nonsense").status_code == 401


BAD_QUESTIONS = [
    ("from=2026-03-02&to=2026-03-01", "from", "2026-03-01"),
    ("from=2026-03-02&to=2026-03-02", "from", "2026-03-02"),
    ("by=office,person", "by", "office, service, channel, lang, week"),
    ("from=yesterday", "from", "YYYY-MM-DD"),
    ("to=2026-02-30", "to", "YYYY-MM-DD"),
    ("from=0001-01-01", "from", "2000-01-01"),
    ("service=teleport", "service", "payment"),
    ("office=JC-999", "office", "JC-001"),
    ("channel=fax", "channel", "web"),
    ("lang=klingon", "lang", "de"),
    ("form=2026-01-01", "form", ""),
    ("by=%00", "by", "no NUL"),
    ("service=%00", "service", "no NUL"),
]


async def test_bad_questions_are_refused_by_field(service: Service) -> None:
    """A question that makes no sense gets a problem that names the field and what is allowed, never a figure."""
    token = service.token()
    for path in ("/v1/satisfaction", "/v1/causes"):
        for query, field, allowed in BAD_QUESTIONS:
            answer = service.get(f"{path}?{query}", token=token)
            assert answer.status_code == 422, (query, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            errors = {error["field"].split(".")[0]: error for error in answer.json()["errors"]}
            assert allowed in errors[field].get("allowed", ""), (query, answer.text)
    assert service.get("/v1/timings?by=office", token=token).status_code == 422


async def test_an_answer_nobody_would_read_is_refused(service: Service) -> None:
    """More than 5,000 groups: a problem that says how to ask for fewer."""
    events = [
        rated(number, 5, MONDAY - timedelta(days=7 * (number // 10)), office=f"JC-{number % 10:03}")
        for number in range(5100)
    ]
    await publish(service.bootstrap_servers, numbered(events))
    await caught_up(service.bootstrap_servers, service.database)
    answer = service.get("/v1/satisfaction?by=office,week")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "by"
    assert service.get("/v1/satisfaction?by=week").status_code == 200
