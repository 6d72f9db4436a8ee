"""Kind, language, cause and blame, as judged on arrival."""

from uuid import uuid4

import pytest

from services.feedback.domain.judgement import judge_blame, judge_cause
from services.feedback.domain.report import kind_of, language_of
from shared.events.vocabulary import Cause, Driver, Kind, Language


@pytest.mark.parametrize(
    ("drivers", "cause"),
    [
        ([], Cause.UNCLEAR),
        ([Driver.OTHER], Cause.UNCLEAR),
        ([Driver.IT_ONLINE], Cause.SYSTEM),
        ([Driver.PAYMENT], Cause.SYSTEM),
        ([Driver.DOCUMENTS_LOST], Cause.SYSTEM),
        ([Driver.WAITING_REACHABILITY], Cause.PROCESS),
        ([Driver.APPOINTMENT], Cause.PROCESS),
        ([Driver.LETTER_DECISION], Cause.DECISION),
        ([Driver.EMPLOYEE], Cause.BEHAVIOUR),
        ([Driver.EMPLOYEE, Driver.IT_ONLINE], Cause.SYSTEM),
        ([Driver.EMPLOYEE, Driver.OTHER], Cause.BEHAVIOUR),
    ],
)
def test_the_cause_follows_the_reasons_ticked(drivers: list[Driver], cause: Cause) -> None:
    """A fault of the system outranks everything, a person comes last."""
    assert judge_cause(drivers, Kind.COMPLAINT) is cause
    assert judge_cause(drivers, Kind.PRAISE) is Cause.UNCLEAR


@pytest.mark.parametrize(
    ("drivers", "kind", "rating", "blames"),
    [
        ([Driver.EMPLOYEE], Kind.COMPLAINT, None, True),
        ([Driver.EMPLOYEE, Driver.IT_ONLINE], Kind.COMPLAINT, 2, True),
        ([Driver.EMPLOYEE], Kind.RATING, 1, True),
        ([Driver.EMPLOYEE], Kind.RATING, 5, False),
        ([Driver.EMPLOYEE], Kind.PRAISE, None, False),
        ([Driver.IT_ONLINE], Kind.COMPLAINT, 1, False),
    ],
)
def test_a_person_is_blamed_when_ticked_in_displeasure(
    drivers: list[Driver], kind: Kind, rating: int | None, blames: bool
) -> None:
    """The driver ``employee`` blames, unless its writer is content."""
    assert judge_blame(drivers, kind, rating) is blames


@pytest.mark.parametrize(
    ("said", "rating", "has_text", "kind"),
    [
        (Kind.SUGGESTION, 1, True, Kind.SUGGESTION),
        (None, 3, False, Kind.RATING),
        (None, None, True, Kind.COMPLAINT),
        (None, 3, True, Kind.COMPLAINT),
        (None, 5, True, Kind.PRAISE),
    ],
)
def test_the_kind_that_nobody_said(said: Kind | None, rating: int | None, has_text: bool, kind: Kind) -> None:
    """A rating alone is a rating; a text is praise beside a good rating, else a complaint."""
    assert kind_of(said, rating, has_text=has_text) is kind


@pytest.mark.parametrize(
    ("tag", "header", "language"),
    [
        ("de", "en", Language.DE),
        ("DE-at", None, Language.DE),
        ("de-easy", None, Language.DE_EASY),
        ("tlh", "de", Language.OTHER),
        ("", "de", Language.OTHER),
        (None, "tr-TR,tr;q=0.9,de;q=0.5", Language.TR),
        (None, "fr", Language.OTHER),
        (None, None, Language.OTHER),
        (None, "*", Language.OTHER),
        ("other", None, Language.OTHER),
    ],
)
def test_unknown_languages_are_other(tag: str | None, header: str | None, language: Language) -> None:
    """By tag, else by Accept-Language; what we have no word for is ``other``."""
    assert language_of(tag, header) is language


def test_ids_are_no_language() -> None:
    """Any text is accepted as a tag."""
    assert language_of(str(uuid4())) is Language.OTHER
