"""Kafka's Java archives: pinned with SHA-256 in ``deploy/kafka/jars.lock``, fetched once by jgo, offline afterwards.

jgo (a Maven resolver in pure Python) obeys HTTPS_PROXY, REQUESTS_CA_BUNDLE and the repositories of its own settings
file; what it does not read, the mirrors and proxies of Maven's ``~/.m2/settings.xml``, is read here.
``python -m deploy.local.pinjars 4.3.1`` pins another version.
"""

import hashlib
import logging
import os
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from xml.etree import ElementTree

from deploy.local.children import StartFailed

ROOT = Path(__file__).parent.parent.parent
LOCK_FILE = ROOT / "deploy" / "kafka" / "jars.lock"
CACHE_DIR = ROOT / ".local" / "cache"
_PARALLEL = 6
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 60

Progress = Callable[[int, int], None]
"""Called with bytes fetched so far and bytes to fetch in all."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One archive by Maven coordinates, with its content pinned."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """Its name in a Maven repository."""
        return f"{self.artifact}-{self.version}.jar"


def read_lock(lock_file: Path = LOCK_FILE) -> list[Jar]:
    """The pinned archives; Kafka itself comes first."""
    return [Jar(**entry) for entry in tomllib.loads(lock_file.read_text())["jar"]]


def kafka_version(lock_file: Path = LOCK_FILE) -> str:
    """The pinned version of Kafka."""
    return read_lock(lock_file)[0].version


def ensure_jars(progress: Progress | None = None, lock_file: Path = LOCK_FILE, cache_dir: Path = CACHE_DIR) -> Path:
    """The directory with all pinned archives, fetched if they are not there; every one is checked, every time.

    Raises StartFailed when an archive cannot be had or is not the pinned one.
    """
    jars = read_lock(lock_file)
    folder = cache_dir / f"kafka-{jars[0].version}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not _is_genuine(folder / jar.file_name, jar)]
    if missing:
        _fetch_all(missing, folder, progress or (lambda done, total: None))
    return folder


def have_jars(lock_file: Path = LOCK_FILE, cache_dir: Path = CACHE_DIR) -> bool:
    """Whether all pinned archives are there and genuine."""
    jars = read_lock(lock_file)
    return all(_is_genuine(cache_dir / f"kafka-{jars[0].version}" / jar.file_name, jar) for jar in jars)


def _is_genuine(path: Path, jar: Jar) -> bool:
    try:
        return path.stat().st_size == jar.size and _sha256(path) == jar.sha256
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_all(jars: Sequence[Jar], folder: Path, progress: Progress) -> None:
    total = sum(jar.size for jar in jars)
    done = 0
    progress(done, total)
    repositories = _repositories()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        fetches = {pool.submit(_fetch, jar, folder, repositories): jar for jar in jars}
        try:
            for fetch in as_completed(fetches):
                fetch.result()
                done += fetches[fetch].size
                progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(jar: Jar, folder: Path, repositories: dict[str, str] | None) -> None:
    """Fetch one archive beside its place and move it there only when it is the pinned one."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - 20 MB and 0.2 s, needed on the first start only

    logging.getLogger("jgo").setLevel(logging.ERROR)
    for attempt in range(1, _ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
            context = MavenContext(repo_cache=Path(scratch), remote_repos=repositories, timeout=_TIMEOUT_SECONDS)
            try:
                fetched = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
            except Exception as error:  # jgo raises what requests and the file system raise, and RuntimeError
                if attempt < _ATTEMPTS:
                    continue
                raise StartFailed(
                    f"{jar.file_name} cannot be fetched from a Maven repository ({type(error).__name__}). This is "
                    "needed once; a proxy is taken from HTTPS_PROXY, a mirror from ~/.m2/settings.xml. Or name a "
                    "broker of your own by KAFKA_BOOTSTRAP_SERVERS."
                ) from None
            found = _sha256(fetched)
            if found != jar.sha256:
                raise StartFailed(
                    f"{jar.file_name} is refused: its SHA-256 is {found}, but {LOCK_FILE.relative_to(ROOT)} pins "
                    f"{jar.sha256}. The repository or a proxy in between serves something else."
                )
            fetched.replace(folder / jar.file_name)
            return


def _repositories() -> dict[str, str] | None:
    """Repositories that the person has configured, for jgo or for Maven; None leaves jgo at Maven Central."""
    from jgo.config import GlobalSettings  # noqa: PLC0415

    own: dict[str, str] = GlobalSettings.load().repositories
    if own:
        return own
    settings_file = Path.home() / ".m2" / "settings.xml"
    if not settings_file.exists():
        return None
    try:
        settings = ElementTree.parse(settings_file).getroot()  # noqa: S314 - the person's own file
    except ElementTree.ParseError as error:
        raise StartFailed(f"{settings_file} cannot be read: {error}") from None
    _use_proxy(settings)
    return _mirror(settings)


def _mirror(settings: ElementTree.Element) -> dict[str, str] | None:
    for mirror in settings.iterfind("{*}mirrors/{*}mirror"):
        names = {name.strip() for name in mirror.findtext("{*}mirrorOf", "").split(",")}
        url = mirror.findtext("{*}url", "").strip()
        if url and names & {"*", "central", "external:*"} and "!central" not in names:
            return {"mirror": _with_login(url.rstrip("/"), settings, mirror.findtext("{*}id", ""))}
    return None


def _with_login(url: str, settings: ElementTree.Element, server_id: str) -> str:
    for server in settings.iterfind("{*}servers/{*}server"):
        user, password = server.findtext("{*}username", ""), server.findtext("{*}password", "")
        if server.findtext("{*}id") == server_id and user:
            address = urlsplit(url)
            return urlunsplit(address._replace(netloc=f"{quote(user)}:{quote(password)}@{address.netloc}"))
    return url


def _use_proxy(settings: ElementTree.Element) -> None:
    """Maven's proxy, unless the environment names one; requests reads it from there."""
    for proxy in settings.iterfind("{*}proxies/{*}proxy"):
        if proxy.findtext("{*}active", "true") == "true":
            address = f"http://{proxy.findtext('{*}host')}:{proxy.findtext('{*}port', '8080')}"
            for name in ("https_proxy", "http_proxy"):
                if not os.environ.get(name) and not os.environ.get(name.upper()):
                    os.environ[name] = address
            return


class DownloadLine:
    """Shows a download: one moving line on a terminal, a line per quarter elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._quarters: set[int] = set()

    def __call__(self, done: int, total: int) -> None:
        """Show ``done`` of ``total`` bytes."""
        text = f"{self._what}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
        if sys.stdout.isatty():
            print(f"\r{text} ", end="\n" if done == total else "", flush=True)
            return
        quarter = 4 * done // max(total, 1)
        if quarter not in self._quarters:
            self._quarters.add(quarter)
            print(text, flush=True)


def main() -> int:
    """Fetch what is missing, with progress; 1 with a plain sentence when that fails."""
    try:
        ensure_jars(DownloadLine(f"Fetching Apache Kafka {kafka_version()}, once"))
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
