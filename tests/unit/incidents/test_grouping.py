"""Layers of grouping as pure functions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.incidents.domain import titles
from services.incidents.domain.grouping import (
    Alike,
    ExactFingerprint,
    NamedIncident,
    RecentOfService,
    SimilarWords,
    place_by_first_sure,
)
from services.incidents.domain.model import GroupId, GroupKey, IncidentId, Signal, SignalId, SignalKind

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ONE, TWO = IncidentId(UUID(int=1)), IncidentId(UUID(int=2))
GROUP = GroupId(UUID(int=9))


def report(kind: SignalKind = SignalKind.REPORT, service: str = "payment", joins: IncidentId | None = None) -> Signal:
    """A signal of one group."""
    group = GroupKey(GROUP, kind, "f", "")
    at = (NOW, NOW)
    return Signal(SignalId(uuid4()), kind, "x", *at, service, "JC-001", "de", "Geld fehlt", group=group, joins=joins)


def alike(score: float, *, service: str = "payment", office: str = "JC-001", hours: int = 1, terms: int = 2) -> Alike:
    """A known group so much like it."""
    words = tuple(f"word{number}" for number in range(terms))
    return Alike(GROUP, ONE, score, words, service, office, NOW - timedelta(hours=hours))


def test_the_first_sure_layer_decides() -> None:
    """What the sender named goes before the fingerprint, the fingerprint before likeness."""
    layers = (
        NamedIncident({TWO: TWO}),
        RecentOfService({}),
        ExactFingerprint({GROUP: ONE}),
        SimilarWords(lambda _: [alike(0.9)]),
    )
    named = place_by_first_sure(layers, report(joins=TWO))
    exact = place_by_first_sure(layers, report(joins=IncidentId(uuid4())))
    assert named is not None and (named.incident, named.layer) == (TWO, "named")
    assert exact is not None and (exact.incident, exact.layer, exact.score) == (ONE, "fingerprint", 1.0)
    assert place_by_first_sure((), report()) is None


@pytest.mark.parametrize(
    ("found", "joins"),
    [
        ([alike(0.6, service="phone", office="JC-009")], True),
        ([alike(0.5, service="phone")], False),
        ([alike(0.6, service="phone", terms=1)], False),
        ([alike(0.4, office="JC-009")], True),
        ([alike(0.2, office="JC-009")], False),
        ([alike(0.2)], True),
        ([alike(0.2, hours=30)], False),
        ([alike(0.1)], False),
        ([alike(0.9, terms=0)], False),
        ([alike(0.5, service="phone"), alike(0.2)], True),
    ],
)
def test_the_closer_service_office_and_day_the_less_likeness_it_takes(found: Sequence[Alike], joins: bool) -> None:
    """The service is a hint that lowers the bar; shared words are always needed."""
    placement = SimilarWords(lambda _: found).place(report())
    assert (placement is not None) == joins


def test_an_unnamed_service_is_no_hint() -> None:
    """Two reports about "other" have nothing in common by that."""
    assert SimilarWords(lambda _: [alike(0.4, service="other")]).place(report(service="other")) is None


def test_errors_are_never_placed_by_words() -> None:
    """Likeness is for clients' words only; heat follows the latest incident of its place."""
    assert SimilarWords(lambda _: [alike(0.9)]).place(report(SignalKind.ERROR)) is None
    recent = RecentOfService({("payment", "JC-001"): TWO})
    placement = recent.place(report(SignalKind.HEAT))
    assert placement is not None and placement.incident == TWO
    assert recent.place(report()) is None


def test_titles_say_service_and_reason() -> None:
    """German, from catalogue and ticked reasons; long error labels are cut; equal titles are numbered."""
    assert titles.report_title("Auszahlung", {"payment": 2, "it_online": 5, "other": 9}) == (
        "Auszahlung: Technik und Online-Dienste"
    )
    assert titles.report_title("Auszahlung", {"other": 3}) == "Auszahlung: gemeldete Störung"
    assert titles.heat_title("Telefon") == "Telefon: Häufung von Ärger am Schalter"
    assert len(titles.error_title("Antrag", "x" * 500)) <= len("Antrag: ") + titles.MAX_LABEL_LENGTH
    assert titles.error_title("Antrag", "") == "Antrag: technischer Fehler"
    assert [titles.numbered("A", number) for number in (1, 2)] == ["A", "A (2)"]
