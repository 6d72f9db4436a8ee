"""The events, the declared topics and the AsyncAPI document say the same."""

import tomllib
from pathlib import Path

from shared.events import EVENTS, FeedbackWordedV1, IncidentChangedV1, SignalLinkedV1
from shared.kafka import asyncapi_document


def test_every_event_has_a_declared_topic() -> None:
    """Services create no topic, so each event's topic must be in the list that deployments make."""
    declared = tomllib.loads(Path("deploy/kafka/topics.toml").read_text())["topic"]
    assert {event_type.topic for event_type in EVENTS} == {topic["name"] for topic in declared}


def test_the_asyncapi_document_shows_channels_and_typed_payloads() -> None:
    """AsyncAPI 3.0 with what a service receives, what it sends, and the fields of both."""
    document = asyncapi_document(
        title="incidents", version="1.0.0", consumes=[FeedbackWordedV1], announces=[SignalLinkedV1, IncidentChangedV1]
    )
    assert document["asyncapi"] == "3.0.0"
    assert {channel["address"] for channel in document["channels"].values()} == {
        *("feedback.worded.v1", "signal.linked.v1", "incident.changed.v1"),
    }
    actions = [operation["action"] for operation in document["operations"].values()]
    assert sorted(actions) == ["receive", "send", "send"]
    assert "link_version" in document["components"]["schemas"]["SignalLinkedV1"]["properties"]
    assert "text" in document["components"]["schemas"]["FeedbackWordedV1"]["properties"]
