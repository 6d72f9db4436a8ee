"""Makes the declared topics that are missing: the same list for the local stack, the containers and the tests.

``python -m deploy.kafka.topics`` reads KAFKA_BOOTSTRAP_SERVERS and TOPICS_FILE from the environment.
"""

import asyncio
import os
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError, for_code

DEFAULT_FILE = Path(__file__).with_name("topics.toml")
_TOPIC_ALREADY_EXISTS = 36
_MOST_COPIES = 3
_VISIBLE_SECONDS = 15.0
_CONNECT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as declared; times in milliseconds, -1 for good."""

    name: str
    partitions: int
    retention_ms: int
    segment_ms: int
    config: dict[str, str] = field(default_factory=dict)

    def dead_letters(self) -> "Topic":
        """The topic for refused records of this one: one partition, kept as long."""
        return Topic(f"{self.name}.dlq", 1, self.retention_ms, self.segment_ms, self.config)

    def settings(self) -> dict[str, str]:
        """The Kafka topic settings."""
        return {
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(self.segment_ms),
            "cleanup.policy": "delete",
            **self.config,
        }


def read_topics(topics_file: Path) -> list[Topic]:
    """The declared topics in the order of the file, without the derived ones. Raises ValueError on a wrong file."""
    document = tomllib.loads(topics_file.read_text())
    topics = []
    for entry in document.get("topic", []):
        try:
            topic = Topic(**entry)
        except TypeError as error:
            raise ValueError(f"{topics_file}: {entry.get('name', 'a topic without a name')}: {error}") from None
        if topic.partitions < 1 or topic.retention_ms < -1 or topic.segment_ms < 1:
            raise ValueError(f"{topics_file}: {topic.name}: partitions, retention_ms or segment_ms is out of range")
        topics.append(topic)
    names = [topic.name for topic in topics]
    if not names or len(names) != len(set(names)):
        raise ValueError(f"{topics_file}: declares no topic, or one twice")
    return topics


def with_dead_letters(topics: Sequence[Topic]) -> list[Topic]:
    """Every declared topic followed by its dead-letter topic."""
    return [each for topic in topics for each in (topic, topic.dead_letters())]


def create_topics(bootstrap_servers: str, topics_file: Path) -> None:
    """Make what is missing and return when the broker shows all of it; idempotent.

    A topic that has fewer partitions than declared gets more; nothing is ever removed or shortened.
    """
    asyncio.run(_create(bootstrap_servers, with_dead_letters(read_topics(topics_file))))


async def _create(bootstrap_servers: str, topics: Sequence[Topic]) -> None:
    admin = await _connect(bootstrap_servers)
    try:
        present = await _partitions(admin, topics)
        missing = [topic for topic in topics if topic.name not in present]
        if missing:
            await _create_missing(admin, missing)
        grown = {t.name: NewPartitions(t.partitions) for t in topics if 0 < present.get(t.name, 0) < t.partitions}
        if grown:
            await admin.create_partitions(grown)
        if missing or grown:
            await _wait_until_visible(admin, topics)
    finally:
        await admin.close()


async def _connect(bootstrap_servers: str) -> AIOKafkaAdminClient:
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="blitzableiter-topics")
        try:
            await admin.start()
        except KafkaError:
            await admin.close()
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return admin


async def _create_missing(admin: AIOKafkaAdminClient, missing: Sequence[Topic]) -> None:
    # as many copies as there are brokers, three at most, so that one list serves one broker and many
    copies = min(_MOST_COPIES, len((await admin.describe_cluster())["brokers"]))
    new = [NewTopic(t.name, t.partitions, copies, topic_configs=t.settings()) for t in missing]
    response = await admin.create_topics(new, timeout_ms=30_000)
    for name, code, *message in response.topic_errors:
        if code not in (0, _TOPIC_ALREADY_EXISTS):
            raise RuntimeError(f"Topic {name} was refused: {for_code(code).__name__} {message}")


async def _wait_until_visible(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Metadata spread after the answer: wait, so that no service finds a topic missing right after this."""
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        present = await _partitions(admin, topics)
        late = [topic.name for topic in topics if present.get(topic.name, 0) < topic.partitions]
        if not late:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"The broker does not show these topics: {', '.join(late)}")
        await asyncio.sleep(0.05)


async def _partitions(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> dict[str, int]:
    """Partitions with a leader, by topic; a topic that is not there is left out."""
    described = await admin.describe_topics([topic.name for topic in topics])
    return {
        entry["topic"]: sum(1 for partition in entry["partitions"] if partition["leader"] >= 0)
        for entry in described
        if entry["error_code"] == 0
    }


def main() -> int:
    """Make the topics that the environment names; 78 on a wrong file, 1 when the broker does not answer."""
    bootstrap_servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:19092")
    topics_file = Path(os.environ.get("TOPICS_FILE", str(DEFAULT_FILE)))
    try:
        create_topics(bootstrap_servers, topics_file)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return os.EX_CONFIG
    except (KafkaError, RuntimeError) as error:
        print(f"Kafka at {bootstrap_servers}: {error}", file=sys.stderr)
        return 1
    print(f"{len(read_topics(topics_file))} topics with their dead-letter topics are there.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
