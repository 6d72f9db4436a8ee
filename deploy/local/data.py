"""The data of a local stack: one directory a stack, held by a lock while it runs, so that no two stacks share one."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TextIO

from deploy.local.children import StartFailed
from deploy.local.plan import LOCAL, ROOT, Plan
from deploy.local.programs import remove_home

_FRESH_PREFIX = "fresh-"


class DataDirectory:
    """The data of one stack, held by a lock as long as the stack runs."""

    def __init__(self, plan: Plan) -> None:
        """Open and lock it. Raises StartFailed when another stack runs on it."""
        LOCAL.mkdir(exist_ok=True)
        self._fresh = plan.fresh
        if plan.fresh:
            _sweep_fresh()
            unlocked = Path(tempfile.mkdtemp(prefix="new-", dir=LOCAL))
            unlocked.chmod(0o711)
            self._lock = _lock(unlocked)
            # named only now that it is locked: a stack that starts beside this one sweeps what is fresh and unlocked
            self.path = unlocked.rename(LOCAL / unlocked.name.replace("new-", _FRESH_PREFIX))
        else:
            self.path = LOCAL / f"data{plan.suffix}"
            _make(self.path)
            self._lock = _lock(self.path)
        if self._lock is None:
            raise StartFailed(
                f"A stack runs on {self.path.relative_to(ROOT)} already{_who(self.path)}. Stop it with Ctrl-C, start a "
                "second one beside it with PORT_OFFSET=100, or stop it and use FRESH=1 for empty data."
            )
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}")
        self._lock.flush()

    def close(self) -> None:
        """Let go of it; fresh data is removed."""
        if self._fresh:
            _remove(self.path)
        if self._lock is not None:
            self._lock.close()


def remove_all_data() -> None:
    """Remove the data and logs of all stacks that do not run. Raises StartFailed when one runs."""
    for path in [*LOCAL.glob("data*"), *LOCAL.glob(f"{_FRESH_PREFIX}*")]:
        lock = _lock(path)
        if lock is None:
            raise StartFailed(f"A stack runs on {path.relative_to(ROOT)}{_who(path)}: stop it first.")
        _remove(path)
        lock.close()
    for path in LOCAL.glob("logs*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in LOCAL.glob("running*.env"):
        path.unlink(missing_ok=True)


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
    except PermissionError:
        raise StartFailed(f"{path} cannot be made: the directory belongs to another user.") from None


def _lock(path: Path) -> TextIO | None:
    """The held lock of a data directory, or None when another process holds it."""
    try:
        lock = (path / "lock").open("a+")
    except PermissionError:
        raise StartFailed(
            f"The data in {path} belongs to another user: use FRESH=1, or make clean as that one."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _who(path: Path) -> str:
    pid = (path / "lock").read_text().strip()
    return f" (process {pid})" if pid else ""


def _sweep_fresh() -> None:
    """Remove the fresh data of stacks that were killed before they could."""
    for path in LOCAL.glob(f"{_FRESH_PREFIX}*"):
        lock = _lock(path) if os.access(path, os.W_OK) else None
        if lock is not None:
            _remove(path)
            lock.close()


def _remove(path: Path) -> None:
    remove_home(path / "postgres")
    shutil.rmtree(path, ignore_errors=True)
