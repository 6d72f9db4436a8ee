"""Kafka's archives: pinned, fetched once, from the mirror that Maven's own settings name."""

import gc
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import jars, maven
from deploy.local.children import StartFailed

# jgo leaves the answers of a failed download to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CONTENT = b"the archive that is pinned"
PATH = "/maven/org/example/thing/1.0/thing-1.0.jar"


class Repository(http.server.ThreadingHTTPServer):
    """A Maven repository with one archive; remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content = CONTENT
        self.asked: list[str] = []


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        found = self.path == PATH
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.server.content) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """The test's output stays readable."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository that a ``~/.m2/settings.xml`` names as the mirror of all others."""
    server = Repository()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings = tmp_path / "home" / ".m2" / "settings.xml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><id>house</id><mirrorOf>*</mirrorOf>'
        f"<url>http://127.0.0.1:{server.server_port}/maven/</url></mirror></mirrors></settings>"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("JGO_CONFIG_FILE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    """A lock file that pins the one archive."""
    path = tmp_path / "jars.lock"
    path.write_text(
        '[[jar]]\ngroup = "org.example"\nartifact = "thing"\nversion = "1.0"\n'
        f'sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\nsize = {len(CONTENT)}\n'
    )
    return path


def test_an_archive_is_fetched_once_from_the_mirror_and_then_never_again(
    repository: Repository, lock_file: Path, tmp_path: Path
) -> None:
    """Offline afterwards: the second call asks nobody; nothing unfinished is left beside it."""
    shown: list[tuple[int, int]] = []
    folder = jars.ensure_jars(lambda done, total: shown.append((done, total)), lock_file, tmp_path / "cache")
    assert (folder / "thing-1.0.jar").read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["thing-1.0.jar"]
    assert shown[-1] == (len(CONTENT), len(CONTENT))
    assert PATH in repository.asked
    repository.asked.clear()
    assert jars.have_jars(lock_file, tmp_path / "cache")
    jars.ensure_jars(None, lock_file, tmp_path / "cache")
    assert repository.asked == []


def test_an_archive_with_another_content_is_refused(repository: Repository, lock_file: Path, tmp_path: Path) -> None:
    """By name, with the lock that pins it, and it is not kept."""
    repository.content = b"the archive of somebody else"
    with pytest.raises(StartFailed, match=rf"thing-1\.0\.jar is refused: its SHA-256 is .*, but {lock_file} pins"):
        jars.ensure_jars(None, lock_file, tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.jar")) == []


def test_a_damaged_archive_is_fetched_again(repository: Repository, lock_file: Path, tmp_path: Path) -> None:
    """A disk error or an interrupted copy heals by itself."""
    folder = jars.ensure_jars(None, lock_file, tmp_path / "cache")
    (folder / "thing-1.0.jar").write_bytes(CONTENT[::-1])
    jars.ensure_jars(None, lock_file, tmp_path / "cache")
    assert (folder / "thing-1.0.jar").read_bytes() == CONTENT


def test_a_repository_that_does_not_answer_is_said_plainly(
    repository: Repository, lock_file: Path, tmp_path: Path
) -> None:
    """With what to do: proxy, mirror, or a broker of one's own."""
    lock_file.write_text(lock_file.read_text().replace("org.example", "org.nowhere"))
    with pytest.raises(StartFailed, match=r"cannot be fetched.*KAFKA_BOOTSTRAP_SERVERS"):
        jars.ensure_jars(None, lock_file, tmp_path / "cache")


def test_proxy_and_logins_of_mavens_settings_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy with its exceptions, a mirror with its login, secrets from the environment; HTTPS_PROXY wins."""
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.setenv(name, "")  # so that what is set here is undone
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("JGO_CONFIG_FILE", raising=False)
    monkeypatch.setenv("HOUSE_PASSWORD", "p@ss")
    settings = tmp_path / ".m2" / "settings.xml"
    settings.parent.mkdir()
    settings.write_text(
        "<settings><mirrors><mirror><id>house</id><mirrorOf>central</mirrorOf><url>https://maven.example/all</url>"
        "</mirror></mirrors><servers><server><id>house</id><username>me</username>"
        "<password>${env.HOUSE_PASSWORD}</password></server></servers><proxies><proxy><host>proxy.example</host>"
        "<port>3128</port><nonProxyHosts>localhost|*.house.example</nonProxyHosts></proxy></proxies></settings>"
    )
    assert maven.repositories() == {"mirror": "https://me:p%40ss@maven.example/all"}
    assert os.environ["https_proxy"] == "http://proxy.example:3128"
    assert os.environ["no_proxy"] == "localhost,.house.example"
    monkeypatch.setenv("https_proxy", "http://another.example:8080")
    maven.repositories()
    assert os.environ["https_proxy"] == "http://another.example:8080"


def test_the_committed_lock_pins_every_archive_by_hash() -> None:
    """Kafka first, nothing twice."""
    pinned = jars.read_lock()
    assert pinned[0].artifact == "kafka_2.13"
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in pinned)
    assert len({(jar.group, jar.artifact) for jar in pinned}) == len(pinned)
