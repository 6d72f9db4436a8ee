"""Liveness and readiness."""

import asyncio

import pytest

from shared import health as health_module
from shared.health import Health
from tests.unit.web import sample


async def test_ready_tells_each_check_and_the_catalogue() -> None:
    """200 when all is fine, 503 with the reasons when not; a check that raises is a reason without its values."""
    state: dict[str, str | None] = {"broker": None}
    clock = [0.0]
    health = Health(lambda: "abc", clock=lambda: clock[0])

    async def broker() -> str | None:
        return state["broker"]

    async def broken() -> str | None:
        raise RuntimeError(sample.SECRET) if state["broker"] else AssertionError

    async def fine() -> str | None:
        return None

    health.add("broker", broker)
    health.add("database", fine)
    async with sample.client_of(sample.build(health=health)) as client:
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (
            200,
            {"status": "ready", "catalogue": "abc", "checks": {"broker": "ok", "database": "ok"}},
        )
        state["broker"] = "no broker answers"
        health.add("broken", broken)
        clock[0] += 1
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (
            503,
            {
                "status": "not ready",
                "catalogue": "abc",
                "checks": {
                    "broker": "no broker answers",
                    "database": "ok",
                    "broken": "check failed: RuntimeError",
                },
            },
        )
        assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_a_check_that_hangs_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe is answered in bounded time."""
    monkeypatch.setattr(health_module, "CHECK_SECONDS", 0.05)
    health = Health()

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    health.add("hangs", hangs)
    readiness = await health.readiness()
    assert not readiness.ready
    assert readiness.checks["hangs"].startswith("no answer within")


async def test_probes_at_once_run_the_checks_once() -> None:
    """A flood of probes is no load; after half a second the checks run again."""
    calls = 0
    clock = [0.0]
    health = Health(clock=lambda: clock[0])

    async def counted() -> str | None:
        nonlocal calls
        calls += 1
        return None

    health.add("counted", counted)
    await asyncio.gather(*(health.readiness() for _ in range(100)))
    assert calls == 1
    clock[0] += 1
    await health.readiness()
    assert calls == 2


def test_a_name_is_used_once() -> None:
    """Two checks under one name would hide one."""
    health = Health()

    async def fine() -> str | None:
        return None

    health.add("x", fine)
    with pytest.raises(ValueError, match="already"):
        health.add("x", fine)
