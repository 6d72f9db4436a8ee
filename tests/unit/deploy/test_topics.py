"""The declared topics: well-formed, as the contract has them, and the same as the events'."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import shared.events
from deploy.kafka.topics import DEFAULT_FILE, read_topics, with_dead_letters
from shared.events.envelope import Event

DAY_MS = 86_400_000
TOPICS = {topic.name: topic for topic in read_topics(DEFAULT_FILE)}


def test_every_event_has_its_topic_and_every_topic_its_event() -> None:
    """An event without a topic could never be announced; a topic without an event is a leftover."""
    for module in pkgutil.walk_packages(shared.events.__path__, "shared.events."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert {each.topic for each in Event.__subclasses__() if each.__module__.startswith("shared.events.")} == set(
        TOPICS
    )


def test_words_leave_kafka_within_a_week() -> None:
    """Retention plus one segment, as Kafka removes whole segments only."""
    for name in ("feedback.worded.v1", "error.reported.v1"):
        topic = TOPICS[name]
        assert topic.retention_ms == 6 * DAY_MS
        assert topic.retention_ms + topic.segment_ms <= 7 * DAY_MS


def test_facts_stay_for_good() -> None:
    """Figures can be rebuilt from the beginning of time."""
    kept = {name for name, topic in TOPICS.items() if topic.retention_ms == -1}
    assert kept == {"feedback.submitted.v1", "heat.reported.v1", "signal.linked.v1", "incident.changed.v1"}


def test_every_topic_has_dead_letters_kept_as_long() -> None:
    """Derived, one partition, same retention: refused words must not outlive the accepted ones."""
    made = {topic.name: topic for topic in with_dead_letters(list(TOPICS.values()))}
    assert len(made) == 2 * len(TOPICS)
    for name, topic in TOPICS.items():
        refused = made[f"{name}.dlq"]
        assert (refused.partitions, refused.settings()) == (1, topic.settings())


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[[topic]]\nname = "a"\npartitions = 0\nretention_ms = 1\nsegment_ms = 1\n',
        '[[topic]]\nname = "a"\npartitions = 1\nretention_ms = 1\n',
        '[[topic]]\nname = "a"\npartitions = 1\nretention_ms = 1\nsegment_ms = 1\nreplicas = 3\n',
        2 * '[[topic]]\nname = "a"\npartitions = 1\nretention_ms = 1\nsegment_ms = 1\n',
    ],
    ids=["empty", "no partition", "no segment", "unknown field", "twice"],
)
def test_a_wrong_file_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    """With the name of the file in the message."""
    path = tmp_path / "topics.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"topics\.toml"):
        read_topics(path)
