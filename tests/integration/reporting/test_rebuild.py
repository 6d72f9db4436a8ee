"""``make rebuild``: identical tables, while the service takes traffic; an interrupted one goes on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from tests.fixtures.waiting import eventually
from tests.integration.reporting.conftest import Service
from tests.integration.reporting.log import caught_up, publish
from tests.integration.reporting.streams import dump, random_stream, received, recompute, rows_of


async def start(service: Service, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.reporting.rebuild", *arguments),
        env={**service.process.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def run(service: Service, *arguments: str) -> tuple[int, str]:
    process = await start(service, *arguments)
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture
async def owner(service: Service) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(service.database.owner_dsn)
    yield connection
    await connection.close()


async def test_rebuild_under_traffic_is_identical_and_the_service_goes_on(
    service: Service, owner: asyncpg.Connection
) -> None:
    """Two rebuilds in a row while events come in and figures are asked for: every table identical, no figure refused,
    nothing lost or counted twice afterwards."""
    stream = random_stream(3, reports=600, incidents=20)
    half = len(stream) // 2
    await publish(service.bootstrap_servers, stream[:half])
    token = service.token()
    done = asyncio.Event()
    answers: list[int] = []

    async def ask() -> None:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=10) as client:
            while not done.is_set():
                answers.append((await client.get(f"{service.process.url}/v1/satisfaction?by=office,week")).status_code)

    async def write() -> None:
        for begin in range(half, len(stream), 20):
            await publish(service.bootstrap_servers, stream[begin : begin + 20])

    asking = asyncio.create_task(ask())
    writing = asyncio.create_task(write())
    for _ in range(2):
        code, output = await run(service)
        assert code == 0, output
        assert "All tables are identical; the rebuilt ones are live." in output
        assert "DIFFERS" not in output
    await writing
    await caught_up(service.bootstrap_servers, service.database)
    done.set()
    await asking
    assert set(answers) == {200}
    tables = await dump(owner)
    for table, rows in recompute(stream).items():
        assert rows_of(tables[table]) == rows_of(rows), table
    schemas = await owner.fetch("select nspname from pg_namespace where nspname like 'figures%'")
    assert [row["nspname"] for row in schemas] == ["figures"]
    assert service.process.returncode is None
    assert httpx.get(f"{service.process.url}/health/ready").status_code == 200


async def test_verify_finds_what_was_tampered_with_and_rebuild_repairs_it(
    service: Service, owner: asyncpg.Connection
) -> None:
    """A changed figure is reported by table and swaps nothing with --verify; a rebuild puts it right."""
    stream = random_stream(4)
    await publish(service.bootstrap_servers, stream)
    await caught_up(service.bootstrap_servers, service.database)
    assert (await run(service, "--verify"))[0] == 0
    await owner.execute("update figures.rollup_heat set n = n + 1")
    code, output = await run(service, "--verify")
    assert code == 1
    assert [line.split()[0] for line in output.splitlines() if "DIFFERS" in line] == ["rollup_heat"]
    assert "nothing was swapped" in output
    code, output = await run(service)
    assert code == 1
    assert "the rebuilt ones are live" in output
    assert (await run(service, "--verify"))[0] == 0


async def test_an_interrupted_rebuild_goes_on_where_it_stopped(service: Service, owner: asyncpg.Connection) -> None:
    """Killed in the middle, the next run says that it goes on, does not begin anew, and ends identical."""
    stream = random_stream(5, reports=4000, incidents=20)
    await publish(service.bootstrap_servers, stream)
    await caught_up(service.bootstrap_servers, service.database, within=60)
    process = await start(service, "--verify")

    async def processed() -> int:
        if await owner.fetchval("select to_regclass('figures_next.inbox_event') is null"):
            return 0
        return int(await owner.fetchval("select count(*) from figures_next.inbox_event"))

    await eventually(processed, until=lambda n: n > 0, what="the first batch of the rebuild")
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    before = await processed()
    assert 0 < before < len(stream)
    code, output = await run(service)
    assert code == 0, output
    assert "Going on with the rebuild that was interrupted." in output
    assert "All tables are identical" in output


async def test_a_log_that_was_cut_is_not_swapped_in(service: Service, owner: asyncpg.Connection) -> None:
    """When the live tables hold reports that the log no longer gives, the rebuild refuses to replace them."""
    stream = random_stream(6)
    await publish(service.bootstrap_servers, stream)
    await caught_up(service.bootstrap_servers, service.database)
    await owner.execute(
        "insert into figures.fact_report values"
        " (gen_random_uuid(), '2026-01-01', 'JC-001', 'other', 'web', 'de', 'rating', 5, 'unclear', 'unclear')"
    )
    code, output = await run(service)
    assert code == 1
    assert "the live tables stay as they are" in output
    assert await owner.fetchval("select to_regnamespace('figures_old') is null")


async def test_unreadable_records_are_skipped_as_the_service_did(service: Service, owner: asyncpg.Connection) -> None:
    """A record that the service dead-lettered is counted and named by the rebuild, and not sent a second time."""
    stream = random_stream(8)
    broken = received(stream[0].event.model_copy(update={"topic": "nothing"}), 5000, stream[0].envelope.time)
    odd = broken.envelope.model_copy(update={"type": "something.else.v1"})
    entry = received(stream[0].event, 5000, stream[0].envelope.time)
    await publish(
        service.bootstrap_servers,
        [*stream, type(entry)(event=entry.event, envelope=odd, partition=0, offset=0)],
    )
    await caught_up(service.bootstrap_servers, service.database)
    code, output = await run(service)
    assert code == 0, output
    assert "1 records could not be read" in output
    assert await owner.fetchval("select count(*) from outbox") <= 1
