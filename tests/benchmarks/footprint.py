"""P6: what the local stack weighs without the broker's Java process, and how soon it is ready."""

import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, could_not_run
from tests.benchmarks.stack import process, wait_for

PORT_OFFSET = 21_000
FEEDBACK_PORT = 8001 + PORT_OFFSET
READY_GOAL_SECONDS = 15.0
MEMORY_GOAL_MB = 400.0
PORTS = (8001, 8002, 8003)


def _descendants(root: int) -> list[int]:
    """The process ids below ``root``, itself included (Linux)."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except FileNotFoundError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        current = waiting.pop()
        found.append(current)
        waiting += parents.get(current, [])
    return found


def _proportional_mb(process_id: int) -> float:
    """Proportional set size: shared pages are counted once over all processes that share them."""
    for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def footprint() -> list[Figure]:
    """P6. Starts the stack twice, so that the second start is a warm one."""
    if not Path("/proc/self/smaps_rollup").exists():
        return [could_not_run("P6", "memory of the stack", "needs Linux (/proc/…/smaps_rollup)")]
    environment = {"FRESH": "1", "DEMO": "0", "PORT_OFFSET": str(PORT_OFFSET)}
    seconds = megabytes = 0.0
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "stack.log")
        for _ in range(2):
            start = time.perf_counter()
            with process("deploy.local", environment, log) as supervisor:
                for port in PORTS:
                    wait_for(f"http://127.0.0.1:{port + PORT_OFFSET}/health/ready", log, 240)
                seconds = time.perf_counter() - start
                time.sleep(5)
                members = [
                    pid for pid in _descendants(supervisor.pid) if Path(f"/proc/{pid}/exe").readlink().name != "java"
                ]
                megabytes = sum(_proportional_mb(pid) for pid in members)
    return [
        Figure("P6", "stack without the broker's JVM, MB", f"{megabytes:,.0f}", "–", "–", "≤ 400",
               megabytes <= MEMORY_GOAL_MB, f"proportional set size of {len(members)} processes at rest"),
        Figure("P6", "warm start until all are ready, s", f"{seconds:.1f}", "–", "–", "≤ 15",
               seconds <= READY_GOAL_SECONDS),
    ]  # fmt: skip
