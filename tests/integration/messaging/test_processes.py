"""The plumbing as processes of their own: killed between any two steps, put to sleep over a rebalance."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.processes import ServiceProcess
from tests.fixtures.waiting import eventually
from tests.integration.messaging.conftest import Plumbing, assert_each_once_in_order, numbered

START = Callable[..., ServiceProcess]


@pytest.fixture
def process(plumbing: Plumbing, tmp_path: Path) -> Iterator[START]:
    """Starts ``tests.fixtures.plumbing_service`` on the test's database and broker; killed after the test."""
    started: list[ServiceProcess] = []

    def start(**environment: str) -> ServiceProcess:
        made = ServiceProcess(
            "tests.fixtures.plumbing_service",
            0,
            {
                **os.environ,
                "PLUMBING_DATABASE_URL": plumbing.database.app_dsn,
                "KAFKA_BOOTSTRAP_SERVERS": plumbing.servers,
                "PYTHONPATH": str(Path.cwd()),
            },
            tmp_path / f"process-{len(started)}.log",
        )
        started.append(made.start(**environment))
        return made

    yield start
    for made in started:
        made.kill()


@pytest.mark.parametrize(
    "step",
    [
        "after-commit-before-publish",
        "after-publish-before-delete",
        "in-the-middle-of-a-batch",
        "after-commit-before-offset",
    ],
)
async def test_a_kill_between_two_steps_loses_and_doubles_nothing(
    plumbing: Plumbing, process: START, step: str
) -> None:
    """SIGKILL at the named step, then a start without it: every event has its effect once, in order."""
    events = numbered(400)
    await plumbing.announce(events)
    killed = process(FAILPOINT=step)
    assert await asyncio.to_thread(killed.wait_exit) == -9, killed.log()[-2000:]
    assert await plumbing.outbox_depth() > 0 or step in {"in-the-middle-of-a-batch", "after-commit-before-offset"}
    process()
    await plumbing.wait_for_effects(400, within=60)
    await plumbing.announce(numbered(10, first=5000))
    await plumbing.wait_for_effects(410, within=30)
    assert_each_once_in_order(await plumbing.effects(), [*events, *numbered(10, first=5000)])


async def test_a_sleeper_over_a_rebalance_writes_nothing_twice(plumbing: Plumbing, process: START) -> None:
    """SIGSTOP in the middle of the work, the other takes over, SIGCONT: nothing lost, nothing doubled."""
    sleeper, other = process(), process()
    events = numbered(4000, keys=40)
    await plumbing.announce(events[:1000])
    await plumbing.wait_for_effects(1000, within=60)
    await plumbing.announce(events[1000:2000])
    sleeper.suspend()
    await plumbing.announce(events[2000:3000])
    await plumbing.wait_for_effects(3000, within=90)
    sleeper.resume()
    await plumbing.announce(events[3000:])
    await plumbing.wait_for_effects(4000, within=60)
    await asyncio.sleep(2)
    assert_each_once_in_order(await plumbing.effects(), events)
    assert sleeper.returncode is None
    assert other.returncode is None


async def test_a_stop_in_good_order_ends_with_zero(plumbing: Plumbing, process: START) -> None:
    """SIGTERM in the middle of the work: what has begun is finished, and the next start goes on from there."""
    await plumbing.announce(numbered(2000))
    first = process()
    await plumbing.wait_for_effects(1, within=60)
    assert await asyncio.to_thread(first.terminate) == 0, first.log()[-2000:]
    process()
    await plumbing.wait_for_effects(2000, within=60)
    await eventually(plumbing.outbox_depth, until=lambda depth: depth == 0)
    assert_each_once_in_order(await plumbing.effects(), numbered(2000))
    assert "Traceback" not in first.log()
