"""A service killed between any two steps of the way loses nothing and doubles nothing."""

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.product import Product, complaint

REPORTS = 20


@pytest.mark.parametrize(
    ("service", "step"),
    [
        ("feedback", "after-commit-before-publish"),
        ("feedback", "after-publish-before-delete"),
        ("feedback", "in-the-middle-of-a-batch"),
        ("feedback", "after-commit-before-offset"),
        ("incidents", "in-the-middle-of-a-batch"),
        ("incidents", "after-commit-before-offset"),
        ("incidents", "after-commit-before-publish"),
        ("incidents", "after-publish-before-delete"),
        ("reporting", "in-the-middle-of-a-batch"),
        ("reporting", "after-commit-before-offset"),
    ],
)
async def test_killed_between_two_steps(product: Callable[..., Product], service: str, step: str) -> None:
    """SIGKILL at the step, then a restart: every accepted report is everywhere exactly once."""
    running = product(**{service: {"FAILPOINT": step}})
    victim = running.services[service]
    sending = asyncio.create_task(running.submit_all([complaint(number) for number in range(REPORTS)]))
    assert await asyncio.to_thread(victim.wait_exit) == -9, victim.log()[-2000:]

    del victim.environment["FAILPOINT"]
    await asyncio.to_thread(victim.start().wait_ready)
    accepted = await sending
    accepted += await running.submit_all([complaint(100 + number) for number in range(REPORTS)])

    await running.settled(len(accepted))
    await running.assert_each_once(accepted)
    await running.assert_no_dead_letters()
