import asyncpg, pytest
from pathlib import Path


@pytest.fixture
async def figures():
    dsn = Path("/tmp/reporting/dsn").read_text().splitlines()[1]
    conn = await asyncpg.connect(dsn + "?search_path=figures,public&plan_cache_mode=force_custom_plan")
    from tests.integration.reporting.streams import PROJECTIONS

    await conn.execute(f"truncate {', '.join(PROJECTIONS)}")
    yield conn
    await conn.close()
