"""P1 and P1b: how many reports one feedback process takes in durably, beside the usual way and beside doing nothing."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.benchmarks.figures import Figure, spread
from tests.benchmarks.load import Answer, closed_loop, open_loop, percentile
from tests.benchmarks.stack import Stack, process, wait_for
from tests.benchmarks.texts import Body, complaints, ratings
from tests.fixtures.servers import free_port

ROUNDS = 3
SECONDS = 6
WARM_UP_SECONDS = 2


@contextmanager
def _yardstick(application: str, admin_dsn: str) -> Iterator[str]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "yardstick.log")
        arguments = [f"tests.benchmarks.yardsticks:{application}", "--port", str(port), "--no-access-log"]
        with process("uvicorn", {"YARDSTICK_DATABASE_URL": admin_dsn}, log, *arguments):
            wait_for(f"http://127.0.0.1:{port}/", log)
            yield f"http://127.0.0.1:{port}/v1/reports"


def _rates(addresses: dict[str, str], bodies: Sequence[Body], token: str) -> dict[str, list[float]]:
    """Answers per second of each address in turn, ``ROUNDS`` times, after a warm-up."""
    for url in addresses.values():
        closed_loop(url, bodies, seconds=WARM_UP_SECONDS, token=token)
    rates: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(ROUNDS):
        for name, url in addresses.items():
            rates[name].append(closed_loop(url, bodies, seconds=SECONDS, token=token))
    return rates


def rating_without_text(stack: Stack) -> list[Figure]:
    """P1."""
    with _yardstick("usual", stack.admin_dsn) as usual, _yardstick("bare", stack.admin_dsn) as bare:
        addresses = {"ours": f"{stack.urls['feedback']}/v1/reports", "usual": usual, "bare": bare}
        rates = _rates(addresses, ratings(2000), stack.token)
    ours, usual_rate, bare_rate = (median(rates[name]) for name in ("ours", "usual", "bare"))
    return [
        Figure("P1", "rating, durably stored, /s", spread(rates["ours"]), f"FastAPI + INSERT {spread(rates['usual'])}",
               f"{ours / usual_rate:.2f}", "≥ 3", ours >= 3 * usual_rate),
        Figure("P1", "the same beside doing nothing", spread(rates["ours"]), f"bare Starlette {spread(rates['bare'])}",
               f"{ours / bare_rate:.2f}", "≥ .50", ours >= 0.5 * bare_rate),
    ]  # fmt: skip


def complaint_on_the_full_way(stack: Stack) -> list[Figure]:
    """P1b: masked, known faults looked up, durably stored; and the latency at 70 % of the highest rate."""
    bodies = complaints(2000)
    with _yardstick("usual", stack.admin_dsn) as usual:
        addresses = {"ours": f"{stack.urls['feedback']}/v1/reports", "usual": usual}
        rates = _rates(addresses, bodies, stack.token)
    ours, usual_rate = median(rates["ours"]), median(rates["usual"])
    rate = 0.7 * ours
    answers: list[Answer] = []
    asyncio.run(
        open_loop(addresses["ours"], complaints(int(rate * SECONDS)), rate=rate, token=stack.token, answers=answers)
    )
    p99 = 1000 * percentile([answer.answered_at - answer.intended_at for answer in answers], 0.99)
    missing = "not yet part of it: guards, encryption of the original, matching by text"
    return [
        Figure("P1b", "complaint of 400 characters, /s", spread(rates["ours"]),
               f"FastAPI + INSERT {spread(rates['usual'])}", f"{ours / usual_rate:.2f}", "≥ 1 (at least .4)",
               ours >= usual_rate, missing),
        Figure("P1b", f"p99 at {rate:,.0f}/s, ms", f"{p99:.1f}", "–", "–", "≤ 50", p99 <= 50,
               "load generator in Python on the same two cores"),
    ]  # fmt: skip
