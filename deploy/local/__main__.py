"""``make run``: starts the local stack, keeps it alive and stops it in good order.

Environment: PORT_OFFSET, FRESH=1, DEMO=0, and what ``deploy.local.plan`` lists.
"""

import os
import signal
import sys
import threading
import time
from types import FrameType

from deploy.local.children import StartFailed
from deploy.local.console import say, show_addresses, show_table
from deploy.local.data import DataDirectory
from deploy.local.plan import LOCAL, ROOT, Plan, read_plan, require_free_ports
from deploy.local.stack import Stack, product_version

_LOOK_SECONDS = 0.5


class Interrupts:
    """Ctrl-C, SIGTERM and a closed terminal: the first stops in good order, the second at once."""

    def __init__(self, stack: Stack, started_by_make: bool) -> None:
        self._stack = stack
        self._parent = os.getppid() if started_by_make else None
        self._count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def wait(self) -> None:
        """Return when the stack is to stop, also when the make that started it was killed."""
        while not self._stack.stopping.wait(_LOOK_SECONDS):
            if self._parent is not None and os.getppid() != self._parent:
                self._stack.stopping.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        # in a thread: stopping takes seconds, and a handler must not print, as it may have interrupted a print
        threading.Thread(target=self._stop if self._count == 1 else self._end, name="stop").start()

    def _stop(self) -> None:
        say("Stopping everything in order; once more ends it at once.")
        self._stack.stop()

    def _end(self) -> None:
        say("Ending everything at once.")
        self._stack.kill()


def main() -> int:
    """Run the stack until it is told to stop; 0 after an orderly stop, 1 with a plain sentence when it cannot start."""
    begun = time.monotonic()
    try:
        plan = read_plan(os.environ)
        data = DataDirectory(plan)
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        require_free_ports(plan)
        stack = Stack(plan, data.path, say)
    except StartFailed as error:
        print(error, file=sys.stderr)
        data.close()
        return 1
    interrupts = Interrupts(stack, started_by_make="MAKELEVEL" in os.environ)
    failure: Exception | None = None
    try:
        say(f"Starting Blitzableiter {product_version()}; logs in {plan.log_dir.relative_to(ROOT)}/")
        stack.start()
        if not stack.stopping.is_set():
            _show(plan, stack, time.monotonic() - begun)
            interrupts.wait()
    except (StartFailed, OSError) as error:
        failure = error
    finally:
        stack.stop()
        data.close()
    if failure is not None:
        print(failure, file=sys.stderr)
        return 1
    kept = "" if plan.fresh else f"; the data stays in {data.path.relative_to(LOCAL.parent)}/"
    say(f"Everything is stopped{kept}.")
    return 0


def _show(plan: Plan, stack: Stack, seconds: float) -> None:
    show_table(stack.table())
    show_addresses(plan)
    say(f"Ready after {seconds:.1f} s. Ctrl-C stops everything in order.")
    if plan.demo and stack.has_no_report():
        try:
            stack.send_demo()
        except StartFailed as error:
            say(f"The demonstration did not end well; make demo tries again. {error}")


if __name__ == "__main__":
    sys.exit(main())
