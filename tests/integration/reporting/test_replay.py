"""Everything delivered again, at the old offsets and as new records: the same tables."""

import asyncpg

from tests.integration.reporting.conftest import Service
from tests.integration.reporting.log import caught_up, publish
from tests.integration.reporting.streams import dump, random_stream, recompute, rows_of


async def tables(service: Service) -> dict[str, list[tuple[object, ...]]]:
    connection = await asyncpg.connect(service.database.owner_dsn)
    try:
        return await dump(connection)
    finally:
        await connection.close()


async def test_replay_at_old_offsets_and_as_new_records_changes_nothing(service: Service) -> None:
    """The log is read twice from its beginning with the guards forgotten, and every event arrives once more under a new
    offset: the tables stay the same, and are those of a naive recomputation."""
    stream = random_stream(7)
    await publish(service.bootstrap_servers, stream)
    await caught_up(service.bootstrap_servers, service.database)
    first = await tables(service)
    for table, rows in recompute(stream).items():
        assert rows_of(first[table]) == rows_of(rows), table

    assert service.process.terminate() == 0
    owner = await asyncpg.connect(service.database.owner_dsn)
    await owner.execute("delete from figures.inbox_watermark; delete from inbox_event")
    service.process.start().wait_ready()
    await caught_up(service.bootstrap_servers, service.database)
    assert await tables(service) == first
    assert await owner.fetchval("select count(*) from inbox_event") == len(stream)

    await publish(service.bootstrap_servers, stream)
    await caught_up(service.bootstrap_servers, service.database)
    assert await tables(service) == first

    await owner.execute("delete from inbox_event")
    await publish(service.bootstrap_servers, stream[::-1])
    await caught_up(service.bootstrap_servers, service.database)
    assert await tables(service) == first
    await owner.close()
