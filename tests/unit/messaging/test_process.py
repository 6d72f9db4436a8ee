"""The process around the parts: it is whole, or it ends."""

import asyncio
import os
import time
from pathlib import Path

import asyncpg
import pytest

from shared import process
from shared.process import EX_SOFTWARE
from tests.fixtures.mortal_service import MortalSettings
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.servers import free_port


@pytest.mark.parametrize("death", ["at-once", "later", "return"])
def test_a_dead_task_ends_the_process_in_order(tmp_path: Path, death: str) -> None:
    """Never a process that looks ready and lacks a part: exit code 70, a critical line, the other tasks finish."""
    port = free_port()
    mortal = ServiceProcess(
        "tests.fixtures.mortal_service",
        port,
        {
            **os.environ,
            "MORTAL_PORT": str(port),
            "MORTAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "DEATH": death,
        },
        tmp_path / "mortal.log",
    )
    try:
        assert mortal.start().wait_exit() == EX_SOFTWARE, mortal.log()
    finally:
        mortal.kill()
    assert "the task mortal of this process died" in mortal.log()
    assert "finished in order" in mortal.log()


async def test_the_wait_for_the_database_is_bounded_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long each try takes: not so many tries, but so many seconds."""

    async def slow_open(*_: object, **__: object) -> asyncpg.Pool:
        await asyncio.sleep(0.1)
        raise TimeoutError

    monkeypatch.setattr(process, "open_pool", slow_open)
    monkeypatch.setattr(process, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(process, "CONNECT_RETRY_SECONDS", 0.01)
    settings = MortalSettings(
        port=1, database_url="postgresql://nobody@127.0.0.1:1/none", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"
    )
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await process.Plumbing("feedback", settings)._connect(settings.database_url)
    assert 0.3 <= time.monotonic() - began < 2
