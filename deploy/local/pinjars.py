"""Pins a version of Apache Kafka: ``python -m deploy.local.pinjars 4.3.1`` writes ``deploy/kafka/jars.lock``.

Kafka's tree is resolved by itself and wins; the binding of slf4j to log4j is added without its tree, which Kafka has.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import Dependency, MavenContext

from deploy.local.jars import LOCK_FILE
from deploy.local.maven import repositories

_LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"
_LOG_CORE = "log4j-core"


def pin(version: str) -> str:
    """The text of the lock file for one version of Kafka."""
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=repositories())
        kafka, tree = context.resolver.resolve([context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")])
        log_version = next(each.version for each in tree if each.artifactId == _LOG_CORE)
        group, artifact = _LOG_BINDING.split(":")
        binding = context.project(group, artifact).at_version(log_version).artifact()
        entries = [_entry(each) for each in [*kafka, *tree]]
        path = binding.resolve()
        entries.append(_text(group, artifact, log_version, path))
    return "# Written by `python -m deploy.local.pinjars`: do not edit.\n" + "".join(entries)


def _entry(dependency: Dependency) -> str:
    return _text(dependency.groupId, dependency.artifactId, dependency.version, dependency.artifact.resolve())


def _text(group: str, artifact: str, version: str, path: Path) -> str:
    content = path.read_bytes()
    return (
        f'\n[[jar]]\ngroup = "{group}"\nartifact = "{artifact}"\nversion = "{version}"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nsize = {len(content)}\n'
    )


if __name__ == "__main__":
    LOCK_FILE.write_text(pin(sys.argv[1]))
