"""Kafka's Java archives: pinned with SHA-256 in ``deploy/kafka/jars.lock``, fetched once by jgo, offline afterwards.

jgo is a Maven resolver in pure Python; where it fetches from is said in ``deploy.local.maven``.
``python -m deploy.local.pinjars 4.3.1`` pins another version.
"""

import hashlib
import logging
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

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
        _fetch_all(missing, folder, lock_file, progress or (lambda done, total: None))
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


def _fetch_all(jars: Sequence[Jar], folder: Path, lock_file: Path, progress: Progress) -> None:
    from deploy.local.maven import repositories  # noqa: PLC0415 - with jgo 20 MB and 0.2 s, on the first start only

    total = sum(jar.size for jar in jars)
    done = 0
    progress(done, total)
    asked = repositories()
    with ThreadPoolExecutor(_PARALLEL) as pool:
        fetches = {pool.submit(_fetch, jar, folder, lock_file, asked): jar for jar in jars}
        try:
            for fetch in as_completed(fetches):
                fetch.result()
                done += fetches[fetch].size
                progress(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch(jar: Jar, folder: Path, lock_file: Path, repositories: dict[str, str]) -> None:
    """Fetch one archive beside its place and move it there only when it is the pinned one."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - as above

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
                    f"{jar.file_name} is refused: its SHA-256 is {found}, but {_shown(lock_file)} pins "
                    f"{jar.sha256}. The repository or a proxy in between serves something else."
                )
            fetched.replace(folder / jar.file_name)
            return


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


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
