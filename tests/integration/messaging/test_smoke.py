import asyncio, time
from uuid import uuid4
from prometheus_client import CollectorRegistry
from faststream.kafka import KafkaRouter
from shared.batches import Consumption
from shared.kafka import broker
from shared.metrics import ConsumerMetrics, OutboxMetrics
from shared.outbox import Announcement, Relay, announce
from shared.postgres import open_pool, transaction
from shared.settings import ServiceSettings
from tests.fixtures.plumbing_service import NumberedV1, store
from tests.fixtures.waiting import eventually


async def test_smoke(database, topics):
    t=time.time()
    db = database("plumbing")
    print("db", time.time()-t)
    pool = await open_pool(db.app_dsn, size=4, application_name="t")
    stop = asyncio.Event()
    reg = CollectorRegistry()
    relay = Relay(db.app_dsn, topics, "t", OutboxMetrics(reg))
    cons = Consumption(pool, topics, "plumbing", "plumbing", ConsumerMetrics(reg))
    router = KafkaRouter()
    cons.subscribe(router, NumberedV1, store)
    b = broker(ServiceSettings(port=1, database_url=db.app_dsn, KAFKA_BOOTSTRAP_SERVERS=topics))
    b.include_router(router)
    tasks=[asyncio.create_task(relay.run(stop)), asyncio.create_task(cons.run(b, stop))]
    async with transaction(pool) as c:
        await announce(c, [Announcement(NumberedV1(name=f"k{i%7}", number=100+i)) for i in range(1000)], "t")
    t=time.time()
    await eventually(lambda: pool.fetchval("select count(*) from effect"), until=lambda n: n>=1000)
    print("all", time.time()-t)
    print(cons.lag(), cons.assignment(), await cons.problem())
    for _ in range(20):
        t=time.time()
        async with transaction(pool) as c:
            await announce(c, [Announcement(NumberedV1(name="x", number=1))], "t")
        relay.wake()
        n=await pool.fetchval("select count(*) from effect")
        while await pool.fetchval("select count(*) from effect")==n: await asyncio.sleep(0.002)
        print(f"{(time.time()-t)*1000:.0f} ms", end=" ")
    stop.set()
    t=time.time()
    await asyncio.gather(*tasks)
    print("stop", time.time()-t)
    await pool.close()
