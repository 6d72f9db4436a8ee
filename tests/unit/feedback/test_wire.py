"""Hand-written events against the models of the contract."""

import json
from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.feedback import wire
from services.feedback.domain.report import Report
from shared.events import Envelope, EventId, FeedbackSubmittedV1, FeedbackWordedV1
from shared.events.vocabulary import Cause, Channel, Driver, Kind, Language
from shared.records import decode_headers

reports = st.builds(
    Report,
    report_id=st.uuids(),
    office=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    service=st.sampled_from(["other", "document-upload", 'quo"te']),
    channel=st.sampled_from(Channel),
    lang=st.sampled_from(Language),
    kind=st.sampled_from(Kind),
    rating=st.none() | st.integers(1, 5),
    drivers=st.lists(st.sampled_from(Driver), unique=True).map(tuple),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    joins_incident=st.none() | st.uuids(),
    cause=st.sampled_from(Cause),
    blames_person=st.booleans(),
    submitted_at=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(reports)
def test_facts_are_the_model(report: Report) -> None:
    """The written JSON is what the model would have written, member by member, and holds no word."""
    event, _ = wire.announced(report, uuid4(), uuid4(), TRACE)
    expected = FeedbackSubmittedV1(
        report_id=report.report_id, office=report.office, service=report.service, channel=report.channel,
        lang=report.lang, kind=report.kind, rating=report.rating, drivers=report.drivers, cause=report.cause,
        blames_person=report.blames_person, invited=False, submitted_at=report.submitted_at,
    )  # fmt: skip
    assert FeedbackSubmittedV1.model_validate_json(event.payload) == expected
    assert json.loads(event.payload) == json.loads(expected.model_dump_json())


@given(reports)
def test_words_are_the_model(report: Report) -> None:
    """The same for the words."""
    _, event = wire.announced(report, uuid4(), uuid4(), TRACE)
    expected = FeedbackWordedV1(
        report_id=report.report_id, text=report.text, office=report.office, service=report.service, lang=report.lang,
        kind=report.kind, drivers=report.drivers, cause=report.cause, blames_person=report.blames_person,
        joins_incident=report.joins_incident, submitted_at=report.submitted_at,
    )  # fmt: skip
    assert FeedbackWordedV1.model_validate_json(event.payload) == expected
    assert json.loads(event.payload) == json.loads(expected.model_dump_json())


@given(reports)
def test_headers_are_the_envelope(report: Report) -> None:
    """The stored headers are those of the CloudEvents envelope."""
    event_id = EventId(uuid4())
    stored = wire.announced(report, uuid4(), event_id, TRACE)[1].headers
    envelope = Envelope(
        id=event_id, type="feedback.worded.v1", source="feedback", time=report.submitted_at,
        subject=str(report.report_id), traceparent=TRACE,
    )  # fmt: skip
    assert decode_headers(stored) == envelope.to_headers()
