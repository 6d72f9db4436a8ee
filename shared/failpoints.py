"""Named places where a test lets a process die: ``FAILPOINT=name`` sends it SIGKILL there. Does nothing unless set."""

import os
import signal

_CHOSEN = os.environ.get("FAILPOINT", "")


def reach(name: str) -> None:
    """Marks a step of the way; kills this process when the environment chose this name."""
    if _CHOSEN and name == _CHOSEN:
        os.kill(os.getpid(), signal.SIGKILL)
